"""A store bound to one owner: what applications hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from types import EllipsisType
from typing import Any, TypeVar

from chatstore.attachments import Attachments
from chatstore.errors import ConfigurationError
from chatstore.links import Upload
from chatstore.models import Attachment, Item, Order, Page, Thread, ThreadOrder, ThreadStatus
from chatstore.owners import Owner, check_owner
from chatstore.protocols import BlobSource, Capability, Store

T = TypeVar("T")


class UserStore:
    """The verbs of a :class:`~chatstore.protocols.Store` for one owner, and for no other.

    Made by ``store.for_user(user)``; it costs nothing to make and holds nothing to close. What each verb does
    and raises is written on the protocol.
    """

    def __init__(self, store: Store, owner: Owner, files: Attachments | None = None) -> None:
        self._store = store
        self._files = files
        self.owner: Owner = check_owner(owner)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the store can do beyond the minimum."""
        return self._store.capabilities

    async def create_thread(
        self,
        *,
        title: str | None = None,
        metadata: dict[str, Any] | None = None,
        id: str | None = None,
        created_at: datetime | None = None,
    ) -> Thread:
        """Insert a thread and return it; an equal one under the same id is success, another ``ConflictError``."""
        return await self._store.create_thread(
            owner=self.owner, title=title, metadata=metadata, id=id, created_at=created_at
        )

    async def load_thread(self, thread_id: str) -> Thread:
        """Return the thread; raise ``NotFoundError`` when absent."""
        return await self._store.load_thread(thread_id, owner=self.owner)

    async def save_thread(self, thread: Thread) -> Thread:
        """Write the changed fields of a thread, or insert one built by hand.

        Raises ``ConflictError`` where somebody else changed such a field, ``NotFoundError`` where the loaded
        thread is gone.
        """
        return await self._store.save_thread(thread, owner=self.owner)

    async def update_thread(
        self,
        thread_id: str,
        *,
        title: str | EllipsisType | None = ...,
        status: ThreadStatus | EllipsisType = ...,
        metadata: dict[str, Any] | EllipsisType = ...,
        revision: int | None = None,
    ) -> Thread:
        """Write the given fields without a load before; raise ``NotFoundError`` or (``revision``) ``ConflictError``."""
        return await self._store.update_thread(
            thread_id, owner=self.owner, title=title, status=status, metadata=metadata, revision=revision
        )

    async def delete_thread(self, thread_id: str) -> None:
        """Delete a thread with its items and attachment records; quiet when absent."""
        await self._store.delete_thread(thread_id, owner=self.owner)

    async def load_threads(
        self,
        *,
        limit: int = 20,
        after: str | Thread | None = None,
        order: Order = "desc",
        by: ThreadOrder = "activity",
    ) -> Page[Thread]:
        """Return a page of the owner's threads, by last activity or by creation."""
        return await self._store.load_threads(owner=self.owner, limit=limit, after=after, order=order, by=by)

    async def add_thread_item(self, thread_id: str, item: Item, *, at: datetime | None = None) -> Item:
        """Append an item, or place it by time with ``at``; raise ``NotFoundError`` without the thread.

        The same id and ``created_at`` again is the same item with the data given last; the same id with another
        ``created_at`` raises ``ConflictError``.
        """
        return await self._store.add_thread_item(thread_id, item, owner=self.owner, at=at)

    async def add_thread_items(self, thread_id: str, items: Sequence[Item]) -> list[Item]:
        """Append up to 1,000 items, all or none; raise as :meth:`add_thread_item` does."""
        return await self._store.add_thread_items(thread_id, items, owner=self.owner)

    async def load_item(self, thread_id: str, item_id: str) -> Item:
        """Return the item; raise ``NotFoundError`` when absent."""
        return await self._store.load_item(thread_id, item_id, owner=self.owner)

    async def save_item(self, thread_id: str, item: Item) -> Item:
        """Replace an item in its place, or append one never stored; a loaded one that is gone is ``NotFoundError``."""
        return await self._store.save_item(thread_id, item, owner=self.owner)

    async def load_thread_items(
        self, thread_id: str, *, limit: int = 50, after: str | Item | None = None, order: Order = "asc"
    ) -> Page[Item]:
        """Return a page of a thread's items; raise ``NotFoundError`` without the thread."""
        return await self._store.load_thread_items(thread_id, owner=self.owner, limit=limit, after=after, order=order)

    def iter_thread_items(self, thread_id: str, *, order: Order = "asc", page_size: int = 100) -> AsyncIterator[Item]:
        """Iterate over a thread's items, a page at a time."""
        return self._store.iter_thread_items(thread_id, owner=self.owner, order=order, page_size=page_size)

    async def delete_thread_item(self, thread_id: str, item_id: str) -> None:
        """Delete one item; quiet when absent."""
        await self._store.delete_thread_item(thread_id, item_id, owner=self.owner)

    async def delete_thread_items(
        self, thread_id: str, item_ids: Sequence[str] | None = None, *, after: str | None = None
    ) -> None:
        """Delete items by id, or every item after the one whose id is ``after`` (``NotFoundError`` when absent)."""
        await self._store.delete_thread_items(thread_id, item_ids, owner=self.owner, after=after)

    async def save_attachment(self, attachment: Attachment) -> Attachment:
        """Insert a pending record, or change name, metadata and thread of a stored one."""
        return await self._store.save_attachment(attachment, owner=self.owner)

    async def load_attachment(self, attachment_id: str) -> Attachment:
        """Return the record; raise ``NotFoundError`` when absent."""
        return await self._store.load_attachment(attachment_id, owner=self.owner)

    async def load_attachments(self, attachment_ids: Sequence[str]) -> list[Attachment]:
        """Return the records in the order of the ids; raise ``NotFoundError`` when one is absent."""
        return await self._store.load_attachments(attachment_ids, owner=self.owner)

    async def load_thread_attachments(
        self, thread_id: str, *, limit: int = 50, after: str | None = None
    ) -> Page[Attachment]:
        """Return a page of a thread's records by creation; raise ``NotFoundError`` without the thread."""
        return await self._store.load_thread_attachments(thread_id, owner=self.owner, limit=limit, after=after)

    async def delete_attachment(self, attachment_id: str) -> None:
        """Delete a record; quiet when absent."""
        await self._store.delete_attachment(attachment_id, owner=self.owner)

    async def add_attachment(
        self,
        name: str,
        source: BlobSource,
        *,
        mime_type: str | None = None,
        thread_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        size: int | None = None,
        sha256: str | None = None,
    ) -> Attachment:
        """Store a file and return its record, ready; on any error nothing is left of it.

        ``source`` is bytes, a path, a binary file or an (async) iterable of bytes, and streams. ``size`` and
        ``sha256`` are what the caller expects of it. Raises ``LimitError`` for a file that a limit forbids,
        ``InvalidInputError`` for bytes that are not the expected ones, ``NotFoundError`` without the thread.
        """
        return await self._attachments.add(
            name,
            source,
            owner=self.owner,
            mime_type=mime_type,
            thread_id=thread_id,
            metadata=metadata,
            size=size,
            sha256=sha256,
        )

    async def begin_upload(
        self,
        name: str,
        *,
        mime_type: str,
        size: int,
        thread_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        expires_in: timedelta = timedelta(hours=1),
        id: str | None = None,
    ) -> Upload:
        """Insert a pending record and return the request by which a client uploads its ``size`` bytes itself.

        Raises ``LimitError``, ``NotFoundError`` without the thread, ``ConflictError`` for an ``id`` in use, and
        ``NotSupportedError`` where no URL can be made.
        """
        return await self._attachments.begin(
            name,
            owner=self.owner,
            mime_type=mime_type,
            size=size,
            thread_id=thread_id,
            metadata=metadata,
            expires_in=expires_in,
            id=id,
        )

    async def copy_attachment(self, attachment_id: str, *, thread_id: str, id: str | None = None) -> Attachment:
        """Insert a record of the same bytes in another thread and return it: an attachment joins one thread only.

        The bytes are shared and go with the last record; each counts in the owner's limits. With an ``id``, the
        same copy once more is success. Raises ``NotFoundError`` without the thread, or where the attachment is
        absent or not uploaded yet, ``ConflictError`` for an id in use, and ``LimitError``.
        """
        return await self._attachments.copy(attachment_id, thread_id=thread_id, owner=self.owner, id=id)

    async def complete_upload(self, attachment_id: str) -> Attachment:
        """Verify what a client uploaded and turn its record ready; a second time is success.

        Raises ``NotFoundError`` where nothing was uploaded, ``InvalidInputError`` where it is not as announced.
        """
        return await self._attachments.complete(attachment_id, owner=self.owner)

    def open_attachment(
        self, attachment_id: str, *, start: int = 0, end: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Yield the bytes of an attachment, chunk by chunk, from ``start`` up to, not including, ``end``.

        Raises ``NotFoundError`` where it is absent or not uploaded yet, ``IntegrityError`` where its bytes are
        missing or damaged.
        """
        return self._attachments.open(attachment_id, owner=self.owner, start=start, end=end)

    async def attachment_url(
        self, attachment_id: str, *, expires_in: timedelta, download_name: str | None = None
    ) -> str:
        """Return a URL that fetches an attachment, without a session, until it expires; seven days at the most."""
        return await self._attachments.url(
            attachment_id, owner=self.owner, expires_in=expires_in, download_name=download_name
        )

    @property
    def _attachments(self) -> Attachments:
        if self._files is None:
            raise ConfigurationError(
                "files cannot be part of a transaction, and need open_store(blobs=...);"
                " use the store outside of the block"
            )
        return self._files

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[UserStore]:
        """Open one unit of work and yield this owner's store in it: leaving commits, an exception rolls back."""
        async with self._store.transaction() as inner:
            yield UserStore(inner, self.owner)

    async def run(self, work: Callable[[UserStore], Awaitable[T]]) -> T:
        """Call ``work`` in a transaction and return its result; retried as a whole, so give ids to what it adds."""
        return await self._store.run(lambda inner: work(UserStore(inner, self.owner)))
