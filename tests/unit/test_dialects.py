"""Which databases are spoken to, and how a unit of work on each is begun."""

from __future__ import annotations

import pytest
from sqlalchemy.dialects.mysql.aiomysql import MySQLDialect_aiomysql
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine.interfaces import Dialect as EngineDialect

from chatstore.errors import ConfigurationError
from chatstore.sql.dialects import PostgreSQL, dialect_of


@pytest.mark.parametrize(
    ("made", "named"),
    [(PGDialect_psycopg(), "postgresql through psycopg"), (MySQLDialect_aiomysql(), "mysql through aiomysql")],  # type: ignore[no-untyped-call]
    ids=["another driver", "another database"],
)
def test_an_engine_that_is_not_understood_is_named_with_those_that_are(made: EngineDialect, named: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{named}; .* postgresql\+asyncpg and sqlite\+aiosqlite$"):
        dialect_of(made)


@pytest.mark.parametrize(
    ("level", "begun"),
    [
        (None, "BEGIN"),
        ("AUTOCOMMIT", "BEGIN"),
        ("autocommit", "BEGIN"),
        ("SERIALIZABLE", "BEGIN ISOLATION LEVEL SERIALIZABLE"),
        ("REPEATABLE_READ", "BEGIN ISOLATION LEVEL REPEATABLE READ"),
    ],
)
def test_a_transaction_has_the_isolation_that_the_engine_was_given(level: str | None, begun: str) -> None:
    assert PostgreSQL().begin(level) == begun
