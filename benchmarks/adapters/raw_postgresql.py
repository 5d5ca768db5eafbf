"""The bare driver, as an expert would use it: asyncpg, prepared statements, one of them for each call.

The same work as a store of many users must do: the owner in every key, item ids unique, positions drawn under
the thread's row lock, the thread touched by every write, both listings indexed. No model is made of a row.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson
from uuid_utils import uuid7

from benchmarks.protocol import Payload

CONNECTIONS = 16
TENANT = ""

TABLES = """
CREATE TABLE threads (
    tenant text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    title text,
    status text NOT NULL DEFAULT 'active',
    metadata json NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    last_position bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, user_id, id)
);
CREATE INDEX threads_activity ON threads (tenant, user_id, updated_at, id);
CREATE TABLE items (
    tenant text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    thread_id text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    type text NOT NULL,
    created_at timestamptz NOT NULL,
    payload json NOT NULL,
    PRIMARY KEY (tenant, user_id, thread_id, id)
);
CREATE UNIQUE INDEX items_position ON items (tenant, user_id, thread_id, position);
"""

CREATE = "INSERT INTO threads (tenant, user_id, id, title) SELECT $1, $2, id, $4 FROM unnest($3::text[]) AS given (id)"

_TOUCHED = (
    "WITH thread AS (UPDATE threads SET updated_at = now(), last_position = last_position + {}"
    " WHERE tenant = $1 AND user_id = $2 AND id = $3 RETURNING last_position)"
)

APPEND = (
    _TOUCHED.format(1) + " INSERT INTO items (tenant, user_id, thread_id, position, id, type, created_at, payload)"
    " SELECT $1, $2, $3, last_position, $4, $5, $6, $7 FROM thread RETURNING position"
)
FILL = (
    _TOUCHED.format("cardinality($4::text[])")
    + " INSERT INTO items (tenant, user_id, thread_id, position, id, type, created_at, payload)"
    " SELECT $1, $2, $3, last_position - cardinality($4::text[]) + n, id, $6, $7, payload::json"
    " FROM thread, unnest($4::text[], $5::text[]) WITH ORDINALITY AS given (id, payload, n)"
)
UPDATE = (
    _TOUCHED.format(0) + " UPDATE items SET payload = $5 FROM thread"
    " WHERE tenant = $1 AND user_id = $2 AND thread_id = $3 AND id = $4 RETURNING position"
)
_ITEMS = (
    "SELECT id, type, created_at, position, payload FROM items WHERE tenant = $1 AND user_id = $2 AND thread_id = $3"
)
NEWEST = f"{_ITEMS} ORDER BY position DESC LIMIT $4"
PAGE = f"{_ITEMS} AND position > $4 ORDER BY position LIMIT $5"
THREADS = (
    "SELECT id, title, status, metadata, created_at, updated_at FROM threads WHERE tenant = $1 AND user_id = $2"
    " ORDER BY updated_at DESC, id DESC LIMIT $3"
)
DELETE = (
    "WITH gone AS (DELETE FROM threads WHERE tenant = $1 AND user_id = $2 AND id = $3 RETURNING id)"
    " DELETE FROM items USING gone WHERE tenant = $1 AND user_id = $2 AND thread_id = gone.id"
)


class _Connections:
    """A fair pool that does nothing but lend: asyncpg's own resets a connection at the cost of a round trip."""

    def __init__(self) -> None:
        self._idle: list[tuple[Any, dict[str, Any]]] = []
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def open(self, url: str) -> None:
        self._idle = [(await asyncpg.connect(url), {}) for _ in range(CONNECTIONS)]

    async def close(self) -> None:
        for connection, _ in self._idle:
            await connection.close()

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        async with self._free:
            connection, prepared = self._idle.pop()
            try:
                statement = prepared.get(sql)
                if statement is None:
                    statement = prepared[sql] = await connection.prepare(sql)
                rows: list[Any] = await statement.fetch(*values)
                return rows
            finally:
                self._idle.append((connection, prepared))


class RawPostgreSQL:
    """asyncpg without anything around it."""

    async def open(self, url: str) -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(TABLES)
        await connection.close()
        self._connections = _Connections()
        await self._connections.open(url)

    async def close(self) -> None:
        await self._connections.close()

    async def create_threads(self, user: str, thread_ids: Sequence[str]) -> None:
        await self._connections.fetch(CREATE, TENANT, user, list(thread_ids), "A conversation")

    async def fill(self, user: str, thread_id: str, payloads: Sequence[Payload]) -> None:
        ids = [_id() for _ in payloads]
        texts = [orjson.dumps(payload).decode() for payload in payloads]
        await self._connections.fetch(FILL, TENANT, user, thread_id, ids, texts, "message", datetime.now(UTC))

    async def append(self, user: str, thread_id: str, payload: Payload) -> str:
        id, text = _id(), orjson.dumps(payload).decode()
        rows = await self._connections.fetch(APPEND, TENANT, user, thread_id, id, "message", datetime.now(UTC), text)
        assert rows, "no such thread"
        return id

    async def update(self, user: str, thread_id: str, item: str, payload: Payload) -> None:
        text = orjson.dumps(payload).decode()
        assert await self._connections.fetch(UPDATE, TENANT, user, thread_id, item, text), "no such item"

    async def newest(self, user: str, thread_id: str, limit: int) -> int:
        return len((await self._connections.fetch(NEWEST, TENANT, user, thread_id, limit + 1))[:limit])

    async def pages(self, user: str, thread_id: str, limit: int) -> AsyncIterator[int]:
        position, has_more = 0, True
        while has_more:
            rows = await self._connections.fetch(PAGE, TENANT, user, thread_id, position, limit + 1)
            has_more, rows = len(rows) > limit, rows[:limit]
            position = rows[-1]["position"]
            yield len(rows)

    async def threads(self, user: str, limit: int) -> int:
        return len((await self._connections.fetch(THREADS, TENANT, user, limit + 1))[:limit])

    async def delete(self, user: str, thread_id: str) -> None:
        await self._connections.fetch(DELETE, TENANT, user, thread_id)


def _id() -> str:
    return f"msg_{uuid7().hex}"
