"""The records of attachments, and what belongs to their upload."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any

from chatstore import inputs
from chatstore.cursors import after_attachment, attachments_of
from chatstore.errors import NotFoundError
from chatstore.ids import check_key
from chatstore.models import Attachment, Page
from chatstore.owners import Owner
from chatstore.protocols import FileRecord, Limits, QueuedDeletion
from chatstore.sql import files, single, statements, stepwise
from chatstore.sql.connections import Unit
from chatstore.sql.dialects import Row
from chatstore.sql.rows import attachment_of
from chatstore.stores.sql.access import SQLAccess, owned


class SQLFiles(SQLAccess):
    """The verbs of attachments."""

    async def save_attachment(self, attachment: Attachment, *, owner: Owner) -> Attachment:
        self._enter(owner, "save_attachment", writes=True)
        new, by_hand, changes = inputs.saved_attachment(attachment)
        row = await self._steps(
            "save_attachment",
            lambda unit: stepwise.save_attachment(unit, owned(owner), new, changes, by_hand=by_hand),
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
        keys = owned(owner, thread_id=check_key(thread_id, "thread_id"), candidates=limit + 1)
        await self._connect()
        listing = attachments_of(thread_id, owner=owner, database=self.database.identity)
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
        keys = owned(owner, attachment_id=check_key(attachment_id, "attachment_id"))

        async def at_once(unit: Unit) -> None:
            await unit.fetch(single.DELETE_ATTACHMENT, keys)

        await self._write("delete_attachment", at_once, lambda unit: files.delete(unit, keys))

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
        self._enter(owner, "begin_upload", writes=True)
        new, _, _ = inputs.saved_attachment(attachment)
        row = await self._steps(
            "begin_upload",
            lambda unit: files.begin(unit, owned(owner), new, key, size, expires_in, limits),
            repeatable=True,
        )
        return attachment_of(row)

    async def load_file(self, attachment_id: str, *, owner: Owner) -> FileRecord:
        self._enter(owner, "load_file")
        keys = owned(owner, attachment_id=check_key(attachment_id, "attachment_id"))
        rows = await self._read("load_file", lambda unit: unit.fetch(files.LOAD_FILE, keys))
        if not rows or rows[0][10] is None:
            raise NotFoundError(f"load_file: no file of attachment {attachment_id!r}")
        return files.file_of(rows[0])

    async def load_files(self, attachment_ids: Sequence[str], *, owner: Owner) -> list[FileRecord]:
        self._enter(owner, "load_files")
        ids = inputs.check_keys(attachment_ids, "attachment_ids")

        def load(unit: Unit) -> Coroutine[Any, Any, Sequence[Row]]:
            return unit.fetch(files.LOAD_FILES, owned(owner, ids=unit.dialect.array(ids)))

        found = {row[0]: row for row in await self._read("load_files", load)}
        return [files.file_of(found[id]) for id in ids if id in found]

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
        self._enter(owner, "finish_upload", writes=True)
        keys = owned(owner, attachment_id=check_key(attachment_id, "attachment_id"))
        row = await self._steps(
            "finish_upload", lambda unit: files.finish(unit, keys, key, size, sha256, sniffed, limits)
        )
        return attachment_of(row)

    async def copy_attachment(
        self, attachment_id: str, *, thread_id: str, owner: Owner, id: str, limits: Limits
    ) -> Attachment:
        self._enter(owner, "copy_attachment", writes=True)
        keys = owned(
            owner,
            copy_id=check_key(id, "id"),
            attachment_id=check_key(attachment_id, "attachment_id"),
            thread_id=check_key(thread_id, "thread_id"),
        )
        row = await self._steps("copy_attachment", lambda unit: files.copy(unit, keys, limits), repeatable=True)
        return attachment_of(row)

    async def queue_deletion(self, key: str, *, owner: Owner, delay: timedelta = timedelta(0)) -> None:
        self._enter(owner, "queue_deletion", writes=True)
        await self._one("queue_deletion", lambda unit: files.queue(unit, owned(owner), key, delay), repeatable=True)

    async def take_deletions(self, *, limit: int, retry_after: timedelta) -> list[QueuedDeletion]:
        self._lifetime.enter()
        return await self._steps("take_deletions", lambda unit: files.take(unit, limit, retry_after))

    async def acknowledge_deletion(self, deletion: QueuedDeletion) -> None:
        self._lifetime.enter()
        values = owned(deletion.owner, blob_key=deletion.key)
        await self._one("acknowledge_deletion", lambda unit: unit.fetch(files.ACKNOWLEDGE, values))

    async def expire_uploads(self, *, limit: int) -> int:
        self._lifetime.enter()
        return await self._steps("expire_uploads", lambda unit: files.expire(unit, limit))

    async def known_keys(self, keys: Sequence[str]) -> set[str]:
        self._lifetime.enter()

        def load(unit: Unit) -> Coroutine[Any, Any, Sequence[Row]]:
            return unit.fetch(files.KNOWN_KEYS, {"ids": unit.dialect.array(keys)})

        return {row[0] for row in await self._read("known_keys", load)}

    async def list_files(self, *, after: tuple[Owner, str] | None, limit: int) -> list[tuple[Owner, FileRecord]]:
        self._lifetime.enter()
        values = {"limit": limit} if after is None else owned(after[0], after_id=after[1], limit=limit)
        statement = files.list_files(continued=after is not None)
        rows = await self._read("list_files", lambda unit: unit.fetch(statement, values))
        return [(Owner(row[14], row[13]), files.file_of(row)) for row in rows]

    async def _load_attachments(self, ids: Sequence[str], owner: Owner, operation: str) -> list[Attachment]:
        def load(unit: Unit) -> Coroutine[Any, Any, Sequence[Row]]:
            return unit.fetch(statements.LOAD_ATTACHMENTS, owned(owner, ids=unit.dialect.array(ids)))

        found = {row[0]: row for row in await self._read(operation, load)}
        for id in ids:
            if id not in found:
                raise NotFoundError(f"{operation}: no attachment {id!r}")
        return [attachment_of(found[id]) for id in ids]
