"""A database as a store uses it: engine, tables and units of work, its schema looked at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextvars import Context
from typing import Any
from weakref import WeakValueDictionary

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import StaticPool

from chatstore.deadlines import Deadlines
from chatstore.errors import ConfigurationError, SchemaError, UnavailableError
from chatstore.observing.calls import Call, run_for, wait_for
from chatstore.protocols import Capability
from chatstore.shielding import ended
from chatstore.sql import schema, statements
from chatstore.sql.appending import write_each
from chatstore.sql.coalescing import Lane
from chatstore.sql.connections import Connections, Unit
from chatstore.sql.dialects import dialect_of
from chatstore.sql.gathering import own_error
from chatstore.sql.guarding import GuardedPostgreSQL
from chatstore.sql.items import ItemWrite, Kind, Outcome, write_items
from chatstore.sql.probing import probe
from chatstore.sql.reading import Pages
from chatstore.sql.row_security import check, switch_on
from chatstore.sql.statements import Statements
from chatstore.sql.tables import Tables, make_tables
from chatstore.sql.units import BoundUnits, Units, closed, in_transaction

LANES = 2
"""Batches of writes that are under way at the same time where a database has more than one writer."""

READS = 2
"""The same of reads."""


class Database:
    """One engine and the tables of one store in it; ``place`` names it in messages, without its password.

    An engine of the caller's is not ``owned`` and left open.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        owned: bool,
        place: str,
        prefix: str,
        schema: str | None,
        migrate: schema.Migrate,
        coalesce: bool,
        deadlines: Deadlines,
        pool_size: int,
        row_security: bool,
    ) -> None:
        self._engine = engine
        self._owned = owned
        self._place = place
        self._migrate = migrate
        self._deadlines = deadlines
        self._dialect = dialect_of(engine.dialect)
        if row_security and not self._dialect.has_row_security:
            raise ConfigurationError(f"row_security: {self._dialect.name} has none; PostgreSQL has")
        if row_security:
            self._dialect = GuardedPostgreSQL()
        self._row_security = row_security
        if schema is not None and not self._dialect.has_schemas:
            raise ConfigurationError(f"schema: {self._dialect.name} has none; choose a prefix instead")
        in_memory = isinstance(engine.pool, StaticPool)
        self.tables: Tables = make_tables(prefix, schema)
        words = self._dialect.words(self.tables, engine.dialect.identifier_preparer)
        size = pool_size if owned and not in_memory else None
        self._connections = Connections(engine, self._dialect, Statements(words), size=size, deadlines=deadlines)
        seconds = deadlines.of_a_call
        patience = seconds - self._dialect.last_try(deadlines) if owned else seconds
        self.units: Units = Units(
            self._connections, self._dialect, in_memory=in_memory, seconds=seconds, patience=patience
        )
        self.capabilities: frozenset[Capability] = (
            frozenset() if in_memory else frozenset({Capability.DURABLE, Capability.SHARED})
        )
        if row_security:
            self.capabilities |= {Capability.ROW_SECURITY}
        self.lanes: Mapping[Kind, Lane] = self._make_lanes() if coalesce else {}
        """Where concurrent writes of items gather; empty where each goes by itself."""
        self._pages: dict[str, Pages] = {}
        self._own_lanes: WeakValueDictionary[tuple[str, str, Kind], Lane] = WeakValueDictionary()
        self.identity: str = ""
        """What tells this database from another, in cursors; known once connected."""
        self.has_remains: bool = False
        """Whether items of deleted threads were there when connecting, as after a crash."""
        self._looking: asyncio.Task[None] | None = None
        self._look_told = Call("connect", "database", self.system)
        """Its tries, which are those of all who wait for it."""

    @property
    def system(self) -> str:
        """The name of the database system."""
        return self._dialect.name

    @property
    def one_statement(self) -> bool:
        """Whether a write is one statement here."""
        return self._dialect.one_statement

    def pages(self, template: str) -> Pages | None:
        """Return where concurrent reads of the pages of a template gather, ``None`` where each goes by itself.

        So it does with row security, under which a statement reads what is one owner's.
        """
        if not self.lanes or self._row_security:
            return None
        if template not in self._pages:
            self._pages[template] = Pages(self.units, template, width=READS)
        return self._pages[template]

    @property
    def has_row_security(self) -> bool:
        """Whether the database can keep the rows of one owner from another by itself."""
        return self._dialect.has_row_security

    def lane(self, write: ItemWrite) -> Lane | None:
        """Return where a write gathers with others, ``None`` where it goes alone.

        With row security the others are of its owner: a batch that forgot one would reach all that are in it.
        """
        if not self._row_security or not self.lanes:
            return self.lanes.get(write.kind)
        key = (write.keys["tenant"], write.keys["user_id"], write.kind)
        lane = self._own_lanes.get(key)
        if lane is None:
            lane = self._own_lanes[key] = self._make_lanes()[write.kind]
        return lane

    async def migrate(self, *, row_security: bool = False, role: str | None = None) -> None:
        """Make or check the schema as ``migrate`` of the store says, and switch row security on, as its owner."""
        await self._look()
        if row_security:
            await self.units.migrate(lambda: switch_on(self._engine, self._dialect, self.tables, self._deadlines, role))

    async def connect(self) -> None:
        """Look at the schema once, and make it where ``migrate`` says so; raise ``SchemaError`` where not.

        Whoever comes meanwhile shares that look and its error, and does not wait for one of their own after it.
        """
        if self.identity:
            return
        if self._looking is None:
            # A context of its own: others wait for it too, and longer than the request that came first.
            context = Context()
            self._look_told = Call("connect", "database", self.system)
            context.run(run_for, (self._look_told,))
            self._looking = asyncio.get_running_loop().create_task(self._look(), context=context)
            self._looking.add_done_callback(self._looked)
            self.units.watch(self._looking)
        wait_for(self._look_told)
        looking = self._looking
        await ended(looking, leaves=lambda: True)
        if looking.cancelled():
            raise closed()
        error = looking.exception()
        if isinstance(error, UnavailableError):
            raise UnavailableError(f"{error}; is the server of {self._place} running?") from error.__cause__
        if isinstance(error, Exception):
            raise own_error(error)

    async def check(self, units: Units | BoundUnits) -> str | None:
        """Raise what keeps the database from being used now; return what its operator should know, if anything."""
        await self.connect()
        return await probe(units, self.tables, any_revision=self._migrate == "off")

    async def aclose(self) -> None:
        """End what is under way and close the engine, unless it is the caller's."""
        if self._looking is not None:
            self._looking.cancel()  # who waits for it is told; a migration under way is finished
        await self.units.close()
        await self.let_go()

    async def let_go(self) -> None:
        """Close the connections that nobody uses; a later call makes new ones."""
        self._connections.give_back()
        if self._owned:
            await self._engine.dispose()

    def _make_lanes(self) -> dict[Kind, Lane]:
        def at_once(unit: Unit, writes: Sequence[ItemWrite]) -> Coroutine[Any, Any, Sequence[Outcome]]:
            return write_items(unit, writes, waits=False)

        def in_steps(unit: Unit, writes: Sequence[ItemWrite]) -> Coroutine[Any, Any, Sequence[Outcome]]:
            return in_transaction(lambda inner: write_each(inner, writes))(unit)

        perform, width = (at_once, LANES) if self.one_statement else (in_steps, 1)
        return {kind: Lane(self.units, kind, perform, width=width) for kind in Kind}

    async def _check_guard(self) -> None:
        if not self._row_security:
            raise ConfigurationError(
                "row_security: the tables have row security, and without it nothing would be found;"
                " open_store(..., row_security=True)"
            )
        await self.units.read("connect", lambda unit: check(unit, self.tables))

    def _looked(self, looking: asyncio.Task[None]) -> None:
        self._looking = None

    async def _look(self) -> None:
        identity, is_guarded = await self._look_at_tables()
        if is_guarded or self._row_security:
            await self._check_guard()
        self.identity = identity

    async def _look_at_tables(self) -> tuple[str, bool]:
        found, identity, self.has_remains, is_guarded = await self._read()
        if found != schema.HEAD and self._migrate == "auto" and not schema.is_newer(found):
            await self.units.migrate(lambda: schema.migrate(self._engine, self._dialect, self.tables, self._deadlines))
            found, identity, self.has_remains, is_guarded = await self._read()
        if self._migrate != "off":
            schema.check_revision(found, self.tables)
        if identity is None:
            raise SchemaError("the tables are missing; run `chatstore migrate URL`")
        return identity, is_guarded

    async def _read(self) -> tuple[str | None, str | None, bool, bool]:
        async def read(unit: Unit) -> tuple[str | None, str | None, bool, bool]:
            rows = await unit.fetch(statements.READ_DATABASE, {})
            return (rows[0][0], rows[0][1], bool(rows[0][2]), bool(rows[0][3])) if rows else (None, None, False, False)

        try:
            return await self.units.read("connect", read)
        except SchemaError:
            return None, None, False, False
