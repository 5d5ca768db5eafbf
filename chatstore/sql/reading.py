"""Concurrent reads of pages, sent together; a read that comes alone goes straight to the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from chatstore.errors import UnavailableError
from chatstore.observing.calls import run_for
from chatstore.sql.connections import Unit
from chatstore.sql.dialects import Row, Values
from chatstore.sql.gathering import Gathering, Waiting, observed, own_error
from chatstore.sql.units import Units

MAX_PAGES = 16
MAX_ROWS = 1024
"""What is read together at the most; a larger page is read alone."""


class Pages(Gathering[Values]):
    """Reads the pages of one template, whose parameters hold ``candidates``, the rows of a page at the most."""

    def __init__(self, units: Units, template: str, *, width: int) -> None:
        super().__init__(units, width=width)
        self._template = template

    async def read(self, operation: str, values: Values) -> Sequence[Row]:
        """Return the rows of a page; a cancelled caller leaves at once."""
        with self._units.open:
            if self._queue or not self._has_room:
                rows: Sequence[Row] = await self._join(operation, values).arrive()
                return rows
            self._senders += 1
            try:
                return await self._read_one(operation, values)
            finally:
                self._senders -= 1
                self._begin()

    def _new_batch(self) -> _Batch:
        return _Batch()

    async def _send(self, batch: Sequence[Waiting[Values]]) -> None:
        operation = batch[0].operation
        values = [waiting.call for waiting in batch]

        async def read(unit: Unit) -> Sequence[Sequence[Row]]:
            return await unit.fetch_each(self._template, values)

        run_for(observed(batch))
        try:
            pages = await self._units.look(operation, read, since=batch[0].since)
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, UnavailableError):
                for waiting in batch:
                    await self._send([waiting])
                return
            for waiting in batch:
                waiting.answer.fail(own_error(error))
            return
        for waiting, page in zip(batch, pages, strict=True):
            waiting.answer.give(page)

    async def _read_one(self, operation: str, values: Values) -> Sequence[Row]:
        return await self._units.look(operation, lambda unit: unit.fetch(self._template, values))


@dataclass(slots=True)
class _Batch:
    taken: list[Waiting[Values]] = field(default_factory=list)
    rows: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.taken) >= MAX_PAGES or self.rows >= MAX_ROWS

    def take(self, waiting: Waiting[Values]) -> bool:
        if not waiting.answer.is_wanted:  # its caller has left
            return True
        rows = waiting.call["candidates"]
        if self.taken and self.rows + rows > MAX_ROWS:
            return False
        self.taken.append(waiting)
        self.rows += rows
        return True
