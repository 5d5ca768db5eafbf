"""PostgreSQL with row security passes the whole suite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
from guarded import Guarded, guarded_database

from chatstore import open_store
from chatstore.protocols import Capability, Store
from chatstore.testing.servers import PostgreSQLServer
from chatstore.testing.store_suite import StoreTests
from chatstore.testing.suites.lifecycle import Reopen


@pytest.fixture(scope="module")
def guarded(postgresql_server: PostgreSQLServer) -> Iterator[Guarded]:
    with guarded_database(postgresql_server) as guarded:
        yield guarded


class TestPostgreSQLWithRowSecurity(StoreTests):
    @pytest.fixture
    async def store(self, guarded: Guarded) -> AsyncIterator[Store]:
        async with open_store(guarded.url, row_security=True) as store:
            await guarded.execute("TRUNCATE chatstore_threads, chatstore_items, chatstore_attachments")
            yield store.store

    @pytest.fixture
    async def reopen(self, guarded: Guarded) -> AsyncIterator[Reopen]:
        async with AsyncExitStack() as opened:

            async def reopen() -> Store:
                return (await opened.enter_async_context(open_store(guarded.url, row_security=True))).store

            yield reopen

    async def test_row_security_is_declared(self, store: Store) -> None:
        assert Capability.ROW_SECURITY in store.capabilities
