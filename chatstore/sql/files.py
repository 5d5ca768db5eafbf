"""What belongs to the upload of a file: its record's state, the owner's usage, the queue of deletions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from chatstore.errors import ConflictError, LimitError, NotFoundError
from chatstore.inputs import NewAttachment
from chatstore.owners import Owner
from chatstore.protocols import FileRecord, Limits, QueuedDeletion
from chatstore.sql.connections import Unit
from chatstore.sql.dialects import Row, Values
from chatstore.sql.rows import attachment_of
from chatstore.sql.statements import ALL_OWNERS, ATTACHMENT_COLUMNS, LIVE_THREAD, OWNED

FILE_COLUMNS = f"{ATTACHMENT_COLUMNS}, blob_key, declared_size, sniffed"

_BEGIN = (
    "INSERT INTO {attachments} (tenant, user_id, id, thread_key, thread_id, name, mime_type, state, metadata,"
    " created_at, instant, blob_key, charge, declared_size, expires)"
    f" VALUES (:tenant, :user_id, :attachment_id, (SELECT key FROM {{threads}} WHERE {LIVE_THREAD}), :thread_id,"
    " :name, :mime_type, 'pending', {metadata}, :created_at, :instant, :blob_key, :charge, :size, {now} + :lasting)"
    " ON CONFLICT (tenant, user_id, id) DO NOTHING"
    f" RETURNING {ATTACHMENT_COLUMNS}"
)

_LOCK_THREAD = f"SELECT key FROM {{threads}} WHERE {LIVE_THREAD} {{lock}}"

_CHARGE = (
    "INSERT INTO {usage} AS u (tenant, user_id, files, bytes) VALUES (:tenant, :user_id, :files, :bytes)"
    " ON CONFLICT (tenant, user_id) DO UPDATE SET files = u.files + excluded.files, bytes = u.bytes + excluded.bytes"
    " RETURNING files, bytes"
)

LOAD_FILE = f"SELECT {FILE_COLUMNS} FROM {{attachments}} WHERE {OWNED} AND id = :attachment_id"

LOAD_FILES = f"SELECT {FILE_COLUMNS} FROM {{attachments}} WHERE {OWNED} AND id {{ids}} AND blob_key IS NOT NULL"

_LOCK_FILE = f"SELECT {FILE_COLUMNS}, charge FROM {{attachments}} WHERE {OWNED} AND id = :attachment_id {{lock}}"

_READY = (
    "UPDATE {attachments} SET state = 'ready', size = :size, sha256 = :sha256, sniffed = :sniffed,"
    f" blob_key = :blob_key, charge = :size, expires = NULL WHERE {OWNED} AND id = :attachment_id"
    f" RETURNING {ATTACHMENT_COLUMNS}"
)

_DELETE = f"DELETE FROM {{attachments}} WHERE {OWNED} AND id = :attachment_id RETURNING blob_key, charge"

_COPY = (
    "INSERT INTO {attachments} (tenant, user_id, id, thread_key, thread_id, name, mime_type, size, sha256, state,"
    " metadata, created_at, instant, blob_key, sniffed, charge)"
    f" SELECT tenant, user_id, :copy_id, (SELECT key FROM {{threads}} WHERE {LIVE_THREAD}), :thread_id, name,"
    " mime_type, size, sha256, state, metadata, created_at, instant, blob_key, sniffed, charge"
    f" FROM {{attachments}} WHERE {OWNED} AND id = :attachment_id"
    f" RETURNING {ATTACHMENT_COLUMNS}"
)

_QUEUE = (
    "INSERT INTO {deletions} (tenant, user_id, blob_key, due, attempts)"
    " VALUES (:tenant, :user_id, :blob_key, {now} + CAST(:delay AS BIGINT), 0)"
    " ON CONFLICT (tenant, user_id, blob_key) DO UPDATE SET due = excluded.due"
)

_CALL_OFF = f"DELETE FROM {{deletions}} WHERE {OWNED} AND blob_key = :blob_key AND attempts = 0 RETURNING 1"

QUEUE_OF_THREAD = (
    "INSERT INTO {deletions} (tenant, user_id, blob_key, due, attempts)"
    " SELECT DISTINCT tenant, user_id, blob_key, {now}, 0 FROM {attachments}"
    f" WHERE {OWNED} AND thread_key = :key AND blob_key IS NOT NULL"
    " ON CONFLICT (tenant, user_id, blob_key) DO NOTHING"
)

DELETE_OF_THREAD = f"DELETE FROM {{attachments}} WHERE {OWNED} AND thread_key = :key RETURNING charge, blob_key"

_TAKE = (
    f"{ALL_OWNERS}UPDATE {{deletions}} SET attempts = attempts + 1,"
    " due = {now} + CAST(:retry_after AS BIGINT) * (attempts + 1)"
    " WHERE (tenant, user_id, blob_key) IN (SELECT d.tenant, d.user_id, d.blob_key FROM {deletions} AS d"
    " WHERE d.due <= {now} AND NOT EXISTS (SELECT 1 FROM {attachments} AS a WHERE a.tenant = d.tenant"
    " AND a.user_id = d.user_id AND a.blob_key = d.blob_key)"
    " ORDER BY d.due LIMIT :limit {skip_locked})"
    " RETURNING tenant, user_id, blob_key, attempts - 1"
)

ACKNOWLEDGE = f"DELETE FROM {{deletions}} WHERE {OWNED} AND blob_key = :blob_key"

_EXPIRED = (
    f"{ALL_OWNERS}SELECT tenant, user_id, id FROM {{attachments}} WHERE expires <= {{now}}"
    " ORDER BY expires LIMIT :limit {skip_locked}"
)

KNOWN_KEYS = (
    f"{ALL_OWNERS}SELECT blob_key FROM {{attachments}} WHERE blob_key {{ids}}"
    " UNION SELECT blob_key FROM {deletions} WHERE blob_key {ids}"
)


def list_files(*, continued: bool) -> str:
    """Return the statement of a page of ready files of all owners."""
    start = " AND (tenant, user_id, id) > (:tenant, :user_id, :after_id)" if continued else ""
    return (
        f"{ALL_OWNERS}SELECT {FILE_COLUMNS}, tenant, user_id FROM {{attachments}} WHERE state = 'ready'{start}"
        " ORDER BY tenant, user_id, id LIMIT :limit"
    )


def file_of(row: Row) -> FileRecord:
    """Return the record of a row of ``FILE_COLUMNS``."""
    return FileRecord(attachment_of(row), row[10], row[11], row[12])


async def begin(
    unit: Unit, keys: Values, new: NewAttachment, blob_key: str, size: int | None, lasting: timedelta, limits: Limits
) -> Row:
    """Insert a pending record and charge its owner; raise as ``begin_upload`` does."""
    values = {
        **keys,
        "attachment_id": new.id,
        "thread_id": new.thread_id,
        "name": new.name,
        "mime_type": new.mime_type,
        "metadata": new.metadata,
        "created_at": new.created_at,
        "instant": new.instant,
        "blob_key": blob_key,
        "size": size,
        "charge": size or 0,
        "lasting": lasting // timedelta(microseconds=1),
    }
    if new.thread_id is not None and not await unit.fetch(_LOCK_THREAD, values):
        raise NotFoundError(f"begin_upload: no thread {new.thread_id!r}")
    rows = await unit.fetch(_BEGIN, values)
    if rows:
        await charge(unit, keys, 1, size or 0, limits)
        return rows[0]
    stored = await unit.fetch(LOAD_FILE, values)
    if unit.repeated and stored and stored[0][10] == blob_key:
        return stored[0]
    raise ConflictError(f"begin_upload: attachment {new.id!r} exists")


async def finish(
    unit: Unit, keys: Values, blob_key: str, size: int, sha256: str, sniffed: str | None, limits: Limits
) -> Row:
    """Turn a pending record ready; raise as ``finish_upload`` does."""
    rows = await unit.fetch(_LOCK_FILE, keys)
    if not rows or rows[0][10] is None:
        raise NotFoundError(f"finish_upload: no upload of attachment {keys['attachment_id']!r}")
    row = rows[0]
    if row[5] == "ready":
        if (row[3], row[4]) != (size, sha256):
            raise ConflictError(f"finish_upload: attachment {keys['attachment_id']!r} is ready with other bytes")
        if row[10] != blob_key:
            await queue(unit, keys, blob_key)
        return row
    values = {**keys, "blob_key": blob_key, "size": size, "sha256": sha256, "sniffed": sniffed}
    if row[10] != blob_key and not await unit.fetch(_CALL_OFF, values):
        raise NotFoundError(f"finish_upload: the time of the upload of {keys['attachment_id']!r} is over")
    await charge(unit, keys, 0, size - row[13], limits)
    (ready,) = await unit.fetch(_READY, values)
    if row[10] != blob_key:
        await queue(unit, keys, row[10])
    return ready


async def copy(unit: Unit, keys: Values, limits: Limits) -> Row:
    """Insert a record of the bytes of another one; raise as ``copy_attachment`` does."""
    if not await unit.fetch(_LOCK_THREAD, keys):
        raise NotFoundError(f"copy_attachment: no thread {keys['thread_id']!r}")
    rows = await unit.fetch(_LOCK_FILE, keys)
    if not rows or rows[0][5] != "ready":
        raise NotFoundError(f"copy_attachment: no uploaded attachment {keys['attachment_id']!r}")
    stored = await unit.fetch(LOAD_FILE, {**keys, "attachment_id": keys["copy_id"]})
    if not stored:
        (copied,) = await unit.fetch(_COPY, keys)
        await charge(unit, keys, 1, rows[0][13], limits)
        return copied
    if (stored[0][6], stored[0][10]) != (keys["thread_id"], rows[0][10]):
        raise ConflictError(f"copy_attachment: attachment {keys['copy_id']!r} exists")
    return stored[0]


async def charge(unit: Unit, keys: Values, files: int, size: int, limits: Limits | None = None) -> None:
    """Add to what an owner has stored; raise ``LimitError`` where that is more than the limits allow."""
    rows = await unit.fetch(_CHARGE, {**keys, "files": files, "bytes": size})
    total_files, total_bytes = rows[0]
    if limits is None:
        return
    if files > 0 and limits.owner_files is not None and total_files > limits.owner_files:
        raise LimitError(f"the owner has {limits.owner_files:,} files, as many as are allowed", "owner_files")
    if size > 0 and limits.owner_bytes is not None and total_bytes > limits.owner_bytes:
        raise LimitError(f"the owner's files would exceed {limits.owner_bytes:,} bytes", "owner_bytes")


async def queue(unit: Unit, keys: Values, blob_key: str, delay: timedelta = timedelta(0)) -> None:
    """Queue bytes for deletion after ``delay``; they go once no record has them."""
    await unit.fetch(_QUEUE, {**keys, "blob_key": blob_key, "delay": delay // timedelta(microseconds=1)})


async def delete(unit: Unit, keys: Values) -> None:
    """Delete a record, with what it is charged, and queue its bytes; quiet when absent."""
    rows = await unit.fetch(_DELETE, keys)
    for blob_key, charged in rows:
        if blob_key is not None:
            await charge(unit, keys, -1, -charged)
            await queue(unit, keys, blob_key)


async def delete_of_thread(unit: Unit, keys: Values, key: int) -> None:
    """Delete the records of a thread and queue their bytes."""
    values = {**keys, "key": key}
    await unit.fetch(QUEUE_OF_THREAD, values)
    rows = await unit.fetch(DELETE_OF_THREAD, values)
    charges = [charged for charged, blob_key in rows if blob_key is not None]
    if charges:
        await charge(unit, keys, -len(charges), -sum(charges))


async def take(unit: Unit, limit: int, retry_after: timedelta) -> list[QueuedDeletion]:
    """Take deletions that are due, those left alone whose bytes a record still has."""
    values = {"limit": limit, "retry_after": retry_after // timedelta(microseconds=1)}
    rows = await unit.fetch(_TAKE, values)
    return [QueuedDeletion(Owner(user, tenant), blob_key, attempts) for tenant, user, blob_key, attempts in rows]


async def expire(unit: Unit, limit: int) -> int:
    """Delete pending records whose time is over; return how many."""
    rows: Sequence[Any] = await unit.fetch(_EXPIRED, {"limit": limit})
    for tenant, user, id in sorted(rows):  # two sweepers that lock owners in one order do not wait for each other
        await delete(unit, {"tenant": tenant, "user_id": user, "attachment_id": id})
    return len(rows)
