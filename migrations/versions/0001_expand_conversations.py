"""Threads, items, attachment records and the identity of the database.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    prefix, schema = _place()
    live: dict[str, Any] = {"sqlite_where": sa.text("deleted IS NULL"), "postgresql_where": sa.text("deleted IS NULL")}

    database = f"{prefix}database"
    op.create_table(
        database,
        sa.Column("id", _key(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"{database}_pkey"),
        schema=schema,
    )
    # Drawn by the database, so that DDL that was printed once can be run in several.
    drawn = {"postgresql": "md5(gen_random_uuid()::text)", "sqlite": "lower(hex(randomblob(16)))"}
    table = sa.table(database, sa.column("id"), schema=schema)
    op.execute(table.insert().values(id=sa.literal_column(drawn[op.get_context().dialect.name])))

    threads = f"{prefix}threads"
    op.create_table(
        threads,
        *_owner(),
        sa.Column("key", sa.BigInteger, nullable=False),
        sa.Column("id", _key(), nullable=False),
        sa.Column("title", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("metadata", _json(), nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("instant", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("title_revision", sa.Integer, nullable=False),
        sa.Column("status_revision", sa.Integer, nullable=False),
        sa.Column("metadata_revision", sa.Integer, nullable=False),
        sa.Column("last_position", sa.BigInteger, nullable=False),
        sa.Column("latest_instant", sa.BigInteger, nullable=False),
        sa.Column("deleted", sa.BigInteger),
        sa.PrimaryKeyConstraint("tenant", "user_id", "key", name=f"{threads}_pkey"),
        schema=schema,
    )
    op.create_index(f"{threads}_id", threads, ["tenant", "user_id", "id"], unique=True, schema=schema, **live)
    op.create_index(f"{threads}_activity", threads, ["tenant", "user_id", "updated", "id"], schema=schema, **live)
    op.create_index(f"{threads}_created", threads, ["tenant", "user_id", "instant", "id"], schema=schema, **live)
    op.create_index(
        f"{threads}_deleted",
        threads,
        ["deleted"],
        schema=schema,
        sqlite_where=sa.text("deleted IS NOT NULL"),
        postgresql_where=sa.text("deleted IS NOT NULL"),
    )

    items = f"{prefix}items"
    op.create_table(
        items,
        *_owner(),
        sa.Column("thread_key", sa.BigInteger, nullable=False),
        sa.Column("id", _key(), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("instant", sa.BigInteger, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("payload", _json(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "user_id", "thread_key", "id", name=f"{items}_pkey"),
        _of_thread(items, threads, schema),
        schema=schema,
    )
    op.create_index(
        f"{items}_position", items, ["tenant", "user_id", "thread_key", "position"], unique=True, schema=schema
    )

    attachments = f"{prefix}attachments"
    op.create_table(
        attachments,
        *_owner(),
        sa.Column("id", _key(), nullable=False),
        sa.Column("thread_key", sa.BigInteger),
        sa.Column("thread_id", _key()),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("mime_type", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger),
        sa.Column("sha256", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("metadata", _json(), nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("instant", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "user_id", "id", name=f"{attachments}_pkey"),
        _of_thread(attachments, threads, schema),
        schema=schema,
    )
    op.create_index(
        f"{attachments}_thread", attachments, ["tenant", "user_id", "thread_key", "instant", "id"], schema=schema
    )


def downgrade() -> None:
    prefix, schema = _place()
    for name in ("attachments", "items", "threads", "database"):
        op.drop_table(f"{prefix}{name}", schema=schema)


def _place() -> tuple[str, str | None]:
    options = op.get_context().opts
    return options["prefix"], options["schema_name"]


def _key() -> Any:
    return sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _json() -> Any:
    return sa.Text().with_variant(postgresql.JSON(), "postgresql")


def _owner() -> tuple[sa.Column[Any], sa.Column[Any]]:
    return sa.Column("tenant", _key(), nullable=False), sa.Column("user_id", _key(), nullable=False)


def _of_thread(table: str, threads: str, schema: str | None) -> sa.ForeignKeyConstraint:
    referred = threads if schema is None else f"{schema}.{threads}"
    return sa.ForeignKeyConstraint(
        ["tenant", "user_id", "thread_key"],
        [f"{referred}.tenant", f"{referred}.user_id", f"{referred}.key"],
        name=f"{table}_thread_fkey",
        ondelete="CASCADE",
    )
