"""What is true of SQLite only: one file, one writer, pragmas, and what a full or locked disk does."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine

from chatstore import (
    Capability,
    ConfigurationError,
    Deadlines,
    IntegrityError,
    Item,
    StorageFullError,
    UnavailableError,
    UserStore,
    open_store,
)
from chatstore.sql.connections import Unit
from chatstore.stores.sql import SQLStore


@pytest.fixture
def path(empty_sqlite_url: str) -> Path:
    return Path(empty_sqlite_url.removeprefix("sqlite:///"))


@pytest.fixture
async def ann(empty_sqlite_url: str) -> AsyncIterator[UserStore]:
    async with open_store(empty_sqlite_url) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")
        yield ann


def note(number: int = 0, size: int = 1) -> Item:
    return Item(type="note", id=str(number), data={"text": "x" * size})


async def test_the_connection_is_set_up_to_lose_nothing(empty_sqlite_url: str) -> None:
    engine = create_async_engine(empty_sqlite_url.replace("sqlite:", "sqlite+aiosqlite:"), pool_size=1, max_overflow=0)
    async with open_store(engine) as store:
        await store.for_user("ann").create_thread()
        async with engine.connect() as connection:
            found = {
                name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
    await engine.dispose()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


async def test_what_was_acknowledged_survives_a_kill(path: Path, empty_sqlite_url: str) -> None:
    """The process dies without closing anything; the acknowledged append is in the file."""
    process = multiprocessing.get_context("spawn").Process(target=_append_and_die, args=(empty_sqlite_url,))
    process.start()
    await asyncio.to_thread(process.join)
    assert process.exitcode == 7
    async with open_store(empty_sqlite_url) as store:
        assert [item.id async for item in store.for_user("ann").iter_thread_items("t")] == ["0", "1", "2"]
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _append_and_die(url: str) -> None:
    async def append() -> None:
        ann = open_store(url).for_user("ann")
        await ann.create_thread(id="t")
        for number in range(3):
            await ann.add_thread_item("t", note(number))
        os._exit(7)

    asyncio.run(append())


async def test_several_processes_append_to_one_thread(ann: UserStore, empty_sqlite_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append_twenty, args=(empty_sqlite_url, number)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        await asyncio.to_thread(process.join)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    items = [item async for item in ann.iter_thread_items("t")]
    assert len(items) == 60
    for number in range(3):
        assert [item.data["n"] for item in items if item.type == str(number)] == list(range(20))


def _append_twenty(url: str, number: int) -> None:
    async def append() -> None:
        async with open_store(url) as store:
            for n in range(20):
                await store.for_user("ann").add_thread_item("t", Item(type=str(number), data={"n": n}))

    asyncio.run(append())


async def test_a_full_disk_is_told_and_healed_by_space(empty_sqlite_url: str) -> None:
    engine = create_async_engine(empty_sqlite_url.replace("sqlite:", "sqlite+aiosqlite:"))
    limits = ["PRAGMA max_page_count = 60"]

    @event.listens_for(engine.sync_engine, "checkout")
    def limit(connection: Any, record: Any, proxy: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(limits[-1])
        cursor.close()

    async with open_store(engine) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")
        stored = await _append_until_full(ann)
        assert [item.id async for item in ann.iter_thread_items("t")] == stored
        limits.append("PRAGMA max_page_count = 1000")
        await ann.add_thread_item("t", note(1000, 10_000))
        assert len([item async for item in ann.iter_thread_items("t")]) == len(stored) + 1
    await engine.dispose()


async def _append_until_full(ann: UserStore) -> list[str]:
    stored: list[str] = []
    try:
        for number in range(100):
            await ann.add_thread_item("t", note(number, 10_000))
            stored.append(str(number))
    except StorageFullError:
        return stored
    pytest.fail("the disk was never full")


async def test_a_database_locked_by_another_process_is_unavailable(
    ann: UserStore, path: Path, empty_sqlite_url: str
) -> None:
    deadlines = Deadlines(pool=0.3, connect=0.1, command=1.2, lock=0.3)
    other = sqlite3.connect(path, isolation_level=None)
    async with open_store(empty_sqlite_url, deadlines=deadlines) as store:
        hurried = store.for_user("ann")
        other.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        with pytest.raises(UnavailableError, match=r"locked by another process; gave up after . tries") as caught:
            await hurried.add_thread_item("t", note())
        assert 2 * 0.3 < time.monotonic() - begun < deadlines.of_a_call
        assert caught.value.retryable
        assert (await ann.load_thread_items("t")).data == []
        other.execute("ROLLBACK")
        await hurried.add_thread_item("t", note())
    other.close()


async def test_readers_do_not_wait_for_an_open_block(ann: UserStore) -> None:
    async with ann.transaction() as tx:
        await tx.add_thread_item("t", note())
        assert (await ann.load_thread_items("t")).data == []
    assert len((await ann.load_thread_items("t")).data) == 1


async def test_a_file_that_is_no_database_is_named(path: Path, empty_sqlite_url: str) -> None:
    path.write_bytes(b"not a database" * 100)
    store = open_store(empty_sqlite_url)
    with pytest.raises(IntegrityError, match="not an SQLite database"):
        await store.for_user("ann").load_threads()
    await store.aclose()


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    before = driver_threads()
    store = open_store(f"sqlite:///{tmp_path}/absent/chat.db")
    with pytest.raises(ConfigurationError, match="does its folder exist"):
        await store.for_user("ann").load_threads()
    await store.aclose()
    await _driver_threads_end(driver_threads() - before)


LOOPS_THAT_END_AT_ONCE = """
import asyncio, sys
from chatstore import ConfigurationError, open_store

async def fail():
    try:
        await open_store(sys.argv[1]).for_user("ann").load_threads()
    except ConfigurationError:
        return

for _ in range(20):
    asyncio.run(fail())
"""


async def test_a_program_that_ends_on_a_missing_folder_prints_no_error_of_a_thread(tmp_path: Path) -> None:
    assert await run_program(LOOPS_THAT_END_AT_ONCE, f"sqlite:///{tmp_path}/absent/chat.db") == (0, "")


async def test_a_store_in_memory_declares_nothing() -> None:
    async with open_store("sqlite://") as store:
        assert store.capabilities == frozenset()
        await store.for_user("ann").create_thread(id="t")
    async with open_store("sqlite://") as another:
        assert (await another.for_user("ann").load_threads()).data == []


async def test_a_unit_that_awaits_anything_but_its_statements_is_refused_and_undone(empty_sqlite_url: str) -> None:
    """It runs in the connection's thread, where there is no event loop."""

    async def work(unit: Unit) -> None:
        await unit.fetch("INSERT INTO {probes} (id, written) VALUES ('half', 0)", {})
        await asyncio.sleep(0)

    async with open_store(empty_sqlite_url) as store:
        assert isinstance(store.store.wrapped, SQLStore)
        units = store.store.wrapped.database.units
        with pytest.raises(RuntimeError, match="awaited something else"):
            await units.transact("work", work)
        found = await units.read("count", lambda unit: unit.fetch("SELECT count(*) FROM {probes}", {}))
    assert found[0][0] == 0


async def test_a_file_is_durable_and_shared(ann: UserStore) -> None:
    assert ann.capabilities == {Capability.DURABLE, Capability.SHARED}


async def run_program(program: str, url: str) -> tuple[int | None, str]:
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", program, url]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    return process.returncode, errors.decode()


async def test_no_thread_of_a_driver_outlives_the_store(empty_sqlite_url: str) -> None:
    before = driver_threads()
    async with open_store(empty_sqlite_url) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")
        await asyncio.gather(*(ann.load_threads() for _ in range(5)))
        drivers = driver_threads() - before
    assert drivers
    await _driver_threads_end(drivers)


def driver_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if "_connection_worker" in thread.name}


async def _driver_threads_end(threads: set[threading.Thread]) -> None:
    for thread in threads:
        await asyncio.to_thread(thread.join, 5)
    assert not any(thread.is_alive() for thread in threads)
