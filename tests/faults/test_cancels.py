"""Appends that are cancelled at random moments, in four ways, leave nothing behind; a retry gives exactly one row."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from functools import partial

import pytest
from scale import scaled, tell

from chatstore import Item, UserStore, open_store
from chatstore.assembly import ChatStore
from chatstore.deadlines import POOL_SIZE
from chatstore.stores.sql import SQLStore
from chatstore.testing.factories import NOON
from chatstore.testing.faults.cancelling import KINDS, Canceller, Kind
from chatstore.testing.faults.killing import connected

CANCELS = scaled(500, 10_000)
TOGETHER = 5


@pytest.fixture(params=["sqlite_url", "postgresql_url"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("coalesce", [True, False], ids=["together", "alone"])
@pytest.mark.parametrize("kind", KINDS)
async def test_cancelled_appends_leave_nothing_behind_and_a_retry_gives_one_row(
    kind: Kind, coalesce: bool, url: str
) -> None:
    before = driver_threads()
    async with open_store(url, coalesce=coalesce) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")
        canceller = Canceller(seed=5)
        for number in range(20):
            await canceller.measure(partial(append_and_read, ann, f"measured {number}"))
        answered = await cancel_all(kind, canceller, ann)
        await check_nothing_goes_on()
        await check_nothing_is_held(store, url)
        stored = set(await ids(ann))
        assert {id for id, was in answered.items() if was} <= stored
        for id in answered:
            await append(ann, id)
        assert sorted(await ids(ann)) == sorted([*answered, *(f"measured {number}" for number in range(20))])
    for thread in driver_threads() - before:
        await asyncio.to_thread(thread.join, 5)  # it was told to end, and does so in its own time
    assert driver_threads() <= before
    unanswered = len(stored) - 20 - sum(answered.values())
    tell(f"{len(answered)} by {kind}: {sum(answered.values())} answered, {unanswered} more stored, 0 left behind")


async def append(user: UserStore, id: str) -> None:
    await user.add_thread_item("t", Item(type="note", id=id, data={"id": id}, created_at=NOON))


async def append_and_read(user: UserStore, id: str) -> None:
    await append(user, id)
    await user.load_thread_items("t", limit=5, order="desc")


async def ids(user: UserStore) -> list[str]:
    return [item.id async for item in user.iter_thread_items("t", page_size=1000)]


async def cancel_all(kind: Kind, canceller: Canceller, user: UserStore) -> dict[str, bool]:
    """Append, read and cancel, several at the same time; return which were answered nonetheless."""
    answered: dict[str, bool] = {}

    async def some(first: int) -> None:
        for id in map(str, range(first, CANCELS // 2, TOGETHER)):
            answered[id] = await canceller.run(kind, partial(append_and_read, user, id))

    async with asyncio.timeout(scaled(60.0, 1200.0)):
        await asyncio.gather(*map(some, range(TOGETHER)))
    return answered


async def check_nothing_goes_on() -> None:
    """What was left before it began may still be on its way to its connection, and ends there."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, others = await asyncio.wait(others, timeout=5)
    assert others == set()


async def check_nothing_is_held(store: ChatStore, url: str) -> None:
    assert isinstance(store.store.wrapped, SQLStore)
    database = store.store.wrapped.database
    connections = database.units._connections
    assert connections._free is not None
    assert connections._free._value == POOL_SIZE
    assert database._engine.pool.checkedout() == len(connections._idle)  # type: ignore[attr-defined]
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///"), timeout=0, isolation_level=None) as other:
            assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
            other.execute("BEGIN EXCLUSIVE")
            other.execute("ROLLBACK")
        other.close()
    else:
        async with connected(url) as connection:
            states = await connection.fetch(
                "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert {row[0] for row in states} <= {"idle"}
        assert len(states) <= POOL_SIZE


def driver_threads() -> set[threading.Thread]:
    """Return the threads that live, but for those of the event loop's own pool."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}
