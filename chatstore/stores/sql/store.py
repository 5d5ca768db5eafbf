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
    MAX_PAGE_BYTES,
    NO_END,
    after_item,
    after_thread,
    bounded,
    items_of,
    iterate,
    threads_of,
)
from chatstore.deadlines import POOL_SIZE, USUAL, Deadlines
from chatstore.errors import ConflictError, NotFoundError
from chatstore.ids import check_key
from chatstore.inputs import NewItem, NewThread, ThreadChanges
from chatstore.instants import from_text
from chatstore.merging import same_thread
from chatstore.models import Item, Order, Page, Thread, ThreadOrder, ThreadStatus
from chatstore.owners import Owner
from chatstore.protocols import Store
from chatstore.sql import single, statements, stepwise
from chatstore.sql.connections import Unit
from chatstore.sql.databases import Database
from chatstore.sql.dialects import Row, Values
from chatstore.sql.engines import check_options_of, deadlines_of, hide_password, make_engine
from chatstore.sql.items import ItemWrite, Kind, Written
from chatstore.sql.rows import item_of, page_of_items, thread_of
from chatstore.sql.schema import Migrate
from chatstore.stores.sql.access import LONG_THREAD, owned
from chatstore.stores.sql.files import SQLFiles
from chatstore.transactions import block_of, check_outside_block

T = TypeVar("T")


class SQLStore(SQLFiles):
    """A store over an SQLAlchemy engine. ``open_store`` makes it; the promises are the protocol's."""

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
        keys = owned(owner, thread_id=new.id)
        while True:  # a thread that is in the way of the insert may be deleted before it is read
            inserted = await self._insert_thread(keys, new, "create_thread")
            if inserted is not None:
                return inserted
            with suppress(NotFoundError):
                stored = await self._load_thread(keys, "create_thread")
                if not same_thread(stored.title, stored.metadata, new):
                    raise ConflictError(f"create_thread: thread {new.id!r} exists with another title or metadata")
                return stored

    async def load_thread(self, thread_id: str, *, owner: Owner) -> Thread:
        self._enter(owner, "load_thread")
        return await self._load_thread(owned(owner, thread_id=check_key(thread_id, "thread_id")), "load_thread")

    async def save_thread(self, thread: Thread, *, owner: Owner) -> Thread:
        self._enter(owner, "save_thread", writes=True)
        id, new, changes = inputs.saved_thread(thread)
        keys = owned(owner, thread_id=id)
        if new is None:
            return await self._change_thread(keys, changes, "save_thread")
        while True:  # as in create_thread
            inserted = await self._insert_thread(keys, new, "save_thread")
            if inserted is not None:
                return inserted
            with suppress(NotFoundError):
                return await self._change_thread(keys, changes, "save_thread")

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
        keys = owned(owner, thread_id=check_key(thread_id, "thread_id"))
        changes = inputs.thread_changes(title=title, status=status, metadata=metadata, revision=revision)
        return await self._change_thread(keys, changes, "update_thread")

    async def delete_thread(self, thread_id: str, *, owner: Owner) -> None:
        self._enter(owner, "delete_thread", writes=True)
        keys = owned(owner, thread_id=check_key(thread_id, "thread_id"))
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
        listing = threads_of(owner, by=by, order=order, database=self.database.identity)
        start = after_thread(after, listing, by)
        values = owned(owner, candidates=limit + 1)
        if start is not None:
            values |= {"value": start.value, "after_id": start.id, "until": start.until}
        statement = statements.thread_page(by, order, continued=start is not None)
        rows = await self._read_page("load_threads", statement, values)
        shown = bounded(rows[:limit], lambda row: len(row[4]))
        data = [thread_of(row) for row in shown]
        if len(shown) == len(rows):
            return Page(data=data)
        value, now = shown[-1][9:11]
        until = start.until if start is not None else now if by == "activity" and order == "asc" else NO_END
        return Page(data=data, has_more=True, after=listing.cursor(value, data[-1].id, until))

    async def add_thread_item(self, thread_id: str, item: Item, *, owner: Owner, at: datetime | None = None) -> Item:
        self._enter(owner, "add_thread_item", writes=True)
        keys = owned(owner, thread_id=check_key(thread_id, "thread_id"))
        new = inputs.new_item(item, self._max_item_bytes)
        (written,) = await self._write_items(ItemWrite("add_thread_item", Kind.ADD, keys, [new], inputs.check_at(at)))
        return _item(thread_id, new, written)

    async def add_thread_items(self, thread_id: str, items: Sequence[Item], *, owner: Owner) -> list[Item]:
        self._enter(owner, "add_thread_items", writes=True)
        keys = owned(owner, thread_id=check_key(thread_id, "thread_id"))
        new, places = inputs.new_items(items, self._max_item_bytes)
        if not new:
            await self._load_thread(keys, "add_thread_items")
            return []
        written = await self._write_items(ItemWrite("add_thread_items", Kind.ADD, keys, new))
        return [_item(thread_id, new[place], written[place]) for place in places]

    async def load_item(self, thread_id: str, item_id: str, *, owner: Owner) -> Item:
        self._enter(owner, "load_item")
        keys = owned(owner, thread_id=check_key(thread_id, "thread_id"), item_id=check_key(item_id, "item_id"))
        rows = await self._read("load_item", lambda unit: unit.fetch(statements.LOAD_ITEM, keys))
        if not rows:
            raise NotFoundError(f"load_item: no item {item_id!r} in thread {thread_id!r}")
        return item_of(rows[0], thread_id)

    async def save_item(self, thread_id: str, item: Item, *, owner: Owner) -> Item:
        self._enter(owner, "save_item", writes=True)
        keys = owned(owner, thread_id=check_key(thread_id, "thread_id"))
        new, loaded = inputs.saved_item(item, thread_id, self._max_item_bytes)
        kind = Kind.REPLACE if loaded else Kind.SAVE
        (written,) = await self._write_items(ItemWrite("save_item", kind, keys, [new]))
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
        keys = owned(owner, thread_id=check_key(thread_id, "thread_id"))
        await self._connect()
        listing = items_of(thread_id, owner=owner, order=order, database=self.database.identity)
        start = after_item(after, listing, thread_id)
        values = keys if start is None else {**keys, "after": start}
        rows, has_more = await self._item_rows(values, order, limit)
        if not rows:
            await self._load_thread(keys, "load_thread_items")
            return Page(data=[])
        data = page_of_items(rows, thread_id)
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
        keys = owned(owner, thread_id=check_key(thread_id, "thread_id"))
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
        keys = owned(owner, thread_id=check_key(thread_id, "thread_id"))
        ids = inputs.deleted_items(item_ids, after)
        if after is None:
            await self._delete_items(keys, ids, "delete_thread_items")
        elif not await self._write(
            "delete_thread_items",
            lambda unit: single.delete_items_after(unit, keys, after),
            lambda unit: stepwise.delete_items_after(unit, keys, after),
        ):
            raise NotFoundError(f"delete_thread_items: no item {after!r} in thread {thread_id!r}")

    async def check(self) -> str | None:
        self._lifetime.enter()
        check_outside_block(self, "check")
        return await self.database.check(self._units)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Store]:
        self._lifetime.enter()
        check_outside_block(self, "transaction")
        await self._connect()
        async with self._units.block("transaction") as units:
            inner = SQLStore(self.database, units=units, max_item_bytes=self._max_item_bytes)
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
        if self._lifetime.is_bound:
            self._lifetime.check_home()
        self._lifetime.closed = True
        if self._is_outermost:
            if self._closing is None:
                self._closing = asyncio.ensure_future(self._close())
            await asyncio.shield(self._closing)

    async def __aenter__(self) -> Self:
        self._lifetime.enter()
        try:
            await self._connect()
        except BaseException:  # nobody will leave what was not entered
            await self.database.let_go()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _item_rows(self, values: Values, order: Order, limit: int) -> tuple[Sequence[Row], bool]:
        """Return the rows of a page of items, and whether there are more.

        They are read at once where each is small enough for all of them to fit; else their sizes come first.
        """
        continued = "after" in values
        page, sizes = (make(order, continued=continued) for make in (statements.item_page, statements.item_sizes))

        async def read(statement: str, candidates: int, largest: int = 0) -> Sequence[Row]:
            given = {**values, "candidates": candidates, "largest": largest}
            return await self._read_page("load_thread_items", statement, given)

        rows = await read(page, limit + 1, MAX_PAGE_BYTES // limit)
        shown = rows[:limit]
        if None not in [row[5] for row in shown]:
            return shown, len(rows) > limit
        found = await read(sizes, limit + 1)
        room = len(bounded(found[:limit], lambda row: int(row[0])))
        return await read(page, room, 2**31 - 1), room < len(found)

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
        rows = await self._one(operation, lambda unit: unit.fetch(statements.INSERT_THREAD, values), repeatable=True)
        return thread_of(rows[0]) if rows else None

    async def _change_thread(self, keys: Values, changes: ThreadChanges, operation: str) -> Thread:
        row = await self._write(
            operation,
            lambda unit: single.change_thread(unit, keys, changes, operation),
            lambda unit: stepwise.change_thread(unit, keys, changes, operation),
            repeatable=changes.revision is not None,
        )
        return thread_of(row)

    async def _delete_items(self, keys: Values, ids: Sequence[str], operation: str) -> None:
        async def at_once(unit: Unit) -> None:
            await unit.fetch(single.DELETE_ITEMS, {**keys, "ids": unit.dialect.array(ids)})

        await self._write(operation, at_once, lambda unit: stepwise.delete_items(unit, keys, ids))


def open_sql(
    url: str | AsyncEngine,
    *,
    migrate: Migrate,
    schema: str | None,
    prefix: str,
    max_item_bytes: int,
    coalesce: bool,
    deadlines: Deadlines = USUAL,
    pool_size: int = POOL_SIZE,
    pgbouncer: bool = False,
    row_security: bool = False,
) -> SQLStore:
    """Return a store for a URL of SQLite or PostgreSQL, or over a caller's engine, which stays open."""
    owned = isinstance(url, str)
    if isinstance(url, str):
        deadlines = deadlines_of(url, deadlines)
        engine = make_engine(url, deadlines, pool_size=pool_size, pgbouncer=pgbouncer)
        place = hide_password(url)
    else:
        check_options_of(url, deadlines, pool_size, pgbouncer=pgbouncer)
        engine, place = url, url.url.render_as_string()
    database = Database(
        engine,
        owned=owned,
        place=place,
        prefix=prefix,
        schema=schema,
        migrate=migrate,
        coalesce=coalesce,
        deadlines=deadlines,
        pool_size=pool_size,
        row_security=row_security,
    )
    return SQLStore(database, max_item_bytes=max_item_bytes)


def _item(thread_id: str, new: NewItem, written: Written) -> Item:
    return Item.of_payload(
        id=new.id,
        thread_id=thread_id,
        type=new.type,
        created_at=from_text(written.created_at, written.instant),
        position=written.position,
        payload=new.payload,
    )
