"""The bare aiosqlite driver with the tables and the work of the bare sqlite3 module: a hop to a thread for each
statement, one connection to write, some to read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite

from benchmarks.adapters import raw_sqlite
from benchmarks.adapters.raw_sqlite import PRAGMAS, READERS, TABLES, TENANT, new_id, now, text_of
from benchmarks.protocol import Payload


class RawAiosqlite:
    """aiosqlite without anything around it."""

    async def open(self, url: str) -> None:
        path = url.removeprefix("sqlite:///")
        self._turn = asyncio.Lock()
        self._writer = await _connect(path)
        self._readers: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        for statement in TABLES:
            await self._writer.execute_fetchall(statement)
        for _ in range(READERS):
            self._readers.put_nowait(await _connect(path))

    async def close(self) -> None:
        for _ in range(READERS):
            await (await self._readers.get()).close()
        await self._writer.close()

    async def create_threads(self, user: str, thread_ids: Sequence[str]) -> None:
        rows = [(TENANT, user, id, "A conversation", now(), now()) for id in thread_ids]
        async with self._committed():
            await self._writer.executemany(raw_sqlite.CREATE, rows)

    async def fill(self, user: str, thread_id: str, payloads: Sequence[Payload]) -> None:
        key, rows = (TENANT, user, thread_id), [(new_id(), "message", now(), text_of(payload)) for payload in payloads]
        async with self._committed():
            last = await self._touch(key, len(rows))
            positions = range(last - len(rows) + 1, last + 1)
            await self._writer.executemany(
                raw_sqlite.INSERT, [(*key, position, *row) for position, row in zip(positions, rows, strict=True)]
            )

    async def append(self, user: str, thread_id: str, payload: Payload) -> str:
        key, id = (TENANT, user, thread_id), new_id()
        async with self._committed():
            row = (*key, await self._touch(key, 1), id, "message", now(), text_of(payload))
            await self._writer.execute_fetchall(raw_sqlite.INSERT, row)
        return id

    async def update(self, user: str, thread_id: str, item: str, payload: Payload) -> None:
        key = (TENANT, user, thread_id)
        async with self._committed():
            await self._touch(key, 0)
            await self._writer.execute_fetchall(raw_sqlite.UPDATE, (text_of(payload), *key, item))

    async def newest(self, user: str, thread_id: str, limit: int) -> int:
        return len((await self._read(raw_sqlite.NEWEST, TENANT, user, thread_id, limit + 1))[:limit])

    async def pages(self, user: str, thread_id: str, limit: int) -> AsyncIterator[int]:
        position, has_more = 0, True
        while has_more:
            rows = await self._read(raw_sqlite.PAGE, TENANT, user, thread_id, position, limit + 1)
            has_more, rows = len(rows) > limit, rows[:limit]
            position = rows[-1][3]
            yield len(rows)

    async def threads(self, user: str, limit: int) -> int:
        return len((await self._read(raw_sqlite.THREADS, TENANT, user, limit + 1))[:limit])

    async def delete(self, user: str, thread_id: str) -> None:
        async with self._committed():
            for statement in (raw_sqlite.DELETE_ITEMS, raw_sqlite.DELETE_THREAD):
                await self._writer.execute_fetchall(statement, (TENANT, user, thread_id))

    async def _read(self, sql: str, *values: Any) -> list[Any]:
        connection = await self._readers.get()
        try:
            return list(await connection.execute_fetchall(sql, values))
        finally:
            self._readers.put_nowait(connection)

    async def _touch(self, key: tuple[str, str, str], items: int) -> int:
        ((last,),) = await self._writer.execute_fetchall(raw_sqlite.TOUCH, (now(), items, *key))
        return int(last)

    @asynccontextmanager
    async def _committed(self) -> AsyncIterator[None]:
        async with self._turn:
            await self._writer.execute_fetchall("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                await self._writer.execute_fetchall("ROLLBACK")
                raise
            await self._writer.execute_fetchall("COMMIT")


async def _connect(path: str) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, isolation_level=None)
    for pragma in PRAGMAS:
        await connection.execute_fetchall(pragma)
    return connection
