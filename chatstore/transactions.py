"""Whose turn it is to write, and which transaction blocks are open around the running code.

A write through the outer store inside its own block would wait for the block's end, and so for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from chatstore.errors import ConfigurationError, UnavailableError


class Turn:
    """One writer at a time, in the order of asking; who waits longer than ``seconds`` gets ``UnavailableError``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._lock.acquire()
        except TimeoutError:
            raise UnavailableError(
                f"the one writer was not free within {self._seconds:g} s; is a transaction() block kept open?"
            ) from None

    async def __aexit__(self, *exc_info: object) -> None:
        self._lock.release()


class _Block:
    def __init__(self, store: object) -> None:
        self.store = store
        self.is_open = True


_blocks: ContextVar[tuple[_Block, ...]] = ContextVar("chatstore_blocks", default=())


@contextmanager
def block_of(store: object) -> Iterator[None]:
    """Mark a block of ``store`` as open for the code inside, and for the tasks which that starts."""
    block = _Block(store)
    _blocks.set((*_blocks.get(), block))
    try:
        yield
    finally:
        block.is_open = False
        _blocks.set(tuple(block for block in _blocks.get() if block.is_open))


def check_outside_block(store: object, operation: str) -> None:
    """Raise ``ConfigurationError`` when the running code is inside an open block of ``store``."""
    if any(block.is_open and block.store is store for block in _blocks.get()):
        raise ConfigurationError(
            f"{operation}: called on the outer store inside its own transaction, where it would wait for itself; "
            "use the store that `async with store.transaction() as tx` gives"
        )
