"""The reference store: plain dictionaries in this process, every promise but durability.

Read it to learn what a store does; the others do the same with more means. Nothing here awaits but the wait
for a transaction's end, so every call is atomic by itself.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import EllipsisType
from typing import Any, Self, TypeVar

from chatstore import inputs, instants, payloads, positions
from chatstore.cursors import (
    NO_END,
    after_attachment,
    after_item,
    after_thread,
    attachments_of,
    items_of,
    iterate,
    threads_of,
)
from chatstore.errors import ConfigurationError, ConflictError, NotFoundError
from chatstore.ids import check_key, new_id
from chatstore.inputs import NewItem
from chatstore.lifetime import Lifetime
from chatstore.merging import ThreadFields, merge, same_thread
from chatstore.models import Attachment, Item, Order, Page, Thread, ThreadOrder, ThreadStatus
from chatstore.owners import Owner, check_owner
from chatstore.protocols import Capability, Store
from chatstore.transactions import Turn, block_of, check_outside_block

T = TypeVar("T")

PATIENCE = 15.0
"""Seconds that a write waits for the end of somebody's transaction."""


@dataclass(frozen=True, slots=True)
class _ThreadRow:
    id: str
    fields: ThreadFields
    created_at: str
    instant: int
    updated: int
    last_position: int = 0


@dataclass(frozen=True, slots=True)
class _ItemRow:
    new: NewItem
    position: int


@dataclass(frozen=True, slots=True)
class _AttachmentRow:
    id: str
    name: str
    mime_type: str
    thread_id: str | None
    metadata: str
    created_at: str
    instant: int


@dataclass(slots=True)
class _Conversation:
    """A thread, its items by id, and their (position, id) in order."""

    row: _ThreadRow
    items: dict[str, _ItemRow] = field(default_factory=dict)
    order: list[tuple[int, str]] = field(default_factory=list)

    def copy(self) -> _Conversation:
        return _Conversation(self.row, dict(self.items), list(self.order))


@dataclass(slots=True)
class _Space:
    """Everything of one owner."""

    threads: dict[str, _Conversation] = field(default_factory=dict)
    attachments: dict[str, _AttachmentRow] = field(default_factory=dict)

    def copy(self) -> _Space:
        return _Space({id: thread.copy() for id, thread in self.threads.items()}, dict(self.attachments))


class MemoryStore:
    """A store that lives as long as this object; ``memory://``."""

    def __init__(self, *, max_item_bytes: int = inputs.MAX_ITEM_BYTES) -> None:
        self._max_item_bytes = max_item_bytes
        self._spaces: dict[Owner, _Space] = {}
        self._database = new_id("db")
        self._lifetime = Lifetime()
        self._writing = Turn(PATIENCE)

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
                return _thread(_insert_thread(space, new))
            stored = _thread(space.threads[new.id].row)
            if not same_thread(stored.title, stored.metadata, new):
                raise ConflictError(f"create_thread: thread {new.id!r} exists with another title or metadata")
            return stored

    async def load_thread(self, thread_id: str, *, owner: Owner) -> Thread:
        return _thread(_found(self._read(owner), thread_id, "load_thread").row)

    async def save_thread(self, thread: Thread, *, owner: Owner) -> Thread:
        async with self._write(owner, "save_thread") as space:
            id, new, changes = inputs.saved_thread(thread)
            if new is not None and id not in space.threads:
                return _thread(_insert_thread(space, new))
            return _change_thread(_found(space, id, "save_thread"), changes, "save_thread")

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
            return _change_thread(_found(space, thread_id, "update_thread"), changes, "update_thread")

    async def delete_thread(self, thread_id: str, *, owner: Owner) -> None:
        async with self._write(owner, "delete_thread") as space:
            space.threads.pop(check_key(thread_id, "thread_id"), None)
            for row in [row for row in space.attachments.values() if row.thread_id == thread_id]:
                del space.attachments[row.id]

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
        shown = keyed[:limit]
        if len(keyed) == len(shown):
            return Page(data=[_thread(row) for _, row in shown])
        if start is None and by == "activity":
            until = max(row.updated for row in rows)
        cursor = listing.cursor(*shown[-1][0], until)
        return Page(data=[_thread(row) for _, row in shown], has_more=True, after=cursor)

    async def add_thread_item(self, thread_id: str, item: Item, *, owner: Owner, at: datetime | None = None) -> Item:
        async with self._write(owner, "add_thread_item") as space:
            new = inputs.new_item(item, self._max_item_bytes)
            instant = inputs.check_at(at)
            thread = _found(space, thread_id, "add_thread_item")
            _check_same_item(thread, new, "add_thread_item")
            return _item(thread_id, _put_item(thread, new, instant))

    async def add_thread_items(self, thread_id: str, items: Sequence[Item], *, owner: Owner) -> list[Item]:
        async with self._write(owner, "add_thread_items") as space:
            new, places = inputs.new_items(items, self._max_item_bytes)
            thread = _found(space, thread_id, "add_thread_items")
            for one in new:
                _check_same_item(thread, one, "add_thread_items")
            rows = [_put_item(thread, one) for one in new]
            return [_item(thread_id, rows[place]) for place in places]

    async def load_item(self, thread_id: str, item_id: str, *, owner: Owner) -> Item:
        space = self._read(owner)
        check_key(item_id, "item_id")
        thread = _found(space, thread_id, "load_item")
        return _item(thread_id, _found_item(thread, item_id, "load_item"))

    async def save_item(self, thread_id: str, item: Item, *, owner: Owner) -> Item:
        async with self._write(owner, "save_item") as space:
            new, loaded = inputs.saved_item(item, check_key(thread_id, "thread_id"), self._max_item_bytes)
            thread = _found(space, thread_id, "save_item")
            if loaded:
                _found_item(thread, new.id, "save_item")
            return _item(thread_id, _put_item(thread, new))

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
        thread = _found(space, thread_id, "load_thread_items")
        ids = [id for position, id in thread.order if start is None or position > start]
        if order == "desc":
            ids = [id for position, id in reversed(thread.order) if start is None or position < start]
        shown = _bounded([thread.items[id] for id in ids[:limit]])
        data = [_item(thread_id, row) for row in shown]
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
            _delete_items(space.threads.get(thread_id), [item_id])

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
                mark = _found_item(_found(space, thread_id, "delete_thread_items"), after, "delete_thread_items")
                ids = [id for position, id in space.threads[thread_id].order if position > mark.position]
            _delete_items(thread, ids)

    async def save_attachment(self, attachment: Attachment, *, owner: Owner) -> Attachment:
        async with self._write(owner, "save_attachment") as space:
            new, by_hand, changes = inputs.saved_attachment(attachment)
            row = space.attachments.get(new.id)
            if row is None and not by_hand:
                raise NotFoundError(f"save_attachment: no attachment {new.id!r}")
            if row is None:
                row = _AttachmentRow(new.id, new.name, new.mime_type, None, new.metadata, new.created_at, new.instant)
            thread_id = row.thread_id if isinstance(changes.thread_id, EllipsisType) else changes.thread_id
            if row.thread_id not in (None, thread_id):
                raise ConflictError(f"save_attachment: attachment {new.id!r} belongs to another thread already")
            if thread_id is not None:
                _found(space, thread_id, "save_attachment")
            space.attachments[new.id] = row = replace(
                row,
                thread_id=thread_id,
                name=row.name if isinstance(changes.name, EllipsisType) else changes.name,
                metadata=row.metadata if isinstance(changes.metadata, EllipsisType) else changes.metadata,
            )
            return _attachment(row)

    async def load_attachment(self, attachment_id: str, *, owner: Owner) -> Attachment:
        return (await self.load_attachments([attachment_id], owner=owner))[0]

    async def load_attachments(self, attachment_ids: Sequence[str], *, owner: Owner) -> list[Attachment]:
        space = self._read(owner)
        ids = inputs.check_keys(attachment_ids, "attachment_ids")
        for id in ids:
            if id not in space.attachments:
                raise NotFoundError(f"load_attachments: no attachment {id!r}")
        return [_attachment(space.attachments[id]) for id in ids]

    async def load_thread_attachments(
        self, thread_id: str, *, owner: Owner, limit: int = 50, after: str | None = None
    ) -> Page[Attachment]:
        space = self._read(owner)
        limit = inputs.check_limit(limit)
        listing = attachments_of(check_key(thread_id, "thread_id"), owner=owner, database=self._database)
        start = after_attachment(after, listing)
        _found(space, thread_id, "load_thread_attachments")
        rows = [row for row in space.attachments.values() if row.thread_id == thread_id]
        rows = [row for row in rows if start is None or (row.instant, row.id) > start]
        rows.sort(key=lambda row: (row.instant, row.id))
        data = [_attachment(row) for row in rows[:limit]]
        if len(rows) <= limit:
            return Page(data=data)
        last = rows[limit - 1]
        return Page(data=data, has_more=True, after=listing.cursor(last.instant, last.id))

    async def delete_attachment(self, attachment_id: str, *, owner: Owner) -> None:
        async with self._write(owner, "delete_attachment") as space:
            space.attachments.pop(check_key(attachment_id, "attachment_id"), None)

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

    def _read(self, owner: Owner) -> _Space:
        self._lifetime.enter()
        return self._spaces.get(check_owner(owner), _Space())

    @asynccontextmanager
    async def _write(self, owner: Owner, operation: str) -> AsyncIterator[_Space]:
        self._lifetime.enter()
        check_owner(owner)
        check_outside_block(self, operation)
        async with self._writing:
            yield self._spaces.setdefault(owner, _Space())


def _found(space: _Space, thread_id: str, operation: str) -> _Conversation:
    thread = space.threads.get(check_key(thread_id, "thread_id"))
    if thread is None:
        raise NotFoundError(f"{operation}: no thread {thread_id!r}")
    return thread


def _found_item(thread: _Conversation, item_id: str, operation: str) -> _ItemRow:
    row = thread.items.get(check_key(item_id, "item_id"))
    if row is None:
        raise NotFoundError(f"{operation}: no item {item_id!r} in thread {thread.row.id!r}")
    return row


def _insert_thread(space: _Space, new: inputs.NewThread) -> _ThreadRow:
    row = _ThreadRow(
        id=new.id,
        fields=ThreadFields(new.title, (new.status, new.reason), new.metadata),
        created_at=new.created_at,
        instant=new.instant,
        updated=instants.now_microseconds(),
    )
    space.threads[new.id] = _Conversation(row)
    return row


def _change_thread(thread: _Conversation, changes: inputs.ThreadChanges, operation: str) -> Thread:
    fields = merge(thread.row.fields, changes, thread.row.id, operation)
    if fields is not thread.row.fields:
        thread.row = replace(thread.row, fields=fields)
        _touch(thread)
    return _thread(thread.row)


def _touch(thread: _Conversation) -> None:
    thread.row = replace(thread.row, updated=max(thread.row.updated, instants.now_microseconds()))


def _check_same_item(thread: _Conversation, new: NewItem, operation: str) -> None:
    stored = thread.items.get(new.id)
    if stored is not None and new.dated and stored.new.created_at != new.created_at:
        raise ConflictError(f"{operation}: item {new.id!r} exists with another created_at")


def _put_item(thread: _Conversation, new: NewItem, at: int | None = None) -> _ItemRow:
    stored = thread.items.get(new.id)
    if stored is not None:
        if not new.dated or new.created_at == stored.new.created_at:
            new = replace(new, created_at=stored.new.created_at, instant=stored.new.instant)
        row = _ItemRow(new, stored.position)
    else:
        row = _ItemRow(new, _draw_position(thread, at))
        insort(thread.order, (row.position, new.id))
    thread.items[new.id] = row
    _touch(thread)
    return row


def _draw_position(thread: _Conversation, at: int | None) -> int:
    if at is not None:
        newest = thread.order[-positions.WINDOW - 1 :]
        spot = positions.placed([(position, thread.items[id].new.instant) for position, id in newest], at)
        if spot is not None:
            return spot
    position = positions.appended(instants.now_microseconds(), thread.row.last_position)
    thread.row = replace(thread.row, last_position=position)
    return position


def _delete_items(thread: _Conversation | None, ids: Sequence[str]) -> None:
    if thread is None or not any(id in thread.items for id in ids):
        return
    for id in ids:
        thread.items.pop(id, None)
    thread.order = [(position, id) for position, id in thread.order if id in thread.items]
    _touch(thread)


def _bounded(rows: Sequence[_ItemRow]) -> list[_ItemRow]:
    shown: list[_ItemRow] = []
    size = 0
    for row in rows:
        if size >= inputs.MAX_PAGE_BYTES:
            break
        size += row.new.size
        shown.append(row)
    return shown


def _thread(row: _ThreadRow) -> Thread:
    return Thread.stored(
        id=row.id,
        title=row.fields.title,
        created_at=instants.from_text(row.created_at, row.instant),
        updated_at=instants.from_microseconds(row.updated),
        status=ThreadStatus.model_construct(type=row.fields.status[0], reason=row.fields.status[1]),
        metadata=payloads.decode(row.fields.metadata),
        revision=row.fields.revision,
    )


def _item(thread_id: str, row: _ItemRow) -> Item:
    return Item.of_payload(
        id=row.new.id,
        thread_id=thread_id,
        type=row.new.type,
        created_at=instants.from_text(row.new.created_at, row.new.instant),
        position=row.position,
        payload=row.new.payload,
    )


def _attachment(row: _AttachmentRow) -> Attachment:
    return Attachment.stored(
        id=row.id,
        name=row.name,
        mime_type=row.mime_type,
        size=None,
        sha256=None,
        state="pending",
        thread_id=row.thread_id,
        metadata=payloads.decode(row.metadata),
        created_at=instants.from_text(row.created_at, row.instant),
    )


def open_memory(url: str, *, max_item_bytes: int, **options: object) -> MemoryStore:
    """Return a new, empty store for ``memory://``; the options of a schema mean nothing to it."""
    if url != "memory://":
        raise ConfigurationError('url: a memory store has no path; write "memory://"')
    return MemoryStore(max_item_bytes=max_item_bytes)
