"""The reference store passes the whole suite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from chatstore.protocols import Store
from chatstore.stores.memory import MemoryStore
from chatstore.testing.store_suite import StoreTests


class TestMemory(StoreTests):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        async with MemoryStore() as store:
            yield store

    @pytest.fixture
    def reopen(self) -> Callable[[], Awaitable[Store]]:
        async def another() -> Store:
            return MemoryStore()

        return another
