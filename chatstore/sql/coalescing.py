"""Concurrent writes of items, gathered while one unit is under way and sent together as the next.

The first caller's write goes out at once: nobody waits for company. Each caller gets its own answer, after the
commit.
"""

from __future__ import annotations

import asyncio
import copy
import math
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from chatstore.errors import UnavailableError
from chatstore.shielding import Answer, unscoped
from chatstore.sql.connections import Unit
from chatstore.sql.items import ItemWrite, Kind, Outcome, ThreadKey
from chatstore.sql.units import DEADLINE, Start, Units, closed

MAX_ITEMS = 512
MAX_BYTES = 1024 * 1024
"""What is sent together at the most; a larger write goes alone."""

Perform: TypeAlias = Callable[[Unit, Sequence[ItemWrite]], Coroutine[Any, Any, Sequence[Outcome]]]


@dataclass(eq=False, slots=True)
class _Waiting:
    write: ItemWrite
    start: Start
    since: float
    answer: Answer[Outcome]


class Lane:
    """Sends writes of one kind in batches, at most ``width`` of them at a time, and of one thread one at a time.

    While the database works on one batch, the callers of another are answered and write again.
    """

    def __init__(self, units: Units, kind: Kind, perform: Perform, *, width: int) -> None:
        self._units = units
        self._kind = kind
        self._perform = perform
        self._width = width
        self._queue: deque[_Waiting] = deque()
        self._senders = 0
        self._free = 0
        """Senders that have no batch under way and are about to take their share of the queue."""
        self._threads: set[ThreadKey] = set()
        """The threads of the batches under way."""

    async def write(self, write: ItemWrite, start: Start) -> Outcome:
        """Return what became of a write; raise ``UnavailableError`` as a unit does.

        A caller that is cancelled leaves at once while its write is waiting to be sent, and then nothing is
        written; otherwise when it is done. ``start`` learns whether a try was cut off.
        """
        with self._units.counted():
            loop = asyncio.get_running_loop()
            waiting = _Waiting(write, start, loop.time(), Answer(partial(self._withdraw, write)))
            self._queue.append(waiting)
            if self._senders < self._width:
                self._senders += 1
                self._free += 1
                # A context of its own: a sender outlives the request whose write came first.
                self._units.watch(loop.create_task(self._send_all(), context=Context()))
            return await unscoped(waiting.answer)

    def _withdraw(self, write: ItemWrite) -> bool:
        for waiting in self._queue:
            if waiting.write is write:
                self._queue.remove(waiting)
                return True
        return False

    async def _send_all(self) -> None:
        batch: list[_Waiting] = []
        try:
            while batch := self._gather():
                self._free -= 1
                threads = {waiting.write.thread for waiting in batch}
                self._threads |= threads
                try:
                    await self._send(batch, cut_off=False)
                finally:
                    self._threads -= threads
                    self._free += 1
        finally:
            self._senders -= 1
            self._free -= 1
            left = batch if self._senders else [*batch, *self._queue]
            for waiting in left:  # where a close came first
                waiting.answer.fail(closed())

    def _gather(self) -> list[_Waiting]:
        batch = _Batch(most=math.ceil(len(self._queue) / self._free))
        left: deque[_Waiting] = deque()
        late = asyncio.get_running_loop().time() - DEADLINE
        while self._queue and not batch.is_full:
            waiting = self._queue.popleft()
            if waiting.since < late:
                waiting.answer.fail(UnavailableError(f"{waiting.write.operation}: not sent within {DEADLINE:g} s"))
            elif waiting.write.thread in self._threads or not batch.take(waiting):
                left.append(waiting)
        left.extend(self._queue)
        self._queue = left
        return batch.taken

    async def _send(self, batch: Sequence[_Waiting], *, cut_off: bool) -> None:
        """Send writes together; where the database refuses them, one by one."""
        if not batch:
            return
        start = Start(cut_off=cut_off)
        writes = [waiting.write for waiting in batch]
        try:
            outcomes = await self._units.attempt(
                writes[0].operation,
                lambda unit: self._perform(unit, writes),
                repeatable=self._kind is Kind.ADD,
                start=start,
            )
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, UnavailableError):
                for waiting in batch:
                    await self._send([waiting], cut_off=start.cut_off)
                return
            for waiting in batch:
                waiting.answer.fail(_own(error))
            return
        for waiting, outcome in zip(batch, outcomes, strict=True):
            waiting.start.cut_off = start.cut_off
            waiting.answer.give(outcome)


@dataclass(slots=True)
class _Batch:
    """Writes that can go together: no id twice in a thread, and none that is to stand before another's items."""

    most: int
    taken: list[_Waiting] = field(default_factory=list)
    items: int = 0
    bytes: int = 0
    alone: bool = False
    ids: set[tuple[ThreadKey, str]] = field(default_factory=set)
    latest: dict[ThreadKey, int] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Whether nothing more is taken."""
        return self.alone or len(self.taken) >= self.most or self.items >= MAX_ITEMS or self.bytes >= MAX_BYTES

    def take(self, waiting: _Waiting) -> bool:
        """Take a write unless it must wait for the next batch; return whether it was taken."""
        write = waiting.write
        thread = write.thread
        ids = {(thread, item.id) for item in write.items}
        size = sum(item.size for item in write.items)
        if self.taken and not self._goes_with_others(write, thread, ids, size):
            return False
        self.taken.append(waiting)
        self.items += len(write.items)
        self.bytes += size
        self.ids |= ids
        self.latest[thread] = max([self.latest.get(thread, 0), *(item.instant for item in write.items)])
        self.alone = write.all_or_none
        return True

    def _goes_with_others(
        self, write: ItemWrite, thread: ThreadKey, ids: set[tuple[ThreadKey, str]], size: int
    ) -> bool:
        return not (
            write.all_or_none
            or self.items + len(write.items) > MAX_ITEMS
            or self.bytes + size > MAX_BYTES
            or ids & self.ids
            or (write.at is not None and thread in self.latest and write.at < self.latest[thread])
        )


def _own(error: Exception) -> Exception:
    """Return the error for one of several callers, who each add their own traceback to it."""
    own = copy.copy(error)
    own.__cause__ = error.__cause__
    return own
