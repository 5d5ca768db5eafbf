"""Every method of a store as one call, so that a promise about all of them is tested on all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from chatstore.models import Thread
from chatstore.owners import Owner
from chatstore.protocols import Store
from chatstore.testing.factories import NOON, message, upload


@dataclass(frozen=True, slots=True)
class Subject:
    """The ids that a call is about."""

    thread_id: str = "thread"
    item_id: str = "item"
    attachment_id: str = "file"


Call: TypeAlias = Callable[[Store, Any, Subject], Awaitable[Any]]


async def _iterate(store: Store, owner: Any, on: Subject) -> list[Any]:
    return [item async for item in store.iter_thread_items(on.thread_id, owner=owner)]


async def _transaction(store: Store, owner: Any, on: Subject) -> None:
    async with store.transaction():
        pass


async def _nothing(store: Store) -> None:
    pass


READS: dict[str, Call] = {
    "load_thread": lambda store, owner, on: store.load_thread(on.thread_id, owner=owner),
    "load_threads": lambda store, owner, on: store.load_threads(owner=owner),
    "load_item": lambda store, owner, on: store.load_item(on.thread_id, on.item_id, owner=owner),
    "load_thread_items": lambda store, owner, on: store.load_thread_items(on.thread_id, owner=owner),
    "iter_thread_items": _iterate,
    "load_attachment": lambda store, owner, on: store.load_attachment(on.attachment_id, owner=owner),
    "load_attachments": lambda store, owner, on: store.load_attachments([on.attachment_id], owner=owner),
    "load_thread_attachments": lambda store, owner, on: store.load_thread_attachments(on.thread_id, owner=owner),
}

WRITES: dict[str, Call] = {
    "create_thread": lambda store, owner, on: store.create_thread(owner=owner, id=on.thread_id, created_at=NOON),
    "save_thread": lambda store, owner, on: store.save_thread(Thread(id=on.thread_id, created_at=NOON), owner=owner),
    "update_thread": lambda store, owner, on: store.update_thread(on.thread_id, owner=owner, title="taken"),
    "delete_thread": lambda store, owner, on: store.delete_thread(on.thread_id, owner=owner),
    "add_thread_item": lambda store, owner, on: store.add_thread_item(
        on.thread_id, message("taken", id=on.item_id, created_at=NOON), owner=owner
    ),
    "add_thread_items": lambda store, owner, on: store.add_thread_items(
        on.thread_id, [message("taken", id=on.item_id, created_at=NOON)], owner=owner
    ),
    "save_item": lambda store, owner, on: store.save_item(
        on.thread_id, message("taken", id=on.item_id, created_at=NOON), owner=owner
    ),
    "delete_thread_item": lambda store, owner, on: store.delete_thread_item(on.thread_id, on.item_id, owner=owner),
    "delete_thread_items": lambda store, owner, on: store.delete_thread_items(on.thread_id, [on.item_id], owner=owner),
    "delete_thread_items_after": lambda store, owner, on: store.delete_thread_items(
        on.thread_id, owner=owner, after=on.item_id
    ),
    "save_attachment": lambda store, owner, on: store.save_attachment(upload(on.attachment_id), owner=owner),
    "save_attachment_in_thread": lambda store, owner, on: store.save_attachment(
        upload(on.attachment_id, thread_id=on.thread_id), owner=owner
    ),
    "delete_attachment": lambda store, owner, on: store.delete_attachment(on.attachment_id, owner=owner),
}

OWNED: dict[str, Call] = READS | WRITES
"""The methods that take an owner."""

UNITS: dict[str, Call] = {
    "transaction": _transaction,
    "run": lambda store, owner, on: store.run(_nothing),
    "check": lambda store, owner, on: store.check(),
}

CALLS: dict[str, Call] = OWNED | UNITS
"""All methods but the close."""


async def seed(store: Store, owner: Owner, on: Subject | None = None) -> Subject:
    """Store a thread with two items and an attachment under the ids of ``on``, and return these."""
    on = on or Subject()
    await store.create_thread(owner=owner, id=on.thread_id, title="kept", metadata={"kept": True}, created_at=NOON)
    kept = [message("kept", id=on.item_id, created_at=NOON), message("last", id=f"{on.item_id}-2", created_at=NOON)]
    await store.add_thread_items(on.thread_id, kept, owner=owner)
    await store.save_attachment(upload(on.attachment_id, thread_id=on.thread_id), owner=owner)
    return on
