"""What the tests of attachments ask a chat store again and again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from chatstore.assembly import ChatStore
from chatstore.owners import Owner
from chatstore.protocols import BlobStore, FileRecord
from chatstore.sweeping import Finding, Swept
from chatstore.users import UserStore

NOW = timedelta(0)
BIG = bytes(range(256)) * 4 * 700  # three chunks, the last one not full


async def sweep(chat: ChatStore) -> Swept:
    return await chat.admin().sweep(grace=NOW)


async def findings(chat: ChatStore) -> list[Finding]:
    return [finding async for finding in chat.admin().verify()]


def blobs_of(chat: ChatStore) -> BlobStore:
    assert chat.blobs is not None
    return chat.blobs


async def keys(chat: ChatStore) -> list[str]:
    return [key async for key, _ in blobs_of(chat).list()]


async def content(user: UserStore, attachment_id: str, *, start: int = 0, end: int | None = None) -> bytes:
    async with user.open_attachment(attachment_id, start=start, end=end) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def record(chat: ChatStore, user: UserStore, attachment_id: str) -> FileRecord:
    return await chat.store.load_file(attachment_id, owner=user.owner)


async def upload(chat: ChatStore, user: UserStore, attachment_id: str, data: bytes) -> None:
    """Store bytes where a client's presigned request would."""
    stored = await record(chat, user, attachment_id)
    await blobs_of(chat).put(stored.key, data, content_type=stored.attachment.mime_type)


async def unfinished(chat: ChatStore, folder: Path) -> int:
    """Count what uploads that never ended have left: chunks in the database, temporary files in the folder."""
    ((chunks,),) = await statement(
        chat,
        "SELECT count(*) FROM {chunks} AS c"
        " WHERE NOT EXISTS (SELECT 1 FROM {blobs} AS b WHERE b.key = c.key AND b.number = c.number)",
    )
    return int(chunks) + len(list(folder.glob(".tmp/*")))


async def usage(chat: ChatStore, owner: Owner) -> tuple[int, int]:
    """Return the files and bytes that an owner is charged for."""
    rows = await statement(
        chat,
        "SELECT files, bytes FROM {usage} WHERE tenant = :tenant AND user_id = :user_id",
        tenant=owner.tenant,
        user_id=owner.user,
    )
    return (rows[0][0], rows[0][1]) if rows else (0, 0)


async def pass_time(chat: ChatStore, folder: Path, days: int = 9) -> None:
    """Let everything be as if days had passed: what waits for its time, and the age of what never ended."""
    values = {"time": timedelta(days=days) // timedelta(microseconds=1)}
    await statement(chat, "UPDATE {attachments} SET expires = expires - :time", **values)
    await statement(chat, "UPDATE {deletions} SET due = due - :time", **values)
    await statement(chat, "UPDATE {chunks} SET written = written - :time", **values)
    for path in folder.glob(".tmp/*"):
        moment = path.stat().st_mtime - timedelta(days=days).total_seconds()
        os.utime(path, (moment, moment))


async def statement(chat: ChatStore, template: str, **values: Any) -> Any:
    store: Any = chat.store
    return await store.database.units.write("test", lambda unit: unit.fetch(template, values))


class HeldSource:
    """Chunks that stop after the first until they are let go."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks
        self.started = asyncio.Event()
        self.released = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk
            self.started.set()
            await self.released.wait()
