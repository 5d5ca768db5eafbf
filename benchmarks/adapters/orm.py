"""The plain pattern with SQLAlchemy's ORM: a class for each table, a session for each request."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import JSON, BigInteger, DateTime, ForeignKeyConstraint, Index, Integer, delete, event, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.adapters.raw_sqlite import PRAGMAS
from benchmarks.protocol import Payload

CONNECTIONS = 16
TENANT = ""


class _Base(DeclarativeBase):
    pass


class _Thread(_Base):
    __tablename__ = "threads"
    __table_args__ = (Index("threads_activity", "tenant", "user_id", "updated_at", "id"),)

    tenant: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str | None]
    status: Mapped[str] = mapped_column(default="active")
    extra: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))


class _Message(_Base):
    __tablename__ = "messages"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant", "user_id", "thread_id"],
            ["threads.tenant", "threads.user_id", "threads.id"],
            ondelete="CASCADE",
        ),
        Index("messages_position", "tenant", "user_id", "thread_id", "position"),
        Index("messages_id", "tenant", "user_id", "thread_id", "id", unique=True),
    )

    position: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    tenant: Mapped[str]
    user_id: Mapped[str]
    thread_id: Mapped[str]
    id: Mapped[str]
    type: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))
    payload: Mapped[Payload] = mapped_column(JSON)


class PlainORM:
    """What a careful user writes by hand: the owner in every query, no cache, one commit for each change."""

    async def open(self, url: str) -> None:
        self._engine = _engine(url)
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        async with self._engine.begin() as connection:
            await connection.run_sync(_Base.metadata.create_all)

    async def close(self) -> None:
        await self._engine.dispose()

    async def create_threads(self, user: str, thread_ids: Sequence[str]) -> None:
        async with self._sessions.begin() as session:
            session.add_all([_Thread(tenant=TENANT, user_id=user, id=id, title="A conversation") for id in thread_ids])

    async def fill(self, user: str, thread_id: str, payloads: Sequence[Payload]) -> None:
        rows = [_message(user, thread_id, payload) for payload in payloads]
        async with self._sessions.begin() as session:
            await session.execute(insert(_Message), rows)

    async def append(self, user: str, thread_id: str, payload: Payload) -> str:
        async with self._sessions.begin() as session:
            thread = await _owned(session, user, thread_id)
            message = _Message(**_message(user, thread_id, payload))
            session.add(message)
            thread.updated_at = datetime.now(UTC)
        return message.id

    async def update(self, user: str, thread_id: str, item: str, payload: Payload) -> None:
        async with self._sessions.begin() as session:
            thread = await _owned(session, user, thread_id)
            message = (await session.scalars(_messages(user, thread_id).where(_Message.id == item))).one()
            message.payload = payload
            thread.updated_at = datetime.now(UTC)

    async def newest(self, user: str, thread_id: str, limit: int) -> int:
        async with self._sessions() as session:
            await _owned(session, user, thread_id)
            newest = _messages(user, thread_id).order_by(_Message.position.desc()).limit(limit + 1)
            return len((await session.scalars(newest)).all()[:limit])

    async def pages(self, user: str, thread_id: str, limit: int) -> AsyncIterator[int]:
        position, has_more = 0, True
        while has_more:
            page = _messages(user, thread_id).where(_Message.position > position).order_by(_Message.position)
            async with self._sessions() as session:
                await _owned(session, user, thread_id)
                messages = (await session.scalars(page.limit(limit + 1))).all()
            has_more = len(messages) > limit
            position = messages[:limit][-1].position
            yield len(messages[:limit])

    async def threads(self, user: str, limit: int) -> int:
        mine = select(_Thread).where(_Thread.tenant == TENANT, _Thread.user_id == user)
        newest = mine.order_by(_Thread.updated_at.desc(), _Thread.id.desc()).limit(limit + 1)
        async with self._sessions() as session:
            return len((await session.scalars(newest)).all()[:limit])

    async def delete(self, user: str, thread_id: str) -> None:
        async with self._sessions.begin() as session:
            await session.execute(
                delete(_Thread).where(_Thread.tenant == TENANT, _Thread.user_id == user, _Thread.id == thread_id)
            )


def _engine(url: str) -> AsyncEngine:
    if url.startswith("postgresql"):
        return create_async_engine(
            url.replace("postgresql:", "postgresql+asyncpg:"), pool_size=CONNECTIONS, max_overflow=0
        )
    engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"), json_serializer=json.dumps)

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        for pragma in PRAGMAS:
            connection.execute(pragma)

    return engine


async def _owned(session: AsyncSession, user: str, thread_id: str) -> _Thread:
    return await session.get_one(_Thread, (TENANT, user, thread_id))


def _messages(user: str, thread_id: str) -> Any:
    return select(_Message).where(_Message.tenant == TENANT, _Message.user_id == user, _Message.thread_id == thread_id)


def _message(user: str, thread_id: str, payload: Payload) -> dict[str, Any]:
    return {
        "tenant": TENANT,
        "user_id": user,
        "thread_id": thread_id,
        "id": f"msg_{uuid4().hex}",
        "type": "message",
        "payload": payload,
    }
