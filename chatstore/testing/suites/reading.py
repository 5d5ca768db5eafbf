"""Read back what a store holds, and put it so that it can be compared."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from chatstore.errors import ChatStoreError
from chatstore.models import Attachment, Item, Order, Page, Thread, ThreadOrder
from chatstore.owners import Owner
from chatstore.protocols import Store


async def item_pages(
    store: Store, thread_id: str, owner: Owner, *, limit: int = 1000, order: Order = "asc"
) -> list[Page[Item]]:
    """Return all pages of a thread's items, each reached by the cursor of the one before."""
    pages = [await store.load_thread_items(thread_id, owner=owner, limit=limit, order=order)]
    while pages[-1].after is not None:
        after = pages[-1].after
        pages.append(await store.load_thread_items(thread_id, owner=owner, limit=limit, order=order, after=after))
    return pages


async def all_items(store: Store, thread_id: str, owner: Owner, *, order: Order = "asc") -> list[Item]:
    """Return all items of a thread."""
    return [item for page in await item_pages(store, thread_id, owner, order=order) for item in page.data]


async def item_ids(store: Store, thread_id: str, owner: Owner, *, order: Order = "asc") -> list[str]:
    """Return the ids of all items of a thread."""
    return [item.id for item in await all_items(store, thread_id, owner, order=order)]


async def thread_pages(
    store: Store, owner: Owner, *, limit: int = 1000, order: Order = "asc", by: ThreadOrder = "created"
) -> list[Page[Thread]]:
    """Return all pages of an owner's threads, each reached by the cursor of the one before."""
    pages = [await store.load_threads(owner=owner, limit=limit, order=order, by=by)]
    while pages[-1].after is not None:
        pages.append(await store.load_threads(owner=owner, limit=limit, order=order, by=by, after=pages[-1].after))
    return pages


async def all_threads(store: Store, owner: Owner, *, order: Order = "asc", by: ThreadOrder = "created") -> list[Thread]:
    """Return all threads of an owner."""
    return [thread for page in await thread_pages(store, owner, order=order, by=by) for thread in page.data]


async def thread_ids(store: Store, owner: Owner, *, order: Order = "asc", by: ThreadOrder = "created") -> list[str]:
    """Return the ids of all threads of an owner."""
    return [thread.id for thread in await all_threads(store, owner, order=order, by=by)]


async def attachment_pages(store: Store, thread_id: str, owner: Owner, *, limit: int = 1000) -> list[Page[Attachment]]:
    """Return all pages of a thread's attachment records."""
    pages = [await store.load_thread_attachments(thread_id, owner=owner, limit=limit)]
    while pages[-1].after is not None:
        after = pages[-1].after
        pages.append(await store.load_thread_attachments(thread_id, owner=owner, limit=limit, after=after))
    return pages


async def attachment_ids(store: Store, thread_id: str, owner: Owner) -> list[str]:
    """Return the ids of a thread's attachment records."""
    return [one.id for page in await attachment_pages(store, thread_id, owner) for one in page.data]


async def snapshot(store: Store, owner: Owner) -> dict[str, Any]:
    """Return everything that can be listed of an owner, with positions, revisions and times of writing."""
    threads = {}
    for thread in await all_threads(store, owner):
        items = [(item.position, exactly(item)) for item in await all_items(store, thread.id, owner)]
        files = [exactly(one) for page in await attachment_pages(store, thread.id, owner) for one in page.data]
        threads[thread.id] = (exactly(thread), thread.revision, thread.updated_at, items, files)
    return threads


def exactly(value: Any) -> Any:
    """Return ``value`` in a form that tells 1 from True and -0.0 from 0.0, without what a store numbers by itself."""
    if isinstance(value, Thread):
        status = (value.status.type, value.status.reason)
        return ("thread", value.id, value.title, status, repr(value.metadata), value.created_at.isoformat())
    if isinstance(value, Item):
        return ("item", value.id, value.thread_id, value.type, repr(value.data), value.created_at.isoformat())
    if isinstance(value, Attachment):
        named = (value.id, value.thread_id, value.name, value.mime_type, value.size, value.sha256, value.state)
        return ("attachment", *named, repr(value.metadata), value.created_at.isoformat())
    if isinstance(value, Page):
        return ("page", [exactly(one) for one in value.data], value.has_more)
    if isinstance(value, list):
        return [exactly(one) for one in value]
    return value


async def errors_of(*calls: Awaitable[Any]) -> list[type[ChatStoreError] | None]:
    """Make the calls one after another and return the error of each, ``None`` for one that was answered."""
    errors: list[type[ChatStoreError] | None] = []
    for call in calls:
        try:
            await call
        except ChatStoreError as error:
            errors.append(type(error))
        else:
            errors.append(None)
    return errors


async def outcome(call: Awaitable[Any]) -> Any:
    """Return what a call answers, in comparable form: its value, or the type and text of its error."""
    try:
        return exactly(await call)
    except ChatStoreError as error:
        return (type(error).__name__, str(error))
