"""Every way to name somebody else's data: each method, each of its arguments that names something.

An attack is one call by somebody who is not the owner of what it names. It is made twice, by the same attacker with
the same arguments: where the victim is, and where the victim never was. What comes of it must be the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeAlias

from chatstore.models import Attachment, Item, Order, Thread, ThreadOrder
from chatstore.owners import Owner
from chatstore.protocols import FileRecord, Limits, QueuedDeletion, Store
from chatstore.testing.factories import message, minutes, upload

DAY = timedelta(days=1)
LIMITS = Limits()
BYTES = b"abc"
SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

NAMES_NOTHING = {
    *("title", "metadata", "created_at", "status", "revision", "limit", "order", "by", "page_size", "at", "owner"),
    *("size", "expires_in", "limits", "sha256", "sniffed", "delay", "work", "retry_after"),
    *("name", "source", "mime_type", "start", "end", "download_name"),
}
"""Parameters that name no thread, item, attachment, bytes or place in a listing."""


@dataclass(frozen=True, slots=True)
class Loot:
    """What somebody stored, by its names, and what was given to them: loaded models and cursors."""

    thread: str = "t"
    other: str = "u"
    new: str = "n"
    item: str = "i"
    file: str = "f"
    loose: str = "l"
    pending: str = "p"
    expired: str = "e"
    copy: str = "c"
    key: str = "aa/ready"
    pending_key: str = "aa/pending"
    waiting_key: str = "aa/waiting"
    loaded_thread: Any = None
    loaded_other: Any = None
    loaded_item: Any = None
    loaded_last: Any = None
    loaded_file: Any = None
    threads_cursor: Any = None
    items_cursor: Any = None
    files_cursor: Any = None

    def renamed(self, prefix: str) -> Loot:
        """Return the same with other names."""
        texts = {name: getattr(self, name) for name in self.__slots__ if isinstance(getattr(self, name), str)}
        return replace(self, **{name: f"{prefix}{text}" for name, text in texts.items()})


Verbs: TypeAlias = Any
"""A ``UserStore``, or a store whose every call is given the owner."""

Call: TypeAlias = Callable[[Verbs, Loot], Awaitable[Any]]


@dataclass(frozen=True)
class Attack:
    """One way to call a method; ``argument`` is the one by which ``names`` of the loot are given.

    What is listed by activity ``may_lag`` by up to a second.
    """

    method: str
    argument: str
    names: str
    call: Call = field(repr=False)
    may_lag: bool = False

    def __str__(self) -> str:
        return f"{self.method}({self.argument}: {self.names})"


async def _iterated(verbs: Verbs, loot: Loot) -> list[Any]:
    return [item async for item in verbs.iter_thread_items(loot.thread, page_size=2)]


async def _bytes(verbs: Verbs, loot: Loot) -> list[Any]:
    async with verbs.open_attachment(loot.file) as chunks:
        return [bytes(chunk) async for chunk in chunks]


ORDERS: list[Order] = ["asc", "desc"]
LISTINGS: list[tuple[Order, ThreadOrder]] = [(order, by) for order in ORDERS for by in ("activity", "created")]
PAGES = [(order, limit) for order in ORDERS for limit in (2, 50)]
"""Small pages are read at once; of larger ones the sizes come first, where a page may have few bytes."""


def _listed_on(order: Order, by: ThreadOrder, verbs: Verbs, loot: Loot) -> Awaitable[Any]:
    first = (order == "asc") == (by == "created")  # the other one was made later, and written to before
    after = loot.loaded_thread if first else loot.loaded_other
    page: Awaitable[Any] = verbs.load_threads(after=after, order=order, by=by)
    return page


async def _walked(order: Order, by: ThreadOrder, verbs: Verbs, loot: Loot) -> list[Any]:
    pages = [await verbs.load_threads(limit=1, order=order, by=by)]
    while pages[-1].after is not None:
        pages.append(await verbs.load_threads(limit=1, order=order, by=by, after=pages[-1].after))
    return pages


async def _walked_files(verbs: Verbs, loot: Loot) -> list[Any]:
    pages = [await verbs.load_thread_attachments(loot.thread, limit=1)]
    while pages[-1].after is not None:
        pages.append(await verbs.load_thread_attachments(loot.thread, limit=1, after=pages[-1].after))
    return pages


def _attack_on_listing(names: str, call: Callable[..., Awaitable[Any]], order: Order, by: ThreadOrder) -> Attack:
    return Attack("load_threads", "after", names, partial(call, order, by), may_lag=by == "activity")


def _page(order: Order, limit: int, verbs: Verbs, loot: Loot) -> Awaitable[Any]:
    page: Awaitable[Any] = verbs.load_thread_items(loot.thread, order=order, limit=limit)
    return page


def _page_on(order: Order, limit: int, verbs: Verbs, loot: Loot) -> Awaitable[Any]:
    after = loot.loaded_item if order == "asc" else loot.loaded_last
    page: Awaitable[Any] = verbs.load_thread_items(loot.thread, order=order, limit=limit, after=after)
    return page


def _said(loot: Loot, created_at: datetime | None = None) -> Item:
    return message("changed", id=loot.item, created_at=created_at)


def _changed(model: Any, **update: Any) -> Any:
    return model.model_copy(update=update)


SHARED = [
    Attack("create_thread", "id", "thread", lambda v, on: v.create_thread(id=on.thread, title="changed")),
    Attack(
        "create_thread", "id", "thread", lambda v, on: v.create_thread(id=on.thread, title="theirs", metadata={"n": 1})
    ),
    Attack("load_thread", "thread_id", "thread", lambda v, on: v.load_thread(on.thread)),
    Attack(
        "save_thread",
        "thread",
        "thread",
        lambda v, on: v.save_thread(Thread(id=on.thread, title="changed", created_at=minutes(3))),
    ),
    Attack(
        "save_thread",
        "thread",
        "loaded_thread",
        lambda v, on: v.save_thread(_changed(on.loaded_thread, metadata={"changed": 1})),
    ),
    Attack("update_thread", "thread_id", "thread", lambda v, on: v.update_thread(on.thread, title="changed")),
    Attack("update_thread", "thread_id", "thread", lambda v, on: v.update_thread(on.thread, title="x", revision=2)),
    Attack("delete_thread", "thread_id", "thread", lambda v, on: v.delete_thread(on.thread)),
    Attack("delete_thread", "thread_id", "other", lambda v, on: v.delete_thread(on.other)),
    Attack("load_threads", "after", "threads_cursor", lambda v, on: v.load_threads(after=on.threads_cursor)),
    *(
        Attack("load_threads", "after", "loaded_thread loaded_other", partial(_listed_on, order, by), by == "activity")
        for order, by in LISTINGS
    ),
    *(
        Attack("load_threads", "after", "thread", partial(_walked, order, by), by == "activity")
        for order, by in LISTINGS
    ),
    Attack("add_thread_item", "thread_id", "thread", lambda v, on: v.add_thread_item(on.thread, message(id="new"))),
    Attack("add_thread_item", "item", "item", lambda v, on: v.add_thread_item(on.thread, _said(on))),
    Attack("add_thread_item", "item", "item", lambda v, on: v.add_thread_item(on.thread, _said(on, minutes(21)))),
    Attack("add_thread_item", "item", "item", lambda v, on: v.add_thread_item(on.thread, _said(on, minutes(11)))),
    Attack(
        "add_thread_item",
        "item",
        "item",
        lambda v, on: v.add_thread_item(on.thread, message("mine", id=on.item, created_at=minutes(21))),
    ),
    Attack(
        "add_thread_item",
        "thread_id",
        "thread",
        lambda v, on: v.add_thread_item(on.thread, message(id="new"), at=minutes(-60)),
    ),
    Attack(
        "add_thread_item",
        "thread_id",
        "thread",
        lambda v, on: v.add_thread_item(on.thread, message(id="new"), at=minutes(12.5)),
    ),
    Attack(
        "add_thread_item",
        "item",
        "item",
        lambda v, on: v.add_thread_item(on.thread, _said(on, minutes(21)), at=minutes(2)),
    ),
    Attack(
        "add_thread_items",
        "thread_id",
        "thread",
        lambda v, on: v.add_thread_items(on.thread, [message(id="new"), message(id="newer")]),
    ),
    Attack("add_thread_items", "thread_id", "thread", lambda v, on: v.add_thread_items(on.thread, [])),
    Attack(
        "add_thread_items",
        "items",
        "item",
        lambda v, on: v.add_thread_items(on.thread, [message(id="new"), _said(on, minutes(21))]),
    ),
    Attack(
        "add_thread_items",
        "items",
        "item",
        lambda v, on: v.add_thread_items(on.thread, [message(id="new"), _said(on, minutes(11))]),
    ),
    Attack("load_item", "thread_id", "thread", lambda v, on: v.load_item(on.thread, on.item)),
    Attack("load_item", "item_id", "item", lambda v, on: v.load_item(on.thread, on.item)),
    Attack("save_item", "thread_id", "thread", lambda v, on: v.save_item(on.thread, _said(on))),
    Attack("save_item", "item", "item", lambda v, on: v.save_item(on.thread, _said(on, minutes(21)))),
    Attack("save_item", "item", "item", lambda v, on: v.save_item(on.thread, _said(on))),
    Attack("save_item", "item", "loaded_item", lambda v, on: v.save_item(on.thread, _changed(on.loaded_item, data={}))),
    Attack(
        "save_item",
        "thread_id",
        "thread loaded_item",
        lambda v, on: v.save_item(on.thread, _changed(on.loaded_item, data={}, created_at=minutes(30))),
    ),
    *(Attack("load_thread_items", "thread_id", "thread", partial(_page, *page)) for page in PAGES),
    *(
        Attack("load_thread_items", "after", "thread loaded_item loaded_last", partial(_page_on, *page))
        for page in PAGES
    ),
    *(Attack("load_thread_items", "after", "loaded_item loaded_last", partial(_page_on, *page)) for page in PAGES),
    Attack(
        "load_thread_items",
        "after",
        "items_cursor",
        lambda v, on: v.load_thread_items(on.thread, after=on.items_cursor),
    ),
    Attack("iter_thread_items", "thread_id", "thread", _iterated),
    Attack("delete_thread_item", "thread_id", "thread", lambda v, on: v.delete_thread_item(on.thread, on.item)),
    Attack("delete_thread_item", "item_id", "item", lambda v, on: v.delete_thread_item(on.thread, on.item)),
    Attack(
        "delete_thread_items", "thread_id", "thread", lambda v, on: v.delete_thread_items(on.thread, [on.item, "x"])
    ),
    Attack("delete_thread_items", "item_ids", "item", lambda v, on: v.delete_thread_items(on.thread, [on.item])),
    Attack("delete_thread_items", "after", "item", lambda v, on: v.delete_thread_items(on.thread, after=on.item)),
    Attack("save_attachment", "attachment", "file", lambda v, on: v.save_attachment(upload(on.file, name="changed"))),
    Attack(
        "save_attachment",
        "attachment",
        "thread",
        lambda v, on: v.save_attachment(upload(on.loose, thread_id=on.thread)),
    ),
    Attack(
        "save_attachment", "attachment", "loose", lambda v, on: v.save_attachment(upload(on.loose, thread_id=on.thread))
    ),
    Attack(
        "save_attachment",
        "attachment",
        "loaded_file",
        lambda v, on: v.save_attachment(_changed(on.loaded_file, name="changed")),
    ),
    Attack("load_attachment", "attachment_id", "file", lambda v, on: v.load_attachment(on.file)),
    Attack("load_attachments", "attachment_ids", "file", lambda v, on: v.load_attachments([on.loose, on.file])),
    Attack("load_thread_attachments", "thread_id", "thread", lambda v, on: v.load_thread_attachments(on.thread)),
    Attack("load_thread_attachments", "thread_id", "thread", _walked_files),
    Attack(
        "load_thread_attachments",
        "after",
        "files_cursor",
        lambda v, on: v.load_thread_attachments(on.thread, after=on.files_cursor),
    ),
    Attack("delete_attachment", "attachment_id", "file", lambda v, on: v.delete_attachment(on.file)),
    Attack("delete_attachment", "attachment_id", "pending", lambda v, on: v.delete_attachment(on.pending)),
]
"""What a store and a user's store both do."""


def _begun(verbs: Verbs, attachment: Attachment, key: str) -> Awaitable[Any]:
    begun: Awaitable[Any] = verbs.begin_upload(attachment, key=key, size=3, expires_in=DAY, limits=LIMITS)
    return begun


def _finished(verbs: Verbs, id: str, key: str) -> Awaitable[Any]:
    finished: Awaitable[Any] = verbs.finish_upload(id, key=key, size=3, sha256=SHA256, sniffed=None, limits=LIMITS)
    return finished


def _copied(verbs: Verbs, on: Loot, thread: str, id: str) -> Awaitable[Any]:
    copied: Awaitable[Any] = verbs.copy_attachment(on.file, thread_id=thread, id=id, limits=LIMITS)
    return copied


OF_STORES = [
    Attack("begin_upload", "attachment", "new", lambda v, on: _begun(v, upload(on.new), on.new)),
    Attack("begin_upload", "attachment", "pending", lambda v, on: _begun(v, upload(on.pending), on.new)),
    Attack(
        "begin_upload", "attachment", "thread", lambda v, on: _begun(v, upload(on.new, thread_id=on.thread), on.new)
    ),
    Attack("begin_upload", "key", "key", lambda v, on: _begun(v, upload(on.new), on.key)),
    Attack("load_file", "attachment_id", "file", lambda v, on: v.load_file(on.file)),
    Attack("load_files", "attachment_ids", "file", lambda v, on: v.load_files([on.pending, on.file])),
    Attack("finish_upload", "attachment_id", "pending", lambda v, on: _finished(v, on.pending, on.pending_key)),
    Attack("finish_upload", "key", "waiting_key", lambda v, on: _finished(v, on.pending, on.waiting_key)),
    Attack("finish_upload", "key", "key", lambda v, on: _finished(v, on.pending, on.key)),
    Attack("finish_upload", "attachment_id", "file", lambda v, on: _finished(v, on.file, on.waiting_key)),
    Attack("copy_attachment", "attachment_id", "file", lambda v, on: _copied(v, on, on.other, on.copy)),
    Attack("copy_attachment", "thread_id", "other", lambda v, on: _copied(v, on, on.other, on.copy)),
    Attack("copy_attachment", "id", "pending", lambda v, on: _copied(v, on, on.thread, on.pending)),
    Attack("queue_deletion", "key", "waiting_key", lambda v, on: v.queue_deletion(on.waiting_key)),
    Attack("queue_deletion", "key", "key", lambda v, on: v.queue_deletion(on.key, delay=DAY)),
]
"""What a store alone does: below the attachments of a user."""

OF_USERS = [
    Attack(
        "add_attachment",
        "thread_id",
        "thread",
        lambda v, on: v.add_attachment("a.txt", BYTES, mime_type="text/plain", thread_id=on.thread),
    ),
    Attack(
        "begin_upload",
        "thread_id",
        "thread",
        lambda v, on: v.begin_upload("a", mime_type="text/plain", size=3, thread_id=on.thread),
    ),
    Attack("begin_upload", "id", "pending", lambda v, on: v.begin_upload("a", mime_type="a/b", size=3, id=on.pending)),
    Attack(
        "copy_attachment",
        "attachment_id",
        "file",
        lambda v, on: v.copy_attachment(on.file, thread_id=on.other, id=on.copy),
    ),
    Attack(
        "copy_attachment",
        "thread_id",
        "other",
        lambda v, on: v.copy_attachment(on.file, thread_id=on.other, id=on.copy),
    ),
    Attack(
        "copy_attachment", "id", "pending", lambda v, on: v.copy_attachment(on.file, thread_id=on.other, id=on.pending)
    ),
    Attack("complete_upload", "attachment_id", "pending", lambda v, on: v.complete_upload(on.pending)),
    Attack("complete_upload", "attachment_id", "file", lambda v, on: v.complete_upload(on.file)),
    Attack("open_attachment", "attachment_id", "file", _bytes),
    Attack("attachment_url", "attachment_id", "file", lambda v, on: v.attachment_url(on.file, expires_in=DAY)),
]
"""What a user's store alone does."""

FILES = {attack.method for attack in OF_USERS}
"""Methods of a user's store that are no part of a block."""


async def _taken(verbs: Bound) -> list[QueuedDeletion]:
    taken = await verbs.store.take_deletions(limit=100, retry_after=DAY)
    return [one for one in taken if one.owner == verbs.owner]


async def _acknowledged(verbs: Bound, on: Loot) -> None:
    await verbs.store.acknowledge_deletion(QueuedDeletion(verbs.owner, on.waiting_key, 0))


async def _listed(verbs: Bound) -> list[FileRecord]:
    found = []
    after: tuple[Owner, str] | None = None
    while page := await verbs.store.list_files(after=after, limit=1):
        owner, record = page[-1]
        after = (owner, record.attachment.id)
        found.append((owner, record))
    return [record for owner, record in found if owner == verbs.owner]


OF_ADMINS = [
    Attack("take_deletions", "limit", "key", lambda v, on: _taken(v)),
    Attack("acknowledge_deletion", "deletion", "waiting_key", _acknowledged),
    Attack("expire_uploads", "limit", "expired", lambda v, on: v.store.expire_uploads(limit=100)),
    Attack("list_files", "after", "file", lambda v, on: _listed(v)),
]
"""Maintenance over all owners: what it does for one has nothing to do with another. No user reaches it."""

UNBOUND = {"take_deletions", "acknowledge_deletion", "expire_uploads", "known_keys", "list_files"}
"""The methods of a store without an owner."""


def naming_parameters(kind: type) -> set[tuple[str, str]]:
    """Return the methods of a protocol or class, and for each the parameters that may name something."""
    return {
        (name, parameter)
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
        for parameter in inspect.signature(method).parameters
        if parameter not in NAMES_NOTHING | {"self"}
    }


class Bound:
    """A store whose every call is given the owner."""

    def __init__(self, store: Store, owner: Owner) -> None:
        self.store = store
        self.owner = owner

    def __getattr__(self, name: str) -> Any:
        return partial(getattr(self.store, name), owner=self.owner)
