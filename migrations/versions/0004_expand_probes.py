"""A table of its own for what a readiness check writes and reads back.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    prefix, schema = _place()
    op.create_table(
        f"{prefix}probes",
        sa.Column("id", sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql"), nullable=False),
        sa.Column("written", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"{prefix}probes_pkey"),
        schema=schema,
    )


def downgrade() -> None:
    prefix, schema = _place()
    op.drop_table(f"{prefix}probes", schema=schema)


def _place() -> tuple[str, str | None]:
    options = op.get_context().opts
    return options["prefix"], options["schema_name"]
