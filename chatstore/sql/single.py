"""Writes as one statement each, for a database that can lock, write and answer in one: PostgreSQL.

Ownership check, position, insert and the touch of the thread are one round trip in autocommit. Every statement
locks the thread's row first, so that none can deadlock with another. What one statement cannot decide, because
its snapshot was taken before its lock was granted, is answered with ``STEPWISE`` and nothing written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from chatstore.errors import ConflictError, NotFoundError
from chatstore.inputs import NewItem, ThreadChanges
from chatstore.positions import STEP
from chatstore.sql.dialects import Row, Values
from chatstore.sql.statements import LIVE_THREAD, OWNED, THREAD_COLUMNS
from chatstore.sql.units import Unit

COARSE = 1_000_000
"""Microseconds by which ``updated`` may lag, so that most appends leave the index of activity alone."""

NO_INSTANT: Final = -(2**63)
"""The latest instant of a thread that never had an item."""


@dataclass(frozen=True, slots=True)
class Written:
    """Where an item was written, and the creation time that is stored with it."""

    position: int
    created_at: str
    instant: int


class Stepwise:
    """The answer of a statement that wrote nothing, for the unit must be done in steps under the lock."""


STEPWISE: Final = Stepwise()

_NOW = "{now}"

_LOCKED = (
    "thread AS MATERIALIZED (SELECT key, last_position, latest_instant, updated"
    f" FROM {{threads}} WHERE {LIVE_THREAD} {{lock}})"
)

_TOUCHED = f"updated = CASE WHEN t.updated < {_NOW} - {COARSE} THEN {_NOW} ELSE t.updated END"

_WRITE_ITEMS = (
    "WITH input AS MATERIALIZED (SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:types AS text[]),"
    " CAST(:payloads AS text[]), CAST(:sizes AS integer[]), CAST(:times AS text[]), CAST(:instants AS bigint[]),"
    " CAST(:dated AS boolean[])) WITH ORDINALITY AS given(id, type, payload, size, created_at, instant, dated, n)),"
    f" {_LOCKED},"
    " gate AS MATERIALIZED (SELECT key,"
    f" greatest({_NOW} * {STEP}, last_position + {STEP}) AS first,"
    " CAST(:at AS bigint) < latest_instant AS placed,"
    " CAST(:all_or_none AS boolean) AND last_position <>"
    f" (SELECT last_position FROM {{threads}} WHERE {LIVE_THREAD}) AS stale,"
    " CAST(:all_or_none AS boolean) AND EXISTS (SELECT 1 FROM input JOIN {items} AS i ON i.id = input.id"
    f" WHERE i.tenant = :tenant AND i.user_id = :user_id AND i.thread_key = thread.key"
    " AND input.dated AND i.created_at <> input.created_at) AS clash"
    " FROM thread),"
    " written AS (INSERT INTO {items} AS i (tenant, user_id, thread_key, id, position, type, created_at, instant,"
    " size, payload)"
    f" SELECT :tenant, :user_id, gate.key, input.id, gate.first + (input.n - 1) * {STEP}, input.type,"
    " input.created_at, input.instant, input.size, CAST(input.payload AS json)"
    " FROM input CROSS JOIN gate WHERE gate.placed IS NOT TRUE AND NOT gate.stale AND NOT gate.clash"
    " ON CONFLICT (tenant, user_id, thread_key, id) DO UPDATE SET %s"
    " RETURNING id, position, created_at, instant),"
    f" touched AS (UPDATE {{threads}} AS t SET last_position = greatest(t.last_position, w.position),"
    f" latest_instant = greatest(t.latest_instant, w.instant), {_TOUCHED}"
    " FROM (SELECT max(position) AS position, max(instant) AS instant FROM written) AS w CROSS JOIN gate"
    " WHERE t.tenant = :tenant AND t.user_id = :user_id AND t.key = gate.key AND w.position IS NOT NULL)"
    " SELECT gate.key IS NULL, gate.placed OR gate.stale, gate.clash,"
    " written.position, written.created_at, written.instant"
    " FROM input LEFT JOIN gate ON true LEFT JOIN written ON written.id = input.id ORDER BY input.n"
)

_UNDATED = "EXISTS (SELECT 1 FROM input WHERE input.id = excluded.id AND NOT input.dated)"
_SAME = f" WHERE i.created_at = excluded.created_at OR {_UNDATED}"

ADD_ITEMS = _WRITE_ITEMS % ("type = excluded.type, size = excluded.size, payload = excluded.payload" + _SAME)
ADD_ITEMS_AGAIN = _WRITE_ITEMS % ("size = i.size" + _SAME)
"""The library's own retry of an add: a row that is there already, perhaps changed since, stays as it is."""

SAVE_NEW_ITEM = _WRITE_ITEMS % (
    "type = excluded.type, size = excluded.size, payload = excluded.payload,"
    f" created_at = CASE WHEN {_UNDATED} THEN i.created_at ELSE excluded.created_at END,"
    f" instant = CASE WHEN {_UNDATED} OR i.created_at = excluded.created_at"
    " THEN i.instant ELSE excluded.instant END"
)

SAVE_LOADED_ITEM = (
    f"WITH {_LOCKED},"
    " written AS (UPDATE {items} AS i SET type = :type, size = :size, payload = {payload},"
    " created_at = CASE WHEN CAST(:dated AS boolean) THEN :created_at ELSE i.created_at END,"
    " instant = CASE WHEN CAST(:dated AS boolean) AND i.created_at <> :created_at THEN :instant ELSE i.instant END"
    " FROM thread WHERE i.tenant = :tenant AND i.user_id = :user_id AND i.thread_key = thread.key"
    " AND i.id = :item_id RETURNING i.position, i.created_at, i.instant),"
    f" touched AS (UPDATE {{threads}} AS t SET latest_instant = greatest(t.latest_instant, written.instant), {_TOUCHED}"
    " FROM thread CROSS JOIN written"
    " WHERE t.tenant = :tenant AND t.user_id = :user_id AND t.key = thread.key)"
    " SELECT position, created_at, instant FROM written"
)

_DELETE = (
    f"WITH {_LOCKED}%s,"
    " gone AS (DELETE FROM {items} AS i USING thread%s"
    " WHERE i.tenant = :tenant AND i.user_id = :user_id AND i.thread_key = thread.key AND %s RETURNING i.id),"
    f" touched AS (UPDATE {{threads}} AS t SET {_TOUCHED} FROM thread"
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
    f" SELECT DISTINCT :tenant, :user_id, blob_key, {_NOW}, 0 FROM files WHERE blob_key IS NOT NULL"
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
    " long AS MATERIALIZED (SELECT count(*) > :limit AS is_long FROM (SELECT 1 FROM {items} AS i"
    f" WHERE {OWNED} AND thread_key = (SELECT key FROM thread) LIMIT :limit + 1) AS some_items),"
    " files AS (DELETE FROM {attachments} AS a USING thread"
    " WHERE a.tenant = :tenant AND a.user_id = :user_id AND a.thread_key = thread.key"
    " RETURNING a.blob_key, a.charge),"
    f"{_UNCHARGED},"
    f" hidden AS (UPDATE {{threads}} AS t SET deleted = {_NOW} FROM thread CROSS JOIN long"
    " WHERE t.tenant = :tenant AND t.user_id = :user_id AND t.key = thread.key AND long.is_long),"
    " gone AS (DELETE FROM {threads} AS t USING thread CROSS JOIN long"
    " WHERE t.tenant = :tenant AND t.user_id = :user_id AND t.key = thread.key AND NOT long.is_long)"
    " SELECT is_long FROM long"
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
    f" updated = CASE WHEN {_ANY} THEN greatest(updated, {_NOW}) ELSE updated END"
    f" WHERE {LIVE_THREAD} AND ({_OUTRUN}) IS NOT TRUE RETURNING {THREAD_COLUMNS})"
    " SELECT found.id IS NOT NULL, changed.* FROM (SELECT 1) AS one"
    f" LEFT JOIN (SELECT id FROM {{threads}} WHERE {LIVE_THREAD}) AS found ON true"
    " LEFT JOIN changed ON true"
)


async def write_items(
    unit: Unit, template: str, keys: Values, items: Sequence[NewItem], at: int | None, operation: str
) -> list[Written] | Stepwise:
    """Insert or replace items; raise ``NotFoundError`` without the thread, ``ConflictError`` for an id in use."""
    rows = await unit.fetch(
        template,
        {
            **keys,
            "ids": [item.id for item in items],
            "types": [item.type for item in items],
            "payloads": [item.payload for item in items],
            "sizes": [item.size for item in items],
            "times": [item.created_at for item in items],
            "instants": [item.instant for item in items],
            "dated": [item.dated for item in items],
            "at": at,
            "all_or_none": len(items) > 1 and any(item.named for item in items),
        },
    )
    missing, stepwise, clash = rows[0][:3]
    if missing:
        raise NotFoundError(f"{operation}: no thread {keys['thread_id']!r}")
    if stepwise:
        return STEPWISE
    if clash or any(row[3] is None for row in rows):
        ids = items[0].id if len(items) == 1 else "one of the items"
        raise ConflictError(f"{operation}: item {ids!r} exists with another created_at")
    return [Written(*row[3:6]) for row in rows]


async def save_loaded_item(unit: Unit, keys: Values, item: NewItem) -> Written | None:
    """Replace a stored item in its place; ``None`` where it or its thread is gone."""
    rows = await unit.fetch(
        SAVE_LOADED_ITEM,
        {
            **keys,
            "item_id": item.id,
            "type": item.type,
            "size": item.size,
            "payload": item.payload,
            "dated": item.dated,
            "created_at": item.created_at,
            "instant": item.instant,
        },
    )
    return Written(*rows[0]) if rows else None


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
