"""Code of chatstore that blocks the event loop fails the test that runs it."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest
from blockbuster import BlockingError

from chatstore import Owner, UserStore, open_store
from chatstore.owners import resolve_owner


async def _sleep(store: UserStore) -> None:
    time.sleep(0)  # noqa: ASYNC251


async def test_sleeping_in_a_call_of_the_library_is_caught() -> None:
    async with open_store("memory://") as store:
        with pytest.raises(BlockingError, match=r"time\.sleep"):
            await store.for_user("ann").run(_sleep)


async def test_reading_a_file_in_a_call_of_the_library_is_caught(tmp_path: Path) -> None:
    (tmp_path / "user").write_text("ann")
    with pytest.raises(BlockingError, match=r"io\.\w+\.read"):
        await resolve_owner(tmp_path / "user", owner_of=lambda path: path.read_text())


async def test_a_synchronous_query_in_a_call_of_the_library_is_caught() -> None:
    def query(connection: sqlite3.Connection) -> str:
        return str(connection.execute("SELECT 'ann'").fetchone()[0])

    connection = sqlite3.connect(":memory:")
    with pytest.raises(BlockingError, match="sqlite3"):
        await resolve_owner(connection, owner_of=query)
    connection.close()


async def test_what_a_test_does_by_itself_is_not_the_librarys() -> None:
    time.sleep(0)  # noqa: ASYNC251
    assert await resolve_owner("ann", owner_of=str) == Owner("ann")
