"""How the verbs of the memory store reach what it keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chatstore import inputs
from chatstore.ids import new_id
from chatstore.lifetime import Lifetime
from chatstore.owners import Owner, check_owner
from chatstore.stores.memory.spaces import Space
from chatstore.transactions import Turn, check_outside_block

PATIENCE = 15.0
"""Seconds that a write waits for the end of somebody's transaction."""


class MemoryAccess:
    """A space for each owner; one writer at a time while a transaction is open."""

    system = "memory"

    def __init__(self, *, max_item_bytes: int = inputs.MAX_ITEM_BYTES) -> None:
        self._max_item_bytes = max_item_bytes
        self._spaces: dict[Owner, Space] = {}
        self._database = new_id("db")
        self._lifetime = Lifetime()
        self._writing = Turn(PATIENCE)

    def _read(self, owner: Owner) -> Space:
        self._lifetime.enter()
        return self._spaces.get(check_owner(owner), Space())

    @asynccontextmanager
    async def _write(self, owner: Owner, operation: str) -> AsyncIterator[Space]:
        self._lifetime.enter()
        check_owner(owner)
        check_outside_block(self, operation)
        async with self._writing:
            yield self._spaces.setdefault(owner, Space())
