"""Concurrent writes of items, sent together; each caller gets its own answer, after the commit."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from chatstore.errors import UnavailableError
from chatstore.shielding import Answer
from chatstore.sql.connections import Unit
from chatstore.sql.gathering import Gathering, Waiting, observed, own_error
from chatstore.sql.items import ItemWrite, Kind, Outcome, ThreadKey
from chatstore.sql.units import Start, Units

MAX_ITEMS = 512
MAX_BYTES = 1024 * 1024
"""What is sent together at the most; a larger write goes alone."""

Perform: TypeAlias = Callable[[Unit, Sequence[ItemWrite]], Coroutine[Any, Any, Sequence[Outcome]]]


class Lane(Gathering[ItemWrite]):
    """Sends writes of one kind in batches, those of one thread in one batch at a time."""

    def __init__(self, units: Units, kind: Kind, perform: Perform, *, width: int) -> None:
        super().__init__(units, width=width)
        self._kind = kind
        self._perform = perform
        self._threads: set[ThreadKey] = set()
        """The threads of the batches under way."""

    async def write(self, write: ItemWrite) -> tuple[Outcome, bool]:
        """Return what became of a write, and whether a try was cut off; raise ``UnavailableError`` as a unit does.

        A caller that is cancelled leaves at once while its write is waiting to be sent, and then nothing is
        written; otherwise when it is done.
        """
        with self._units.open:
            if not self._queue and not self._senders:
                return await self._write_alone(write)
            answer: Answer[tuple[Outcome, bool]] = self._join(write.operation, write)
            return await answer.arrive_in_any_case(partial(self._withdraw, write))

    async def _write_alone(self, write: ItemWrite) -> tuple[Outcome, bool]:
        """Write what nobody else's write is there to go with, at less cost than a batch of one."""
        start = Start()
        self._senders += 1
        self._threads.add(write.thread)
        try:
            (outcome,) = await self._units.finish(self._attempt([write], start), start)
        finally:
            self._senders -= 1
            self._threads.discard(write.thread)
            self._begin()
        return outcome, start.cut_off

    async def _attempt(
        self, writes: Sequence[ItemWrite], start: Start, since: float | None = None
    ) -> Sequence[Outcome]:
        return await self._units.attempt(
            writes[0].operation,
            lambda unit: self._perform(unit, writes),
            repeatable=self._kind is Kind.ADD,
            start=start,
            since=since,
        )

    def _new_batch(self) -> _Batch:
        return _Batch(self._threads)

    async def _send(self, batch: Sequence[Waiting[ItemWrite]]) -> None:
        threads = {waiting.call.thread for waiting in batch}
        self._threads |= threads
        try:
            await self._send_together(batch, cut_off=False)
        finally:
            self._threads -= threads

    async def _send_together(self, batch: Sequence[Waiting[ItemWrite]], *, cut_off: bool) -> None:
        """Send writes together; where the database refuses them, one by one."""
        start = Start(cut_off=cut_off, calls=observed(batch))
        writes = [waiting.call for waiting in batch]
        try:
            outcomes = await self._attempt(writes, start, batch[0].since)
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, UnavailableError):
                for waiting in batch:
                    await self._send_together([waiting], cut_off=start.cut_off)
                return
            for waiting in batch:
                waiting.answer.fail(own_error(error))
            return
        for waiting, outcome in zip(batch, outcomes, strict=True):
            waiting.answer.give((outcome, start.cut_off))


@dataclass(slots=True)
class _Batch:
    """Writes that can go together: no id twice in a thread, and none that is to stand before another's items.

    The ``busy`` threads are those of other batches.
    """

    busy: set[ThreadKey]
    taken: list[Waiting[ItemWrite]] = field(default_factory=list)
    items: int = 0
    bytes: int = 0
    alone: bool = False
    ids: set[tuple[ThreadKey, str]] = field(default_factory=set)
    latest: dict[ThreadKey, int] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        return self.alone or self.items >= MAX_ITEMS or self.bytes >= MAX_BYTES

    def take(self, waiting: Waiting[ItemWrite]) -> bool:
        write = waiting.call
        thread = write.thread
        ids = {(thread, item.id) for item in write.items}
        size = sum([item.size for item in write.items])
        if thread in self.busy or (self.taken and not self._goes_with_others(write, thread, ids, size)):
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
