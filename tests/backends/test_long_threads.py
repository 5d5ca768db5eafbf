"""No call's cost grows with the length of a thread: a page of 100,000 items costs what a page of 100 does."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from chatstore import Item, NotFoundError, UserStore, open_store
from chatstore.assembly import ChatStore
from chatstore.sql.connections import Unit
from chatstore.sql.databases import Database
from chatstore.stores.sql import SQLStore
from chatstore.wrappers.observed import ObservedStore

SHORT, LONG = 100, 100_000


@pytest.fixture(params=["sqlite_url", "postgresql_url"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def ann(url: str) -> AsyncIterator[UserStore]:
    async with open_store(url) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="short")
        await ann.create_thread(id="long")
        assert isinstance(store.store.wrapped, SQLStore)
        await fill(store.store.wrapped.database, "short", SHORT)
        await fill(store.store.wrapped.database, "long", LONG)
        yield ann


async def fill(database: Database, thread_id: str, count: int) -> None:
    """Write a history as it would be after ``count`` appends, quicker than by appending."""
    numbers = (
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)"
        " INSERT INTO {items} (tenant, user_id, thread_key, id, position, type, created_at, instant, size, payload)"
        " SELECT tenant, user_id, key, 'item ' || n, n * 1024, 'note', '2026-01-01T00:00:00+00:00', n, 560, {payload}"
        " FROM {threads} CROSS JOIN numbers WHERE {threads}.id = :thread_id"
    )
    touch = "UPDATE {threads} SET last_position = :count * 1024, appended = :count WHERE id = :thread_id"
    values: dict[str, Any] = {"count": count, "thread_id": thread_id, "payload": json.dumps({"text": "x" * 540})}

    async def write(unit: Unit) -> None:
        for statement in (numbers, touch):
            await unit.fetch(statement, values)

    await database.units.transact("fill", write)


async def best_time(ann: UserStore, thread_id: str, rounds: int = 40) -> float:
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        await ann.load_thread_items(thread_id, limit=50, order="desc")
        best = min(best, time.perf_counter() - start)
    return best


async def test_a_page_of_a_long_thread_costs_what_a_page_of_a_short_one_does(ann: UserStore) -> None:
    await best_time(ann, "long"), await best_time(ann, "short")
    ratios = [await best_time(ann, "long") / await best_time(ann, "short") for _ in range(5)]
    assert sorted(ratios)[2] <= 1.3, ratios


async def test_a_page_of_a_long_thread_takes_little_memory(ann: UserStore) -> None:
    tracemalloc.start()
    for order in ("asc", "desc"):
        page = await ann.load_thread_items("long", limit=1000, order=order)
        assert len(page.data) == 1000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= 20 * 1024 * 1024


@pytest.fixture
def four_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatstore.stores.sql.store.LONG_THREAD", 3)


async def with_long_threads(store: ChatStore, *ids: str) -> tuple[UserStore, SQLStore]:
    ann = store.for_user("ann")
    for id in ids:
        await ann.create_thread(id=id)
        await ann.add_thread_items(id, [Item(type="note", data={})] * 4)
    assert isinstance(store.store.wrapped, SQLStore)
    return ann, store.store.wrapped


async def items_left(store: SQLStore) -> int:
    rows = await store.database.units.read("count", lambda unit: unit.fetch("SELECT count(*) FROM {items}", {}))
    return int(rows[0][0])


@pytest.mark.usefixtures("four_are_long")
async def test_a_long_thread_that_a_block_deletes_is_swept_once_that_has_committed(url: str) -> None:
    async with open_store(url) as chat:
        ann, store = await with_long_threads(chat, "long")
        async with ann.transaction() as tx:
            await tx.delete_thread("long")
            assert store._sweeping is None
        assert store._sweeping is not None
        await store._sweeping
        assert await items_left(store) == 0


@pytest.mark.usefixtures("four_are_long")
async def test_what_a_process_did_not_come_to_sweep_is_swept_by_the_next(url: str) -> None:
    with pytest.MonkeyPatch.context() as killed:
        killed.setattr(SQLStore, "_sweep_soon", lambda self: None)
        async with open_store(url) as chat:
            ann, store = await with_long_threads(chat, "long")
            await ann.delete_thread("long")
            assert await items_left(store) == 4
    async with open_store(url) as chat:
        assert isinstance(chat.store.wrapped, SQLStore)
        assert chat.store.wrapped._sweeping is not None
        await chat.store.wrapped._sweeping
        assert await items_left(chat.store.wrapped) == 0


@pytest.mark.usefixtures("four_are_long")
async def test_a_long_thread_that_is_deleted_during_a_sweep_is_left_to_it(postgresql_url: str) -> None:
    other = await asyncpg.connect(postgresql_url)
    async with open_store(postgresql_url) as chat:
        ann, store = await with_long_threads(chat, "one", "two")
        async with other.transaction():
            await other.execute("LOCK TABLE chatstore_items IN SHARE MODE")
            await ann.delete_thread("one")
            sweeping = store._sweeping
            await ann.delete_thread("two")
            assert store._sweeping is sweeping
        assert sweeping is not None
        await sweeping
        assert await items_left(store) == 0
    await other.close()


async def test_a_long_thread_is_gone_at_once_and_its_items_soon(ann: UserStore) -> None:
    await ann.delete_thread("long")
    with pytest.raises(NotFoundError):
        await ann.load_thread("long")
    await ann.create_thread(id="long", title="again")
    assert (await ann.load_thread_items("long")).data == []
    assert isinstance(ann._store, ObservedStore)
    store = ann._store.wrapped
    assert isinstance(store, SQLStore)
    assert store._sweeping is not None
    await store._sweeping
    assert await items_left(store) == SHORT
    assert len((await ann.load_thread_items("short")).data) == 50
