"""What a caller may do to a store, as values: drawn at random, performed on a store, compared by its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

from hypothesis import strategies as st

from chatstore.errors import ChatStoreError, NotFoundError
from chatstore.models import Attachment, Item, Page, Thread, ThreadStatus
from chatstore.owners import Owner
from chatstore.protocols import FileRecord, Limits, Store
from chatstore.testing.factories import NOON, json_objects, minutes
from chatstore.testing.suites.reading import all_items, all_threads, attachment_pages, exactly, thread_pages

USERS = ["ann", "Ann"]
THREADS = ["t", "t%"]
ITEMS = ["1", "2", "3", "\u00e9"]
FILES = ["f", "g"]
KEYS = ["k", "l"]
MOMENTS = [NOON, minutes(1), minutes(2), minutes(1).astimezone(timezone(timedelta(hours=2)))]
"""Few of each, so that they meet again; the last two times are one instant in two offsets."""


@dataclass(frozen=True)
class Operation:
    """One call: whose, which, and what it is given."""

    verb: str
    user: str
    given: dict[str, Any] = field(default_factory=dict)


@dataclass
class Side:
    """A store with what was loaded from it and the cursors that it gave."""

    store: Store
    tenant: str
    loaded: dict[tuple[str, ...], Any] = field(default_factory=dict)
    cursors: dict[tuple[str, ...], str | None] = field(default_factory=dict)

    def within(self, store: Store) -> Side:
        """Return the side as seen through a transaction's store."""
        return replace(self, store=store)

    def owner(self, user: str) -> Owner:
        """Return the owner that ``user`` is on this side."""
        return Owner(user, self.tenant)

    def key(self, user: str, name: str) -> str:
        """Return the key of a user's bytes, which no other history has."""
        return f"{self.tenant}/{USERS.index(user)}/{name}"


_DAY = timedelta(days=1)

Performed: TypeAlias = Callable[..., Awaitable[Any]]


async def _create_thread(side: Side, owner: Owner, **given: Any) -> Thread:
    return await side.store.create_thread(owner=owner, **given)


async def _save_thread(side: Side, owner: Owner, **given: Any) -> Thread:
    return await side.store.save_thread(Thread(**given), owner=owner)


async def _load_thread(side: Side, owner: Owner, id: str) -> Thread:
    thread = await side.store.load_thread(id, owner=owner)
    side.loaded[owner.user, "thread", id] = thread
    return thread


async def _save_loaded_thread(side: Side, owner: Owner, id: str, changes: dict[str, Any]) -> Any:
    thread = side.loaded.get((owner.user, "thread", id)) or await _load_thread(side, owner, id)
    return await side.store.save_thread(thread.model_copy(update=changes), owner=owner)


async def _update_thread(side: Side, owner: Owner, id: str, changes: dict[str, Any], against_loaded: bool) -> Thread:
    thread = side.loaded.get((owner.user, "thread", id))
    revision = thread.revision if thread is not None and against_loaded else None
    return await side.store.update_thread(id, owner=owner, revision=revision, **changes)


async def _delete_thread(side: Side, owner: Owner, id: str) -> None:
    await side.store.delete_thread(id, owner=owner)


async def _page_of_threads(side: Side, owner: Owner, order: Any, limit: int, goes_on: bool) -> Page[Thread]:
    key = (owner.user, "threads", order)
    after = side.cursors.get(key) if goes_on else None
    page = await side.store.load_threads(owner=owner, limit=limit, order=order, by="created", after=after)
    side.cursors[key] = page.after
    return page


async def _walk_threads(side: Side, owner: Owner, order: Any, limit: int) -> list[Page[Thread]]:
    return await thread_pages(side.store, owner, order=order, limit=limit)


async def _active_threads(side: Side, owner: Owner, order: Any) -> list[Any]:
    threads = await all_threads(side.store, owner, order=order, by="activity")
    marks = [(thread.updated_at, thread.id) for thread in threads]
    assert marks == sorted(marks, reverse=order == "desc")
    return sorted(repr(comparable(thread)) for thread in threads)


async def _add_item(side: Side, owner: Owner, thread_id: str, item: Item, at: datetime | None = None) -> Item:
    return await side.store.add_thread_item(thread_id, item, owner=owner, at=at)


async def _add_items(side: Side, owner: Owner, thread_id: str, items: list[Item]) -> list[Item]:
    return await side.store.add_thread_items(thread_id, items, owner=owner)


async def _load_item(side: Side, owner: Owner, thread_id: str, id: str) -> Item:
    item = await side.store.load_item(thread_id, id, owner=owner)
    side.loaded[owner.user, "item", thread_id, id] = item
    return item


async def _save_item(side: Side, owner: Owner, thread_id: str, item: Item) -> Item:
    return await side.store.save_item(thread_id, item, owner=owner)


async def _save_loaded_item(side: Side, owner: Owner, thread_id: str, id: str, changes: dict[str, Any]) -> Any:
    item = side.loaded.get((owner.user, "item", thread_id, id)) or await _load_item(side, owner, thread_id, id)
    return await side.store.save_item(thread_id, item.model_copy(update=changes), owner=owner)


async def _delete_items(side: Side, owner: Owner, thread_id: str, ids: list[str]) -> None:
    if len(ids) == 1:
        await side.store.delete_thread_item(thread_id, ids[0], owner=owner)
    else:
        await side.store.delete_thread_items(thread_id, ids, owner=owner)


async def _delete_after(side: Side, owner: Owner, thread_id: str, after: str) -> None:
    await side.store.delete_thread_items(thread_id, owner=owner, after=after)


async def _page_of_items(side: Side, owner: Owner, thread_id: str, order: Any, limit: int, goes_on: bool) -> Page[Item]:
    key = (owner.user, "items", thread_id, order)
    after = side.cursors.get(key) if goes_on else None
    page = await side.store.load_thread_items(thread_id, owner=owner, limit=limit, order=order, after=after)
    side.cursors[key] = page.after
    return page


async def _iterate(side: Side, owner: Owner, thread_id: str, order: Any, page_size: int) -> list[Item]:
    items = side.store.iter_thread_items(thread_id, owner=owner, order=order, page_size=page_size)
    return [item async for item in items]


async def _save_file(side: Side, owner: Owner, **given: Any) -> Attachment:
    return await side.store.save_attachment(Attachment(**given), owner=owner)


async def _load_files(side: Side, owner: Owner, ids: list[str]) -> list[Attachment]:
    files = await side.store.load_attachments(ids, owner=owner)
    side.loaded |= {(owner.user, "file", one.id): one for one in files}
    return files


async def _save_loaded_file(side: Side, owner: Owner, id: str, changes: dict[str, Any]) -> Any:
    one = side.loaded.get((owner.user, "file", id)) or (await _load_files(side, owner, [id]))[0]
    return await side.store.save_attachment(one.model_copy(update=changes), owner=owner)


async def _page_of_files(side: Side, owner: Owner, thread_id: str, limit: int) -> list[Page[Attachment]]:
    return await attachment_pages(side.store, thread_id, owner, limit=limit)


async def _begin_upload(side: Side, owner: Owner, key: str, size: int | None, limits: Limits, **given: Any) -> Any:
    return await side.store.begin_upload(
        Attachment(**given), owner=owner, key=side.key(owner.user, key), size=size, expires_in=_DAY, limits=limits
    )


async def _finish_upload(side: Side, owner: Owner, id: str, key: str, size: int, limits: Limits) -> Attachment:
    place = side.key(owner.user, key)
    return await side.store.finish_upload(
        id, owner=owner, key=place, size=size, sha256=f"{size:064x}", sniffed=None, limits=limits
    )


async def _copy_file(side: Side, owner: Owner, id: str, to: str, thread_id: str, limits: Limits) -> Attachment:
    return await side.store.copy_attachment(id, thread_id=thread_id, owner=owner, id=to, limits=limits)


async def _queue_deletion(side: Side, owner: Owner, key: str) -> None:
    await side.store.queue_deletion(side.key(owner.user, key), owner=owner)


async def _delete_file(side: Side, owner: Owner, id: str) -> None:
    await side.store.delete_attachment(id, owner=owner)


VERBS: dict[str, Performed] = {
    "create_thread": _create_thread,
    "save_thread": _save_thread,
    "load_thread": _load_thread,
    "save_loaded_thread": _save_loaded_thread,
    "update_thread": _update_thread,
    "delete_thread": _delete_thread,
    "page_of_threads": _page_of_threads,
    "walk_threads": _walk_threads,
    "active_threads": _active_threads,
    "add_item": _add_item,
    "add_items": _add_items,
    "load_item": _load_item,
    "save_item": _save_item,
    "save_loaded_item": _save_loaded_item,
    "delete_items": _delete_items,
    "delete_after": _delete_after,
    "page_of_items": _page_of_items,
    "iterate": _iterate,
    "save_file": _save_file,
    "load_files": _load_files,
    "save_loaded_file": _save_loaded_file,
    "delete_file": _delete_file,
    "page_of_files": _page_of_files,
    "begin_upload": _begin_upload,
    "finish_upload": _finish_upload,
    "copy_file": _copy_file,
    "queue_deletion": _queue_deletion,
}


async def perform(operation: Operation, side: Side) -> Any:
    """Make the call and return what it answered, in a form that is equal for equal answers of two stores."""
    try:
        answer = await VERBS[operation.verb](side, side.owner(operation.user), **operation.given)
    except ChatStoreError as error:
        return ("raised", type(error).__name__, error.retryable)
    return ("answered", comparable(answer))


@dataclass
class Observed:
    """All that can be listed, in order, as ``seen`` without what a store numbers and times by itself: its ``marks``."""

    seen: dict[str, Any] = field(default_factory=dict)
    marks: dict[str, Any] = field(default_factory=dict)


async def observe(side: Side) -> Observed:
    """Return what there is of every user; marks show that something was written where all looks as before."""
    found = Observed()
    await asyncio.gather(*(_observe_user(side, user, found) for user in USERS))
    keys = [side.key(user, name) for user in USERS for name in KEYS]
    found.seen["keys"] = sorted(await side.store.known_keys(keys))
    return found


async def _observe_user(side: Side, user: str, found: Observed) -> None:
    owner = side.owner(user)
    for thread in await all_threads(side.store, owner):
        items = await all_items(side.store, thread.id, owner)
        positions = [item.position for item in items]
        assert positions == sorted(set(positions)), "a thread's positions must strictly increase"
        files = [one for page in await attachment_pages(side.store, thread.id, owner) for one in page.data]
        found.seen[f"{user} {thread.id}"] = [comparable(thread), comparable(items), comparable(files)]
        found.marks[f"{user} {thread.id}"] = (thread.revision, thread.updated_at, positions)
    found.seen[user] = [comparable(await side.store.load_files(FILES, owner=owner)), await _records(side, owner)]


async def _records(side: Side, owner: Owner) -> list[Any]:
    """Return the records that are there, also of files that belong to no thread."""
    found = []
    for id in FILES:
        with suppress(NotFoundError):
            found.append(comparable(await side.store.load_attachment(id, owner=owner)))
    return found


def comparable(value: Any) -> Any:
    """Return ``value`` as ``exactly`` gives it, but for times that a store made by itself."""
    if isinstance(value, list):
        return [comparable(one) for one in value]
    if isinstance(value, Page):
        return (comparable(value.data), value.has_more)
    if isinstance(value, FileRecord):
        return (comparable(value.attachment), value.key, value.declared_size, value.sniffed)
    if isinstance(value, Thread | Item | Attachment):
        *values, created_at = exactly(value)
        return (*values, created_at if created_at in _GIVEN else "made by the store")
    return value


_GIVEN = {moment.isoformat() for moment in MOMENTS}


def _operation(verb: str, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Operation]:
    return st.builds(Operation, st.just(verb), st.sampled_from(USERS), st.fixed_dictionaries(given))


def _one_of(*strategies: st.SearchStrategy[Operation]) -> st.SearchStrategy[Operation]:
    """Return a strategy as ``st.one_of`` does, which does not describe itself by all of them."""
    return st.integers(0, len(strategies) - 1).flatmap(strategies.__getitem__)


_small_objects = st.sampled_from([{}, {"a": 1}, {"a": True}, {"a": [1.5, "x"]}])
_titles = st.sampled_from([None, "", "x", "y"])
_statuses = st.sampled_from([ThreadStatus(), ThreadStatus(type="locked", reason="why"), ThreadStatus(type="closed")])
_thread_ids = st.sampled_from(THREADS)
_item_ids = st.sampled_from(ITEMS)
_file_ids = st.sampled_from(FILES)
_moments = st.sampled_from(MOMENTS)
_orders = st.sampled_from(["asc", "desc"])
_limits = st.integers(1, 4)
_thread_changes = st.fixed_dictionaries(
    {}, optional={"title": _titles, "status": _statuses, "metadata": _small_objects}
)
_items = st.builds(
    Item,
    id=_item_ids,
    type=st.sampled_from(["user_message", "widget"]),
    data=_small_objects | json_objects(),
    created_at=st.none() | _moments,
)
_item_changes = st.fixed_dictionaries({}, optional={"data": _small_objects, "created_at": _moments})
_file_changes = st.fixed_dictionaries(
    {}, optional={"name": st.just("new"), "metadata": _small_objects, "thread_id": _thread_ids}
)

_limits_of_owner = st.sampled_from([Limits(), Limits(owner_files=1), Limits(owner_bytes=10)])
_keys = st.sampled_from(KEYS)
_sizes = st.sampled_from([0, 3, 8])
_new_files: dict[str, Any] = {
    "id": _file_ids,
    "name": st.sampled_from(["cat.png", "dog.png"]),
    "mime_type": st.just("image/png"),
    "thread_id": st.none() | _thread_ids,
    "metadata": _small_objects,
    "created_at": _moments,
}

additions: st.SearchStrategy[Operation] = _one_of(
    _operation("add_item", thread_id=_thread_ids, item=_items),
    _operation("add_items", thread_id=_thread_ids, items=st.lists(_items, max_size=4)),
    _operation("delete_items", thread_id=_thread_ids, ids=st.lists(_item_ids, max_size=3)),
)
"""Writes of items."""

uploads: st.SearchStrategy[Operation] = _one_of(
    _operation("begin_upload", key=_keys, size=st.none() | _sizes, limits=_limits_of_owner, **_new_files),
    _operation("finish_upload", id=_file_ids, key=_keys, size=_sizes, limits=_limits_of_owner),
    _operation("copy_file", id=_file_ids, to=_file_ids, thread_id=_thread_ids, limits=_limits_of_owner),
    _operation("delete_file", id=_file_ids),
    _operation("queue_deletion", key=_keys),
)
"""Writes of attachments' records that belong to an upload."""

writes: st.SearchStrategy[Operation] = _one_of(
    additions,
    additions,
    uploads,
    _operation("create_thread", id=_thread_ids, title=_titles, metadata=_small_objects, created_at=_moments),
    _operation("create_thread", id=_thread_ids, created_at=_moments),
    _operation(
        "save_thread", id=_thread_ids, title=_titles, status=_statuses, metadata=_small_objects, created_at=_moments
    ),
    _operation("delete_thread", id=_thread_ids),
    _operation("save_item", thread_id=_thread_ids, item=_items),
    _operation("delete_after", thread_id=_thread_ids, after=_item_ids),
    _operation("save_file", state=st.sampled_from(["pending", "ready"]), **_new_files),
)
"""Writes whose effect shows in ``observe``, so that one can tell afterwards whether they happened."""

operations: st.SearchStrategy[Operation] = _one_of(
    writes,
    writes,
    _operation("load_thread", id=_thread_ids),
    _operation("save_loaded_thread", id=_thread_ids, changes=_thread_changes),
    _operation("update_thread", id=_thread_ids, changes=_thread_changes, against_loaded=st.booleans()),
    _operation("page_of_threads", order=_orders, limit=_limits, goes_on=st.booleans()),
    _operation("walk_threads", order=_orders, limit=_limits),
    _operation("active_threads", order=_orders),
    _operation("add_item", thread_id=_thread_ids, item=_items, at=_moments),
    _operation("load_item", thread_id=_thread_ids, id=_item_ids),
    _operation("save_loaded_item", thread_id=_thread_ids, id=_item_ids, changes=_item_changes),
    _operation("page_of_items", thread_id=_thread_ids, order=_orders, limit=_limits, goes_on=st.booleans()),
    _operation("iterate", thread_id=_thread_ids, order=_orders, page_size=_limits),
    _operation("load_files", ids=st.lists(_file_ids, min_size=1, max_size=3)),
    _operation("page_of_files", thread_id=_thread_ids, limit=_limits),
    _operation("save_loaded_file", id=_file_ids, changes=_file_changes),
)
"""Every kind of call."""

READS = {"load_thread", "page_of_threads", "walk_threads", "active_threads", "load_item", "page_of_items", "iterate"}
READS |= {"load_files", "page_of_files"}
"""The verbs that change nothing."""
