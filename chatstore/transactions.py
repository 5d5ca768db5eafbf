"""Which transaction blocks are open around the running code.

A write through the outer store inside its own block would wait for the block's end, and so for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from chatstore.errors import ConfigurationError


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
