"""What a store must do, and what it may declare beyond that.

There is nothing to inherit: an object with these methods is a store. Every call names its owner, and another
owner's thread, item, attachment or cursor is answered exactly as an id that never existed. ``load_*`` raises
``NotFoundError`` when absent, ``save_*`` upserts, ``add_*`` inserts, ``delete_*`` is quiet when absent. Every
call may raise ``InvalidInputError`` (before anything is asked), ``ClosedError``, ``ConfigurationError`` (a
second event loop or a forked process) and ``StorageError``; a method names only what it raises beyond these.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from enum import Enum
from types import EllipsisType
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from chatstore.models import Attachment, Item, Order, Page, Thread, ThreadOrder, ThreadStatus
from chatstore.owners import Owner

T = TypeVar("T")


class Capability(str, Enum):
    """What a backend can do beyond the minimum: declared, never guessed."""

    DURABLE = "durable"
    """An acknowledged write survives a crash of the process, the server and the machine."""
    SHARED = "shared"
    """Several processes may open the same store at once."""


@runtime_checkable
class Store(Protocol):
    """Threads, items and attachment records, by owner."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this store can do beyond the minimum."""
        ...

    async def create_thread(
        self,
        *,
        owner: Owner,
        title: str | None = None,
        metadata: dict[str, Any] | None = None,
        id: str | None = None,
        created_at: datetime | None = None,
    ) -> Thread:
        """Insert a thread and return it; id and creation time are made where absent.

        An id that exists with equal title and metadata is success and returns the stored thread; with others
        it raises ``ConflictError``.
        """
        ...

    async def load_thread(self, thread_id: str, *, owner: Owner) -> Thread:
        """Return the thread; raise ``NotFoundError`` when absent."""
        ...

    async def save_thread(self, thread: Thread, *, owner: Owner) -> Thread:
        """Write the changed fields of ``thread`` (its ``model_fields_set``) and return it as stored.

        A thread without a revision was built by hand: it is inserted, or replaces title, status and metadata.
        A loaded one that is gone since raises ``NotFoundError``; a changed field that somebody else changed
        after the loaded revision raises ``ConflictError``, unless the stored value already equals the new one.
        """
        ...

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
        """Write the given fields in one step, without a load before, and return the thread as stored.

        With ``revision`` given, a field that somebody else changed after it raises ``ConflictError``, unless
        the stored value already equals the new one. Raises ``NotFoundError`` when the thread is absent.
        """
        ...

    async def delete_thread(self, thread_id: str, *, owner: Owner) -> None:
        """Delete a thread with its items and the records of its attachments; quiet when absent."""
        ...

    async def load_threads(
        self,
        *,
        owner: Owner,
        limit: int = 20,
        after: str | Thread | None = None,
        order: Order = "desc",
        by: ThreadOrder = "activity",
    ) -> Page[Thread]:
        """Return a page of the owner's threads, by last activity or by creation.

        ``after`` is the cursor of a page of the same listing, or a loaded thread to go on after.
        """
        ...

    async def add_thread_item(self, thread_id: str, item: Item, *, owner: Owner, at: datetime | None = None) -> Item:
        """Append an item to a thread and return it with id, creation time and position.

        The same id with the same ``created_at`` (or with none) is the same item: it keeps its place and gets
        the data given last. Another ``created_at`` raises ``ConflictError``. With ``at``, the item is placed
        before the first of the newest 1,000 items whose creation time is later than ``at``; where ten were placed
        into the same microsecond already, behind that item. Raises ``NotFoundError`` when the thread is absent.
        """
        ...

    async def add_thread_items(self, thread_id: str, items: Sequence[Item], *, owner: Owner) -> list[Item]:
        """Append up to 1,000 items (64 MiB) in the order given: all of them or, on any error, none.

        Each as in :meth:`add_thread_item`. A reader sees none or all.
        """
        ...

    async def load_item(self, thread_id: str, item_id: str, *, owner: Owner) -> Item:
        """Return the item; raise ``NotFoundError`` when it or its thread is absent."""
        ...

    async def save_item(self, thread_id: str, item: Item, *, owner: Owner) -> Item:
        """Replace an item's type, data and (where given) creation time, keeping its position; else append it.

        An item with a position was loaded: gone since, it raises ``NotFoundError`` and is not brought back.
        So does an absent thread.
        """
        ...

    async def load_thread_items(
        self,
        thread_id: str,
        *,
        owner: Owner,
        limit: int = 50,
        after: str | Item | None = None,
        order: Order = "asc",
    ) -> Page[Item]:
        """Return a page of a thread's items by position: at most ``limit`` (over 1,000 is 1,000) and 16 MiB.

        ``after`` is the cursor of a page of the same listing, or a loaded item to go on after. Raises
        ``NotFoundError`` when the thread is absent.
        """
        ...

    def iter_thread_items(
        self, thread_id: str, *, owner: Owner, order: Order = "asc", page_size: int = 100
    ) -> AsyncIterator[Item]:
        """Iterate over a thread's items, a page at a time; raise as :meth:`load_thread_items` does."""
        ...

    async def delete_thread_item(self, thread_id: str, item_id: str, *, owner: Owner) -> None:
        """Delete one item; quiet when it or its thread is absent."""
        ...

    async def delete_thread_items(
        self,
        thread_id: str,
        item_ids: Sequence[str] | None = None,
        *,
        owner: Owner,
        after: str | None = None,
    ) -> None:
        """Delete up to 1,000 items by id, or every item after the one whose id is ``after``: exactly one of them.

        Quiet where items or the thread are absent; an absent ``after`` raises ``NotFoundError``.
        """
        ...

    async def save_attachment(self, attachment: Attachment, *, owner: Owner) -> Attachment:
        """Insert a pending record, or change the name, metadata and thread of a stored one; return it as stored.

        Only changed fields are written. State, size and checksum belong to the upload and are never taken from
        here. An attachment joins one thread, once: another thread raises ``ConflictError``, an absent one
        ``NotFoundError``, as does a loaded record that is gone since.
        """
        ...

    async def load_attachment(self, attachment_id: str, *, owner: Owner) -> Attachment:
        """Return the record; raise ``NotFoundError`` when absent."""
        ...

    async def load_attachments(self, attachment_ids: Sequence[str], *, owner: Owner) -> list[Attachment]:
        """Return up to 1,000 records in the order of the ids; raise ``NotFoundError`` when one is absent."""
        ...

    async def load_thread_attachments(
        self, thread_id: str, *, owner: Owner, limit: int = 50, after: str | None = None
    ) -> Page[Attachment]:
        """Return a page of a thread's attachment records by creation; raise ``NotFoundError`` without the thread."""
        ...

    async def delete_attachment(self, attachment_id: str, *, owner: Owner) -> None:
        """Delete a record; quiet when absent."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[Store]:
        """Open one unit of work: leaving the block commits, an exception rolls back, nested is a savepoint.

        Inside, the yielded store is used. A write through the outer store would wait for itself and raises
        ``ConfigurationError``. A block is not retried: a lost connection raises ``UnavailableError``.
        """
        ...

    async def run(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """Call ``work`` with a transaction's store, commit, and return its result; retried as a whole.

        ``work`` may be called several times, also after a commit whose answer was lost: give ids to what it adds.
        """
        ...

    async def aclose(self) -> None:
        """Release what the store opened; calls under way end first. A second call does nothing."""
        ...

    async def __aenter__(self) -> Self:
        """Connect, and return the store."""
        ...

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the store."""
        ...
