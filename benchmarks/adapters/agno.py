"""``AsyncPostgresDb`` of agno: runs of a session, one for each message here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from time import time
from uuid import uuid4

from agno.db.base import SessionType
from agno.db.postgres import AsyncPostgresDb
from agno.run.agent import RunOutput
from agno.session import AgentSession
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.protocol import Payload

AGENT = "agent"
COPY = (
    "INSERT INTO agno_runs (run_id, session_id, run_type, agent_id, user_id, status, run_index, run_data,"
    " created_at, updated_at) SELECT made.id, session_id, run_type, agent_id, user_id, status, run_index + n,"
    " jsonb_set(run_data, '{run_id}', to_jsonb(made.id)), created_at, updated_at"
    " FROM agno_runs CROSS JOIN generate_series(1, CAST(:count AS integer)) AS n"
    " CROSS JOIN LATERAL (SELECT md5(run_id || n) AS id) AS made WHERE run_id = :run"
)
"""Many runs at once, which the library has no call for: copies of one."""


class Agno:
    """The default way: the position of a new run is the library's to find."""

    async def open(self, url: str) -> None:
        self._engine = create_async_engine(
            url.replace("postgresql:", "postgresql+psycopg:"), pool_size=16, max_overflow=0
        )
        self._database = AsyncPostgresDb(db_engine=self._engine, db_schema="public")

    async def close(self) -> None:
        await self._engine.dispose()

    async def create_threads(self, user: str, thread_ids: Sequence[str]) -> None:
        for thread_id in thread_ids:
            session = AgentSession(session_id=thread_id, agent_id=AGENT, user_id=user, created_at=int(time()))
            assert await self._database.upsert_session(session)

    async def fill(self, user: str, thread_id: str, payloads: Sequence[Payload]) -> None:
        run_id = await self.append(user, thread_id, payloads[0])
        async with self._engine.begin() as connection:
            await connection.execute(text(COPY), {"run": run_id, "count": len(payloads) - 1})

    async def append(self, user: str, thread_id: str, payload: Payload) -> str:
        run_id = uuid4().hex
        await self.update(user, thread_id, run_id, payload)
        return run_id

    async def update(self, user: str, thread_id: str, item: str, payload: Payload) -> None:
        run = RunOutput(run_id=item, agent_id=AGENT, session_id=thread_id, user_id=user, content=json.dumps(payload))
        await self._database.upsert_run(run, session_id=thread_id, user_id=user)

    async def newest(self, user: str, thread_id: str, limit: int) -> int:
        session = await self._database.get_session(thread_id, SessionType.AGENT, user, runs_limit=limit)
        assert isinstance(session, AgentSession)
        return len(session.runs or ())

    async def pages(self, user: str, thread_id: str, limit: int) -> AsyncIterator[int]:
        page = 1
        while runs := await self._database.get_runs(thread_id, user, limit=limit, page=page):
            yield len(runs)
            page += 1

    async def threads(self, user: str, limit: int) -> int:
        return len(
            await self._database.get_sessions(
                SessionType.AGENT, user, limit=limit, page=1, sort_by="updated_at", sort_order="desc"
            )
        )

    async def delete(self, user: str, thread_id: str) -> None:
        await self._database.delete_session(thread_id, user)
