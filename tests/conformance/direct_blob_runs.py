"""Run every test of the suite for blobs on one store, without a pytest run for each, and say which of them failed."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from chatstore.protocols import BlobStore
from chatstore.testing.blob_suite import BlobTests
from chatstore.testing.blob_suites.lifecycle import Reopen

PATIENCE = 30

NOBODY_WAITS: Mapping[str, float] = {}


class Kit(BlobTests):
    """The suite as a store in memory runs it."""

    holds_blobs_in_memory = True


def suite() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each test of ``BlobTests``: its name as pytest writes it, its method's name and its parameters."""
    for name, test in inspect.getmembers(BlobTests, inspect.isfunction):
        if name.startswith("test_"):
            marks = [mark.args for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
            for values in product(*(list(values) for _, values in marks)):
                parameters: dict[str, Any] = {}
                for (names, _), value in zip(marks, values, strict=True):
                    parameters |= {names: value} if isinstance(names, str) else dict(zip(names, value, strict=True))
                label = "-".join(map(_label, parameters.values()))
                yield f"{name}[{label}]" if values else name, name, parameters


def failures(
    open_blobs: Callable[[], BlobStore], reopen: Reopen | None = None, *, waiting: Mapping[str, float] = NOBODY_WAITS
) -> set[str]:
    """Return the names of the tests that fail, each on a new store of its own.

    ``waiting`` names those that are known to wait for what never comes, and after how many seconds to give them up.
    """
    with TemporaryDirectory() as folder:
        return {
            full
            for number, (full, name, parameters) in enumerate(suite())
            if not _passes(
                open_blobs, reopen, waiting.get(full, PATIENCE), Path(folder) / str(number), name, parameters
            )
        }


def _passes(
    open_blobs: Callable[[], BlobStore],
    reopen: Reopen | None,
    patience: float,
    folder: Path,
    name: str,
    parameters: dict[str, Any],
) -> bool:
    test = getattr(Kit(), name)
    fixtures = {"reopen": reopen, "tmp_path": folder}
    wanted = {fixture: value for fixture, value in fixtures.items() if fixture in inspect.signature(test).parameters}
    if "tmp_path" in wanted:
        folder.mkdir()

    async def run() -> None:
        async with open_blobs() as blobs:
            await asyncio.wait_for(test(blobs=blobs, **wanted, **parameters), patience)

    try:
        asyncio.run(run())
    except pytest.skip.Exception:
        return True
    except (Exception, pytest.fail.Exception):
        return False
    return True


def _label(value: object) -> str:
    return value.__name__ if isinstance(value, type) else str(value)
