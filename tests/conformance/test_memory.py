"""The reference store passes the whole suite, and is the same as itself at random."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import settings

from chatstore.protocols import Store
from chatstore.stores.memory import MemoryStore
from chatstore.testing.machine import StoreMachine
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


class MemoryMachine(StoreMachine):
    def open_store(self) -> Store:
        return MemoryStore()


TestMemoryAtRandom = MemoryMachine.TestCase
TestMemoryAtRandom.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
