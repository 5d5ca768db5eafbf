"""The records of attachments, and what belongs to their upload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from types import EllipsisType

from chatstore import inputs, instants
from chatstore.cursors import after_attachment, attachments_of
from chatstore.errors import ConflictError, LimitError, NotFoundError
from chatstore.ids import check_key
from chatstore.models import Attachment, Page
from chatstore.owners import Owner
from chatstore.protocols import FileRecord, Limits, QueuedDeletion
from chatstore.stores.memory.access import MemoryAccess
from chatstore.stores.memory.spaces import FileRow, Space, attachment_of, delete_file, found, queue_deletion

_MICROSECOND = timedelta(microseconds=1)


class MemoryFiles(MemoryAccess):
    """The verbs of attachments."""

    async def save_attachment(self, attachment: Attachment, *, owner: Owner) -> Attachment:
        async with self._write(owner, "save_attachment") as space:
            new, by_hand, changes = inputs.saved_attachment(attachment)
            row = space.files.get(new.id)
            if row is None and not by_hand:
                raise NotFoundError(f"save_attachment: no attachment {new.id!r}")
            if row is None:
                row = FileRow(new.id, new.name, new.mime_type, None, new.metadata, new.created_at, new.instant)
            thread_id = row.thread_id if isinstance(changes.thread_id, EllipsisType) else changes.thread_id
            if row.thread_id not in (None, thread_id):
                raise ConflictError(f"save_attachment: attachment {new.id!r} belongs to another thread already")
            if thread_id is not None:
                found(space, thread_id, "save_attachment")
            space.files[new.id] = row = replace(
                row,
                thread_id=thread_id,
                name=row.name if isinstance(changes.name, EllipsisType) else changes.name,
                metadata=row.metadata if isinstance(changes.metadata, EllipsisType) else changes.metadata,
            )
            return attachment_of(row)

    async def load_attachment(self, attachment_id: str, *, owner: Owner) -> Attachment:
        row = self._read(owner).files.get(check_key(attachment_id, "attachment_id"))
        if row is None:
            raise NotFoundError(f"load_attachment: no attachment {attachment_id!r}")
        return attachment_of(row)

    async def load_attachments(self, attachment_ids: Sequence[str], *, owner: Owner) -> list[Attachment]:
        space = self._read(owner)
        ids = inputs.check_keys(attachment_ids, "attachment_ids")
        for id in ids:
            if id not in space.files:
                raise NotFoundError(f"load_attachments: no attachment {id!r}")
        return [attachment_of(space.files[id]) for id in ids]

    async def load_thread_attachments(
        self, thread_id: str, *, owner: Owner, limit: int = 50, after: str | None = None
    ) -> Page[Attachment]:
        space = self._read(owner)
        limit = inputs.check_limit(limit)
        listing = attachments_of(check_key(thread_id, "thread_id"), owner=owner, database=self._database)
        start = after_attachment(after, listing)
        found(space, thread_id, "load_thread_attachments")
        rows = [row for row in space.files.values() if row.thread_id == thread_id]
        rows = [row for row in rows if start is None or (row.instant, row.id) > start]
        rows.sort(key=lambda row: (row.instant, row.id))
        data = [attachment_of(row) for row in rows[:limit]]
        if len(rows) <= limit:
            return Page(data=data)
        last = rows[limit - 1]
        return Page(data=data, has_more=True, after=listing.cursor(last.instant, last.id))

    async def delete_attachment(self, attachment_id: str, *, owner: Owner) -> None:
        async with self._write(owner, "delete_attachment") as space:
            delete_file(space, check_key(attachment_id, "attachment_id"))

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
        async with self._write(owner, "begin_upload") as space:
            new, _, _ = inputs.saved_attachment(attachment)
            if new.thread_id is not None:
                found(space, new.thread_id, "begin_upload")
            if new.id in space.files:
                raise ConflictError(f"begin_upload: attachment {new.id!r} exists")
            row = FileRow(
                new.id,
                new.name,
                new.mime_type,
                new.thread_id,
                new.metadata,
                new.created_at,
                new.instant,
                key=key,
                declared_size=size,
                expires=instants.now_microseconds() + expires_in // _MICROSECOND,
            )
            _check_limits(space, row, limits)
            space.files[new.id] = row
            return attachment_of(row)

    async def load_file(self, attachment_id: str, *, owner: Owner) -> FileRecord:
        space = self._read(owner)
        row = space.files.get(check_key(attachment_id, "attachment_id"))
        if row is None or row.key is None:
            raise NotFoundError(f"load_file: no file of attachment {attachment_id!r}")
        return _file(row)

    async def load_files(self, attachment_ids: Sequence[str], *, owner: Owner) -> list[FileRecord]:
        space = self._read(owner)
        rows = [space.files.get(id) for id in inputs.check_keys(attachment_ids, "attachment_ids")]
        return [_file(row) for row in rows if row is not None and row.key is not None]

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
        async with self._write(owner, "finish_upload") as space:
            row = space.files.get(check_key(attachment_id, "attachment_id"))
            if row is None or row.key is None:
                raise NotFoundError(f"finish_upload: no upload of attachment {attachment_id!r}")
            if row.is_ready:
                if (row.size, row.sha256) != (size, sha256):
                    raise ConflictError(f"finish_upload: attachment {attachment_id!r} is ready with other bytes")
                if key != row.key:
                    queue_deletion(space, key)
                return attachment_of(row)
            _, attempts = space.deletions.get(key, (0, 1))
            if key != row.key and attempts:
                raise NotFoundError(f"finish_upload: the time of the upload of {attachment_id!r} is over")
            ready = replace(row, size=size, sha256=sha256, sniffed=sniffed, key=key, expires=None)
            _check_limits(space, ready, limits)
            space.files[attachment_id] = ready
            space.deletions.pop(key, None)
            if row.key != key:
                queue_deletion(space, row.key)
            return attachment_of(ready)

    async def copy_attachment(
        self, attachment_id: str, *, thread_id: str, owner: Owner, id: str, limits: Limits
    ) -> Attachment:
        async with self._write(owner, "copy_attachment") as space:
            copy_id = check_key(id, "id")
            row = space.files.get(check_key(attachment_id, "attachment_id"))
            found(space, thread_id, "copy_attachment")
            if row is None or not row.is_ready:
                raise NotFoundError(f"copy_attachment: no uploaded attachment {attachment_id!r}")
            stored = space.files.get(copy_id)
            if stored is None:
                stored = replace(row, id=copy_id, thread_id=thread_id)
                _check_limits(space, stored, limits)
                space.files[copy_id] = stored
            elif (stored.thread_id, stored.key) != (thread_id, row.key):
                raise ConflictError(f"copy_attachment: attachment {copy_id!r} exists")
            return attachment_of(stored)

    async def queue_deletion(self, key: str, *, owner: Owner, delay: timedelta = timedelta(0)) -> None:
        async with self._write(owner, "queue_deletion") as space:
            queue_deletion(space, key, delay // _MICROSECOND)

    async def take_deletions(self, *, limit: int, retry_after: timedelta) -> list[QueuedDeletion]:
        self._lifetime.enter()
        now = instants.now_microseconds()
        taken: list[QueuedDeletion] = []
        for owner, space in self._spaces.items():
            kept = {row.key for row in space.files.values()}
            for key, (due, attempts) in list(space.deletions.items()):
                if due <= now and key not in kept and len(taken) < limit:
                    space.deletions[key] = (now + retry_after // _MICROSECOND * (attempts + 1), attempts + 1)
                    taken.append(QueuedDeletion(owner, key, attempts))
        return taken

    async def acknowledge_deletion(self, deletion: QueuedDeletion) -> None:
        self._lifetime.enter()
        self._spaces.get(deletion.owner, Space()).deletions.pop(deletion.key, None)

    async def expire_uploads(self, *, limit: int) -> int:
        self._lifetime.enter()
        now = instants.now_microseconds()
        expired = [
            (space, row.id)
            for space in self._spaces.values()
            for row in space.files.values()
            if row.expires is not None and row.expires <= now
        ][:limit]
        for space, id in expired:
            delete_file(space, id)
        return len(expired)

    async def known_keys(self, keys: Sequence[str]) -> set[str]:
        self._lifetime.enter()
        known: set[str] = set()
        for space in self._spaces.values():
            known.update(row.key for row in space.files.values() if row.key is not None)
            known.update(space.deletions)
        return known.intersection(keys)

    async def list_files(self, *, after: tuple[Owner, str] | None, limit: int) -> list[tuple[Owner, FileRecord]]:
        self._lifetime.enter()
        ready = [(owner, row) for owner, space in self._spaces.items() for row in space.files.values() if row.is_ready]
        ready.sort(key=lambda pair: (pair[0].tenant, pair[0].user, pair[1].id))
        if after is not None:
            mark = (after[0].tenant, after[0].user, after[1])
            ready = [(owner, row) for owner, row in ready if (owner.tenant, owner.user, row.id) > mark]
        return [(owner, _file(row)) for owner, row in ready[:limit]]


def _file(row: FileRow) -> FileRecord:
    return FileRecord(attachment_of(row), str(row.key), row.declared_size, row.sniffed)


def _check_limits(space: Space, changed: FileRow, limits: Limits) -> None:
    others = [row for row in space.files.values() if row.key is not None and row.id != changed.id]
    before = space.files.get(changed.id)
    if before is None and limits.owner_files is not None and len(others) >= limits.owner_files:
        raise LimitError(f"the owner has {limits.owner_files:,} files, as many as are allowed", "owner_files")
    total = sum(row.charge for row in others) + changed.charge
    grows = changed.charge > (0 if before is None else before.charge)
    if grows and limits.owner_bytes is not None and total > limits.owner_bytes:
        raise LimitError(f"the owner's files would exceed {limits.owner_bytes:,} bytes", "owner_bytes")
