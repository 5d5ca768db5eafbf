"""What chatstore is compared with does the same work: it checks the owner, draws positions, touches the thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy.exc import NoResultFound

from benchmarks.adapters.chatstore import Chatstore
from benchmarks.adapters.orm import PlainORM
from benchmarks.adapters.raw_aiosqlite import RawAiosqlite
from benchmarks.adapters.raw_postgresql import RawPostgreSQL
from benchmarks.adapters.raw_sqlite import RawSQLite
from benchmarks.protocol import Conversations
from benchmarks.scene import payload, thread_id
from chatstore import NotFoundError

ADAPTERS: list[tuple[Callable[[], Conversations], str]] = [
    (Chatstore, "sqlite_url"),
    (RawSQLite, "sqlite_url"),
    (RawAiosqlite, "sqlite_url"),
    (PlainORM, "sqlite_url"),
    (Chatstore, "empty_postgresql_url"),
    (RawPostgreSQL, "empty_postgresql_url"),
    (PlainORM, "empty_postgresql_url"),
]
FIRST, SECOND = thread_id("first"), thread_id("second")


@pytest.fixture(params=ADAPTERS, ids=lambda each: f"{each[0].__name__}-{each[1]}")
def closed(request: pytest.FixtureRequest) -> tuple[Conversations, str]:
    """An adapter, and the URL of an empty database that it can be opened on."""
    make, url = request.param
    return make(), request.getfixturevalue(url)


@pytest.fixture
async def conversations(closed: tuple[Conversations, str]) -> AsyncIterator[Conversations]:
    adapter, url = closed
    await adapter.open(url)
    await adapter.create_threads("ann", [FIRST, SECOND])
    await adapter.create_threads("ben", [thread_id("of ben")])
    yield adapter
    await adapter.close()


async def test_a_thread_is_read_as_it_was_written(conversations: Conversations) -> None:
    await conversations.fill("ann", FIRST, [payload(number) for number in range(25)])
    item = await conversations.append("ann", FIRST, payload(25))
    await conversations.update("ann", FIRST, item, payload(26))
    assert await conversations.newest("ann", FIRST, 50) == 26
    assert await conversations.newest("ann", FIRST, 10) == 10
    assert [loaded async for loaded in conversations.pages("ann", FIRST, 10)] == [10, 10, 6]
    assert await conversations.threads("ann", 50) == 2


async def test_nobody_writes_to_another_owners_thread(conversations: Conversations) -> None:
    with pytest.raises((NotFoundError, NoResultFound, AssertionError, ValueError)):
        await conversations.append("ben", FIRST, payload())
    assert await conversations.newest("ann", FIRST, 50) == 0
    assert await conversations.threads("ben", 50) == 1


async def test_items_of_many_writers_of_one_thread_are_all_there(conversations: Conversations) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(conversations.append("ann", FIRST, payload(number)))
    assert await conversations.newest("ann", FIRST, 50) == 20


async def test_a_deleted_thread_is_gone_with_its_items(conversations: Conversations) -> None:
    await conversations.fill("ann", FIRST, [payload(number) for number in range(5)])
    await conversations.delete("ann", FIRST)
    assert await conversations.threads("ann", 50) == 1
    await conversations.create_threads("ann", [FIRST])
    assert await conversations.newest("ann", FIRST, 50) == 0
