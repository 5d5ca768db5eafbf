"""Writes as one statement each, for a database that can lock, write and answer in one: PostgreSQL.

Ownership check, position, insert and the touch of the thread are one round trip in autocommit. Every statement
locks the thread's row first, so that none can deadlock with another. What one statement cannot decide, because
its snapshot was taken before its lock was granted, is answered with ``STEPWISE`` and nothing written.
"""

from __future__ import annotations

from typing import Any, Final

from chatstore.errors import NotFoundError
from chatstore.inputs import ThreadChanges
from chatstore.sql.connections import Unit
from chatstore.sql.dialects import Row, Values
from chatstore.sql.statements import LIVE_THREAD, OWNED, THREAD_COLUMNS

COARSE = 1_000_000
"""Microseconds by which ``updated`` may lag, so that most appends leave the index of activity alone."""

NO_INSTANT: Final = -(2**63)
"""The latest instant of a thread that never had an item."""


class Stepwise:
    """The answer of a statement that wrote nothing, for the unit must be done in steps under the lock."""


STEPWISE: Final = Stepwise()

NOW = "{now}"

_LOCKED = (
    "thread AS MATERIALIZED (SELECT key, last_position, latest_instant, updated, appended"
    f" FROM {{threads}} WHERE {LIVE_THREAD} {{lock}})"
)

TOUCHED = f"updated = CASE WHEN t.updated < {NOW} - {COARSE} THEN {NOW} ELSE t.updated END"

_DELETE = (
    f"WITH {_LOCKED}%s,"
    " gone AS (DELETE FROM {items} AS i USING thread%s"
    " WHERE i.tenant = :tenant AND i.user_id = :user_id AND i.thread_key = thread.key AND %s RETURNING i.id),"
    f" touched AS (UPDATE {{threads}} AS t SET {TOUCHED} FROM thread"
    " WHERE t.tenant = :tenant AND t.user_id = :user_id AND t.key = thread.key"
    " AND EXISTS (SELECT 1 FROM gone))"
    " SELECT %s"
)

DELETE_ITEMS = _DELETE % ("", "", "i.id {ids}", "true")

DELETE_ITEMS_AFTER = _DELETE % (
    ", mark AS MATERIALIZED (SELECT i.position FROM {items} AS i CROSS JOIN thread"
    " WHERE i.tenant = :tenant AND i.user_id = :user_id AND i.thread_key = thread.key AND i.id = :after)",
    " CROSS JOIN mark",
    "i.position > mark.position",
    "EXISTS (SELECT 1 FROM mark)",
)

_UNCHARGED = (
    " queued AS (INSERT INTO {deletions} (tenant, user_id, blob_key, due, attempts)"
    f" SELECT DISTINCT :tenant, :user_id, blob_key, {NOW}, 0 FROM files WHERE blob_key IS NOT NULL"
    " ON CONFLICT (tenant, user_id, blob_key) DO NOTHING),"
    " uncharged AS (UPDATE {usage} AS u SET files = u.files - gone.files, bytes = u.bytes - gone.bytes"
    " FROM (SELECT count(*) AS files, coalesce(sum(charge), 0) AS bytes FROM files WHERE blob_key IS NOT NULL)"
    " AS gone WHERE u.tenant = :tenant AND u.user_id = :user_id AND gone.files > 0)"
)
"""Of deleted records: queue their bytes, which go once no record has them, and take the charge off the owner."""

DELETE_ATTACHMENT = (
    f"WITH files AS (DELETE FROM {{attachments}} WHERE {OWNED} AND id = :attachment_id"
    f" RETURNING blob_key, charge),{_UNCHARGED} SELECT 1"
)

DELETE_THREAD = (
    f"WITH {_LOCKED},"
    " long AS MATERIALIZED (SELECT CASE WHEN appended <= :limit THEN false ELSE (SELECT count(*) > :limit"
    " FROM (SELECT 1 FROM {items} AS i"
    f" WHERE {OWNED} AND thread_key = (SELECT key FROM thread) LIMIT :limit + 1) AS some_items)"
    " END AS is_long FROM thread),"
    " files AS (DELETE FROM {attachments} AS a USING thread"
    " WHERE a.tenant = :tenant AND a.user_id = :user_id AND a.thread_key = thread.key"
    " RETURNING a.blob_key, a.charge),"
    f"{_UNCHARGED},"
    f" hidden AS (UPDATE {{threads}} AS t SET deleted = {NOW} FROM thread CROSS JOIN long"
    " WHERE t.tenant = :tenant AND t.user_id = :user_id AND t.key = thread.key AND long.is_long),"
    " gone AS (DELETE FROM {threads} AS t USING thread CROSS JOIN long"
    " WHERE t.tenant = :tenant AND t.user_id = :user_id AND t.key = thread.key AND NOT long.is_long)"
    " SELECT EXISTS (SELECT 1 FROM long WHERE is_long)"
)

_SETS = {
    "title": "CAST(:set_title AS boolean) AND title IS DISTINCT FROM :title",
    "status": "CAST(:set_status AS boolean) AND (status, reason) IS DISTINCT FROM (:status, :reason)",
    "metadata": "CAST(:set_metadata AS boolean) AND CAST(metadata AS text) <> CAST(:metadata AS text)",
}
_ANY = " OR ".join(f"({condition})" for condition in _SETS.values())
_REVISIONS = ", ".join(
    f"{name}_revision = CASE WHEN {condition} THEN revision + 1 ELSE {name}_revision END"
    for name, condition in _SETS.items()
)
_OUTRUN = " OR ".join(
    f"({condition} AND {name}_revision > CAST(:revision AS integer))" for name, condition in _SETS.items()
)

CHANGE_THREAD = (
    "WITH changed AS (UPDATE {threads} SET"
    " title = CASE WHEN CAST(:set_title AS boolean) THEN :title ELSE title END,"
    " status = CASE WHEN CAST(:set_status AS boolean) THEN :status ELSE status END,"
    " reason = CASE WHEN CAST(:set_status AS boolean) THEN :reason ELSE reason END,"
    " metadata = CASE WHEN CAST(:set_metadata AS boolean) THEN {metadata} ELSE metadata END,"
    f" {_REVISIONS}, revision = revision + CAST({_ANY} AS integer),"
    f" updated = CASE WHEN {_ANY} THEN greatest(updated, {NOW}) ELSE updated END"
    f" WHERE {LIVE_THREAD} AND ({_OUTRUN}) IS NOT TRUE RETURNING {THREAD_COLUMNS})"
    " SELECT found.id IS NOT NULL, changed.* FROM (SELECT 1) AS one"
    f" LEFT JOIN (SELECT id FROM {{threads}} WHERE {LIVE_THREAD}) AS found ON true"
    " LEFT JOIN changed ON true"
)


async def delete_items_after(unit: Unit, keys: Values, after: str) -> bool:
    """Delete the items after the one whose id is ``after``; return whether there is such an item."""
    rows = await unit.fetch(DELETE_ITEMS_AFTER, {**keys, "after": after})
    return bool(rows[0][0])


async def delete_thread(unit: Unit, keys: Values, limit: int) -> bool:
    """Delete a thread; return whether it was too long, and is hidden until the sweeper has removed its items."""
    rows = await unit.fetch(DELETE_THREAD, {**keys, "limit": limit})
    return bool(rows[0][0])


async def change_thread(unit: Unit, keys: Values, changes: ThreadChanges, operation: str) -> Row | Stepwise:
    """Write the changed fields and return the thread's row; raise as ``update_thread`` does."""
    status = changes.status if isinstance(changes.status, tuple) else (None, None)
    values: dict[str, Any] = {
        **keys,
        "set_title": changes.title is not ...,
        "title": None if changes.title is ... else changes.title,
        "set_status": changes.status is not ...,
        "status": status[0],
        "reason": status[1],
        "set_metadata": changes.metadata is not ...,
        "metadata": None if changes.metadata is ... else changes.metadata,
        "revision": changes.revision,
    }
    found, *row = (await unit.fetch(CHANGE_THREAD, values))[0]
    if row[0] is not None:
        return row
    if not found:
        raise NotFoundError(f"{operation}: no thread {keys['thread_id']!r}")
    return STEPWISE
