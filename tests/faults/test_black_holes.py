"""Packets vanish in mid-statement: an error within the command timeout and two seconds, and the pool is whole after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from scale import scaled, tell

from chatstore import ClosedError, Deadlines, Item, UnavailableError, UserStore, open_store
from chatstore.deadlines import POOL_SIZE, USUAL
from chatstore.testing.faults.killing import ServerKiller
from chatstore.testing.faults.proxy import Proxy
from chatstore.testing.servers import PostgreSQLServer

COMMAND = scaled(2.0, USUAL.command)


@pytest.fixture
async def proxy(postgresql_url: str) -> AsyncIterator[Proxy]:
    async with Proxy.before(postgresql_url) as proxy:
        yield proxy


@pytest.fixture
async def ann(proxy: Proxy, postgresql_url: str) -> AsyncIterator[UserStore]:
    async with open_store(proxy.url(postgresql_url), deadlines=Deadlines(command=COMMAND)) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")
        yield ann


def note(id: str | None = None) -> Item:
    return Item(type="note", id=id, data={"text": "x"})


async def block(user: UserStore) -> None:
    async with user.transaction() as tx:
        await tx.add_thread_item("t", note(id="in a block"))


CALLS: dict[str, Callable[[UserStore], Awaitable[object]]] = {
    "read": lambda ann: ann.load_thread_items("t"),
    "append": lambda ann: ann.add_thread_item("t", note(id="appended")),
    "delete": lambda ann: ann.delete_thread_item("t", "absent"),
    "block": block,
}


async def warm(user: UserStore) -> None:
    """Make every connection of the pool and every statement that is used, so that all are caught in mid-statement."""
    async with asyncio.TaskGroup() as group:
        for _ in range(POOL_SIZE):
            group.create_task(user.load_thread_items("t"))
            group.create_task(user.load_threads())


async def test_whatever_is_asked_of_a_black_hole_fails_in_time_and_the_pool_is_whole_afterwards(
    proxy: Proxy, ann: UserStore
) -> None:
    await warm(ann)
    proxy.black_hole()
    begun = time.monotonic()
    lasted: dict[str, float] = {}

    async def asked(name: str) -> None:
        with pytest.raises(UnavailableError) as caught:
            await CALLS[name](ann)
        assert caught.value.retryable
        lasted[name] = time.monotonic() - begun

    await asyncio.gather(*map(asked, CALLS))
    assert max(lasted.values()) <= COMMAND + 2, lasted
    proxy.heal()
    async with asyncio.timeout(10):
        await asyncio.gather(*(ann.add_thread_item("t", note()) for _ in range(50)))
        await asyncio.gather(*(ann.load_thread_items("t") for _ in range(50)))
    stored = [item.id async for item in ann.iter_thread_items("t")]
    assert len(stored) == len(set(stored)) >= 50
    assert proxy.connections <= POOL_SIZE
    tell(f"command timeout {COMMAND:g} s: errors after {max(lasted.values()):.1f} s at the latest, pool whole")


async def test_a_close_does_not_wait_for_a_server_that_nobody_waits_for(proxy: Proxy, postgresql_url: str) -> None:
    proxy.black_hole()
    store = open_store(proxy.url(postgresql_url))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await store.for_user("ann").load_threads()
    begun = time.monotonic()
    await store.aclose()
    assert time.monotonic() - begun < 2


async def test_a_close_tells_those_who_wait_for_a_connection(proxy: Proxy, postgresql_url: str) -> None:
    proxy.black_hole()
    store = open_store(proxy.url(postgresql_url))
    reading = asyncio.ensure_future(store.for_user("ann").load_threads())
    await asyncio.wait([reading], timeout=0.2)
    await store.aclose()
    with pytest.raises(ClosedError, match="the store was closed before the call had ended"):
        await reading


async def test_a_server_that_stops_for_a_moment_is_waited_for(start_server: Callable[..., PostgreSQLServer]) -> None:
    server = await asyncio.to_thread(start_server, PostgreSQLServer(source="machine", durable=False))
    async with open_store(server.url()) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")
        async with ServerKiller(server, "postgres").frozen():
            adding = asyncio.ensure_future(ann.add_thread_item("t", note(id="slow")))
            await asyncio.wait([adding], timeout=0.5)
            assert not adding.done()
        await adding
        assert [item.id for item in (await ann.load_thread_items("t")).data] == ["slow"]
