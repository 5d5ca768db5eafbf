"""What the tests of attachments ask a chat store again and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

from chatstore.assembly import ChatStore
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
