"""The bytes of attachments: where they are, what they are charged, what waits to be deleted, blobs in the database.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    prefix, schema = _place()

    attachments = f"{prefix}attachments"
    op.add_column(attachments, sa.Column("blob_key", _key()), schema=schema)
    op.add_column(attachments, sa.Column("sniffed", sa.Text), schema=schema)
    zero = sa.text("0")
    op.add_column(attachments, sa.Column("charge", sa.BigInteger, nullable=False, server_default=zero), schema=schema)
    op.add_column(attachments, sa.Column("declared_size", sa.BigInteger), schema=schema)
    op.add_column(attachments, sa.Column("expires", sa.BigInteger), schema=schema)
    op.create_index(f"{attachments}_blob", attachments, ["blob_key"], schema=schema)
    pending: dict[str, Any] = {
        "sqlite_where": sa.text("expires IS NOT NULL"),
        "postgresql_where": sa.text("expires IS NOT NULL"),
    }
    op.create_index(f"{attachments}_expires", attachments, ["expires"], schema=schema, **pending)

    usage = f"{prefix}usage"
    op.create_table(
        usage,
        *_owner(),
        sa.Column("files", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "user_id", name=f"{usage}_pkey"),
        schema=schema,
    )

    deletions = f"{prefix}deletions"
    op.create_table(
        deletions,
        *_owner(),
        sa.Column("blob_key", _key(), nullable=False),
        sa.Column("due", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "user_id", "blob_key", name=f"{deletions}_pkey"),
        schema=schema,
    )
    op.create_index(f"{deletions}_due", deletions, ["due"], schema=schema)
    op.create_index(f"{deletions}_blob", deletions, ["blob_key"], schema=schema)

    blobs = f"{prefix}blobs"
    op.create_table(
        blobs,
        sa.Column("key", _key(), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("modified", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", name=f"{blobs}_pkey"),
        schema=schema,
    )
    chunks = f"{prefix}chunks"
    op.create_table(
        chunks,
        sa.Column("key", _key(), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("written", sa.BigInteger, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("key", "number", "start", name=f"{chunks}_pkey"),
        schema=schema,
    )


def downgrade() -> None:
    prefix, schema = _place()
    for name in ("chunks", "blobs", "deletions", "usage"):
        op.drop_table(f"{prefix}{name}", schema=schema)
    attachments = f"{prefix}attachments"
    for name in ("expires", "blob"):
        op.drop_index(f"{attachments}_{name}", attachments, schema=schema)
    for column in ("expires", "declared_size", "charge", "sniffed", "blob_key"):
        op.drop_column(attachments, column, schema=schema)


def _place() -> tuple[str, str | None]:
    options = op.get_context().opts
    return options["prefix"], options["schema_name"]


def _key() -> Any:
    return sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _owner() -> tuple[sa.Column[Any], sa.Column[Any]]:
    return sa.Column("tenant", _key(), nullable=False), sa.Column("user_id", _key(), nullable=False)
