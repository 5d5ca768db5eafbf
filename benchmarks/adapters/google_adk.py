"""``DatabaseSessionService`` of google-adk: events of a session, the newest of them on request."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from google.adk.events import Event
from google.adk.sessions import DatabaseSessionService, Session
from google.adk.sessions.base_session_service import GetSessionConfig
from google.genai.types import Content, Part
from sqlalchemy import text

from benchmarks.protocol import NotOffered, Payload

APP = "benchmark"
COPY = (
    "INSERT INTO events (id, app_name, user_id, session_id, invocation_id, timestamp, event_data)"
    " SELECT gen_random_uuid(), app_name, user_id, session_id, invocation_id, timestamp - interval '1 hour'"
    " + n * interval '1 millisecond', event_data FROM (SELECT * FROM events WHERE app_name = 'benchmark'"
    " AND user_id = :user AND session_id = :session ORDER BY timestamp DESC LIMIT 1) AS newest"
    " CROSS JOIN generate_series(1, CAST(:count AS integer)) AS n"
)
"""Many events at once, which the service has no call for: copies of the newest, at earlier times."""


class GoogleADK:
    """Loads a session without its events before each append, as a server's request does: a stale one is refused."""

    async def open(self, url: str) -> None:
        self._service = DatabaseSessionService(
            url.replace("postgresql:", "postgresql+asyncpg:"), pool_size=16, max_overflow=0
        )
        await self._service.prepare_tables()

    async def close(self) -> None:
        await self._service.close()

    async def create_threads(self, user: str, thread_ids: Sequence[str]) -> None:
        for thread_id in thread_ids:
            await self._service.create_session(app_name=APP, user_id=user, session_id=thread_id)

    async def fill(self, user: str, thread_id: str, payloads: Sequence[Payload]) -> None:
        await self.append(user, thread_id, payloads[0])
        async with self._service.db_engine.begin() as connection:
            values = {"user": user, "session": thread_id, "count": len(payloads) - 1}
            await connection.execute(text(COPY), values)

    async def append(self, user: str, thread_id: str, payload: Payload) -> None:
        await self._service.append_event(await self._session(user, thread_id, 0), _event(payload))

    async def update(self, user: str, thread_id: str, item: Any, payload: Payload) -> None:
        raise NotOffered

    async def newest(self, user: str, thread_id: str, limit: int) -> int:
        return len((await self._session(user, thread_id, limit)).events)

    async def pages(self, user: str, thread_id: str, limit: int) -> AsyncIterator[int]:
        yield len((await self._session(user, thread_id, None)).events)

    async def threads(self, user: str, limit: int) -> int:
        return len((await self._service.list_sessions(app_name=APP, user_id=user)).sessions)

    async def delete(self, user: str, thread_id: str) -> None:
        await self._service.delete_session(app_name=APP, user_id=user, session_id=thread_id)

    async def _session(self, user: str, thread_id: str, events: int | None) -> Session:
        session = await self._service.get_session(
            app_name=APP, user_id=user, session_id=thread_id, config=GetSessionConfig(num_recent_events=events)
        )
        assert session is not None
        return session


def _event(payload: Payload) -> Event:
    return Event(author="user", content=Content(role="user", parts=[Part(text=json.dumps(payload))]))
