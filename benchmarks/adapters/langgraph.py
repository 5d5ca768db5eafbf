"""``AsyncPostgresStore`` of langgraph: keys and values under a namespace, many puts gathered into one statement."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from uuid import uuid4

from langgraph.store.base import PutOp
from langgraph.store.postgres.aio import AsyncPostgresStore

from benchmarks.protocol import Payload

CONNECTIONS = 16
BATCH = 1_000


class LangGraph:
    """An item is a key under user and thread; the newest are those put last."""

    async def open(self, url: str) -> None:
        self._stack = AsyncExitStack()
        pool = {"min_size": CONNECTIONS, "max_size": CONNECTIONS}
        self._store = await self._stack.enter_async_context(AsyncPostgresStore.from_conn_string(url, pool_config=pool))
        await self._store.setup()

    async def close(self) -> None:
        await self._stack.aclose()

    async def create_threads(self, user: str, thread_ids: Sequence[str]) -> None:
        operations = [PutOp((user, "threads"), thread_id, {"title": "A conversation"}) for thread_id in thread_ids]
        await self._store.abatch(operations)

    async def fill(self, user: str, thread_id: str, payloads: Sequence[Payload]) -> None:
        await self._store.abatch([PutOp((user, thread_id), uuid4().hex, payload) for payload in payloads])

    async def append(self, user: str, thread_id: str, payload: Payload) -> str:
        key = uuid4().hex
        await self._store.aput((user, thread_id), key, payload)
        return key

    async def update(self, user: str, thread_id: str, item: str, payload: Payload) -> None:
        await self._store.aput((user, thread_id), item, payload)

    async def newest(self, user: str, thread_id: str, limit: int) -> int:
        return len(await self._store.asearch((user, thread_id), limit=limit))

    async def pages(self, user: str, thread_id: str, limit: int) -> AsyncIterator[int]:
        offset = 0
        while loaded := len(await self._store.asearch((user, thread_id), limit=limit, offset=offset)):
            yield loaded
            offset += loaded

    async def threads(self, user: str, limit: int) -> int:
        return len(await self._store.asearch((user, "threads"), limit=limit))

    async def delete(self, user: str, thread_id: str) -> None:
        namespace = (user, thread_id)
        while items := await self._store.asearch(namespace, limit=BATCH):
            await self._store.abatch([PutOp(namespace, item.key, None) for item in items])
        await self._store.adelete((user, "threads"), thread_id)
