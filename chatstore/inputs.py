"""Check what callers hand in, once and alike for every store, and turn it into what is stored.

Everything here raises ``InvalidInputError`` before a store is asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import EllipsisType
from typing import Any, Literal, TypeVar

from chatstore import instants, payloads
from chatstore.errors import ConflictError, InvalidInputError
from chatstore.ids import check_key, new_id, new_item_id
from chatstore.models import Attachment, Item, Thread, ThreadStatus

MAX_LIMIT = 1000
MAX_BATCH = 1000
MAX_BATCH_BYTES = 64 * 1024 * 1024
MAX_METADATA_BYTES = 64 * 1024
MAX_ITEM_BYTES = 8 * 1024 * 1024
"""The default of ``open_store(max_item_bytes=...)``."""
MAX_TEXT = 1024
MAX_TYPE = 64

M = TypeVar("M", Thread, Item, Attachment)

_ACTIVE = ThreadStatus()
_FIELDS = {kind: frozenset(kind.model_fields) for kind in (Thread, Item, Attachment)}
_REFUSED = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class NewThread:
    """A thread as it is inserted; ``instant`` is its creation in microseconds."""

    id: str
    title: str | None
    status: str
    reason: str | None
    metadata: str
    created_at: str
    instant: int


@dataclass(frozen=True, slots=True)
class ThreadChanges:
    """The fields that a call sets, ``...`` where it leaves one alone."""

    title: str | EllipsisType | None = ...
    status: tuple[str, str | None] | EllipsisType = ...
    metadata: str | EllipsisType = ...
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item as it is written; ``dated`` says that the caller gave its ``created_at``."""

    id: str
    type: str
    payload: str
    size: int
    created_at: str
    instant: int
    dated: bool
    named: bool


@dataclass(frozen=True, slots=True)
class NewAttachment:
    """An attachment's record as it is inserted."""

    id: str
    name: str
    mime_type: str
    thread_id: str | None
    metadata: str
    created_at: str
    instant: int


@dataclass(frozen=True, slots=True)
class AttachmentChanges:
    """The fields that a save sets on a stored record, ``...`` where it leaves one alone."""

    name: str | EllipsisType = ...
    thread_id: str | EllipsisType = ...
    metadata: str | EllipsisType = ...


def check_limit(limit: object, what: str = "limit") -> int:
    """Return how many rows a page may have: ``limit``, at most 1,000."""
    if type(limit) is not int or limit < 1:
        raise InvalidInputError(f"{what}: must be an int of 1 or more")
    return min(limit, MAX_LIMIT)


def check_order(order: object) -> Literal["asc", "desc"]:
    """Return ``order`` when it is ``asc`` or ``desc``."""
    if order == "asc" or order == "desc":
        return "asc" if order == "asc" else "desc"
    raise InvalidInputError('order: must be "asc" or "desc"')


def check_by(by: object) -> Literal["created", "activity"]:
    """Return ``by`` when it names an order of threads."""
    if by == "created" or by == "activity":
        return "created" if by == "created" else "activity"
    raise InvalidInputError('by: must be "created" or "activity"')


def check_text(value: object, what: str, longest: int = MAX_TEXT) -> str:
    """Return ``value`` when it is text that every database keeps: no NUL, no lone surrogate, not too long."""
    if type(value) is not str:
        raise InvalidInputError(f"{what}: must be a str, not {type(value).__name__}")
    if len(value) > longest:
        raise InvalidInputError(f"{what}: at most {longest:,} characters")
    if _REFUSED.search(value):
        raise InvalidInputError(f"{what}: must not hold NUL or lone surrogates")
    return value


def check_keys(values: object, what: str) -> list[str]:
    """Return the ids as a list of at most 1,000; a lone string is refused, for it would be read letter by letter."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InvalidInputError(f"{what}: must be a list of ids")
    if len(values) > MAX_BATCH:
        raise InvalidInputError(f"{what}: at most {MAX_BATCH:,} in one call")
    return [check_key(value, what) for value in values]


def check_at(at: object) -> int | None:
    """Return the instant that an item is placed by, ``None`` for an append."""
    return None if at is None else instants.to_microseconds(instants.plain(at, "at"))


def deleted_items(item_ids: object, after: object) -> list[str]:
    """Return the ids to delete, none where everything ``after`` an item goes; exactly one of the two is given."""
    if (item_ids is None) == (after is None):
        raise InvalidInputError("delete_thread_items: give either item_ids or after")
    if after is not None:
        check_key(after, "after")
        return []
    return check_keys(item_ids, "item_ids")


def new_thread(
    *,
    id: str | None,
    title: str | None,
    metadata: dict[str, Any] | None,
    created_at: datetime | None,
    status: ThreadStatus = _ACTIVE,
) -> NewThread:
    """Return the thread to insert, with an id and a creation time where they are absent."""
    kind, reason = _status(status)
    moment = instants.now() if created_at is None else instants.plain(created_at)
    return NewThread(
        id=new_id("thr") if id is None else check_key(id, "id"),
        title=_title(title),
        status=kind,
        reason=reason,
        metadata=_metadata({} if metadata is None else metadata),
        created_at=instants.to_text(moment),
        instant=instants.to_microseconds(moment),
    )


def thread_changes(
    *,
    title: str | EllipsisType | None,
    status: ThreadStatus | EllipsisType,
    metadata: dict[str, Any] | EllipsisType,
    revision: int | None,
) -> ThreadChanges:
    """Return the changes of an ``update_thread``."""
    if revision is not None and (type(revision) is not int or not 0 <= revision < 2**31):
        raise InvalidInputError("revision: must be the int of a loaded thread")
    return ThreadChanges(
        title=... if isinstance(title, EllipsisType) else _title(title),
        status=... if isinstance(status, EllipsisType) else _status(status),
        metadata=... if isinstance(metadata, EllipsisType) else _metadata(metadata),
        revision=revision,
    )


def saved_thread(thread: object) -> tuple[str, NewThread | None, ThreadChanges]:
    """Return what ``save_thread`` does: the id, the row to insert if it is a thread built by hand, the changes."""
    thread = _whole(thread, Thread, "thread")
    by_hand = thread.revision is None
    changed = {"title", "status", "metadata"} if by_hand else thread.model_fields_set
    changes = thread_changes(
        title=thread.title if "title" in changed else ...,
        status=thread.status if "status" in changed else ...,
        metadata=thread.metadata if "metadata" in changed else ...,
        revision=thread.revision,
    )
    new = new_thread(
        id=thread.id,
        title=thread.title,
        metadata=thread.metadata,
        created_at=thread.created_at,
        status=thread.status,
    )
    return new.id, new if by_hand else None, changes


def new_item(item: object, max_bytes: int) -> NewItem:
    """Return the item to write, with an id and a creation time where they are absent."""
    item = _whole(item, Item, "item")
    kind = check_text(item.type, "type", MAX_TYPE)
    undecoded = "data" not in item.__dict__
    payload = payloads.check_payload(item.undecoded) if undecoded else payloads.encode(item.data)
    size = len(payload.encode())
    if size > max_bytes:
        raise InvalidInputError(f"data: {size:,} bytes of JSON, more than the {max_bytes:,} of max_item_bytes")
    moment = instants.now() if item.created_at is None else instants.plain(item.created_at)
    return NewItem(
        id=new_item_id(kind) if item.id is None else check_key(item.id, "id"),
        type=kind,
        payload=payload,
        size=size,
        created_at=instants.to_text(moment),
        instant=instants.to_microseconds(moment),
        dated=item.created_at is not None,
        named=item.id is not None,
    )


def new_items(items: object, max_bytes: int) -> tuple[list[NewItem], list[int]]:
    """Return the items of one batch, each id once, and for each given item its place among them.

    An id that is given twice is one item with the data given last; with two creation times it raises
    ``ConflictError``, as two calls would.
    """
    if isinstance(items, str) or not isinstance(items, Sequence):
        raise InvalidInputError("items: must be a list of Item")
    if len(items) > MAX_BATCH:
        raise InvalidInputError(f"items: at most {MAX_BATCH:,} in one call")
    unique: dict[str, NewItem] = {}
    ids = []
    for item in items:
        new = new_item(item, max_bytes)
        unique[new.id] = _repeated(unique[new.id], new) if new.id in unique else new
        ids.append(new.id)
    if sum(new.size for new in unique.values()) > MAX_BATCH_BYTES:
        raise InvalidInputError(f"items: at most {MAX_BATCH_BYTES:,} bytes of JSON in one call")
    places = {id: place for place, id in enumerate(unique)}
    return list(unique.values()), [places[id] for id in ids]


def saved_item(item: object, thread_id: str, max_bytes: int) -> tuple[NewItem, bool]:
    """Return the item to save and whether it was loaded before: then it must still be there."""
    new = new_item(item, max_bytes)
    assert isinstance(item, Item)
    if item.position is None:
        return new, False
    if item.thread_id is not None and item.thread_id != thread_id:
        raise InvalidInputError("item: was loaded from another thread; add it to this one with add_thread_item")
    return new, True


def saved_attachment(attachment: object) -> tuple[NewAttachment, bool, AttachmentChanges]:
    """Return what ``save_attachment`` does: the row, whether it may be inserted, and the changes to a stored one."""
    attachment = _whole(attachment, Attachment, "attachment")
    moment = instants.now() if attachment.created_at is None else instants.plain(attachment.created_at)
    thread_id = None if attachment.thread_id is None else check_key(attachment.thread_id, "thread_id")
    new = NewAttachment(
        id=check_key(attachment.id, "id"),
        name=check_text(attachment.name, "name"),
        mime_type=check_text(attachment.mime_type, "mime_type", 255),
        thread_id=thread_id,
        metadata=_metadata(attachment.metadata),
        created_at=instants.to_text(moment),
        instant=instants.to_microseconds(moment),
    )
    by_hand = "id" in attachment.model_fields_set
    changed = {"name", "thread_id", "metadata"} if by_hand else attachment.model_fields_set
    changes = AttachmentChanges(
        name=new.name if "name" in changed else ...,
        thread_id=thread_id if "thread_id" in changed and thread_id is not None else ...,
        metadata=new.metadata if "metadata" in changed else ...,
    )
    return new, by_hand, changes


def _whole(model: object, kind: type[M], what: str) -> M:
    """Return ``model`` when it is one of its kind with every field there, however it was made."""
    if not isinstance(model, kind):
        raise InvalidInputError(f"{what}: must be of type {kind.__name__}, not {type(model).__name__}")
    missing = _FIELDS[kind].difference(model.__dict__)
    if isinstance(model, Item) and model.undecoded is not None:
        missing -= {"data"}
    if missing:
        raise InvalidInputError(f"{what}: without {', '.join(sorted(missing))}")
    return model


def _repeated(first: NewItem, again: NewItem) -> NewItem:
    if again.dated and first.dated and again.created_at != first.created_at:
        raise ConflictError(f"add_thread_items: item {again.id!r} is given twice with different created_at")
    dated = first if first.dated else again
    return replace(again, created_at=dated.created_at, instant=dated.instant, dated=dated.dated)


def _title(title: object) -> str | None:
    return None if title is None else check_text(title, "title")


def _status(status: object) -> tuple[str, str | None]:
    if not isinstance(status, ThreadStatus):
        raise InvalidInputError(f"status: must be a ThreadStatus, not {type(status).__name__}")
    if status.type not in ("active", "locked", "closed"):
        raise InvalidInputError('status: its type must be "active", "locked" or "closed"')
    if status.reason is None:
        return status.type, None
    if status.type == "active":
        raise InvalidInputError("status: an active thread has no reason")
    return status.type, check_text(status.reason, "reason")


def _metadata(metadata: object) -> str:
    text = payloads.encode(metadata, "metadata")
    if len(text.encode()) > MAX_METADATA_BYTES:
        raise InvalidInputError(f"metadata: more than {MAX_METADATA_BYTES:,} bytes of JSON")
    return text
