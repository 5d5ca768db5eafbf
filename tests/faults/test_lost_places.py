"""A place of the pool whose connection was thrown away is filled before it is used, and by whoever has the time."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest

from chatstore import open_store
from chatstore.stores.sql import SQLStore
from chatstore.testing.faults.killing import terminate_backends
from chatstore.testing.faults.proxy import Proxy


async def test_a_place_that_is_emptied_while_another_is_made_is_not_taken_for_full(sqlite_url: str) -> None:
    async with open_store(sqlite_url) as store:
        assert isinstance(store.store.wrapped, SQLStore)
        connections = store.store.wrapped.database._connections
        go_on, emptying = threading.Event(), asyncio.Event()

        async def throw_away() -> None:
            async with connections.unit() as unit:
                unit.broken = True
                ignored = asyncio.get_running_loop().create_future()
                unit._driver._tx.put_nowait((ignored, go_on.wait))  # closing waits for the connection's own thread
                emptying.set()

        async with connections.unit():
            thrown_away = asyncio.ensure_future(throw_away())
            await emptying.wait()
            async with connections.unit():
                go_on.set()
                await thrown_away
        for _ in range(3):
            await store.for_user("ann").load_threads()


async def test_reads_with_deadlines_shorter_than_a_connect_get_there_after_a_lost_connection(
    postgresql_url: str,
) -> None:
    """An answer takes 100 ms, a connect five of them, the first read after it two; the deadline is three and a half."""
    async with Proxy.before(postgresql_url) as proxy, open_store(proxy.url(postgresql_url)) as store:
        ann = store.for_user("ann")
        await ann.load_threads()
        proxy.latency = 0.1
        await terminate_backends(postgresql_url)
        for _ in range(10):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.35):
                    await ann.load_threads()
                    break
        else:
            pytest.fail("no read was answered in 10 tries")
