"""Connections of an engine, one for each unit of work.

A block is an ``AsyncSession``; what is one call takes its connection straight from the engine's pool, which costs a
fraction of a session (decision 19).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias, TypeVar

import anyio
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.pool import PoolProxiedConnection, QueuePool
from sqlalchemy.util import greenlet_spawn

from chatstore.deadlines import Deadlines
from chatstore.errors import UnavailableError
from chatstore.observing.calls import waited
from chatstore.sql.dialects import Dialect, Row, Values
from chatstore.sql.failures import NotConnected
from chatstore.sql.statements import Statements, statement

T = TypeVar("T")

_READY = "chatstore"
"""What the pool notes on a connection that was set up."""


class Unit:
    """One connection for one unit of work.

    ``repeated`` says that an earlier try may have committed; ``fresh`` that the connection has served no unit before;
    ``failed`` that the database refused a statement, and with it the transaction; ``broken`` that the connection
    cannot be used again.
    """

    def __init__(
        self,
        adapter: Any,
        dialect: Dialect,
        statements: Statements,
        isolation: str | None,
        *,
        repeated: bool = False,
        fresh: bool = False,
    ) -> None:
        self._driver = adapter.driver_connection
        self._isolation = isolation or adapter.isolation_level
        self._statements = statements
        self.dialect = dialect
        self.repeated = repeated
        self.fresh = fresh
        self.failed: bool = False
        self.broken: bool = False
        self._in_transaction = False

    async def fetch(self, template: str, values: Values) -> Sequence[Row]:
        """Run the statement of a template and return its rows."""
        return await self._run(self.dialect.fetch(self._driver, self._statements[template], values))

    async def fetch_each(self, template: str, values: Sequence[Values]) -> Sequence[Sequence[Row]]:
        """Run the statement of a page's template for each of the values and return the rows of each."""
        return await self._run(self.dialect.fetch_each(self._driver, self._statements, template, values))

    async def execute_many(self, template: str, values: Sequence[Values]) -> None:
        """Run the statement of a template for each of the values."""
        if values:
            await self._run(self.dialect.execute_many(self._driver, self._statements[template], values))

    async def together(self, work: Work[T]) -> T:
        """Return the result of ``work``, which awaits this unit's statements and nothing else."""
        dialect, driver = self.dialect, self._driver

        async def moved(inner_dialect: Dialect, inner_driver: Any) -> T:
            self.dialect, self._driver = inner_dialect, inner_driver
            try:
                return await work(self)
            finally:
                self.dialect, self._driver = dialect, driver

        return await dialect.together(driver, moved)

    async def control(self, sql: str) -> None:
        """Run a statement that sets up the connection, or begins or ends a transaction or a savepoint."""
        await self._run(self.dialect.fetch(self._driver, statement(sql), {}))

    async def begin(self) -> None:
        """Begin a transaction."""
        await self.control(self.dialect.begin(self._isolation))
        self._in_transaction = True

    async def commit(self) -> None:
        """Commit the transaction."""
        await self.control("COMMIT")
        self._in_transaction = False

    async def roll_back(self) -> None:
        """Undo the transaction, unless it has ended; a connection that cannot is not used again."""
        if self.broken or not self._in_transaction:
            return
        try:
            await self.control("ROLLBACK")
            self._in_transaction = False
        except Exception:
            self.broken = True

    async def _run(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except BaseException as error:
            self.failed = True
            self.broken = self.broken or not self.dialect.survives(self._driver, error)
            raise


Work: TypeAlias = Callable[[Unit], Coroutine[Any, Any, T]]


class Connections:
    """Gives out the connections of an engine.

    Those of an engine of the store's own, ``size`` of them at the most, are counted and kept here between two units,
    the one used last on top: asking the pool each time would cost a lone call some microseconds more. A caller's engine
    counts and keeps its own.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        dialect: Dialect,
        statements: Statements,
        *,
        size: int | None,
        deadlines: Deadlines,
    ) -> None:
        self._engine = engine
        self._dialect = dialect
        self._statements = statements
        self._isolation: str | None = engine.sync_engine.get_execution_options().get("isolation_level")
        self._told = dialect.set_up(deadlines)
        self._size = size
        self._seconds = deadlines.pool
        self._waiting = 0
        self._free = None if size is None else asyncio.Semaphore(size)
        self._idle: list[PoolProxiedConnection] = []

    @property
    def has_idle(self) -> bool:
        """Whether a connection is there that need not be made first."""
        pool = self._engine.pool
        return bool(self._idle) if self._free is not None else not isinstance(pool, QueuePool) or pool.checkedin() > 0

    def give_back(self) -> None:
        """Give the connections that are kept here to the pool."""
        while self._idle:
            self._idle.pop().close()

    @asynccontextmanager
    async def unit(self, *, repeated: bool = False) -> AsyncIterator[Unit]:
        """Yield a unit on a connection of the pool."""
        await self._wait()
        try:
            raw = await self._check_out()
            while self._dialect.is_closed(raw.driver_connection):  # by the server, while it lay in the pool
                await greenlet_spawn(raw.invalidate)
                raw = await self._check_out()
            unit = self._unit(raw, repeated=repeated)
            try:
                await self._set_up(unit, raw)
                yield unit
            finally:
                await self._check_in(raw, unit)
        finally:
            self._go()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Unit]:
        """Yield a unit on the connection of a session."""
        await self._wait()
        try:
            if self._idle:
                self._idle.pop().close()  # for the session, which asks the pool
            async with AsyncSession(self._engine) as session:
                with _connecting():
                    connection = await session.connection()
                raw = await connection.get_raw_connection()
                while self._dialect.is_closed(raw.driver_connection):
                    await connection.invalidate()
                    await session.rollback()
                    with _connecting():
                        connection = await session.connection()
                    raw = await connection.get_raw_connection()
                unit = self._unit(raw)
                try:
                    await self._set_up(unit, raw)
                    yield unit
                finally:
                    if unit.broken:
                        await self._throw_away(raw.driver_connection, connection.invalidate)
        finally:
            self._go()

    async def _wait(self) -> None:
        """Wait until fewer than ``size`` connections are out."""
        if self._free is None:
            return
        if not self._free.locked():
            await self._free.acquire()
            return
        self._waiting += 1
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self._seconds):
                await self._free.acquire()
        except TimeoutError:
            raise UnavailableError(self._exhausted()) from None
        finally:
            self._waiting -= 1
            waited(time.perf_counter() - began)

    def _exhausted(self) -> str:
        return (
            f"none of the pool's {self._size} connections was free within {self._seconds:g} s, for which"
            f" {self._waiting} calls wait; raise pool_size, or keep transaction() blocks short"
        )

    def _go(self) -> None:
        if self._free is not None:
            self._free.release()

    async def _check_out(self) -> PoolProxiedConnection:
        if self._idle:
            return self._idle.pop()
        with _connecting():
            return await greenlet_spawn(self._engine.pool.connect)

    async def _check_in(self, raw: PoolProxiedConnection, unit: Unit) -> None:
        if unit.broken:
            await self._throw_away(raw.driver_connection, lambda: greenlet_spawn(raw.invalidate))
        elif self._free is not None:
            self._idle.append(raw)
        else:
            await greenlet_spawn(raw.close)

    async def _throw_away(self, driver: Any, invalidate: Callable[[], Awaitable[None]]) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await self._dialect.end(driver)
            finally:
                await invalidate()

    def _unit(self, raw: PoolProxiedConnection, *, repeated: bool = False) -> Unit:
        fresh = _READY not in raw.info
        adapter = raw.dbapi_connection
        return Unit(adapter, self._dialect, self._statements, self._isolation, repeated=repeated, fresh=fresh)

    async def _set_up(self, unit: Unit, raw: PoolProxiedConnection) -> None:
        if unit.fresh:
            for sql in self._told:
                await unit.control(sql)
            raw.info[_READY] = True


@contextmanager
def _connecting() -> Iterator[None]:
    """Tell a connection that was not made in time from a statement that was not answered: nothing was begun."""
    try:
        yield
    except TimeoutError as error:
        raise NotConnected from error
