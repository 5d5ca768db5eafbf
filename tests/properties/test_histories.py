"""Random histories of threads, items, attachments, blocks, cancels and reopenings: each store is as the reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from scale import scaled

from chatstore import open_store
from chatstore.protocols import Store
from chatstore.testing.machine import StoreMachine
from chatstore.testing.processes import Folder

PARTS = 3
"""Of the histories of a store, so that processes share them."""

pytestmark = [pytest.mark.timeout(scaled(300, 3600)), pytest.mark.parametrize("part", range(PARTS))]

HISTORIES = settings(
    max_examples=scaled(150, 2_000) // PARTS,
    stateful_step_count=50,
    deadline=None,
    database=None,
)


def run_histories(url: str, *, kept: bool) -> None:
    """One database for all histories: each has owners of its own."""

    class Machine(StoreMachine):
        def open_store(self) -> Store:
            return open_store(url).store

    if kept:
        Machine.reopen_store = Machine.open_store  # type: ignore[method-assign, assignment]
    run_state_machine_as_test(Machine, settings=HISTORIES)


@pytest.fixture
def file() -> Iterator[Path]:
    """Where an fsync costs nothing, if the machine has such a place."""
    folder = Folder(durable=False)
    yield folder.path / "chat.db"
    folder.remove()


def test_sqlite_is_as_the_reference_at_random(file: Path, part: int) -> None:
    run_histories(f"sqlite:///{file}", kept=True)


def test_sqlite_in_memory_is_as_the_reference_at_random(part: int) -> None:
    run_histories("sqlite://", kept=False)


def test_postgresql_is_as_the_reference_at_random(postgresql_url: str, part: int) -> None:
    run_histories(postgresql_url, kept=True)
