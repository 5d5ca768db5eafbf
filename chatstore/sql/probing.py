"""Whether a database can do what a store needs: its revision, its tables, a write that is read back."""

from __future__ import annotations

import secrets
from collections.abc import Coroutine, Sequence
from typing import Any

from chatstore.errors import IntegrityError
from chatstore.sql import schema
from chatstore.sql.connections import Unit
from chatstore.sql.dialects import Row
from chatstore.sql.tables import Tables
from chatstore.sql.units import BoundUnits, Units

_NAMES = ("database", "threads", "items", "attachments", "usage", "deletions", "blobs", "chunks", "probes")
_LOOKS = ", ".join(f"EXISTS (SELECT 1 FROM {{{name}}} WHERE 1 = 0)" for name in _NAMES)
_LOOK = f"SELECT version_num, {_LOOKS} FROM {{version}}"
"""The revision, by a statement that fails where a table is missing or may not be read."""

_STORE = "INSERT INTO {probes} (id, written) VALUES (:id, {now}) ON CONFLICT (id) DO NOTHING"
_READ = "SELECT count(*) FROM {probes} WHERE id = :id"
_REMOVE = "DELETE FROM {probes} WHERE id = :id OR written < {now} - 3600000000"
"""With what was left an hour ago or before, by a process that was killed."""


async def probe(units: Units | BoundUnits, tables: Tables, *, any_revision: bool) -> str | None:
    """Raise what keeps a store from using the database; return what its operator should know, if anything."""
    ((found, *_),) = await units.read("check", _fetch(_LOOK)) or [(None,)]
    remark = None
    if schema.is_newer(found):
        remark = schema.newer(found)
    elif not any_revision:
        schema.check_revision(found, tables)
    row = {"id": secrets.token_hex(16)}
    await units.write("check", _fetch(_STORE, **row), repeatable=True)
    ((count,),) = await units.read("check", _fetch(_READ, **row))
    await units.write("check", _fetch(_REMOVE, **row), repeatable=True)
    if count != 1:
        raise IntegrityError("check: a row that was just written cannot be read; do reads go to another server?")
    return remark


def _fetch(template: str, **values: Any) -> Any:
    def fetch(unit: Unit) -> Coroutine[Any, Any, Sequence[Row]]:
        return unit.fetch(template, values)

    return fetch
