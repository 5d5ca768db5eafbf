"""When a store may be used: after its first await in the same event loop and process, and before its close."""

from __future__ import annotations

import asyncio
import os

from chatstore.errors import ClosedError, ConfigurationError


class Lifetime:
    """Binds one object to the event loop and process of its first call, and remembers that it was closed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self.closed: bool = False

    def enter(self) -> None:
        """Bind on the first call, check on every other.

        Raises ``ClosedError`` after the close and ``ConfigurationError`` from another loop or a forked process.
        """
        if self.closed:
            raise ClosedError("the store is closed; open a new one with open_store()")
        if self._loop is None:
            self._loop, self._process = asyncio.get_running_loop(), os.getpid()
        else:
            self.check_home()

    def check_home(self) -> None:
        """Raise ``ConfigurationError`` in another loop or a forked process than those of the first call."""
        if self._process != os.getpid():
            raise ConfigurationError(
                "the store was used before this process was forked; open one in each worker, after the fork"
            )
        if self._loop is not asyncio.get_running_loop():
            raise ConfigurationError("the store belongs to another event loop; open one store in each loop")

    @property
    def is_bound(self) -> bool:
        """Whether the object was bound by a first call."""
        return self._loop is not None
