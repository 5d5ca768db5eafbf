"""Threads, items and attachment records in a relational database: PostgreSQL and SQLite."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from types import EllipsisType
from typing import Any, Self, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from chatstore import inputs
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
from chatstore.errors import ConflictError, NotFoundError, StorageError
from chatstore.ids import check_key
from chatstore.inputs import NewItem, NewThread, ThreadChanges
from chatstore.instants import from_text
from chatstore.lifetime import Lifetime
from chatstore.merging import same_thread
from chatstore.models import Attachment, Item, Order, Page, Thread, ThreadOrder, ThreadStatus
from chatstore.owners import Owner, check_owner
from chatstore.protocols import Capability, Store
from chatstore.sql import single, statements, stepwise
from chatstore.sql.databases import Database
from chatstore.sql.dialects import Row, Values
from chatstore.sql.engines import hide_password, make_engine
from chatstore.sql.rows import attachment_of, item_of, thread_of
from chatstore.sql.schema import Migrate
from chatstore.sql.single import Stepwise, Written
from chatstore.sql.units import BoundUnits, Unit, Units, Work
from chatstore.transactions import block_of, check_outside_block

T = TypeVar("T")

LONG_THREAD = 1000
"""Items of a thread that are deleted at once; a longer thread's are removed in batches afterwards."""


class SQLStore:
    """A store over an SQLAlchemy engine. ``open_store`` makes it; the promises are the protocol's."""

    def __init__(
        self,
        database: Database,
        *,
        units: Units | BoundUnits | None = None,
        max_item_bytes: int = inputs.MAX_ITEM_BYTES,
    ) -> None:
        self._database = database
        self._units = units or database.units
        self._max_item_bytes = max_item_bytes
        self._lifetime = Lifetime()
        self._left_items = False
        self._sweeping: asyncio.Task[None] | None = None

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self._database.capabilities

    async def create_thread(
        self,
        *,
        owner: Owner,
        title: str | None = None,
        metadata: dict[str, Any] | None = None,
        id: str | None = None,
        created_at: datetime | None = None,
    ) -> Thread:
        self._enter(owner, "create_thread", writes=True)
        new = inputs.new_thread(id=id, title=title, metadata=metadata, created_at=created_at)
        keys = _keys(owner, thread_id=new.id)
        inserted = await self._insert_thread(keys, new, "create_thread")
        if inserted is not None:
            return inserted
        stored = await self._load_thread(keys, "create_thread")
        if not same_thread(stored.title, stored.metadata, new):
            raise ConflictError(f"create_thread: thread {new.id!r} exists with another title or metadata")
        return stored

    async def load_thread(self, thread_id: str, *, owner: Owner) -> Thread:
        self._enter(owner, "load_thread")
        return await self._load_thread(_keys(owner, thread_id=check_key(thread_id, "thread_id")), "load_thread")

    async def save_thread(self, thread: Thread, *, owner: Owner) -> Thread:
        self._enter(owner, "save_thread", writes=True)
        id, new, changes = inputs.saved_thread(thread)
        keys = _keys(owner, thread_id=id)
        inserted = None if new is None else await self._insert_thread(keys, new, "save_thread")
        return inserted or await self._change_thread(keys, changes, "save_thread")

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
        self._enter(owner, "update_thread", writes=True)
        keys = _keys(owner, thread_id=check_key(thread_id, "thread_id"))
        changes = inputs.thread_changes(title=title, status=status, metadata=metadata, revision=revision)
        return await self._change_thread(keys, changes, "update_thread")

    async def delete_thread(self, thread_id: str, *, owner: Owner) -> None:
        self._enter(owner, "delete_thread", writes=True)
        keys = _keys(owner, thread_id=check_key(thread_id, "thread_id"))
        is_long = await self._write(
            "delete_thread",
            lambda unit: single.delete_thread(unit, keys, LONG_THREAD),
            lambda unit: stepwise.delete_thread(unit, keys, LONG_THREAD),
        )
        if is_long:
            self._sweep_soon()

    async def load_threads(
        self,
        *,
        owner: Owner,
        limit: int = 20,
        after: str | Thread | None = None,
        order: Order = "desc",
        by: ThreadOrder = "activity",
    ) -> Page[Thread]:
        self._enter(owner, "load_threads")
        limit, order, by = inputs.check_limit(limit), inputs.check_order(order), inputs.check_by(by)
        await self._connect()
        listing = threads_of(owner, by=by, order=order, database=self._database.identity)
        start = after_thread(after, listing, by)
        values = _keys(owner, candidates=limit + 1)
        if start is not None:
            values |= {"value": start.value, "after_id": start.id, "until": start.until}
        statement = statements.thread_page(by, order, continued=start is not None)
        rows = await self._read("load_threads", lambda unit: unit.fetch(statement, values))
        data = [thread_of(row) for row in rows[:limit]]
        if len(rows) <= limit:
            return Page(data=data)
        value, now = rows[limit - 1][9:]
        until = start.until if start is not None else now if by == "activity" and order == "asc" else NO_END
        return Page(data=data, has_more=True, after=listing.cursor(value, data[-1].id, until))

    async def add_thread_item(self, thread_id: str, item: Item, *, owner: Owner, at: datetime | None = None) -> Item:
        self._enter(owner, "add_thread_item", writes=True)
        keys = _keys(owner, thread_id=check_key(thread_id, "thread_id"))
        new = inputs.new_item(item, self._max_item_bytes)
        written = await self._add_items(keys, [new], inputs.check_at(at), "add_thread_item")
        return _item(thread_id, new, written[0])

    async def add_thread_items(self, thread_id: str, items: Sequence[Item], *, owner: Owner) -> list[Item]:
        self._enter(owner, "add_thread_items", writes=True)
        keys = _keys(owner, thread_id=check_key(thread_id, "thread_id"))
        new, places = inputs.new_items(items, self._max_item_bytes)
        if not new:
            await self._load_thread(keys, "add_thread_items")
            return []
        written = await self._add_items(keys, new, None, "add_thread_items")
        return [_item(thread_id, new[place], written[place]) for place in places]

    async def load_item(self, thread_id: str, item_id: str, *, owner: Owner) -> Item:
        self._enter(owner, "load_item")
        keys = _keys(owner, thread_id=check_key(thread_id, "thread_id"), item_id=check_key(item_id, "item_id"))
        rows = await self._read("load_item", lambda unit: unit.fetch(statements.LOAD_ITEM, keys))
        if not rows:
            raise NotFoundError(f"load_item: no item {item_id!r} in thread {thread_id!r}")
        return item_of(rows[0], thread_id)

    async def save_item(self, thread_id: str, item: Item, *, owner: Owner) -> Item:
        self._enter(owner, "save_item", writes=True)
        keys = _keys(owner, thread_id=check_key(thread_id, "thread_id"))
        new, loaded = inputs.saved_item(item, thread_id, self._max_item_bytes)

        async def at_once(unit: Unit) -> Written | Stepwise:
            if loaded:
                return _written(await single.save_loaded_item(unit, keys, new), keys, new)
            written = await single.write_items(unit, single.SAVE_NEW_ITEM, keys, [new], None, "save_item")
            return written if isinstance(written, Stepwise) else written[0]

        written = await self._write(
            "save_item", at_once, lambda unit: stepwise.save_item(unit, keys, new, loaded=loaded)
        )
        return _item(thread_id, new, written)

    async def load_thread_items(
        self,
        thread_id: str,
        *,
        owner: Owner,
        limit: int = 50,
        after: str | Item | None = None,
        order: Order = "asc",
    ) -> Page[Item]:
        self._enter(owner, "load_thread_items")
        limit, order = inputs.check_limit(limit), inputs.check_order(order)
        keys = _keys(owner, thread_id=check_key(thread_id, "thread_id"), candidates=limit + 1)
        await self._connect()
        listing = items_of(thread_id, owner=owner, order=order, database=self._database.identity)
        start = after_item(after, listing, thread_id)
        statement = statements.item_page(order, continued=start is not None)
        rows = await self._read("load_thread_items", lambda unit: unit.fetch(statement, {**keys, "after": start}))
        if not rows:
            raise NotFoundError(f"load_thread_items: no thread {thread_id!r}")
        if rows[0][0] is None:
            return Page(data=[])
        data = [item_of(row, thread_id) for row in rows]
        has_more = bool(rows[-1][6])
        return Page(data=data, has_more=has_more, after=listing.cursor(data[-1].position) if has_more else None)

    def iter_thread_items(
        self, thread_id: str, *, owner: Owner, order: Order = "asc", page_size: int = 100
    ) -> AsyncIterator[Item]:
        limit = inputs.check_limit(page_size, "page_size")
        return iterate(
            lambda after: self.load_thread_items(thread_id, owner=owner, limit=limit, after=after, order=order)
        )

    async def delete_thread_item(self, thread_id: str, item_id: str, *, owner: Owner) -> None:
        self._enter(owner, "delete_thread_item", writes=True)
        keys = _keys(owner, thread_id=check_key(thread_id, "thread_id"))
        await self._delete_items(keys, [check_key(item_id, "item_id")], "delete_thread_item")

    async def delete_thread_items(
        self,
        thread_id: str,
        item_ids: Sequence[str] | None = None,
        *,
        owner: Owner,
        after: str | None = None,
    ) -> None:
        self._enter(owner, "delete_thread_items", writes=True)
        keys = _keys(owner, thread_id=check_key(thread_id, "thread_id"))
        ids = inputs.deleted_items(item_ids, after)
        if after is None:
            await self._delete_items(keys, ids, "delete_thread_items")
        elif not await self._write(
            "delete_thread_items",
            lambda unit: single.delete_items_after(unit, keys, after),
            lambda unit: stepwise.delete_items_after(unit, keys, after),
        ):
            raise NotFoundError(f"delete_thread_items: no item {after!r} in thread {thread_id!r}")

    async def save_attachment(self, attachment: Attachment, *, owner: Owner) -> Attachment:
        self._enter(owner, "save_attachment", writes=True)
        new, by_hand, changes = inputs.saved_attachment(attachment)
        row = await self._steps(
            "save_attachment",
            lambda unit: stepwise.save_attachment(unit, _keys(owner), new, changes, by_hand=by_hand),
        )
        return attachment_of(row)

    async def load_attachment(self, attachment_id: str, *, owner: Owner) -> Attachment:
        self._enter(owner, "load_attachment")
        (record,) = await self._load_attachments([check_key(attachment_id, "attachment_id")], owner, "load_attachment")
        return record

    async def load_attachments(self, attachment_ids: Sequence[str], *, owner: Owner) -> list[Attachment]:
        self._enter(owner, "load_attachments")
        ids = inputs.check_keys(attachment_ids, "attachment_ids")
        return await self._load_attachments(ids, owner, "load_attachments")

    async def load_thread_attachments(
        self, thread_id: str, *, owner: Owner, limit: int = 50, after: str | None = None
    ) -> Page[Attachment]:
        self._enter(owner, "load_thread_attachments")
        limit = inputs.check_limit(limit)
        keys = _keys(owner, thread_id=check_key(thread_id, "thread_id"), candidates=limit + 1)
        await self._connect()
        listing = attachments_of(thread_id, owner=owner, database=self._database.identity)
        start = after_attachment(after, listing)
        if start is not None:
            keys |= {"instant": start[0], "after_id": start[1]}
        statement = statements.attachment_page(continued=start is not None)
        rows = await self._read("load_thread_attachments", lambda unit: unit.fetch(statement, keys))
        if not rows:
            raise NotFoundError(f"load_thread_attachments: no thread {thread_id!r}")
        data = [attachment_of(row) for row in rows[:limit] if row[0] is not None]
        if len(rows) <= limit:
            return Page(data=data)
        return Page(data=data, has_more=True, after=listing.cursor(rows[limit - 1][9], data[-1].id))

    async def delete_attachment(self, attachment_id: str, *, owner: Owner) -> None:
        self._enter(owner, "delete_attachment", writes=True)
        keys = _keys(owner, attachment_id=check_key(attachment_id, "attachment_id"))
        await self._one("delete_attachment", lambda unit: unit.fetch(statements.DELETE_ATTACHMENT, keys))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Store]:
        self._lifetime.enter()
        check_outside_block(self, "transaction")
        await self._connect()
        async with self._units.block("transaction") as units:
            inner = SQLStore(self._database, units=units, max_item_bytes=self._max_item_bytes)
            try:
                with block_of(self):
                    yield inner
            finally:
                inner._lifetime.closed = True
        if inner._left_items:
            self._sweep_soon()

    async def run(self, work: Callable[[Store], Awaitable[T]]) -> T:
        async def once() -> T:
            async with self.transaction() as inner:
                return await work(inner)

        return await self._units.rerun("run", once)

    async def aclose(self) -> None:
        if self._lifetime.closed:
            return
        self._lifetime.closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])
        if self._is_outermost:
            await self._database.aclose()

    async def __aenter__(self) -> Self:
        self._lifetime.enter()
        await self._connect()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _enter(self, owner: Owner, operation: str, *, writes: bool = False) -> None:
        self._lifetime.enter()
        check_owner(owner)
        if writes or self._units.exclusive:
            check_outside_block(self, operation)

    @property
    def _is_outermost(self) -> bool:
        return self._units is self._database.units

    async def _connect(self) -> None:
        if not self._database.identity:
            await self._database.connect()
            if self._database.has_remains:
                self._sweep_soon()

    async def _read(self, operation: str, work: Work[T]) -> T:
        await self._connect()
        return await self._units.read(operation, work)

    async def _one(self, operation: str, work: Work[T]) -> T:
        await self._connect()
        return await self._units.write(operation, work)

    async def _steps(self, operation: str, work: Work[T]) -> T:
        await self._connect()
        return await self._units.transact(operation, work)

    async def _write(self, operation: str, at_once: Work[T | Stepwise], in_steps: Work[T]) -> T:
        """Write in one statement where the database can and that statement can decide, else in steps."""
        if self._database.one_statement:
            answer = await self._one(operation, at_once)
            if not isinstance(answer, Stepwise):
                return answer
        return await self._steps(operation, in_steps)

    async def _load_thread(self, keys: Values, operation: str) -> Thread:
        rows = await self._read(operation, lambda unit: unit.fetch(statements.LOAD_THREAD, keys))
        if not rows:
            raise NotFoundError(f"{operation}: no thread {keys['thread_id']!r}")
        return thread_of(rows[0])

    async def _insert_thread(self, keys: Values, new: NewThread, operation: str) -> Thread | None:
        values = {
            **keys,
            "key": secrets.randbits(63),
            "title": new.title,
            "status": new.status,
            "reason": new.reason,
            "metadata": new.metadata,
            "created_at": new.created_at,
            "instant": new.instant,
            "no_instant": single.NO_INSTANT,
        }
        rows = await self._one(operation, lambda unit: unit.fetch(statements.INSERT_THREAD, values))
        return thread_of(rows[0]) if rows else None

    async def _change_thread(self, keys: Values, changes: ThreadChanges, operation: str) -> Thread:
        row = await self._write(
            operation,
            lambda unit: single.change_thread(unit, keys, changes, operation),
            lambda unit: stepwise.change_thread(unit, keys, changes, operation),
        )
        return thread_of(row)

    async def _add_items(self, keys: Values, new: list[NewItem], at: int | None, operation: str) -> list[Written]:
        def at_once(unit: Unit) -> Awaitable[list[Written] | Stepwise]:
            template = single.ADD_ITEMS_AGAIN if unit.repeated else single.ADD_ITEMS
            return single.write_items(unit, template, keys, new, at, operation)

        return await self._write(operation, at_once, lambda unit: stepwise.add_items(unit, keys, new, at, operation))

    async def _delete_items(self, keys: Values, ids: Sequence[str], operation: str) -> None:
        async def at_once(unit: Unit) -> None:
            await unit.fetch(single.DELETE_ITEMS, {**keys, "ids": unit.dialect.array(ids)})

        await self._write(operation, at_once, lambda unit: stepwise.delete_items(unit, keys, ids))

    async def _load_attachments(self, ids: Sequence[str], owner: Owner, operation: str) -> list[Attachment]:
        def load(unit: Unit) -> Awaitable[Sequence[Row]]:
            return unit.fetch(statements.LOAD_ATTACHMENTS, _keys(owner, ids=unit.dialect.array(ids)))

        found = {row[0]: row for row in await self._read(operation, load)}
        for id in ids:
            if id not in found:
                raise NotFoundError(f"{operation}: no attachment {id!r}")
        return [attachment_of(found[id]) for id in ids]

    def _sweep_soon(self) -> None:
        """Remove in the background what deleted threads left behind, also before a crash."""
        if not self._is_outermost:
            self._left_items = True
        elif self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.create_task(self._sweep())

    async def _sweep(self) -> None:
        with suppress(StorageError):
            while await self._units.transact("sweep", lambda unit: stepwise.sweep_some(unit, LONG_THREAD)):
                pass


def open_sql(
    url: str | AsyncEngine, *, migrate: Migrate, schema: str | None, prefix: str, max_item_bytes: int
) -> SQLStore:
    """Return a store for a URL of SQLite or PostgreSQL, or over a caller's engine, which stays open."""
    owned = isinstance(url, str)
    engine = make_engine(url) if isinstance(url, str) else url
    place = hide_password(url) if isinstance(url, str) else engine.url.render_as_string()
    database = Database(engine, owned=owned, place=place, prefix=prefix, schema=schema, migrate=migrate)
    return SQLStore(database, max_item_bytes=max_item_bytes)


def _keys(owner: Owner, **values: Any) -> dict[str, Any]:
    return {"tenant": owner.tenant, "user_id": owner.user, **values}


def _written(written: Written | None, keys: Values, new: NewItem) -> Written:
    if written is None:
        raise NotFoundError(f"save_item: no item {new.id!r} in thread {keys['thread_id']!r}")
    return written


def _item(thread_id: str, new: NewItem, written: Written) -> Item:
    return Item.of_payload(
        id=new.id,
        thread_id=thread_id,
        type=new.type,
        created_at=from_text(written.created_at, written.instant),
        position=written.position,
        payload=new.payload,
    )
