"""What differs between the databases; the only place that asks which one this is."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from itertools import pairwise
from operator import itemgetter
from typing import Any, Protocol, TypeAlias, TypeVar

from sqlalchemy.engine.interfaces import Dialect as EngineDialect

from chatstore import instants
from chatstore.deadlines import Deadlines
from chatstore.errors import ConfigurationError
from chatstore.sql.statements import Statement, Statements, for_each
from chatstore.sql.tables import Tables

T = TypeVar("T")

_END_SECONDS = 0.5
_LOCK_SECONDS = 5.0
_MIGRATION_LOCK_SECONDS = 10.0

Values = Mapping[str, Any]
Row = Sequence[Any]


Together: TypeAlias = "Callable[[Dialect, Any], Coroutine[Any, Any, T]]"


class Dialect(Protocol):
    """One database's words, and how its driver is spoken to."""

    name: str
    has_schemas: bool
    has_row_security: bool
    one_statement: bool
    """Whether a write is one statement, or a short unit of several on the one writer connection."""
    can_be_cut_off: bool
    """Whether a statement that nobody awaits any more is at an end, with its connection."""
    kept_on_any_engine: frozenset[str]
    """The deadlines that do not depend on how the engine was made."""

    def set_up(self, deadlines: Deadlines) -> tuple[str, ...]:
        """Return what every new connection is told."""
        ...

    def migration_start(self, deadlines: Deadlines) -> tuple[str, ...]:
        """Return what opens a migration's transaction and holds back other processes that migrate."""
        ...

    def last_try(self, deadlines: Deadlines) -> float:
        """Return the seconds that a call may still take after a wait for its turn."""
        ...

    def words(self, tables: Tables, preparer: Any) -> dict[str, str]:
        """Return what the templates of the statements are filled in with."""
        ...

    def begin(self, isolation: str | None) -> str:
        """Return what begins a transaction at the isolation level that the engine was given."""
        ...

    def array(self, values: Sequence[Any]) -> Any:
        """Return a list as the driver takes it for an ``{ids}`` parameter."""
        ...

    async def fetch(self, driver: Any, statement: Statement, values: Values) -> Sequence[Row]:
        """Run one statement on the driver's connection and return its rows."""
        ...

    async def fetch_each(
        self, driver: Any, statements: Statements, page: str, values: Sequence[Values]
    ) -> Sequence[Sequence[Row]]:
        """Run the statement of a page's template for each of the values and return the rows of each."""
        ...

    async def execute_many(self, driver: Any, statement: Statement, values: Sequence[Values]) -> None:
        """Run one statement for each of the values, inside a transaction."""
        ...

    async def together(self, driver: Any, work: Together[T]) -> T:
        """Return the result of ``work``, given what it speaks to the connection with; it awaits only statements."""
        ...

    def is_closed(self, driver: Any) -> bool:
        """Return whether the connection is known to be closed."""
        ...

    def survives(self, driver: Any, error: BaseException) -> bool:
        """Return whether the connection can be used again after ``error``."""
        ...

    async def end(self, driver: Any) -> None:
        """Close a connection that cannot be used again, at once or nearly so."""
        ...


class PostgreSQL:
    """PostgreSQL through asyncpg."""

    name = "postgresql"
    has_schemas = True
    has_row_security = True
    one_statement = True
    can_be_cut_off = True
    kept_on_any_engine: frozenset[str] = frozenset({"total"})

    def set_up(self, deadlines: Deadlines) -> tuple[str, ...]:
        return ()

    def migration_start(self, deadlines: Deadlines) -> tuple[str, ...]:
        # The server's deadline comes before the client's: a lock that was refused is asked for again.
        seconds = min(_MIGRATION_LOCK_SECONDS, deadlines.command / 2)
        return (
            f"SET LOCAL lock_timeout = {milliseconds(seconds)}",
            "SELECT pg_advisory_xact_lock(hashtext('chatstore migrations'))",
        )

    def last_try(self, deadlines: Deadlines) -> float:
        return deadlines.command

    def words(self, tables: Tables, preparer: Any) -> dict[str, str]:
        names = _names(tables, preparer)
        return names | {
            "guarded": f"row_security_active('{names['threads']}')",
            "now": "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
            "lock": "FOR NO KEY UPDATE",
            "skip_locked": "FOR UPDATE SKIP LOCKED",
            "ids": "= ANY(CAST(:ids AS text[]))",
            # As text: how a driver codes its json parameters is the engine's owner's business.
            "metadata": "CAST(CAST(:metadata AS text) AS json)",
            "payload": "CAST(CAST(:payload AS text) AS json)",
        }

    def begin(self, isolation: str | None) -> str:
        if isolation is None or isolation.lower() == "autocommit":
            return "BEGIN"
        return f"BEGIN ISOLATION LEVEL {isolation.replace('_', ' ')}"

    def array(self, values: Sequence[Any]) -> Any:
        return list(values)

    async def fetch(self, driver: Any, statement: Statement, values: Values) -> Sequence[Row]:
        rows: Sequence[Row] = await driver.fetch(statement.numbered, *[values[name] for name in statement.names])
        return rows

    async def fetch_each(
        self, driver: Any, statements: Statements, page: str, values: Sequence[Values]
    ) -> Sequence[Sequence[Row]]:
        statement = statements[for_each(page)]
        arrays = {name: [each[name] for each in values] for name in statement.names}
        rows = await self.fetch(driver, statement, arrays)
        ends = [0, *(bisect_right(rows, place, key=itemgetter(-1)) for place in range(1, len(values) + 1))]
        return [rows[start:end] for start, end in pairwise(ends)]

    async def execute_many(self, driver: Any, statement: Statement, values: Sequence[Values]) -> None:
        rows = [[each[name] for name in statement.names] for each in values]
        await driver.executemany(statement.numbered, rows)

    async def together(self, driver: Any, work: Together[T]) -> T:
        return await work(self, driver)

    def is_closed(self, driver: Any) -> bool:
        return bool(driver.is_closed())

    def survives(self, driver: Any, error: BaseException) -> bool:
        # 25006: a primary that became a standby refuses every write until one connects anew. 08: the connection, or
        # what a pooler says of its own to the server, after which nobody knows what was done.
        state = getattr(error, "sqlstate", None)
        return isinstance(state, str) and not state.startswith(("25006", "08")) and not driver.is_closed()

    async def end(self, driver: Any) -> None:
        # A server that answers is told to cancel what it is still doing; the engine would wait longer for one that
        # does not, and the caller with it.
        with suppress(Exception):
            await driver.close(timeout=_END_SECONDS)


class SQLite:
    """SQLite through aiosqlite: readers on their own connections, one writer at a time."""

    name = "sqlite"
    has_schemas = False
    has_row_security = False
    one_statement = False
    can_be_cut_off = False
    kept_on_any_engine: frozenset[str] = frozenset({"total", "lock"})

    def set_up(self, deadlines: Deadlines) -> tuple[str, ...]:
        return (
            f"PRAGMA busy_timeout = {milliseconds(_lock(deadlines))}",
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            "PRAGMA foreign_keys = ON",
        )

    def migration_start(self, deadlines: Deadlines) -> tuple[str, ...]:
        return ("BEGIN IMMEDIATE",)

    def last_try(self, deadlines: Deadlines) -> float:
        return deadlines.pool + _lock(deadlines)

    def words(self, tables: Tables, preparer: Any) -> dict[str, str]:
        return _names(tables, preparer) | {
            "guarded": "0",
            "now": ":now",
            "lock": "",
            "skip_locked": "",
            "ids": "IN (SELECT value FROM json_each(:ids))",
            "metadata": ":metadata",
            "payload": ":payload",
        }

    def begin(self, isolation: str | None) -> str:
        return "BEGIN IMMEDIATE"

    def array(self, values: Sequence[Any]) -> Any:
        return json.dumps(list(values))

    async def fetch(self, driver: Any, statement: Statement, values: Values) -> Sequence[Row]:
        rows: Sequence[Row] = await driver.execute_fetchall(statement.sql, self._timed(statement, values))
        return rows

    async def fetch_each(
        self, driver: Any, statements: Statements, page: str, values: Sequence[Values]
    ) -> Sequence[Sequence[Row]]:
        statement = statements[page]

        async def each(dialect: Dialect, inner: Any) -> Sequence[Sequence[Row]]:
            return [await dialect.fetch(inner, statement, given) for given in values]

        return await self.together(driver, each)

    async def execute_many(self, driver: Any, statement: Statement, values: Sequence[Values]) -> None:
        await driver.executemany(statement.sql, [self._timed(statement, each) for each in values])

    async def together(self, driver: Any, work: Together[T]) -> T:
        # All in the connection's own thread: going there and back costs as much as a statement.
        answer: T = await driver._execute(lambda: _completed(work(_SQLiteThread(), driver._conn)))
        return answer

    def is_closed(self, driver: Any) -> bool:
        return False

    def survives(self, driver: Any, error: BaseException) -> bool:
        # A statement that nobody awaits any more still ends in the connection's own thread, before the next.
        return True

    async def end(self, driver: Any) -> None:
        pass

    def _timed(self, statement: Statement, values: Values) -> dict[str, Any]:
        given = {name: values[name] for name in statement.names if name != "now"}
        return given | {"now": instants.now_microseconds()} if "now" in statement.names else given


class _SQLiteThread(SQLite):
    """SQLite's own connection, spoken to in its thread: nothing is waited for."""

    async def fetch(self, driver: Any, statement: Statement, values: Values) -> Sequence[Row]:
        rows: Sequence[Row] = driver.execute(statement.sql, self._timed(statement, values)).fetchall()
        return rows

    async def execute_many(self, driver: Any, statement: Statement, values: Sequence[Values]) -> None:
        driver.executemany(statement.sql, [self._timed(statement, each) for each in values])


def _lock(deadlines: Deadlines) -> float:
    return min(_LOCK_SECONDS, deadlines.command) if deadlines.lock is None else deadlines.lock


def milliseconds(seconds: float) -> int:
    """Return a time as the databases take it; none is too short to count."""
    return math.ceil(seconds * 1000)


def _completed(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that does not wait for anything."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    work.close()
    raise RuntimeError("a unit of several statements awaited something else")


def _names(tables: Tables, preparer: Any) -> dict[str, str]:
    made = {
        field.name: preparer.format_table(getattr(tables, field.name))
        for field in fields(tables)
        if field.name not in ("metadata", "prefix")
    }
    schema = tables.metadata.schema
    version = preparer.quote(tables.version)
    return made | {"version": version if schema is None else f"{preparer.quote_schema(schema)}.{version}"}


def dialect_of(engine_dialect: EngineDialect) -> Dialect:
    """Return what an engine of this dialect is spoken to with; raise ``ConfigurationError`` for another driver."""
    driver = (engine_dialect.name, engine_dialect.driver)
    if driver == ("postgresql", "asyncpg"):
        return PostgreSQL()
    if driver == ("sqlite", "aiosqlite"):
        return SQLite()
    raise ConfigurationError(
        f"url: an engine of {driver[0]} through {driver[1]}; chatstore speaks postgresql+asyncpg and sqlite+aiosqlite"
    )
