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
