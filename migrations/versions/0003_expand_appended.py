"""How many items a thread can have at most, so that deleting a short one need not count them.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    prefix, schema = _place()
    op.add_column(f"{prefix}threads", sa.Column("appended", sa.BigInteger), schema=schema)


def downgrade() -> None:
    prefix, schema = _place()
    op.drop_column(f"{prefix}threads", "appended", schema=schema)


def _place() -> tuple[str, str | None]:
    options = op.get_context().opts
    return options["prefix"], options["schema_name"]
