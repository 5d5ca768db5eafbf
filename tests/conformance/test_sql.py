"""SQLite and PostgreSQL pass the whole suite, each as the reference does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from chatstore import open_store
from chatstore.protocols import Store
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


class TestPostgreSQL(StoreTests):
    @pytest.fixture
    async def store(self, postgresql_url: str) -> AsyncIterator[Store]:
        async with open_store(postgresql_url) as store:
            yield store.store

    @pytest.fixture
    def reopen(self, postgresql_url: str, reopen_at: Callable[[str], Reopen]) -> Reopen:
        return reopen_at(postgresql_url)
