"""``SQLAlchemySession`` of openai-agents: messages of a session, without an owner, without pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from agents.extensions.memory import SQLAlchemySession
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.protocol import NotOffered, Payload


class OpenAIAgents:
    """One session object for each thread, kept, as its construction describes the tables anew."""

    async def open(self, url: str) -> None:
        self._engine = create_async_engine(
            url.replace("postgresql:", "postgresql+asyncpg:"), pool_size=16, max_overflow=0
        )
        self._sessions: dict[str, SQLAlchemySession] = {}
        await SQLAlchemySession("first", engine=self._engine, create_tables=True).get_items()

    async def close(self) -> None:
        await self._engine.dispose()

    async def create_threads(self, user: str, thread_ids: Sequence[str]) -> None:
        for thread_id in thread_ids:
            await self._session(thread_id).add_items([])

    async def fill(self, user: str, thread_id: str, payloads: Sequence[Payload]) -> None:
        items: list[Any] = list(payloads)
        await self._session(thread_id).add_items(items)

    async def append(self, user: str, thread_id: str, payload: Payload) -> None:
        await self.fill(user, thread_id, [payload])

    async def update(self, user: str, thread_id: str, item: Any, payload: Payload) -> None:
        raise NotOffered

    async def newest(self, user: str, thread_id: str, limit: int) -> int:
        return len(await self._session(thread_id).get_items(limit=limit))

    async def pages(self, user: str, thread_id: str, limit: int) -> AsyncIterator[int]:
        yield len(await self._session(thread_id).get_items())

    async def threads(self, user: str, limit: int) -> int:
        raise NotOffered

    async def delete(self, user: str, thread_id: str) -> None:
        await self._session(thread_id).clear_session()

    def _session(self, thread_id: str) -> SQLAlchemySession:
        session = self._sessions.get(thread_id)
        if session is None:
            session = self._sessions[thread_id] = SQLAlchemySession(thread_id, engine=self._engine)
        return session
