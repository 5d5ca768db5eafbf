"""What can be measured, by name: where its adapter is, on which databases, in which environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Database: TypeAlias = Literal["postgresql", "sqlite"]

DATABASES: tuple[Database, ...] = ("postgresql", "sqlite")


@dataclass(frozen=True)
class Backend:
    """One way to keep conversations on one database. ``requirements`` are those of an environment of its own."""

    name: str
    database: Database
    place: str
    title: str
    requirements: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name under which its figures are kept."""
        return f"{self.database}/{self.name}"


def _adapter(name: str) -> str:
    return f"benchmarks.adapters.{name}"


OURS = "chatstore"
BASE = "raw"

OWN = (
    Backend(BASE, "postgresql", _adapter("raw_postgresql:RawPostgreSQL"), "raw asyncpg"),
    Backend(OURS, "postgresql", _adapter("chatstore:Chatstore"), "chatstore"),
    Backend("orm", "postgresql", _adapter("orm:PlainORM"), "SQLAlchemy ORM"),
    Backend(BASE, "sqlite", _adapter("raw_sqlite:RawSQLite"), "raw sqlite3 in threads"),
    Backend(OURS, "sqlite", _adapter("chatstore:Chatstore"), "chatstore"),
    Backend("aiosqlite", "sqlite", _adapter("raw_aiosqlite:RawAiosqlite"), "raw aiosqlite"),
    Backend("orm", "sqlite", _adapter("orm:PlainORM"), "SQLAlchemy ORM"),
)

PEERS = (
    Backend(
        "openai-agents",
        "postgresql",
        _adapter("openai_agents:OpenAIAgents"),
        "openai-agents SQLAlchemySession",
        ("openai-agents[sqlalchemy]==0.24.0", "asyncpg==0.32.0"),
    ),
    Backend(
        "langgraph",
        "postgresql",
        _adapter("langgraph:LangGraph"),
        "langgraph AsyncPostgresStore",
        ("langgraph==1.2.22", "langgraph-checkpoint-postgres==3.2.0", "psycopg[binary,pool]==3.3.9"),
    ),
    Backend(
        "langchain",
        "postgresql",
        _adapter("langchain:LangChain"),
        "langchain-postgres PostgresChatMessageHistory",
        ("langchain-postgres==0.0.19", "psycopg[binary,pool]==3.3.9"),
    ),
    Backend(
        "google-adk",
        "postgresql",
        _adapter("google_adk:GoogleADK"),
        "google-adk DatabaseSessionService",
        ("google-adk[db]==2.13.0", "asyncpg==0.32.0"),
    ),
    Backend(
        "agno",
        "postgresql",
        _adapter("agno:Agno"),
        "agno AsyncPostgresDb",
        ("agno==3.1.10", "sqlalchemy[asyncio]==2.1.9", "psycopg[binary]==3.3.9"),
    ),
    Backend(
        "chainlit",
        "postgresql",
        _adapter("chainlit:Chainlit"),
        "chainlit SQLAlchemyDataLayer",
        ("chainlit==2.12.0", "sqlalchemy[asyncio]==2.1.9", "asyncpg==0.32.0"),
    ),
)
