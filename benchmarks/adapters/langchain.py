"""``PostgresChatMessageHistory`` of langchain-postgres: messages of a session, loaded whole, without an owner."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from langchain_core.messages import HumanMessage
from langchain_postgres import PostgresChatMessageHistory
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from benchmarks.protocol import NotOffered, Payload

CONNECTIONS = 16
TABLE = "messages"


class LangChain:
    """A history has one connection for itself: a pool lends it for each call."""

    async def open(self, url: str) -> None:
        async with await AsyncConnection.connect(url) as connection:
            await PostgresChatMessageHistory.acreate_tables(connection, TABLE)
        self._pool = AsyncConnectionPool(url, min_size=CONNECTIONS, max_size=CONNECTIONS, open=False)
        await self._pool.open(wait=True)

    async def close(self) -> None:
        await self._pool.close()

    async def create_threads(self, user: str, thread_ids: Sequence[str]) -> None:
        if len(thread_ids) > 1:
            raise NotOffered

    async def fill(self, user: str, thread_id: str, payloads: Sequence[Payload]) -> None:
        async with self._history(thread_id) as history:
            await history.aadd_messages([HumanMessage(content=json.dumps(payload)) for payload in payloads])

    async def append(self, user: str, thread_id: str, payload: Payload) -> None:
        await self.fill(user, thread_id, [payload])

    async def update(self, user: str, thread_id: str, item: Any, payload: Payload) -> None:
        raise NotOffered

    async def newest(self, user: str, thread_id: str, limit: int) -> int:
        async with self._history(thread_id) as history:
            return len((await history.aget_messages())[-limit:])

    async def pages(self, user: str, thread_id: str, limit: int) -> AsyncIterator[int]:
        async with self._history(thread_id) as history:
            yield len(await history.aget_messages())

    async def threads(self, user: str, limit: int) -> int:
        raise NotOffered

    async def delete(self, user: str, thread_id: str) -> None:
        async with self._history(thread_id) as history:
            await history.aclear()

    @asynccontextmanager
    async def _history(self, thread_id: str) -> AsyncIterator[PostgresChatMessageHistory]:
        session = str(uuid5(NAMESPACE_OID, thread_id))
        async with self._pool.connection() as connection:
            yield PostgresChatMessageHistory(TABLE, session, async_connection=connection)
