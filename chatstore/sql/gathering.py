"""Calls of several tasks, gathered while the database works on others, and sent to it together.

Nobody waits for company: a call goes out at once where there is room for another batch.
"""

from __future__ import annotations

import asyncio
import copy
import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from chatstore.errors import UnavailableError
from chatstore.observing.calls import Call, running
from chatstore.shielding import Answer
from chatstore.sql.units import Units, closed

C = TypeVar("C")

STALLED = 1.0
"""Seconds in the queue after which a call no longer waits for the batches under way."""
WIDEST = 8
"""Batches under way at the most, all but a few of them stalled."""


@dataclass(eq=False, slots=True)
class Waiting(Generic[C]):
    """A call in the queue and where its answer goes."""

    operation: str
    call: C
    since: float
    answer: Answer[Any]
    observed: tuple[Call, ...] = field(default_factory=running)
    """Whose tries are those of the batch."""


class Batch(Protocol[C]):
    """Calls that go together."""

    taken: list[Waiting[C]]

    @property
    def is_full(self) -> bool:
        """Whether nothing more is taken."""
        ...

    def take(self, waiting: Waiting[C]) -> bool:
        """Take a call unless it must wait for a later batch; return whether it was taken."""
        ...


class Gathering(ABC, Generic[C]):
    """Sends calls in batches, ``width`` of them at a time.

    While the database works on one batch, the callers of another are answered and call again.
    """

    def __init__(self, units: Units, *, width: int) -> None:
        self._units = units
        self._width = width
        self._queue: deque[Waiting[C]] = deque()
        self._senders = 0
        self._free = 0
        """Senders that have no batch under way and are about to take their share of the queue."""

    @abstractmethod
    def _new_batch(self) -> Batch[C]:
        """Return an empty batch."""

    @abstractmethod
    async def _send(self, batch: Sequence[Waiting[C]]) -> None:
        """Send calls together and answer each of them."""

    def _join(self, operation: str, call: C) -> Answer[Any]:
        """Queue a call and return where its answer will be."""
        answer: Answer[Any] = Answer()
        self._queue.append(Waiting(operation, call, time.monotonic(), answer))
        self._begin()
        return answer

    def _withdraw(self, call: C) -> bool:
        """Take a call out of the queue; return whether it was still there."""
        for waiting in self._queue:
            if waiting.call is call:
                self._queue.remove(waiting)
                return True
        return False

    def _begin(self) -> None:
        """Start a sender where there is something to send, and room."""
        if self._queue and self._has_room:
            self._senders += 1
            self._free += 1
            # A context of its own: a sender outlives the request whose call came first.
            self._units.watch(asyncio.get_running_loop().create_task(self._send_all(), context=Context()))

    @property
    def _has_room(self) -> bool:
        if self._senders < self._width or not self._queue:
            return self._senders < self._width
        waited = time.monotonic() - self._queue[0].since
        return waited > STALLED and self._senders < WIDEST

    async def _send_all(self) -> None:
        batch: list[Waiting[C]] = []
        try:
            while batch := self._gather():
                self._free -= 1
                try:
                    await self._send(batch)
                finally:
                    self._free += 1
        finally:
            self._senders -= 1
            self._free -= 1
            for waiting in batch if self._senders else [*batch, *self._queue]:  # where a close came first
                waiting.answer.fail(closed())

    def _gather(self) -> list[Waiting[C]]:
        batch = self._new_batch()
        left: deque[Waiting[C]] = deque()
        share = math.ceil(len(self._queue) / self._free)
        patience = self._units.patience
        late = time.monotonic() - patience
        while self._queue and len(batch.taken) < share and not batch.is_full:
            waiting = self._queue.popleft()
            if waiting.since < late:
                waiting.answer.fail(UnavailableError(f"{waiting.operation}: not sent within {patience:g} s"))
            elif not batch.take(waiting):
                left.append(waiting)
        left.extend(self._queue)
        self._queue = left
        return batch.taken


def observed(batch: Sequence[Waiting[C]]) -> tuple[Call, ...]:
    """Return the calls that are told of the tries of a batch."""
    return tuple(call for waiting in batch for call in waiting.observed)


def own_error(error: Exception) -> Exception:
    """Return the error for one of several callers, who each add their own traceback to it."""
    own = copy.copy(error)
    own.__cause__ = error.__cause__
    return own
