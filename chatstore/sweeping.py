"""Remove what nobody needs any more, and find what is missing or damaged: over all owners, for operators."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from chatstore import instants
from chatstore.errors import IntegrityError, InvalidInputError, NotFoundError, StorageError
from chatstore.owners import Owner
from chatstore.protocols import BlobInfo, BlobStore, FileRecord, Store

BATCH = 100

GRACE = timedelta(hours=24)
"""How old bytes without a record are before they are taken for orphans: longer than any upload."""

RETRY = timedelta(minutes=5)
"""How long a deletion that failed waits, the first time."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did: uploads that had run out, bytes deleted by the queue, deletions that failed, orphans."""

    expired_uploads: int = 0
    deleted_blobs: int = 0
    failed_deletions: int = 0
    orphans: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that ``verify`` found: bytes that are ``missing`` or ``damaged``, or an ``orphan`` without a record."""

    kind: Literal["missing", "damaged", "orphan"]
    key: str
    owner: Owner | None = None
    attachment_id: str | None = None


class Sweeper:
    """Housekeeping over a store of records and its blobs. Safe while uploads run, and in several processes at once."""

    def __init__(self, store: Store, blobs: BlobStore) -> None:
        self._store = store
        self._blobs = blobs

    async def sweep(self, *, grace: timedelta = GRACE) -> Swept:
        """Delete pending uploads past their time, the bytes of queued deletions, and orphans older than ``grace``.

        A deletion that fails comes back later, each time after a longer while. Stopped in the middle, it is
        simply called again.
        """
        if not isinstance(grace, timedelta) or grace < timedelta():
            raise InvalidInputError("grace: must be a timedelta of zero or more")
        expired = await self._expire()
        deleted, failed = await self._delete_queued()
        orphans, kept = await self._delete_orphans(grace)
        return Swept(expired, deleted, failed + kept, orphans)

    async def verify(self) -> AsyncIterator[Finding]:
        """Read every byte and yield what is missing, damaged or without a record, as it is found."""
        async for owner, record in self._files():
            if (kind := await self._state(record)) is not None:
                yield Finding(kind, record.key, owner, record.attachment.id)
        async for key, _ in self._unknown():
            yield Finding("orphan", key)

    async def _expire(self) -> int:
        total = 0
        while count := await self._store.expire_uploads(limit=BATCH):
            total += count
        return total

    async def _delete_queued(self) -> tuple[int, int]:
        deleted = failed = 0
        while taken := await self._store.take_deletions(limit=BATCH, retry_after=RETRY):
            for deletion in taken:
                if await self._deleted(deletion.key):
                    await self._store.acknowledge_deletion(deletion)
                    deleted += 1
                else:
                    failed += 1
        return deleted, failed

    async def _delete_orphans(self, grace: timedelta) -> tuple[int, int]:
        deleted = failed = 0
        before = instants.now() - grace
        async for key, info in self._unknown():
            if info.modified_at is not None and info.modified_at <= before:
                if await self._deleted(key):
                    deleted += 1
                else:
                    failed += 1
        return deleted, failed

    async def _deleted(self, key: str) -> bool:
        try:
            await self._blobs.delete(key)
        except StorageError:
            return False
        return True

    async def _unknown(self) -> AsyncIterator[tuple[str, BlobInfo]]:
        batch: dict[str, BlobInfo] = {}
        async for key, info in self._blobs.list():
            batch[key] = info
            if len(batch) == BATCH:
                for unknown in await self._without_record(batch):
                    yield unknown, batch[unknown]
                batch = {}
        for unknown in await self._without_record(batch):
            yield unknown, batch[unknown]

    async def _without_record(self, batch: dict[str, BlobInfo]) -> list[str]:
        known = await self._store.known_keys(list(batch))
        return [key for key in batch if key not in known]

    async def _files(self) -> AsyncIterator[tuple[Owner, FileRecord]]:
        after: tuple[Owner, str] | None = None
        while files := await self._store.list_files(after=after, limit=BATCH):
            for file in files:
                yield file
            owner, record = files[-1]
            after = (owner, record.attachment.id)

    async def _state(self, record: FileRecord) -> Literal["missing", "damaged"] | None:
        digest, size = hashlib.sha256(), 0
        try:
            async with self._blobs.open(record.key) as chunks:
                async for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
        except NotFoundError:
            return "missing"
        except IntegrityError:
            return "damaged"
        same = (size, digest.hexdigest()) == (record.attachment.size, record.attachment.sha256)
        return None if same else "damaged"
