"""Events on their way to somebody else's code: a bounded queue, and a thread that calls it.

A log handler, a span processor or an exporter may raise or never return. Called from an event loop it would take
every operation along; called from here it delays nothing but other events of its kind.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any

MOST = 10_000
"""Events that wait at the most; what comes then is lost, and counted."""

LAST_SECONDS = 1.0
"""How long the close of a store, and the end of the process, wait for events to be handed over."""


class Outlet:
    """Calls functions one after another in a daemon thread, each in a copy of the context that it comes from."""

    def __init__(self, name: str, on_loss: Callable[[str, int], object]) -> None:
        self.name = name
        self.lost: int = 0
        """Events that found the queue full, or whose function raised."""
        self._told = 0
        self._on_loss = on_loss
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def put(self, function: Callable[..., object], *arguments: Any) -> None:
        """Queue a call and return at once; where the queue is full, count it as lost."""
        if self._events.qsize() >= MOST:
            self.lost += 1
            return
        self._events.put(partial(copy_context().run, function, *arguments))
        if self._thread is None and self._starting.acquire(blocking=False):
            try:
                self._start()
            finally:
                self._starting.release()

    async def flush(self, seconds: float = LAST_SECONDS) -> None:
        """Wait until what is queued now was handed over, for so long at the most."""
        if self._thread is None:
            return
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        self._events.put(partial(loop.call_soon_threadsafe, done.set))
        with suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), seconds)

    def _reset(self) -> None:
        """Begin anew, also in a forked process: threads are not forked, and a lock may have been held."""
        self._events: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def _start(self) -> None:
        if self._thread is not None:  # started by another thread since
            return
        thread = threading.Thread(target=self._work, name=f"chatstore-{self.name}", daemon=True)
        with suppress(RuntimeError):  # the process is ending, or may have no more threads
            thread.start()
            atexit.register(self._flush_at_exit)
            self._thread = thread

    def _work(self) -> None:
        while True:
            event = self._events.get()
            try:
                event()
            except BaseException:  # of somebody else's code, which may raise anything
                self.lost += 1
            if self.lost > 2 * self._told:  # ever more rarely: the telling may be what fails
                self._told = self.lost
                with suppress(Exception):
                    self._on_loss(self.name, self.lost)

    def _flush_at_exit(self) -> None:
        if self._thread is None:  # in a forked process, which has had nothing to tell
            return
        done = threading.Event()
        self._events.put(done.set)
        done.wait(LAST_SECONDS)
