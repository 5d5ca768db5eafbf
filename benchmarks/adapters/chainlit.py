"""``SQLAlchemyDataLayer`` of chainlit, on the tables that its documentation gives: steps of a thread, loaded whole."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from uuid import NAMESPACE_OID, uuid4, uuid5

from chainlit.context import init_http_context
from chainlit.data.sql_alchemy import SQLAlchemyDataLayer
from chainlit.step import StepDict
from chainlit.types import Pagination, ThreadFilter
from sqlalchemy import text

from benchmarks.protocol import Payload

TABLES = (
    'CREATE TABLE users ("id" UUID PRIMARY KEY, "identifier" TEXT NOT NULL UNIQUE, "metadata" JSONB NOT NULL,'
    ' "createdAt" TEXT)',
    'CREATE TABLE threads ("id" UUID PRIMARY KEY, "createdAt" TEXT, "name" TEXT,'
    ' "userId" UUID REFERENCES users("id") ON DELETE CASCADE, "userIdentifier" TEXT, "tags" TEXT[],'
    ' "metadata" JSONB)',
    'CREATE TABLE steps ("id" UUID PRIMARY KEY, "name" TEXT NOT NULL, "type" TEXT NOT NULL,'
    ' "threadId" UUID NOT NULL REFERENCES threads("id") ON DELETE CASCADE, "parentId" UUID,'
    ' "streaming" BOOLEAN NOT NULL, "waitForAnswer" BOOLEAN, "isError" BOOLEAN, "metadata" JSONB, "tags" TEXT[],'
    ' "input" TEXT, "output" TEXT, "createdAt" TEXT, "command" TEXT, "start" TEXT, "end" TEXT, "generation" JSONB,'
    ' "showInput" TEXT, "language" TEXT, "indent" INT, "defaultOpen" BOOLEAN, "autoCollapse" BOOLEAN,'
    ' "modes" JSONB, "icon" TEXT)',
    'CREATE TABLE elements ("id" UUID PRIMARY KEY, "threadId" UUID REFERENCES threads("id") ON DELETE CASCADE,'
    ' "type" TEXT, "url" TEXT, "chainlitKey" TEXT, "name" TEXT NOT NULL, "display" TEXT, "objectKey" TEXT,'
    ' "size" TEXT, "page" INT, "language" TEXT, "forId" UUID, "mime" TEXT, "props" JSONB)',
    'CREATE TABLE feedbacks ("id" UUID PRIMARY KEY, "forId" UUID NOT NULL,'
    ' "threadId" UUID NOT NULL REFERENCES threads("id") ON DELETE CASCADE, "value" INT NOT NULL, "comment" TEXT)',
)
INSERT_USER = (
    'INSERT INTO users ("id", "identifier", "metadata") VALUES (CAST(:id AS uuid), :name, \'{}\')'
    " ON CONFLICT DO NOTHING"
)
INSERT_THREAD = (
    'INSERT INTO threads ("id", "name", "userId", "userIdentifier", "createdAt", "metadata")'
    " VALUES (CAST(:id AS uuid), 'A conversation', CAST(:user AS uuid), :name, :at, '{}')"
)
INSERT_STEP = (
    'INSERT INTO steps ("id", "name", "type", "threadId", "streaming", "output", "createdAt", "metadata")'
    " VALUES (CAST(:id AS uuid), 'message', 'user_message', CAST(:thread AS uuid), false, :output, :at, '{}')"
)


class Chainlit:
    """The layer asks its context whether a user has spoken; here it is that of a request over HTTP."""

    async def open(self, url: str) -> None:
        self._layer = SQLAlchemyDataLayer(url.replace("postgresql:", "postgresql+asyncpg:"))
        async with self._layer.engine.begin() as connection:
            for statement in TABLES:
                await connection.execute(text(statement))
        init_http_context()

    async def close(self) -> None:
        await self._layer.engine.dispose()

    async def create_threads(self, user: str, thread_ids: Sequence[str]) -> None:
        init_http_context()
        at = datetime.now(UTC).isoformat()
        rows = [{"id": _uuid(thread_id), "user": _uuid(user), "name": user, "at": at} for thread_id in thread_ids]
        async with self._layer.engine.begin() as connection:
            await connection.execute(text(INSERT_USER), {"id": _uuid(user), "name": user})
            await connection.execute(text(INSERT_THREAD), rows)

    async def fill(self, user: str, thread_id: str, payloads: Sequence[Payload]) -> None:
        at = datetime.now(UTC).isoformat()
        rows = [
            {"id": str(uuid4()), "thread": _uuid(thread_id), "output": json.dumps(payload), "at": at}
            for payload in payloads
        ]
        async with self._layer.engine.begin() as connection:
            await connection.execute(text(INSERT_STEP), rows)

    async def append(self, user: str, thread_id: str, payload: Payload) -> str:
        step_id = str(uuid4())
        await self._layer.create_step(_step(step_id, thread_id, payload))
        return step_id

    async def update(self, user: str, thread_id: str, item: str, payload: Payload) -> None:
        await self._layer.update_step(_step(item, thread_id, payload))

    async def newest(self, user: str, thread_id: str, limit: int) -> int:
        return len(await self._steps(thread_id))

    async def pages(self, user: str, thread_id: str, limit: int) -> AsyncIterator[int]:
        yield len(await self._steps(thread_id))

    async def threads(self, user: str, limit: int) -> int:
        chosen = ThreadFilter(userId=_uuid(user))
        return len((await self._layer.list_threads(Pagination(first=limit), chosen)).data)

    async def delete(self, user: str, thread_id: str) -> None:
        await self._layer.delete_thread(_uuid(thread_id))

    async def _steps(self, thread_id: str) -> list[StepDict]:
        thread = await self._layer.get_thread(_uuid(thread_id))
        assert thread is not None
        steps: list[StepDict] = thread["steps"]
        return steps


def _step(step_id: str, thread_id: str, payload: Payload) -> StepDict:
    return {
        "id": step_id,
        "threadId": _uuid(thread_id),
        "name": "message",
        "type": "user_message",
        "streaming": False,
        "output": json.dumps(payload),
        "createdAt": datetime.now(UTC).isoformat(),
    }


def _uuid(name: str) -> str:
    return str(uuid5(NAMESPACE_OID, name))
