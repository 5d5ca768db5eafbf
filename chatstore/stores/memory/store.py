"""The reference store: plain dictionaries in this process, every promise but durability.

Read it to learn what a store does; the others do the same with more means. Nothing here awaits but the wait
for a transaction's end, so every call is atomic by itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from types import EllipsisType
from typing import Any, Self, TypeVar

from chatstore import inputs
from chatstore.cursors import (
    NO_END,
    after_item,
    after_thread,
    bounded,
    items_of,
    iterate,
    threads_of,
)
from chatstore.errors import ConfigurationError, ConflictError
from chatstore.ids import check_key
from chatstore.merging import same_thread
from chatstore.models import Item, Order, Page, Thread, ThreadOrder, ThreadStatus
from chatstore.owners import Owner
from chatstore.protocols import Capability, Store
from chatstore.stores.memory.files import MemoryFiles
from chatstore.stores.memory.spaces import (
    change_thread,
    check_same_item,
    delete_file,
    delete_items,
    found,
    found_item,
    insert_thread,
    item_of,
    put_item,
    thread_of,
)
from chatstore.transactions import block_of, check_outside_block

T = TypeVar("T")


class MemoryStore(MemoryFiles):
    """A store that lives as long as this object; ``memory://``."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset()

    async def create_thread(
        self,
        *,
        owner: Owner,
        title: str | None = None,
        metadata: dict[str, Any] | None = None,
        id: str | None = None,
        created_at: datetime | None = None,
    ) -> Thread:
        async with self._write(owner, "create_thread") as space:
            new = inputs.new_thread(id=id, title=title, metadata=metadata, created_at=created_at)
            if new.id not in space.threads:
                return thread_of(insert_thread(space, new))
            stored = thread_of(space.threads[new.id].row)
            if not same_thread(stored.title, stored.metadata, new):
                raise ConflictError(f"create_thread: thread {new.id!r} exists with another title or metadata")
            return stored

    async def load_thread(self, thread_id: str, *, owner: Owner) -> Thread:
        return thread_of(found(self._read(owner), thread_id, "load_thread").row)

    async def save_thread(self, thread: Thread, *, owner: Owner) -> Thread:
        async with self._write(owner, "save_thread") as space:
            id, new, changes = inputs.saved_thread(thread)
            if new is not None and id not in space.threads:
                return thread_of(insert_thread(space, new))
            return change_thread(found(space, id, "save_thread"), changes, "save_thread")

    async def update_thread(
        self,
        thread_id: str,
        *,
        owner: Owner,
        title: str | EllipsisType | None = ...,
        status: ThreadStatus | EllipsisType = ...,
        metadata: dict[str, Any] | EllipsisType = ...,
        revision: int | None = None,
    ) -> Thread:
        async with self._write(owner, "update_thread") as space:
            changes = inputs.thread_changes(title=title, status=status, metadata=metadata, revision=revision)
            return change_thread(found(space, thread_id, "update_thread"), changes, "update_thread")

    async def delete_thread(self, thread_id: str, *, owner: Owner) -> None:
        async with self._write(owner, "delete_thread") as space:
            space.threads.pop(check_key(thread_id, "thread_id"), None)
            for id in [row.id for row in space.files.values() if row.thread_id == thread_id]:
                delete_file(space, id)

    async def load_threads(
        self,
        *,
        owner: Owner,
        limit: int = 20,
        after: str | Thread | None = None,
        order: Order = "desc",
        by: ThreadOrder = "activity",
    ) -> Page[Thread]:
        space = self._read(owner)
        limit, order, by = inputs.check_limit(limit), inputs.check_order(order), inputs.check_by(by)
        listing = threads_of(owner, by=by, order=order, database=self._database)
        start = after_thread(after, listing, by)
        until = NO_END if start is None else start.until
        rows = [thread.row for thread in space.threads.values() if by == "created" or thread.row.updated <= until]
        keyed = sorted(((row.instant if by == "created" else row.updated, row.id), row) for row in rows)
        if order == "desc":
            keyed.reverse()
        if start is not None:
            mark = (start.value, start.id)
            keyed = [(key, row) for key, row in keyed if (key > mark if order == "asc" else key < mark)]
        shown = bounded(keyed[:limit], lambda pair: len(pair[1].fields.metadata))
        if len(keyed) == len(shown):
            return Page(data=[thread_of(row) for _, row in shown])
        if start is None and by == "activity":
            until = max(row.updated for row in rows)
        cursor = listing.cursor(*shown[-1][0], until)
        return Page(data=[thread_of(row) for _, row in shown], has_more=True, after=cursor)

    async def add_thread_item(self, thread_id: str, item: Item, *, owner: Owner, at: datetime | None = None) -> Item:
        async with self._write(owner, "add_thread_item") as space:
            new = inputs.new_item(item, self._max_item_bytes)
            instant = inputs.check_at(at)
            thread = found(space, thread_id, "add_thread_item")
            check_same_item(thread, new, "add_thread_item")
            return item_of(thread_id, put_item(thread, new, instant))

    async def add_thread_items(self, thread_id: str, items: Sequence[Item], *, owner: Owner) -> list[Item]:
        async with self._write(owner, "add_thread_items") as space:
            new, places = inputs.new_items(items, self._max_item_bytes)
            thread = found(space, thread_id, "add_thread_items")
            for one in new:
                check_same_item(thread, one, "add_thread_items")
            rows = [put_item(thread, one) for one in new]
            return [item_of(thread_id, rows[place]) for place in places]

    async def load_item(self, thread_id: str, item_id: str, *, owner: Owner) -> Item:
        return item_of(thread_id, found_item(self._read(owner), thread_id, item_id, "load_item"))

    async def save_item(self, thread_id: str, item: Item, *, owner: Owner) -> Item:
        async with self._write(owner, "save_item") as space:
            new, loaded = inputs.saved_item(item, check_key(thread_id, "thread_id"), self._max_item_bytes)
            thread = found(space, thread_id, "save_item")
            if loaded:
                found_item(space, thread_id, new.id, "save_item")
            return item_of(thread_id, put_item(thread, new))

    async def load_thread_items(
        self,
        thread_id: str,
        *,
        owner: Owner,
        limit: int = 50,
        after: str | Item | None = None,
        order: Order = "asc",
    ) -> Page[Item]:
        space = self._read(owner)
        limit, order = inputs.check_limit(limit), inputs.check_order(order)
        listing = items_of(check_key(thread_id, "thread_id"), owner=owner, order=order, database=self._database)
        start = after_item(after, listing, thread_id)
        thread = found(space, thread_id, "load_thread_items")
        ids = [id for position, id in thread.order if start is None or position > start]
        if order == "desc":
            ids = [id for position, id in reversed(thread.order) if start is None or position < start]
        shown = bounded([thread.items[id] for id in ids[:limit]], lambda row: row.new.size)
        data = [item_of(thread_id, row) for row in shown]
        if len(shown) == len(ids):
            return Page(data=data)
        return Page(data=data, has_more=True, after=listing.cursor(shown[-1].position))

    def iter_thread_items(
        self, thread_id: str, *, owner: Owner, order: Order = "asc", page_size: int = 100
    ) -> AsyncIterator[Item]:
        limit = inputs.check_limit(page_size, "page_size")
        return iterate(
            lambda after: self.load_thread_items(thread_id, owner=owner, limit=limit, after=after, order=order)
        )

    async def delete_thread_item(self, thread_id: str, item_id: str, *, owner: Owner) -> None:
        async with self._write(owner, "delete_thread_item") as space:
            check_key(thread_id, "thread_id"), check_key(item_id, "item_id")
            delete_items(space.threads.get(thread_id), [item_id])

    async def delete_thread_items(
        self,
        thread_id: str,
        item_ids: Sequence[str] | None = None,
        *,
        owner: Owner,
        after: str | None = None,
    ) -> None:
        async with self._write(owner, "delete_thread_items") as space:
            check_key(thread_id, "thread_id")
            ids = inputs.deleted_items(item_ids, after)
            thread = space.threads.get(thread_id)
            if after is not None:
                mark = found_item(space, thread_id, after, "delete_thread_items")
                ids = [id for position, id in space.threads[thread_id].order if position > mark.position]
            delete_items(thread, ids)

    async def check(self) -> str | None:
        self._lifetime.enter()
        return None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Store]:
        self._lifetime.enter()
        check_outside_block(self, "transaction")
        async with self._writing:
            inner = MemoryStore(max_item_bytes=self._max_item_bytes)
            inner._database = self._database
            inner._spaces = {owner: space.copy() for owner, space in self._spaces.items()}
            try:
                with block_of(self):
                    yield inner
                self._spaces = inner._spaces
            finally:
                inner._lifetime.closed = True

    async def run(self, work: Callable[[Store], Awaitable[T]]) -> T:
        async with self.transaction() as inner:
            return await work(inner)

    async def aclose(self) -> None:
        self._lifetime.closed = True

    async def __aenter__(self) -> Self:
        self._lifetime.enter()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def open_memory(url: str, *, max_item_bytes: int, **options: object) -> MemoryStore:
    """Return a new, empty store for ``memory://``; the options of a schema mean nothing to it."""
    if url != "memory://":
        raise ConfigurationError('url: a memory store has no path; write "memory://"')
    return MemoryStore(max_item_bytes=max_item_bytes)
