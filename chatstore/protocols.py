"""What a store must do, and what it may declare beyond that.

There is nothing to inherit: an object with these methods is a store. Every call names its owner, and another
owner's thread, item, attachment or cursor is answered exactly as an id that never existed. ``load_*`` raises
``NotFoundError`` when absent, ``save_*`` upserts, ``add_*`` inserts, ``delete_*`` is quiet when absent. Every
call may raise ``InvalidInputError`` (before anything is asked), ``ClosedError``, ``ConfigurationError`` (a
second event loop or a forked process) and ``StorageError``; a method names only what it raises beyond these.

An attribute ``system`` says what a store or a blob store is in logs and telemetry (``postgresql``, ``s3``); without
one the name of its class does.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from types import EllipsisType
from typing import Any, BinaryIO, Protocol, Self, TypeAlias, TypeVar, runtime_checkable

from chatstore.models import Attachment, Item, Order, Page, Thread, ThreadOrder, ThreadStatus
from chatstore.owners import Owner

T = TypeVar("T")


class Capability(str, Enum):
    """What a backend can do beyond the minimum: declared, never guessed."""

    DURABLE = "durable"
    """An acknowledged write survives a crash of the process, the server and the machine."""
    SHARED = "shared"
    """Several processes may open the same store at once."""
    PRESIGN_GET = "presign_get"
    """A blob can be fetched by a URL that carries its own permission."""
    PRESIGN_PUT = "presign_put"
    """A blob can be stored by a URL that carries its own permission."""
    CONDITIONAL_CREATE = "conditional_create"
    """``put(if_absent=True)`` cannot replace a blob, whoever else writes at the same moment."""
    ROW_SECURITY = "row_security"
    """The database itself keeps a statement from the rows of any owner but the one whose call it serves."""
    DISCARD = "discard"
    """What uploads of killed processes have left can be removed: :class:`DiscardsUnfinished`."""


BlobSource: TypeAlias = bytes | Path | BinaryIO | Iterable[bytes] | AsyncIterable[bytes]
"""Where bytes come from: themselves, a file by its path or open for reading, or chunk by chunk."""


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What is known of a blob: bytes, the store's own tag of this content, and the checksum in hex.

    ``put`` always gives ``sha256``; ``stat`` where the store keeps it. ``modified_at`` is when it was stored; a
    sweep leaves orphans alone whose age it is not told, unless its grace is zero.
    """

    size: int
    etag: str
    sha256: str | None = None
    modified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PresignedRequest:
    """A request that anyone may send until ``expires_at``: the URL, the method, and the headers to send along.

    The URL is a secret and not shown by ``repr``.
    """

    url: str = field(repr=False)
    method: str
    headers: dict[str, str]
    expires_at: datetime


@runtime_checkable
class BlobStore(Protocol):
    """Bytes under opaque keys: one to eight parts of lower-case letters, digits, ``-`` and ``_``, joined by ``/``.

    A part has at most 128 characters, a key 512. A content type is 1 to 255 printable ASCII characters.
    Every call may raise ``InvalidInputError`` (before anything is asked), ``ClosedError``, ``ConfigurationError``
    and ``StorageError``; a method names only what it raises beyond these.
    """

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this store can do beyond the minimum."""
        ...

    async def put(
        self,
        key: str,
        source: BlobSource,
        *,
        content_type: str,
        size: int | None = None,
        if_absent: bool = False,
    ) -> BlobInfo:
        """Store the bytes of ``source`` under ``key``, all of them or, on any error, nothing.

        A blob that is there is replaced in one step; with ``if_absent`` it is kept and ``ConflictError`` raised.
        With ``size`` given, more or fewer bytes raise ``InvalidInputError``. What an error of ``source`` itself
        is, it stays.
        """
        ...

    def open(
        self, key: str, *, start: int = 0, end: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Yield the bytes from ``start`` up to, not including, ``end``, chunk by chunk; both are cut to the blob.

        Raises ``NotFoundError`` when absent, on entering, and ``IntegrityError`` where bytes turn out damaged.
        """
        ...

    async def read(self, key: str) -> bytes:
        """Return all bytes of a small blob; raise ``NotFoundError`` when absent."""
        ...

    async def stat(self, key: str) -> BlobInfo | None:
        """Return what is known of a blob, ``None`` when absent."""
        ...

    async def delete(self, key: str) -> None:
        """Delete a blob; quiet when absent."""
        ...

    def list(self, prefix: str = "") -> AsyncIterator[tuple[str, BlobInfo]]:
        """Iterate over the blobs whose key begins with ``prefix``, in the order of their keys."""
        ...

    async def presign_get(
        self, key: str, *, expires_in: timedelta, download_name: str | None = None
    ) -> PresignedRequest:
        """Return a request that fetches the blob, without asking whether it is there.

        Raises ``NotSupportedError`` without ``PRESIGN_GET``. ``expires_in`` is up to seven days.
        """
        ...

    async def presign_put(self, key: str, *, size: int, content_type: str, expires_in: timedelta) -> PresignedRequest:
        """Return a request that stores exactly ``size`` bytes; raise ``NotSupportedError`` without ``PRESIGN_PUT``."""
        ...

    async def aclose(self) -> None:
        """Release what the store opened. A second call does nothing."""
        ...

    async def __aenter__(self) -> Self:
        """Return the store."""
        ...

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the store."""
        ...


class DiscardsUnfinished(Protocol):
    """What a blob store that declares ``DISCARD`` does as well."""

    async def discard_unfinished(self) -> int:
        """Remove what uploads that never ended have left, none of it readable; return how many.

        Safe while uploads run: the store knows after which silence one is over, at least an hour.
        """
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What files an owner may store; ``None`` is no limit. ``types`` are MIME types, or families as ``image/*``."""

    file_bytes: int | None = 64 * 1024 * 1024
    owner_bytes: int | None = None
    owner_files: int | None = None
    types: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class FileRecord:
    """An attachment's record with what belongs to its upload.

    ``key`` is where the bytes are (ready) or are expected (pending); ``declared_size`` what the uploader
    announced; ``sniffed`` the type that the bytes themselves show.
    """

    attachment: Attachment
    key: str
    declared_size: int | None = None
    sniffed: str | None = None


@dataclass(frozen=True, slots=True)
class QueuedDeletion:
    """Bytes that no record needs any more, waiting to be deleted; ``attempts`` that have failed so far."""

    owner: Owner
    key: str
    attempts: int


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
        """Delete a record and queue its bytes, which go once no other record has them; quiet when absent."""
        ...

    async def begin_upload(
        self,
        attachment: Attachment,
        *,
        owner: Owner,
        key: str,
        size: int | None,
        expires_in: timedelta,
        limits: Limits,
    ) -> Attachment:
        """Insert a pending record whose bytes will be under ``key``, and charge the owner for it.

        ``size`` is what the uploader announced. A record that is not ready within ``expires_in`` is swept.
        Raises ``ConflictError`` for an id in use, ``NotFoundError`` without the thread, ``LimitError`` over a quota.
        """
        ...

    async def load_file(self, attachment_id: str, *, owner: Owner) -> FileRecord:
        """Return a record with what belongs to its upload; raise ``NotFoundError`` when absent or never begun."""
        ...

    async def load_files(self, attachment_ids: Sequence[str], *, owner: Owner) -> list[FileRecord]:
        """Return up to 1,000 of them in the order of the ids; those absent or never begun are left out."""
        ...

    async def finish_upload(
        self,
        attachment_id: str,
        *,
        owner: Owner,
        key: str,
        size: int,
        sha256: str,
        sniffed: str | None,
        limits: Limits,
    ) -> Attachment:
        """Turn a pending record ready, its bytes under ``key``; a key it had before is queued for deletion.

        Another key than the record's was queued before its bytes were written; the deletion is called off here.
        The same once more is success. Raises ``ConflictError`` where it is ready with other bytes,
        ``NotFoundError`` where the record is gone or a sweeper has taken the key, and ``LimitError`` over a quota:
        the bytes are then the caller's to delete.
        """
        ...

    async def copy_attachment(
        self, attachment_id: str, *, thread_id: str, owner: Owner, id: str, limits: Limits
    ) -> Attachment:
        """Insert a record ``id`` in another thread, of the bytes that a ready record has, and return it.

        The bytes are shared and go with the last record; each record is charged. The same copy once more is
        success. Raises ``NotFoundError`` without the thread, or where the attachment is absent or not uploaded,
        ``ConflictError`` for an id in use, and ``LimitError`` over a quota.
        """
        ...

    async def queue_deletion(self, key: str, *, owner: Owner, delay: timedelta = timedelta(0)) -> None:
        """Queue bytes for deletion after ``delay``, or set its new time; while a record has them they stay.

        Bytes under a key that no record names yet are queued before they are written: should the process be
        killed, they go.
        """
        ...

    async def take_deletions(self, *, limit: int, retry_after: timedelta) -> list[QueuedDeletion]:
        """Return queued deletions that are due, of any owner, and put each off by ``retry_after`` for every try.

        For the sweeper: what it does not acknowledge comes back. Two sweepers do not get the same ones.
        """
        ...

    async def acknowledge_deletion(self, deletion: QueuedDeletion) -> None:
        """Take a deletion off the queue: its bytes are gone, or a record has them."""
        ...

    async def expire_uploads(self, *, limit: int) -> int:
        """Delete pending records whose time is over, of any owner, and queue their bytes; return how many."""
        ...

    async def known_keys(self, keys: Sequence[str]) -> set[str]:
        """Return those of the keys that a record has or a queued deletion names, whoever's they are."""
        ...

    async def list_files(self, *, after: tuple[Owner, str] | None, limit: int) -> list[tuple[Owner, FileRecord]]:
        """Return ready records of all owners in the order of owner and id, after one of them: for ``verify``."""
        ...

    async def check(self) -> str | None:
        """Store something of the store's own, read it back and remove it; raise what is in the way.

        What a store needs to answer its other calls is looked at too, such as its tables. It belongs to no owner and
        is never listed; several at once do not meet, and what a killed one leaves is removed by a later one.
        Returns what an operator should know although all is well, ``None`` where there is nothing.
        """
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
