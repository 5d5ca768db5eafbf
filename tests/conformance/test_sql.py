"""SQLite and PostgreSQL pass the whole suite, each as the reference does."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import asyncpg
import pytest

from chatstore import open_store
from chatstore.protocols import Store
from chatstore.testing.servers import PostgreSQLServer
from chatstore.testing.store_suite import StoreTests
from chatstore.testing.suites.lifecycle import Reopen


@pytest.fixture
async def reopen_at() -> AsyncIterator[Callable[[str], Reopen]]:
    """Open further stores on a URL, closed at the end of the test."""
    async with AsyncExitStack() as opened:

        def at(url: str) -> Reopen:
            async def reopen() -> Store:
                return (await opened.enter_async_context(open_store(url))).store

            return reopen

        yield at


class TestSQLite(StoreTests):
    @pytest.fixture
    async def store(self, sqlite_url: str) -> AsyncIterator[Store]:
        async with open_store(sqlite_url) as store:
            yield store.store

    @pytest.fixture
    def reopen(self, sqlite_url: str, reopen_at: Callable[[str], Reopen]) -> Reopen:
        return reopen_at(sqlite_url)


class TestSQLiteInMemory(StoreTests):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        async with open_store("sqlite://") as store:
            yield store.store


@pytest.fixture(scope="module")
def url(postgresql_server: PostgreSQLServer) -> str:
    return asyncio.run(postgresql_server.create_database(f"chatstore_suite_{uuid.uuid4().hex}"))


class TestPostgreSQL(StoreTests):
    """One database for all, emptied for each test: quicker than a database for each."""

    @pytest.fixture
    async def store(self, url: str) -> AsyncIterator[Store]:
        async with open_store(url) as store:
            await _empty(url)
            yield store.store

    @pytest.fixture
    def reopen(self, url: str, reopen_at: Callable[[str], Reopen]) -> Reopen:
        return reopen_at(url)


async def _empty(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("TRUNCATE chatstore_threads, chatstore_items, chatstore_attachments")
    await connection.close()
