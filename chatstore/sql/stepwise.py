"""Writes in several statements under the thread's lock, inside one short transaction: on every database.

SQLite's way, and PostgreSQL's where one statement cannot decide. Whatever may be refused is refused before the
first row is written, so that a refusal inside a caller's transaction leaves nothing half done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Any

from chatstore import positions
from chatstore.errors import ConflictError, NotFoundError
from chatstore.inputs import AttachmentChanges, NewAttachment, NewItem, ThreadChanges
from chatstore.merging import ThreadFields, merge
from chatstore.sql import files, statements
from chatstore.sql.connections import Unit
from chatstore.sql.dialects import Row, Values
from chatstore.sql.items import ItemWrite, Kind, Written
from chatstore.sql.single import COARSE


@dataclass(frozen=True, slots=True)
class _Locked:
    """A thread's row, locked until the transaction ends; ``now`` is the database's time."""

    key: int
    last_position: int
    latest_instant: int
    updated: int
    now: int
    fields: ThreadFields


@dataclass(frozen=True, slots=True)
class _Stored:
    position: int
    created_at: str
    instant: int


async def _lock(unit: Unit, keys: Values) -> _Locked | None:
    rows = await unit.fetch(statements.LOCK_THREAD, keys)
    if not rows:
        return None
    key, last_position, latest_instant, updated, now, title, status, reason, metadata, *revisions = rows[0]
    fields = ThreadFields(title, (status, reason), metadata, *revisions)
    return _Locked(key, last_position, latest_instant, updated, now, fields)


async def _lock_found(unit: Unit, keys: Values, operation: str) -> _Locked:
    thread = await _lock(unit, keys)
    if thread is None:
        raise NotFoundError(f"{operation}: no thread {keys['thread_id']!r}")
    return thread


async def _touch(unit: Unit, keys: Values, thread: _Locked, *, added: int = 0) -> None:
    updated = thread.now if thread.updated < thread.now - COARSE else thread.updated
    await unit.fetch(
        statements.TOUCH_THREAD,
        {
            **keys,
            "key": thread.key,
            "last_position": thread.last_position,
            "latest_instant": thread.latest_instant,
            "updated": updated,
            "added": added,
        },
    )


async def write_items(unit: Unit, write: ItemWrite) -> Sequence[Written]:
    """Write the items of one caller; raise ``NotFoundError`` or ``ConflictError``."""
    if write.kind is Kind.ADD:
        if unit.repeated:
            await _check_own(unit, write)
        return await _add_items(unit, write.keys, write.items, write.at, write.operation)
    return [await _save_item(unit, write.keys, write.items[0], loaded=write.kind is Kind.REPLACE)]


async def _check_own(unit: Unit, write: ItemWrite) -> None:
    """Raise ``UnavailableError`` where items are there that a first try of this write would not have left so."""
    await _lock_found(unit, write.keys, write.operation)
    for item in write.items:
        rows = await unit.fetch(statements.LOAD_ITEM, {**write.keys, "item_id": item.id})
        if rows and (rows[0][1], rows[0][5]) != (item.type, item.payload):
            raise write.lost()


async def _add_items(
    unit: Unit, keys: Values, items: Sequence[NewItem], at: int | None, operation: str
) -> list[Written]:
    """Append items, or place one by time; an item that is there already is replaced, on a retry left as it is."""
    thread = await _lock_found(unit, keys, operation)
    stored = await _stored_items(unit, keys, thread.key, [item.id for item in items if item.named or unit.repeated])
    for item in items:
        if item.id in stored and item.dated and stored[item.id].created_at != item.created_at:
            raise ConflictError(f"{operation}: item {item.id!r} exists with another created_at")
    again = [_kept_time(item, stored[item.id]) for item in items if item.id in stored]
    if not unit.repeated:
        await _replace(unit, keys, thread.key, again)
    new = [item for item in items if item.id not in stored]
    drawn, thread = await _draw(unit, keys, thread, new, at)
    await _insert(unit, keys, thread.key, new, drawn)
    await _touch(unit, keys, _with_instants(thread, [*new, *again]), added=len(new))
    written = {
        item.id: Written(position, item.created_at, item.instant) for item, position in zip(new, drawn, strict=True)
    }
    written |= {id: Written(row.position, row.created_at, row.instant) for id, row in stored.items()}
    return [written[item.id] for item in items]


async def _save_item(unit: Unit, keys: Values, item: NewItem, *, loaded: bool) -> Written:
    """Replace an item in its place, or append one that was never stored."""
    thread = await _lock_found(unit, keys, "save_item")
    stored = await _stored_items(unit, keys, thread.key, [item.id])
    if item.id in stored:
        position = stored[item.id].position
        item = _kept_time(item, stored[item.id])
        await _replace(unit, keys, thread.key, [item])
    elif loaded:
        raise NotFoundError(f"save_item: no item {item.id!r} in thread {keys['thread_id']!r}")
    else:
        (position,), thread = await _draw(unit, keys, thread, [item], None)
        await _insert(unit, keys, thread.key, [item], [position])
    await _touch(unit, keys, _with_instants(thread, [item]), added=0 if item.id in stored else 1)
    return Written(position, item.created_at, item.instant)


async def delete_items(unit: Unit, keys: Values, ids: Sequence[str]) -> None:
    """Delete items by id; quiet where they or the thread are absent."""
    thread = await _lock(unit, keys)
    if thread is None:
        return
    values = {**keys, "key": thread.key, "ids": unit.dialect.array(ids)}
    if await unit.fetch(statements.DELETE_ITEMS, values):
        await _touch(unit, keys, thread)


async def delete_items_after(unit: Unit, keys: Values, after: str) -> bool:
    """Delete the items after the one whose id is ``after``; return whether there is such an item."""
    thread = await _lock(unit, keys)
    mark = {} if thread is None else await _stored_items(unit, keys, thread.key, [after])
    if thread is None or after not in mark:
        return False
    values = {**keys, "key": thread.key, "position": mark[after].position}
    if await unit.fetch(statements.DELETE_ITEMS_AFTER, values):
        await _touch(unit, keys, thread)
    return True


async def delete_thread(unit: Unit, keys: Values, limit: int) -> bool:
    """Delete a thread; return whether it was too long, and is hidden until the sweeper has removed its items."""
    thread = await _lock(unit, keys)
    if thread is None:
        return False
    values = {**keys, "key": thread.key, "limit": limit}
    ((is_long,),) = await unit.fetch(statements.IS_LONG, values)
    await files.delete_of_thread(unit, keys, thread.key)
    await unit.fetch(statements.HIDE_THREAD if is_long else statements.DELETE_THREAD, values)
    return bool(is_long)


async def change_thread(unit: Unit, keys: Values, changes: ThreadChanges, operation: str) -> Row:
    """Write the changed fields and return the thread's row; raise as ``update_thread`` does."""
    thread = await _lock_found(unit, keys, operation)
    fields = merge(thread.fields, changes, keys["thread_id"], operation)
    if fields is not thread.fields:
        values = {
            **keys,
            "key": thread.key,
            "title": fields.title,
            "status": fields.status[0],
            "reason": fields.status[1],
            "metadata": fields.metadata,
            "revision": fields.revision,
            "title_revision": fields.title_revision,
            "status_revision": fields.status_revision,
            "metadata_revision": fields.metadata_revision,
            "updated": max(thread.updated, thread.now),
        }
        await unit.fetch(statements.UPDATE_THREAD, values)
    return (await unit.fetch(statements.LOAD_THREAD, keys))[0]


async def save_attachment(
    unit: Unit, keys: Values, new: NewAttachment, changes: AttachmentChanges, *, by_hand: bool
) -> Row:
    """Insert a pending record or change a stored one, and return its row; raise as ``save_attachment`` does."""
    keys = {**keys, "attachment_id": new.id}
    joined = changes.thread_id
    thread = None if joined is ... else await _lock(unit, {**keys, "thread_id": joined})
    stored = await unit.fetch(statements.LOCK_ATTACHMENT, keys)
    _check_one_thread(stored, joined, new.id)
    if joined is not ... and thread is None:
        raise NotFoundError(f"save_attachment: no thread {joined!r}")
    if not stored and by_hand:
        await unit.fetch(statements.INSERT_ATTACHMENT, {**keys, **_attachment_values(new)})
        stored = await unit.fetch(statements.LOCK_ATTACHMENT, keys)
        _check_one_thread(stored, joined, new.id)
    if not stored:
        raise NotFoundError(f"save_attachment: no attachment {new.id!r}")
    name, metadata, thread_id = stored[0][1], stored[0][7], stored[0][6]
    values = {
        **keys,
        "thread_id": thread_id if changes.thread_id is ... else changes.thread_id,
        "name": name if changes.name is ... else changes.name,
        "metadata": metadata if changes.metadata is ... else changes.metadata,
    }
    await unit.fetch(statements.UPDATE_ATTACHMENT, values)
    return (await unit.fetch(statements.LOCK_ATTACHMENT, keys))[0]


def _check_one_thread(stored: Sequence[Row], joined: str | EllipsisType, attachment_id: str) -> None:
    if joined is not ... and stored and stored[0][6] not in (None, joined):
        raise ConflictError(f"save_attachment: attachment {attachment_id!r} belongs to another thread already")


async def sweep_some(unit: Unit, limit: int) -> bool:
    """Remove the first ``limit`` items of a deleted thread, the thread with the last; return whether there was one."""
    rows = await unit.fetch(statements.HIDDEN_THREAD, {})
    if not rows:
        return False
    values = dict(zip(("tenant", "user_id", "key"), rows[0], strict=True)) | {"limit": limit}
    kept = await unit.fetch(statements.NTH_POSITION, values)
    if kept:
        await unit.fetch(statements.DELETE_ITEMS_BEFORE, {**values, "position": kept[0][0]})
    else:
        await unit.fetch(statements.DELETE_THREAD, values)
    return True


async def _stored_items(unit: Unit, keys: Values, key: int, ids: Sequence[str]) -> dict[str, _Stored]:
    if not ids:
        return {}
    values = {**keys, "key": key, "ids": unit.dialect.array(ids)}
    rows = await unit.fetch(statements.EXISTING_ITEMS, values)
    return {id: _Stored(position, created_at, instant) for id, position, created_at, instant in rows}


async def _draw(
    unit: Unit, keys: Values, thread: _Locked, items: Sequence[NewItem], at: int | None
) -> tuple[list[int], _Locked]:
    """Return a position for each of the items, and the thread as it is after them.

    A placing moves ``last_position`` too: whoever computed a place from what was there before sees it.
    """
    if not items:
        return [], thread
    if at is not None and at < thread.latest_instant:
        values = {**keys, "key": thread.key, "limit": positions.WINDOW + 1}
        newest = await unit.fetch(statements.NEWEST_ITEMS, values)
        spot = positions.placed([(row[0], row[1]) for row in reversed(newest)], at)
        if spot is not None:
            return [spot], replace(thread, last_position=max(thread.last_position + 1, spot))
    first = positions.appended(thread.now, thread.last_position)
    drawn = [first + number * positions.STEP for number in range(len(items))]
    return drawn, replace(thread, last_position=drawn[-1])


async def _insert(unit: Unit, keys: Values, key: int, items: Sequence[NewItem], drawn: Sequence[int]) -> None:
    values = [
        {**item_values(keys, key, item), "position": position} for item, position in zip(items, drawn, strict=True)
    ]
    await unit.execute_many(statements.INSERT_ITEM, values)


async def _replace(unit: Unit, keys: Values, key: int, items: Sequence[NewItem]) -> None:
    await unit.execute_many(statements.REPLACE_ITEM, [item_values(keys, key, item) for item in items])


def item_values(keys: Values, key: int, item: NewItem) -> dict[str, Any]:
    """Return the parameters of a statement that writes an item, except its position."""
    return {
        **keys,
        "key": key,
        "item_id": item.id,
        "type": item.type,
        "created_at": item.created_at,
        "instant": item.instant,
        "size": item.size,
        "payload": item.payload,
    }


def _attachment_values(new: NewAttachment) -> dict[str, Any]:
    return {
        "name": new.name,
        "mime_type": new.mime_type,
        "metadata": new.metadata,
        "created_at": new.created_at,
        "instant": new.instant,
    }


def _kept_time(item: NewItem, stored: _Stored) -> NewItem:
    if item.dated and item.created_at != stored.created_at:
        return item
    return replace(item, created_at=stored.created_at, instant=stored.instant)


def _with_instants(thread: _Locked, items: Sequence[NewItem]) -> _Locked:
    return replace(thread, latest_instant=max([thread.latest_instant, *(item.instant for item in items)]))
