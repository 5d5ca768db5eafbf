"""Concurrent writes of items, gathered while one unit is under way and sent together as the next.

The first caller's write goes out at once: nobody waits for company. Each caller gets its own answer, after the
commit.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from chatstore.errors import UnavailableError
from chatstore.shielding import ended
from chatstore.sql.connections import Unit
from chatstore.sql.items import ItemWrite, Kind, Outcome
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
    answer: asyncio.Future[Outcome]


class Lane:
    """Sends writes of one kind, one batch after another."""

    def __init__(self, units: Units, kind: Kind, perform: Perform) -> None:
        self._units = units
        self._kind = kind
        self._perform = perform
        self._queue: deque[_Waiting] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def write(self, write: ItemWrite, start: Start) -> Outcome:
        """Return what became of a write; raise ``UnavailableError`` as a unit does.

        A caller that is cancelled leaves at once while its write is waiting to be sent, and then nothing is
        written; otherwise when it is done. ``start`` learns whether a try was cut off.
        """
        with self._units.counted():
            loop = asyncio.get_running_loop()
            waiting = _Waiting(write, start, loop.time(), loop.create_future())
            self._queue.append(waiting)
            if self._sending is None:
                # A context of its own: the lane outlives the request whose write came first.
                self._sending = loop.create_task(self._send_all(), context=Context())
                self._units.watch(self._sending)
            await ended(waiting.answer, stays=lambda: not self._withdraw(waiting))
            return waiting.answer.result()

    def _withdraw(self, waiting: _Waiting) -> bool:
        if waiting not in self._queue:
            return False
        self._queue.remove(waiting)
        return True

    async def _send_all(self) -> None:
        batch: list[_Waiting] = []
        try:
            while self._queue:
                batch = self._gather()
                await self._send(batch, cut_off=False)
        finally:
            self._sending = None
            for waiting in [*batch, *self._queue]:  # where a close came first
                _answer(waiting, closed())

    def _gather(self) -> list[_Waiting]:
        batch = _Batch()
        left: deque[_Waiting] = deque()
        late = asyncio.get_running_loop().time() - DEADLINE
        while self._queue and not batch.is_full:
            waiting = self._queue.popleft()
            if waiting.since < late:
                _answer(waiting, UnavailableError(f"{waiting.write.operation}: not sent within {DEADLINE:g} s"))
            elif not batch.take(waiting):
                left.append(waiting)
        left.extend(self._queue)
        self._queue = left
        return batch.taken

    async def _send(self, batch: Sequence[_Waiting], *, cut_off: bool) -> None:
        """Send writes together; where the database refuses them, one by one."""
        if not batch:
            return
        start = Start(cut_off=cut_off, calls=tuple(call for waiting in batch for call in waiting.start.calls))
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
                _answer(waiting, _own(error))
            return
        for waiting, outcome in zip(batch, outcomes, strict=True):
            waiting.start.cut_off = start.cut_off
            _answer(waiting, outcome)


@dataclass(slots=True)
class _Batch:
    """Writes that can go together: no id twice in a thread, and none that is to stand before another's items."""

    taken: list[_Waiting] = field(default_factory=list)
    items: int = 0
    bytes: int = 0
    alone: bool = False
    ids: set[tuple[str, str, str, str]] = field(default_factory=set)
    latest: dict[tuple[str, str, str], int] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Whether nothing more is taken."""
        return self.alone or self.items >= MAX_ITEMS or self.bytes >= MAX_BYTES

    def take(self, waiting: _Waiting) -> bool:
        """Take a write unless it must wait for the next batch; return whether it was taken."""
        write = waiting.write
        thread = (write.keys["tenant"], write.keys["user_id"], write.keys["thread_id"])
        ids = {(*thread, item.id) for item in write.items}
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
        self, write: ItemWrite, thread: tuple[str, str, str], ids: set[tuple[str, str, str, str]], size: int
    ) -> bool:
        return not (
            write.all_or_none
            or self.items + len(write.items) > MAX_ITEMS
            or self.bytes + size > MAX_BYTES
            or ids & self.ids
            or (write.at is not None and thread in self.latest and write.at < self.latest[thread])
        )


def _answer(waiting: _Waiting, outcome: Outcome | Exception) -> None:
    if waiting.answer.done():
        return
    if isinstance(outcome, Exception):
        waiting.answer.set_exception(outcome)
    else:
        waiting.answer.set_result(outcome)


def _own(error: Exception) -> Exception:
    """Return the error for one of several callers, who each add their own traceback to it."""
    own = copy.copy(error)
    own.__cause__ = error.__cause__
    return own
