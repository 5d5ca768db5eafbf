"""Rows to models, without validating again what was validated when it was written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from chatstore import instants, payloads
from chatstore.models import Attachment, Item, Thread, ThreadStatus, stored

Row = Sequence[Any]

_ACTIVE = ThreadStatus()


def thread_of(row: Row) -> Thread:
    """Return the thread of a row of ``THREAD_COLUMNS``."""
    id, title, status, reason, metadata, created_at, instant, updated, revision = row[:9]
    return Thread.stored(
        id=id,
        title=title,
        created_at=instants.from_text(created_at, instant),
        updated_at=instants.from_microseconds(updated),
        status=_ACTIVE
        if (status, reason) == ("active", None)
        else ThreadStatus.model_construct(type=status, reason=reason),
        metadata=payloads.decode(metadata),
        revision=revision,
    )


def item_of(row: Row, thread_id: str) -> Item:
    """Return the item of a row of id, type, created_at, instant, position and payload, the payload still text."""
    id, kind, created_at, instant, position, payload = row
    return Item.of_payload(kind, payload, id, thread_id, instants.from_text(created_at, instant), position)


def page_of_items(rows: Iterable[Row], thread_id: str) -> list[Item]:
    """Return the items of the rows of a page: :func:`item_of` written out, for most of a page's cost is here."""
    moment = instants.from_text
    return [
        stored(
            Item,
            {"id": id, "thread_id": thread_id, "type": kind, "created_at": moment(at, instant), "position": position},
            {"_payload": payload},
        )
        for id, kind, at, instant, position, payload, _ in rows
    ]


def attachment_of(row: Row) -> Attachment:
    """Return the record of a row of ``ATTACHMENT_COLUMNS``."""
    id, name, mime_type, size, sha256, state, thread_id, metadata, created_at, instant = row[:10]
    return Attachment.stored(
        id=id,
        name=name,
        mime_type=mime_type,
        size=size,
        sha256=sha256,
        state=state,
        thread_id=thread_id,
        metadata=payloads.decode(metadata),
        created_at=instants.from_text(created_at, instant),
    )
