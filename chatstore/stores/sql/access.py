"""How the verbs of a store reach its database: checked, connected, as one statement or in steps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

from chatstore import inputs
from chatstore.errors import ChatStoreError, StorageError
from chatstore.lifetime import Lifetime
from chatstore.observing.logs import left_undone
from chatstore.owners import Owner, check_owner
from chatstore.protocols import Capability
from chatstore.sql import stepwise
from chatstore.sql.connections import Unit, Work
from chatstore.sql.databases import Database
from chatstore.sql.dialects import Row, Values
from chatstore.sql.items import ItemWrite, Kind, Written, write_items
from chatstore.sql.single import STEPWISE, Stepwise
from chatstore.sql.units import BoundUnits, Start, Units
from chatstore.transactions import check_outside_block

T = TypeVar("T")

LONG_THREAD = 1000
"""Items of a thread that are deleted at once; a longer thread's are removed in batches afterwards."""


class SQLAccess:
    """One database, reached through its pool or, inside a block, through the block's connection."""

    def __init__(
        self,
        database: Database,
        *,
        units: Units | BoundUnits | None = None,
        max_item_bytes: int = inputs.MAX_ITEM_BYTES,
    ) -> None:
        self.database: Database = database
        self._units = units or database.units
        self._max_item_bytes = max_item_bytes
        self._lifetime = Lifetime()
        self._left_items = False
        self._sweeping: asyncio.Task[None] | None = None
        self._closing: asyncio.Future[None] | None = None

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self.database.capabilities

    @property
    def system(self) -> str:
        return self.database.system

    def _enter(self, owner: Owner, operation: str, *, writes: bool = False) -> None:
        self._lifetime.enter()
        check_owner(owner)
        if writes or self._units.exclusive:
            check_outside_block(self, operation)

    @property
    def _is_outermost(self) -> bool:
        return self._units is self.database.units

    async def _connect(self) -> None:
        if not self.database.identity:
            await self.database.connect()
            if self.database.has_remains:
                self._sweep_soon()

    async def _read(self, operation: str, work: Work[T]) -> T:
        await self._connect()
        return await self._units.read(operation, work)

    async def _read_page(self, operation: str, template: str, values: Values) -> Sequence[Row]:
        """Read a page, together with those that others read at the same time."""
        await self._connect()
        pages = self.database.pages(template) if self._is_outermost and not self._units.exclusive else None
        if pages is not None:
            return await pages.read(operation, values)
        return await self._units.read(operation, lambda unit: unit.fetch(template, values))

    async def _one(self, operation: str, work: Work[T], *, repeatable: bool = False) -> T:
        await self._connect()
        return await self._units.write(operation, work, repeatable=repeatable)

    async def _steps(self, operation: str, work: Work[T], *, repeatable: bool = False) -> T:
        await self._connect()
        return await self._units.transact(operation, work, repeatable=repeatable)

    async def _write_items(self, write: ItemWrite) -> Sequence[Written]:
        """Write one caller's items, together with those of others who write at the same time."""
        await self._connect()
        start = Start()
        lane = self.database.lane(write) if self._is_outermost else None
        if lane is not None:
            outcome, start.cut_off = await lane.write(write)
            if outcome is not None:
                return _written(outcome)

        async def at_once(unit: Unit) -> Sequence[Written] | Stepwise:
            (outcome,) = await write_items(unit, [write], waits=True)
            return STEPWISE if outcome is None else _written(outcome)

        return await self._write(
            write.operation,
            at_once,
            lambda unit: stepwise.write_items(unit, write),
            repeatable=write.kind is Kind.ADD,
            start=start,
        )

    async def _write(
        self,
        operation: str,
        at_once: Work[T | Stepwise],
        in_steps: Work[T],
        *,
        repeatable: bool = False,
        start: Start | None = None,
    ) -> T:
        """Write in one statement where the database can and that statement can decide, else in steps."""
        await self._connect()
        start = start or Start()
        if self.database.one_statement:
            answer = await self._units.write(operation, at_once, repeatable=repeatable, start=start)
            if not isinstance(answer, Stepwise):
                return answer
        return await self._units.transact(operation, in_steps, repeatable=repeatable, start=start)

    async def _close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])
        await self.database.aclose()

    def _sweep_soon(self) -> None:
        """Remove in the background what deleted threads left behind, also before a crash."""
        if not self._is_outermost:
            self._left_items = True
        elif self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.create_task(self._sweep())

    async def _sweep(self) -> None:
        try:
            while await self._units.transact("sweep", lambda unit: stepwise.sweep_some(unit, LONG_THREAD)):
                pass
        except StorageError as error:
            left_undone("sweep", str(error))


def _written(outcome: Sequence[Written] | ChatStoreError) -> Sequence[Written]:
    if isinstance(outcome, ChatStoreError):
        raise outcome
    return outcome


def owned(owner: Owner, **values: Any) -> dict[str, Any]:
    """Return the parameters of a statement, the owner's first."""
    return {"tenant": owner.tenant, "user_id": owner.user, **values}
