"""Upload, download, delete: the one place where a store of records meets a store of bytes.

Record pending, bytes, record ready: always in that order. Whatever stops in between leaves a pending record that
is swept, or bytes that a queued deletion or the search for orphans removes; never a ready record without bytes.
"""

from __future__ import annotations

import mimetypes
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import anyio

from chatstore.errors import (
    ChatStoreError,
    ConflictError,
    IntegrityError,
    InvalidInputError,
    LimitError,
    NotFoundError,
)
from chatstore.ids import check_key, new_id
from chatstore.links import Links, Upload, check_lifetime
from chatstore.models import Attachment
from chatstore.observing.steps import watched
from chatstore.owners import Owner
from chatstore.protocols import BlobSource, BlobStore, FileRecord, Limits, Store
from chatstore.sniffing import SNIFF_BYTES, sniff
from chatstore.streams import Meter, chunks_of

PENDING = timedelta(hours=24)
"""How long an upload may take before its record is swept."""

MAX_SIZE = 5 * 1024**4
"""The largest file that S3 takes; sums of sizes stay within what a database counts to."""

_TYPES = mimetypes.MimeTypes()
"""Python's own table: the module's function reads the machine's, on first use and in the event loop."""


def new_blob_key(owner: Owner) -> str:
    """Return a fresh key: a digest of the owner, then random, so that it cannot be guessed nor meet another's."""
    return f"{_folder(owner)}{secrets.token_hex(16)}"


def _folder(owner: Owner) -> str:
    return f"{owner.digest}/"


class Attachments:
    """The files of all owners: each call names whose."""

    def __init__(self, store: Store, blobs: BlobStore, links: Links, limits: Limits) -> None:
        self._store = store
        self._blobs = blobs
        self.links: Links = links
        self._limits = limits

    @watched("add_attachment")
    async def add(
        self,
        name: str,
        source: BlobSource,
        *,
        owner: Owner,
        mime_type: str | None = None,
        thread_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        size: int | None = None,
        sha256: str | None = None,
    ) -> Attachment:
        """Store a file and return its record, ready; on any error nothing is left of it.

        The bytes are counted, hashed and looked at while they stream. ``size`` and ``sha256`` are what the
        caller expects. Raises ``LimitError`` for a file that a limit forbids, ``InvalidInputError`` for bytes
        that are not the expected ones, ``NotFoundError`` without the thread.
        """
        id, key = new_id("atc"), new_blob_key(owner)
        async with _on_error(lambda: self._discard(id, key, owner)):
            record = await self._begin(id, key, name, owner, mime_type, thread_id, metadata, size, PENDING)
            return await self._fill(record, record.key, owner, source, size, sha256)

    @watched("begin_upload")
    async def begin(
        self,
        name: str,
        *,
        owner: Owner,
        mime_type: str,
        size: int,
        thread_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        expires_in: timedelta = timedelta(hours=1),
        id: str | None = None,
    ) -> Upload:
        """Insert a pending record and return the request by which a client uploads its bytes until it expires.

        Raises ``LimitError`` for a file that a limit forbids, ``NotFoundError`` without the thread,
        ``ConflictError`` for an ``id`` in use, and ``NotSupportedError`` where neither the blob store nor a signer
        can make a URL.
        """
        lasting = check_lifetime(expires_in) + PENDING
        id, key = new_id("atc") if id is None else check_key(id, "id"), new_blob_key(owner)
        async with _on_error(lambda: self._discard(id, key, owner)):
            record = await self._begin(id, key, name, owner, mime_type, thread_id, metadata, size, lasting)
            return await self.links.upload(record, owner=owner, expires_in=expires_in)

    @watched("attachment_url")
    async def url(
        self, attachment_id: str, *, owner: Owner, expires_in: timedelta, download_name: str | None = None
    ) -> str:
        """Return a URL that fetches a ready attachment until it expires; raise as :meth:`open` does."""
        check_lifetime(expires_in)
        record = await self._ready(attachment_id, owner)
        return await self.links.download(record, owner=owner, expires_in=expires_in, download_name=download_name)

    def made_url(self, url: str, *, owner: Owner) -> bool:
        """Say whether ``url`` was made here for a file of the owner's, expired or not.

        Either this application signed it, or it was presigned: then it holds the key.
        """
        return self.links.has_signed(url) or _folder(owner) in url

    @watched("receive_upload")
    async def receive(
        self,
        attachment_id: str,
        source: BlobSource,
        *,
        owner: Owner,
        size: int | None = None,
        sha256: str | None = None,
    ) -> Attachment:
        """Store the bytes of a pending record and turn it ready; raise as :meth:`add` does, and leave it pending.

        They go under a key of their own: another upload to the same record, still under way, cannot replace them.
        Raises ``ConflictError`` where the record has its bytes already.
        """
        record = await self._store.load_file(attachment_id, owner=owner)
        if record.attachment.state == "ready":
            raise ConflictError(f"receive: attachment {attachment_id!r} has its bytes already")
        size = record.declared_size if size is None else size
        return await self._fill_anew(record, owner, source, size, sha256)

    @watched("complete_upload")
    async def complete(self, attachment_id: str, *, owner: Owner) -> Attachment:
        """Verify what a client uploaded by itself and turn its record ready; a second time is success.

        The bytes are copied to a key that nobody has a URL for, so that they cannot be changed afterwards.
        Raises ``NotFoundError`` where nothing was uploaded, ``InvalidInputError`` where it is not as announced.
        """
        record = await self._store.load_file(attachment_id, owner=owner)
        if record.attachment.state == "ready":
            return record.attachment
        try:
            async with self._blobs.open(record.key) as chunks:
                return await self._fill_anew(record, owner, chunks, record.declared_size, None)
        except NotFoundError as error:
            # somebody else may have completed it, and a sweep removed what this call was reading
            now = await self._store.load_file(attachment_id, owner=owner)
            if now.attachment.state == "ready":
                return now.attachment
            raise NotFoundError(f"complete_upload: nothing was uploaded for {attachment_id!r} yet") from error

    @watched("copy_attachment")
    async def copy(self, attachment_id: str, *, thread_id: str, owner: Owner, id: str | None = None) -> Attachment:
        """Insert a record of the same bytes in another thread; raise as the store's ``copy_attachment`` does."""
        return await self._store.copy_attachment(
            attachment_id,
            thread_id=thread_id,
            owner=owner,
            id=new_id("atc") if id is None else id,
            limits=self._limits,
        )

    @watched("open_attachment")
    @asynccontextmanager
    async def open(
        self, attachment_id: str, *, owner: Owner, start: int = 0, end: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield the bytes of a ready attachment from ``start`` up to, not including, ``end``.

        Read whole, they are held against the record's checksum before the last of them is given out; a range
        is held against the size alone. Raises ``NotFoundError`` where the attachment is absent or not uploaded
        yet, ``IntegrityError`` where its bytes are missing or damaged.
        """
        record = await self._ready(attachment_id, owner)
        async with AsyncExitStack() as stack:
            try:
                chunks = await stack.enter_async_context(self._blobs.open(record.key, start=start, end=end))
            except NotFoundError as error:
                await self._ready(attachment_id, owner)  # unless it was deleted since
                raise IntegrityError(f"open_attachment: the bytes of {attachment_id!r} are missing") from error
            whole = start == 0 and end is None
            yield _verified(chunks, record.attachment) if whole else _counted(chunks, record.attachment, start, end)

    async def record(self, attachment_id: str, *, owner: Owner) -> FileRecord:
        """Return the record of a ready attachment; raise ``NotFoundError`` as :meth:`open` does."""
        return await self._ready(attachment_id, owner)

    async def _begin(
        self,
        id: str,
        key: str,
        name: str,
        owner: Owner,
        mime_type: str | None,
        thread_id: str | None,
        metadata: dict[str, Any] | None,
        size: int | None,
        expires_in: timedelta,
    ) -> FileRecord:
        attachment = Attachment(
            id=id,
            name=name,
            mime_type=_guess_type(name) if mime_type is None else mime_type,
            thread_id=thread_id,
            metadata=metadata,
        )
        self._check(attachment.mime_type, size)
        begun = await self._store.begin_upload(
            attachment, owner=owner, key=key, size=size, expires_in=expires_in, limits=self._limits
        )
        return FileRecord(begun, key, size)

    async def _discard(self, id: str, key: str, owner: Owner) -> None:
        """Delete the record that expects its bytes under ``key``, and no other one of the same id."""
        for record in await self._store.load_files([id], owner=owner):
            if record.key == key:
                await self._store.delete_attachment(id, owner=owner)

    async def _ready(self, attachment_id: str, owner: Owner) -> FileRecord:
        record = await self._store.load_file(attachment_id, owner=owner)
        if record.attachment.state != "ready":
            raise NotFoundError(f"open_attachment: attachment {attachment_id!r} is not uploaded yet")
        return record

    async def _fill_anew(
        self, record: FileRecord, owner: Owner, source: BlobSource, size: int | None, sha256: str | None
    ) -> Attachment:
        """Put the bytes under a key that no record names until they are there: queued before, in case of a crash."""
        key = new_blob_key(owner)
        async with _on_error(lambda: self._store.queue_deletion(key, owner=owner)):
            await self._store.queue_deletion(key, owner=owner, delay=PENDING)
            return await self._fill(record, key, owner, source, size, sha256)

    async def _fill(
        self, record: FileRecord, key: str, owner: Owner, source: BlobSource, size: int | None, sha256: str | None
    ) -> Attachment:
        id, mime_type = record.attachment.id, record.attachment.mime_type
        upload = _Upload(self._limits.file_bytes)
        info = await self._blobs.put(key, upload.through(chunks_of(source)), content_type=mime_type, size=size)
        if sha256 is not None and sha256 != info.sha256:
            raise InvalidInputError(f"sha256: the bytes of attachment {id!r} have another checksum")
        return await self._store.finish_upload(
            id,
            owner=owner,
            key=key,
            size=info.size,
            sha256=str(info.sha256),
            sniffed=upload.sniffed,
            limits=self._limits,
        )

    def _check(self, mime_type: str, size: int | None) -> None:
        kind = mime_type.partition(";")[0].strip().lower()
        types = self._limits.types
        family, slash, _ = kind.partition("/")
        if types is not None and not types & {kind, f"{family}{slash}*"}:
            raise LimitError(f"mime_type: files of type {kind!r} are not allowed", "types")
        if size is not None and (type(size) is not int or not 0 <= size <= MAX_SIZE):
            raise InvalidInputError(f"size: must be an int of 0 to {MAX_SIZE:,}")
        if size is not None and self._limits.file_bytes is not None and size > self._limits.file_bytes:
            raise _too_large(self._limits.file_bytes)


class _Upload:
    """Watches bytes on their way in: how many there are, and what the first ones show."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._head = bytearray()
        self._count = 0

    async def through(self, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        async with aclosing(chunks):
            async for chunk in chunks:
                self._count += len(chunk)
                if self._most is not None and self._count > self._most:
                    raise _too_large(self._most)
                if len(self._head) < SNIFF_BYTES:
                    self._head += chunk[: SNIFF_BYTES - len(self._head)]
                yield chunk

    @property
    def sniffed(self) -> str | None:
        return sniff(bytes(self._head))


@asynccontextmanager
async def _on_error(undo: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Undo what was begun, also when it was cancelled; the error goes on. What cannot be undone now is swept."""
    try:
        yield
    except BaseException:
        with anyio.CancelScope(shield=True), suppress(ChatStoreError):
            await undo()
        raise


async def _verified(chunks: AsyncIterator[bytes], attachment: Attachment) -> AsyncIterator[bytes]:
    meter = Meter(None)
    held = b""
    async for chunk in meter.through(chunks_of(chunks)):
        if held:
            yield held
        held = chunk
    if (meter.size, meter.sha256) != (attachment.size, attachment.sha256):
        raise IntegrityError(f"open_attachment: the bytes of attachment {attachment.id!r} are damaged")
    if held:
        yield held


async def _counted(
    chunks: AsyncIterator[bytes], attachment: Attachment, start: int, end: int | None
) -> AsyncIterator[bytes]:
    """Yield a range; fewer bytes than it has are damage, which its reader could not tell from the file's end."""
    size = attachment.size or 0
    left = max(0, min(size, size if end is None else end) - start)
    async for chunk in chunks:
        left -= len(chunk)
        yield chunk
    if left:
        raise IntegrityError(f"open_attachment: the bytes of attachment {attachment.id!r} are damaged")


def _guess_type(name: object) -> str:
    guessed = _TYPES.guess_type(name)[0] if isinstance(name, str) else None
    return guessed or "application/octet-stream"


def _too_large(most: int) -> LimitError:
    return LimitError(f"source: more than the {most:,} bytes that a file may have", "file_bytes")
