"""Opaque page cursors: a position, bound to the listing that made it.

A cursor grants nothing and hides nothing. Its digest tells a cursor of another owner, thread, order or
database, and an altered one, from a cursor of this listing.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic_core import to_json

from chatstore.errors import InvalidInputError
from chatstore.ids import check_key
from chatstore.instants import plain, to_microseconds
from chatstore.models import Item, Order, Page, Thread, ThreadOrder
from chatstore.owners import Owner

R = TypeVar("R")

MAX_PAGE_BYTES = 16 * 1024 * 1024
"""Bytes of JSON after which a page ends."""

_DIGEST_BYTES = 12
_MAX_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class Listing:
    """What is paged through: whose, what, in which order, in which database."""

    owner: Owner
    name: str
    order: str
    database: str

    def cursor(self, *position: int | str) -> str:
        """Return the cursor of ``position`` in this listing: ints and strings, as the listing sorts."""
        body = to_json(position)
        return urlsafe_b64encode(self._digest(body) + body).rstrip(b"=").decode()

    def position(self, cursor: object) -> tuple[int | str, ...]:
        """Return the position that :meth:`cursor` was given; raise ``InvalidInputError`` for any other text."""
        if not isinstance(cursor, str) or not 0 < len(cursor) <= _MAX_LENGTH:
            raise InvalidInputError("after: must be a page's cursor, a string of at most 1,024 characters")
        try:
            raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except ValueError:
            raise _foreign() from None
        digest, body = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
        if digest != self._digest(body) or urlsafe_b64encode(raw).rstrip(b"=").decode() != cursor:
            raise _foreign()
        return tuple(json.loads(body))

    def _digest(self, body: bytes) -> bytes:
        parts = [self.owner.tenant, self.owner.user, self.name, self.order, self.database]
        scope = hashlib.blake2b(to_json(parts), digest_size=32).digest()
        return hashlib.blake2b(body, key=scope, digest_size=_DIGEST_BYTES).digest()


@dataclass(frozen=True, slots=True)
class ThreadPosition:
    """Where a page of threads goes on: after the thread ``id`` with sort value ``value``.

    Oldest activity first, a thread that is written to moves to the end, where it would be met again: pages
    after the first leave out what was active later than ``until``, the time of the first. A thread that a block
    had written to before that time, and commits later, can still be met twice.
    """

    value: int
    id: str
    until: int


NO_END = 2**63 - 1


def items_of(thread_id: str, *, owner: Owner, order: Order, database: str) -> Listing:
    """Return the listing of a thread's items by position."""
    return Listing(owner, f"items:{thread_id}", order, database)


def threads_of(owner: Owner, *, by: ThreadOrder, order: Order, database: str) -> Listing:
    """Return the listing of an owner's threads."""
    return Listing(owner, f"threads:{by}", order, database)


def attachments_of(thread_id: str, *, owner: Owner, database: str) -> Listing:
    """Return the listing of a thread's attachment records by creation."""
    return Listing(owner, f"attachments:{thread_id}", "asc", database)


def after_item(after: str | Item | None, listing: Listing, thread_id: str) -> int | None:
    """Return the position that a page of items begins after, ``None`` for the first page."""
    if after is None:
        return None
    if not isinstance(after, Item):
        (position,) = listing.position(after)
        return int(position)
    if type(after.position) is not int or abs(after.position) > NO_END or after.thread_id != thread_id:
        raise InvalidInputError("after: must be an item that was loaded from this thread")
    return after.position


def after_thread(after: str | Thread | None, listing: Listing, by: ThreadOrder) -> ThreadPosition | None:
    """Return where a page of threads begins, ``None`` for the first page."""
    if after is None:
        return None
    if not isinstance(after, Thread):
        value, id, until = listing.position(after)
        return ThreadPosition(int(value), str(id), int(until))
    moment = after.created_at if by == "created" else after.updated_at
    if after.revision is None:
        raise InvalidInputError("after: must be a thread that was loaded")
    return ThreadPosition(to_microseconds(plain(moment, "after")), check_key(after.id, "after"), NO_END)


def after_attachment(after: str | None, listing: Listing) -> tuple[int, str] | None:
    """Return the (instant, id) that a page of attachment records begins after, ``None`` for the first page."""
    if after is None:
        return None
    instant, id = listing.position(after)
    return int(instant), str(id)


def bounded(rows: Sequence[R], size_of: Callable[[R], int]) -> list[R]:
    """Return the first rows of a page, as many as its 16 MiB hold, one at least."""
    shown: list[R] = []
    size = 0
    for row in rows:
        if size >= MAX_PAGE_BYTES:
            break
        size += size_of(row)
        shown.append(row)
    return shown


async def iterate(load_page: Callable[[str | None], Awaitable[Page[Item]]]) -> AsyncIterator[Item]:
    """Iterate over the items of all pages, from the first on."""
    after = None
    while True:
        page = await load_page(after)
        for item in page.data:
            yield item
        if page.after is None:
            return
        after = page.after


def _foreign() -> InvalidInputError:
    return InvalidInputError(
        "after: not a cursor of this listing; it was altered, or made by another owner, thread, order or store"
    )
