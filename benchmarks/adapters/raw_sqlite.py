"""The bare sqlite3 module in threads, as an expert would use it: one writer, some readers, a call for each unit.

The tables and the work are those of the bare PostgreSQL driver, the pragmas those of chatstore.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
from uuid_utils import uuid7

from benchmarks.protocol import Payload

T = TypeVar("T")
READERS = 4
TENANT = ""

PRAGMAS = (
    "PRAGMA busy_timeout = 5000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
)

TABLES = (
    "CREATE TABLE threads (tenant TEXT NOT NULL, user_id TEXT NOT NULL, id TEXT NOT NULL, title TEXT,"
    " status TEXT NOT NULL DEFAULT 'active', metadata TEXT NOT NULL DEFAULT '{}', created_at TEXT NOT NULL,"
    " updated_at TEXT NOT NULL, last_position INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (tenant, user_id, id))",
    "CREATE INDEX threads_activity ON threads (tenant, user_id, updated_at, id)",
    "CREATE TABLE items (tenant TEXT NOT NULL, user_id TEXT NOT NULL, thread_id TEXT NOT NULL,"
    " position INTEGER NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, created_at TEXT NOT NULL,"
    " payload TEXT NOT NULL, PRIMARY KEY (tenant, user_id, thread_id, id))",
    "CREATE UNIQUE INDEX items_position ON items (tenant, user_id, thread_id, position)",
)

_THREAD = "WHERE tenant = ? AND user_id = ? AND id = ?"
_OF_THREAD = "WHERE tenant = ? AND user_id = ? AND thread_id = ?"
CREATE = "INSERT INTO threads (tenant, user_id, id, title, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)"
TOUCH = f"UPDATE threads SET updated_at = ?, last_position = last_position + ? {_THREAD} RETURNING last_position"
INSERT = (
    "INSERT INTO items (tenant, user_id, thread_id, position, id, type, created_at, payload)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
UPDATE = f"UPDATE items SET payload = ? {_OF_THREAD} AND id = ?"
_ITEMS = f"SELECT id, type, created_at, position, payload FROM items {_OF_THREAD}"
NEWEST = f"{_ITEMS} ORDER BY position DESC LIMIT ?"
PAGE = f"{_ITEMS} AND position > ? ORDER BY position LIMIT ?"
THREADS = (
    "SELECT id, title, status, metadata, created_at, updated_at FROM threads WHERE tenant = ? AND user_id = ?"
    " ORDER BY updated_at DESC, id DESC LIMIT ?"
)
DELETE_ITEMS = f"DELETE FROM items {_OF_THREAD}"
DELETE_THREAD = f"DELETE FROM threads {_THREAD}"


def connect(path: str) -> sqlite3.Connection:
    """Return a connection that begins no transaction by itself and syncs every commit."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in PRAGMAS:
        connection.execute(pragma)
    return connection


class _Threads:
    """Threads that have a connection each."""

    def __init__(self, path: str, count: int) -> None:
        self._path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._executor = ThreadPoolExecutor(count, initializer=self._connect)

    def _connect(self) -> None:
        self._local.connection = connect(self._path)
        self._connections.append(self._local.connection)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, lambda: work(self._local.connection))

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        return await self.run(lambda connection: connection.execute(sql, values).fetchall())

    async def transact(self, work: Callable[[sqlite3.Connection], None]) -> None:
        def committed(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            try:
                work(connection)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

        await self.run(committed)

    def close(self) -> None:
        self._executor.shutdown()
        for connection in self._connections:
            connection.close()


class RawSQLite:
    """sqlite3 in threads without anything around it."""

    async def open(self, url: str) -> None:
        path = url.removeprefix("sqlite:///")
        self._writer = _Threads(path, 1)
        self._readers = _Threads(path, READERS)
        for statement in TABLES:
            await self._writer.fetch(statement)

    async def close(self) -> None:
        self._writer.close()
        self._readers.close()

    async def create_threads(self, user: str, thread_ids: Sequence[str]) -> None:
        rows = [(TENANT, user, id, "A conversation", now(), now()) for id in thread_ids]

        def insert(connection: sqlite3.Connection) -> None:
            connection.executemany(CREATE, rows)

        await self._writer.transact(insert)

    async def fill(self, user: str, thread_id: str, payloads: Sequence[Payload]) -> None:
        key, rows = (TENANT, user, thread_id), [(new_id(), "message", now(), text_of(payload)) for payload in payloads]

        def insert(connection: sqlite3.Connection) -> None:
            ((last,),) = connection.execute(TOUCH, (now(), len(rows), *key)).fetchall()
            positions = range(last - len(rows) + 1, last + 1)
            connection.executemany(INSERT, [(*key, at, *row) for at, row in zip(positions, rows, strict=True)])

        await self._writer.transact(insert)

    async def append(self, user: str, thread_id: str, payload: Payload) -> str:
        key, id, text, at = (TENANT, user, thread_id), new_id(), text_of(payload), now()

        def insert(connection: sqlite3.Connection) -> None:
            ((position,),) = connection.execute(TOUCH, (at, 1, *key)).fetchall()
            connection.execute(INSERT, (*key, position, id, "message", at, text))

        await self._writer.transact(insert)
        return id

    async def update(self, user: str, thread_id: str, item: str, payload: Payload) -> None:
        key, text, at = (TENANT, user, thread_id), text_of(payload), now()

        def replace(connection: sqlite3.Connection) -> None:
            connection.execute(TOUCH, (at, 0, *key)).fetchall()
            assert connection.execute(UPDATE, (text, *key, item)).rowcount == 1, "no such item"

        await self._writer.transact(replace)

    async def newest(self, user: str, thread_id: str, limit: int) -> int:
        return len((await self._readers.fetch(NEWEST, TENANT, user, thread_id, limit + 1))[:limit])

    async def pages(self, user: str, thread_id: str, limit: int) -> AsyncIterator[int]:
        position, has_more = 0, True
        while has_more:
            rows = await self._readers.fetch(PAGE, TENANT, user, thread_id, position, limit + 1)
            has_more, rows = len(rows) > limit, rows[:limit]
            position = rows[-1][3]
            yield len(rows)

    async def threads(self, user: str, limit: int) -> int:
        return len((await self._readers.fetch(THREADS, TENANT, user, limit + 1))[:limit])

    async def delete(self, user: str, thread_id: str) -> None:
        key = (TENANT, user, thread_id)

        def remove(connection: sqlite3.Connection) -> None:
            connection.execute(DELETE_ITEMS, key)
            connection.execute(DELETE_THREAD, key)

        await self._writer.transact(remove)


def new_id() -> str:
    return f"msg_{uuid7().hex}"


def text_of(payload: Payload) -> str:
    return orjson.dumps(payload).decode()


def now() -> str:
    return datetime.now(UTC).isoformat()
