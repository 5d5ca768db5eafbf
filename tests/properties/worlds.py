"""A store with everything that it keeps in reach: rows are put, read and taken away beside its verbs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar, cast
from unittest.mock import patch

from chatstore import open_store
from chatstore.assembly import ChatStore
from chatstore.owners import Owner
from chatstore.protocols import Store
from chatstore.sql.connections import Unit
from chatstore.sql.dialects import PostgreSQL, SQLite, _SQLiteThread
from chatstore.stores.memory import MemoryStore
from chatstore.stores.memory.spaces import Space
from chatstore.stores.sql import SQLStore

T = TypeVar("T")

CALLS_TO_DRIVERS = [(kind, name) for kind in (PostgreSQL, SQLite, _SQLiteThread) for name in ("fetch", "execute_many")]
"""Where a connection breaks."""

STATEMENTS = [(Unit, name) for name in ("fetch", "fetch_each", "execute_many", "begin", "commit", "roll_back")]
"""What is counted: not what sets up a connection, which is made when one is needed."""

Rows: TypeAlias = dict[str, list[dict[str, Any]]]
"""What is kept of an owner: table to rows, in no order, without the owner."""


class World(Protocol):
    store: ChatStore
    has_columns: bool
    """Whether rows are put back column by column, as they are given."""

    async def rows(self, owner: Owner) -> Rows:
        """Return what is kept of an owner, to the last column."""
        ...

    async def set_up(self, owner: Owner, rows: Rows | None) -> None:
        """Take away what is kept of an owner, and put these rows in its place."""
        ...

    async def age(self, owner: Owner) -> None:
        """Let an hour go by for an owner's threads: then every write to one moves its time of last activity."""
        ...

    def locked(self, owner: Owner) -> AbstractAsyncContextManager[None]:
        """Hold locks on all that is kept of an owner, where there is such a thing."""
        ...

    async def settle(self) -> None:
        """Wait for what the store does in the background."""
        ...


def innermost(store: ChatStore) -> Store:
    """Return the store that keeps the rows, inside of what is around it, if anything is."""
    inner: Store = getattr(store.store, "wrapped", store.store)
    return inner


class SQLWorld:
    """Rows go the way of statements, in templates that no code of the library uses."""

    has_columns = True

    def __init__(self, store: ChatStore) -> None:
        self.store = store
        self._inner = cast("SQLStore", innermost(store))
        tables = self._inner.database.tables
        self._columns = {
            name: [column.name for column in getattr(tables, name).columns if column.name not in ("tenant", "user_id")]
            for name in ("threads", "items", "attachments", "usage", "deletions")
        }
        self._insert = {table: _insert(table, columns) for table, columns in self._columns.items()}

    async def rows(self, owner: Owner) -> Rows:
        found: Rows = {}

        async def read(unit: Unit) -> None:
            for table, columns in self._columns.items():
                rows = await self._select(unit, table, owner)
                found[table] = [dict(zip(columns, row, strict=True)) for row in rows]

        await self._inner.database.units.read("rows", read)
        return found

    async def set_up(self, owner: Owner, rows: Rows | None) -> None:
        keys = {"tenant": owner.tenant, "user_id": owner.user}

        async def replaced(unit: Unit) -> None:
            for table in ("threads", "attachments", "usage", "deletions"):  # items go with their threads
                await unit.fetch(f"DELETE FROM {{{table}}} WHERE user_id = :user_id AND tenant = :tenant", keys)
            for table, kept in (rows or {}).items():
                await unit.execute_many(self._insert[table], [keys | row for row in kept])

        await self._inner.database.units.transact("set up", replaced)

    async def age(self, owner: Owner) -> None:
        older = "UPDATE {threads} SET updated = updated - 3600000000 WHERE user_id = :user_id AND tenant = :tenant"
        keys = {"tenant": owner.tenant, "user_id": owner.user}
        await self._inner.database.units.write("age", lambda unit: unit.fetch(older, keys))

    @asynccontextmanager
    async def locked(self, owner: Owner) -> AsyncIterator[None]:
        if not self._inner.database.one_statement:  # one writer at a time, whose turn everybody waits for
            yield
            return
        async with self._inner.database.units.block("locked") as units:
            await units.transact("locked", lambda unit: self._lock(unit, owner))
            yield

    async def settle(self) -> None:
        sweeping = self._inner._sweeping
        if sweeping is not None:
            await asyncio.wait_for(sweeping, SETTLED)

    async def _lock(self, unit: Unit, owner: Owner) -> None:
        keys = {"tenant": owner.tenant, "user_id": owner.user}
        for table in self._columns:
            await unit.fetch(
                f"SELECT 1 FROM {{{table}}} WHERE user_id = :user_id AND tenant = :tenant FOR UPDATE", keys
            )

    async def _select(self, unit: Unit, table: str, owner: Owner) -> Sequence[Sequence[Any]]:
        shown = [f"CAST({name} AS text)" if name in ("payload", "metadata") else name for name in self._columns[table]]
        return await unit.fetch(
            f"SELECT {', '.join(shown)} FROM {{{table}}} WHERE user_id = :user_id AND tenant = :tenant",
            {"tenant": owner.tenant, "user_id": owner.user},
        )


class MemoryWorld:
    """Rows are what the spaces of owners hold."""

    has_columns = False

    def __init__(self, store: ChatStore) -> None:
        self.store = store
        self._inner = cast("MemoryStore", innermost(store))

    async def rows(self, owner: Owner) -> Rows:
        space = self._inner._spaces.get(owner, Space()).copy()
        found: Rows = {
            "threads": [asdict(thread.row) for thread in space.threads.values()],
            "items": [
                asdict(item.new) | {"thread": id, "position": item.position}
                for id, thread in space.threads.items()
                for item in thread.items.values()
            ],
            "attachments": [asdict(row) | {"blob_key": row.key} for row in space.files.values()],
            "deletions": [{"blob_key": key, "due": due, "attempts": n} for key, (due, n) in space.deletions.items()],
        }
        return found | {"spaces": [{"space": _Hidden(space)}]}

    async def set_up(self, owner: Owner, rows: Rows | None) -> None:
        self._inner._spaces.pop(owner, None)
        if rows:
            self._inner._spaces[owner] = rows["spaces"][0]["space"].space.copy()

    async def age(self, owner: Owner) -> None:
        pass  # here every write moves it, however young

    def locked(self, owner: Owner) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def settle(self) -> None:
        pass


def _insert(table: str, columns: list[str]) -> str:
    given = [f"{{{name}}}" if name in ("payload", "metadata") else f":{name}" for name in columns]
    values = ", ".join([":tenant", ":user_id", *given])
    return f"INSERT INTO {{{table}}} ({', '.join(['tenant', 'user_id', *columns])}) VALUES ({values})"


@dataclass(frozen=True)
class _Hidden:
    """What rows are put back from; the rows beside it say what it holds."""

    space: Space = field(repr=False)


SETTLED = 2.0
"""Seconds that a sweep may take."""

SMALL = {
    "chatstore.stores.sql.store.LONG_THREAD": 3,
    "chatstore.stores.sql.access.LONG_THREAD": 3,
    "chatstore.sql.databases.LANES": 1,
    "chatstore.sql.databases.READS": 1,
    "chatstore.cursors.MAX_PAGE_BYTES": 60,
    "chatstore.stores.sql.store.MAX_PAGE_BYTES": 500,
    "random.uniform": lambda low, high: 0.0,
}
"""So that four items make a thread whose items are removed by the sweeper, and a page of which the sizes come first.

And so that all who come while one call is under way are sent together.
"""


@asynccontextmanager
async def opened_world(url: str, prefix: str = "chatstore_", *, row_security: bool = False) -> AsyncIterator[World]:
    """Yield the world of a store on ``url``, with blobs in memory, and with small sizes and no pauses."""
    async with AsyncExitStack() as stack:
        for name, value in SMALL.items():
            stack.enter_context(patch(name, value))
        store = await stack.enter_async_context(
            open_store(
                url,
                prefix=prefix,
                row_security=row_security,
                blobs="memory://",
                signing_keys=[b"k" * 32],
                public_url="https://chat.example/files",
            )
        )
        yield SQLWorld(store) if isinstance(innermost(store), SQLStore) else MemoryWorld(store)


@contextmanager
def refused() -> Iterator[list[Exception]]:
    """Yield the errors of the statements that fail meanwhile, also of those that are sent again in another way."""
    errors: list[Exception] = []
    run = Unit._run

    async def noted(unit: Unit, call: Awaitable[T]) -> T:
        try:
            return await run(unit, call)
        except Exception as error:
            errors.append(error)
            raise

    with patch.object(Unit, "_run", noted):
        yield errors


def multiset(rows: Rows) -> dict[str, Counter[str]]:
    """Return rows so that they can be compared, whatever their order."""
    return {table: Counter(repr(sorted(row.items())) for row in kept) for table, kept in rows.items() if kept}
