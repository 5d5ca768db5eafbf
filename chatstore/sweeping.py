"""Remove what nobody needs any more, and find what is missing or damaged: over all owners, for operators."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal, TypeAlias, cast

from chatstore import instants
from chatstore.errors import ChatStoreError, IntegrityError, InvalidInputError, NotFoundError
from chatstore.owners import Owner
from chatstore.protocols import BlobInfo, BlobStore, Capability, DiscardsUnfinished, FileRecord, Store

BATCH = 100

GRACE = timedelta(hours=24)
"""How old bytes without a record are before they are deleted: time to notice a wrong database, or a wrong backup."""

PROBES = "check/"
"""What the keys of blobs begin with that ``check`` puts and deletes: no record ever names them."""

PROBE_GRACE = timedelta(hours=1)
"""How old such a blob is before it is taken for one that a killed process has left."""

RETRY = timedelta(minutes=5)
"""How long a deletion that failed waits, the first time; after every further failure so much longer."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did: uploads that had run out, bytes deleted by the queue, deletions that failed, orphans.

    ``unfinished_uploads`` were never readable: what killed processes had left in the blob store.
    ``last_failure`` says why a deletion failed, the last one of them: no content, no secret.
    """

    expired_uploads: int = 0
    deleted_blobs: int = 0
    failed_deletions: int = 0
    orphans: int = 0
    unfinished_uploads: int = 0
    last_failure: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that ``verify`` found: bytes that are ``missing`` or ``damaged``, or an ``orphan`` without a record."""

    kind: Literal["missing", "damaged", "orphan"]
    key: str
    owner: Owner | None = None
    attachment_id: str | None = None


Sweeping: TypeAlias = Callable[[Swept], object]
"""Called with what a sweep has done so far."""

Verifying: TypeAlias = Callable[[int, int], object]
"""Called with how many files, and how many bytes of them, ``verify`` has read so far."""


class Sweeper:
    """Housekeeping over a store of records and its blobs. Safe while uploads run, and in several processes at once."""

    def __init__(self, store: Store, blobs: BlobStore) -> None:
        self._store = store
        self._blobs = blobs

    async def sweep(self, *, grace: timedelta = GRACE, progress: Sweeping | None = None) -> Swept:
        """Delete pending uploads past their time, the bytes of queued deletions, and orphans older than ``grace``.

        Bytes are named by a record or by the queue before they are written, so that no upload under way is taken
        for an orphan, whatever the grace. A deletion that fails, with any exception, comes back later, each time
        after a longer while; where a whole batch fails, the others wait for the next sweep. Stopped in the
        middle, it is simply called again.
        """
        if not isinstance(grace, timedelta) or grace < timedelta():
            raise InvalidInputError("grace: must be a timedelta of zero or more")
        done = _Tally(progress)
        while expired := await self._store.expire_uploads(limit=BATCH):
            done.add(expired_uploads=expired)
        await self._delete_queued(done)
        await self._delete_orphans(grace, done)
        if Capability.DISCARD in self._blobs.capabilities:
            done.add(unfinished_uploads=await cast("DiscardsUnfinished", self._blobs).discard_unfinished())
        return done.swept

    async def verify(self, *, progress: Verifying | None = None) -> AsyncIterator[Finding]:
        """Read every byte and yield what is missing, damaged or without a record, as it is found."""
        done = _Reading(progress)
        async for owner, record in self._files():
            if (kind := await self._state(record, done)) is not None and await self._is_current(record, owner):
                yield Finding(kind, record.key, owner, record.attachment.id)
            done.add(files=1)
        async for key, _ in self._unknown():
            if not key.startswith(PROBES):
                yield Finding("orphan", key)

    async def _delete_queued(self, done: _Tally) -> None:
        while taken := await self._store.take_deletions(limit=BATCH, retry_after=RETRY):
            before = done.swept.deleted_blobs
            for deletion in taken:
                if await self._deleted(deletion.key, done):
                    await self._store.acknowledge_deletion(deletion)
                    done.add(deleted_blobs=1)
            if done.swept.deleted_blobs == before:
                return

    async def _delete_orphans(self, grace: timedelta, done: _Tally) -> None:
        now = instants.now()
        async for key, info in self._unknown():
            left = PROBE_GRACE if key.startswith(PROBES) else grace
            is_old = info.modified_at is not None and info.modified_at <= now - left
            if (is_old or not left) and await self._deleted(key, done):
                done.add(orphans=1)

    async def _deleted(self, key: str, done: _Tally) -> bool:
        try:
            await self._blobs.delete(key)
        except Exception as error:  # a third party's store may raise anything
            done.fail(error)
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

    async def _state(self, record: FileRecord, done: _Reading) -> Literal["missing", "damaged"] | None:
        digest, size = hashlib.sha256(), 0
        try:
            async with self._blobs.open(record.key) as chunks:
                async for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    done.add(size=len(chunk))
        except NotFoundError:
            return "missing"
        except IntegrityError:
            return "damaged"
        same = (size, digest.hexdigest()) == (record.attachment.size, record.attachment.sha256)
        return None if same else "damaged"

    async def _is_current(self, record: FileRecord, owner: Owner) -> bool:
        """Return whether the record is still there; it may have been deleted while its bytes were read."""
        try:
            return (await self._store.load_file(record.attachment.id, owner=owner)).key == record.key
        except NotFoundError:
            return False


class _Tally:
    """What a sweep has done so far, told after each step."""

    def __init__(self, progress: Sweeping | None) -> None:
        self.swept: Swept = Swept()
        self._progress = progress

    def add(self, **counts: int) -> None:
        """Add to the counts of these names."""
        summed = {name: getattr(self.swept, name) + count for name, count in counts.items()}
        self._tell(replace(self.swept, **summed))

    def fail(self, error: Exception) -> None:
        """Count a deletion that failed; what a third party's error says may be a secret."""
        why = str(error) if isinstance(error, ChatStoreError) else type(error).__name__
        failed = self.swept.failed_deletions + 1
        self._tell(replace(self.swept, failed_deletions=failed, last_failure=why))

    def _tell(self, swept: Swept) -> None:
        self.swept = swept
        if self._progress is not None:
            self._progress(swept)


class _Reading:
    """How much was read so far, told after each step."""

    def __init__(self, progress: Verifying | None) -> None:
        self._files = self._size = 0
        self._progress = progress

    def add(self, *, files: int = 0, size: int = 0) -> None:
        """Add files and bytes."""
        self._files, self._size = self._files + files, self._size + size
        if self._progress is not None:
            self._progress(self._files, self._size)
