"""The tables: the only description of the schema. The migrations make it; a test holds the two together.

The owner (tenant, user) comes first in every key, so that the schema distributes by owner and no key of one
owner can meet another's. Items belong to a thread by its ``key``, a random number of the thread's row rather
than its id: a deleted thread's id can be used again while its items are still being removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import postgresql

_NAMES = {
    "pk": "%(table_name)s_pkey",
    "fk": "%(table_name)s_thread_fkey",
}


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one store, under its prefix and in its schema."""

    metadata: MetaData
    database: Table
    threads: Table
    items: Table
    attachments: Table
    usage: Table
    deletions: Table
    blobs: Table
    chunks: Table
    probes: Table
    prefix: str

    @property
    def version(self) -> str:
        """The name of Alembic's version table, which is the store's own."""
        return f"{self.prefix}version"


@lru_cache
def make_tables(prefix: str = "chatstore_", schema: str | None = None) -> Tables:
    """Return the tables under ``prefix`` and in the PostgreSQL ``schema``."""
    metadata = MetaData(schema=schema, naming_convention=_NAMES)
    database = Table(f"{prefix}database", metadata, Column("id", _key(), primary_key=True))
    threads = _threads(f"{prefix}threads", metadata)
    items = _items(prefix, metadata, threads)
    attachments = _attachments(prefix, metadata, threads)
    usage, deletions = _usage(prefix, metadata)
    blobs, chunks = _blobs(prefix, metadata)
    probes = Table(
        f"{prefix}probes",
        metadata,
        Column("id", _key(), primary_key=True),
        Column("written", BigInteger, nullable=False),
    )
    return Tables(metadata, database, threads, items, attachments, usage, deletions, blobs, chunks, probes, prefix)


def _items(prefix: str, metadata: MetaData, threads: Table) -> Table:
    items = Table(
        f"{prefix}items",
        metadata,
        *_owner(),
        Column("thread_key", BigInteger, nullable=False),
        Column("id", _key(), nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("type", Text, nullable=False),
        Column("created_at", Text, nullable=False),
        Column("instant", BigInteger, nullable=False),
        Column("size", Integer, nullable=False),
        Column("payload", _json(), nullable=False),
        PrimaryKeyConstraint("tenant", "user_id", "thread_key", "id"),
        _of_thread(threads),
    )
    Index(f"{prefix}items_position", *_columns(items, "tenant user_id thread_key position"), unique=True)
    return items


def _attachments(prefix: str, metadata: MetaData, threads: Table) -> Table:
    attachments = Table(
        f"{prefix}attachments",
        metadata,
        *_owner(),
        Column("id", _key(), nullable=False),
        Column("thread_key", BigInteger),
        Column("thread_id", _key()),
        Column("name", Text, nullable=False),
        Column("mime_type", Text, nullable=False),
        Column("size", BigInteger),
        Column("sha256", Text),
        Column("state", Text, nullable=False),
        Column("metadata", _json(), nullable=False),
        Column("created_at", Text, nullable=False),
        Column("instant", BigInteger, nullable=False),
        Column("blob_key", _key()),
        Column("sniffed", Text),
        Column("charge", BigInteger, nullable=False, server_default=text("0")),
        Column("declared_size", BigInteger),
        Column("expires", BigInteger),
        PrimaryKeyConstraint("tenant", "user_id", "id"),
        _of_thread(threads),
    )
    Index(f"{prefix}attachments_thread", *_columns(attachments, "tenant user_id thread_key instant id"))
    Index(f"{prefix}attachments_blob", attachments.c.blob_key)
    Index(
        f"{prefix}attachments_expires",
        attachments.c.expires,
        sqlite_where=text("expires IS NOT NULL"),
        postgresql_where=text("expires IS NOT NULL"),
    )
    return attachments


def _usage(prefix: str, metadata: MetaData) -> tuple[Table, Table]:
    """What each owner has stored, and the bytes that wait to be deleted."""
    usage = Table(
        f"{prefix}usage",
        metadata,
        *_owner(),
        Column("files", BigInteger, nullable=False),
        Column("bytes", BigInteger, nullable=False),
        PrimaryKeyConstraint("tenant", "user_id"),
    )
    deletions = Table(
        f"{prefix}deletions",
        metadata,
        *_owner(),
        Column("blob_key", _key(), nullable=False),
        Column("due", BigInteger, nullable=False),
        Column("attempts", Integer, nullable=False),
        PrimaryKeyConstraint("tenant", "user_id", "blob_key"),
    )
    Index(f"{prefix}deletions_due", deletions.c.due)
    Index(f"{prefix}deletions_blob", deletions.c.blob_key)
    return usage, deletions


def _blobs(prefix: str, metadata: MetaData) -> tuple[Table, Table]:
    """A blob's row makes its chunks visible: they are written before it, under a number of their own."""
    blobs = Table(
        f"{prefix}blobs",
        metadata,
        Column("key", _key(), nullable=False),
        Column("number", BigInteger, nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("sha256", Text, nullable=False),
        Column("modified", BigInteger, nullable=False),
        PrimaryKeyConstraint("key"),
    )
    chunks = Table(
        f"{prefix}chunks",
        metadata,
        Column("key", _key(), nullable=False),
        Column("number", BigInteger, nullable=False),
        Column("start", BigInteger, nullable=False),
        Column("written", BigInteger, nullable=False),
        Column("data", LargeBinary, nullable=False),
        PrimaryKeyConstraint("key", "number", "start"),
    )
    return blobs, chunks


def _threads(name: str, metadata: MetaData) -> Table:
    table = Table(
        name,
        metadata,
        *_owner(),
        Column("key", BigInteger, nullable=False),
        Column("id", _key(), nullable=False),
        Column("title", Text),
        Column("status", Text, nullable=False),
        Column("reason", Text),
        Column("metadata", _json(), nullable=False),
        Column("created_at", Text, nullable=False),
        Column("instant", BigInteger, nullable=False),
        Column("updated", BigInteger, nullable=False),
        Column("revision", Integer, nullable=False),
        Column("title_revision", Integer, nullable=False),
        Column("status_revision", Integer, nullable=False),
        Column("metadata_revision", Integer, nullable=False),
        Column("last_position", BigInteger, nullable=False),
        Column("latest_instant", BigInteger, nullable=False),
        Column("deleted", BigInteger),
        Column("appended", BigInteger),
        PrimaryKeyConstraint("tenant", "user_id", "key"),
    )
    live: dict[str, Any] = {"sqlite_where": text("deleted IS NULL"), "postgresql_where": text("deleted IS NULL")}
    Index(f"{name}_id", *_columns(table, "tenant user_id id"), unique=True, **live)
    Index(f"{name}_activity", *_columns(table, "tenant user_id updated id"), **live)
    Index(f"{name}_created", *_columns(table, "tenant user_id instant id"), **live)
    Index(
        f"{name}_deleted",
        table.c.deleted,
        sqlite_where=text("deleted IS NOT NULL"),
        postgresql_where=text("deleted IS NOT NULL"),
    )
    return table


def _key() -> Any:
    """Text that is compared byte for byte, whatever the database's collation."""
    return Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _json() -> Any:
    """JSON text: PostgreSQL's ``json`` keeps it to the letter, NUL escapes included, where ``jsonb`` would not."""
    return Text().with_variant(postgresql.JSON(), "postgresql")


def _owner() -> tuple[Column[str], Column[str]]:
    return Column("tenant", _key(), nullable=False), Column("user_id", _key(), nullable=False)


def _of_thread(threads: Table) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["tenant", "user_id", "thread_key"], _columns(threads, "tenant user_id key"), ondelete="CASCADE"
    )


def _columns(table: Table, names: str) -> list[Column[Any]]:
    return [table.c[name] for name in names.split()]
