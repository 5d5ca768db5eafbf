"""Bytes on their way into a blob store: from any source chunk by chunk, counted and hashed as they pass."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO, cast

from chatstore.errors import InvalidInputError
from chatstore.protocols import BlobSource

CHUNK_BYTES = 256 * 1024
"""How much of a file is read at once, and the largest chunk that a blob store yields."""

MAX_KEY = 512
"""How long a key may be: half of what S3 takes, so that a prefix may be as long."""

_HASHED_BYTES = 512 * 1024  # half a millisecond of work: less is not worth a thread
_KEY = re.compile(r"[a-z0-9_-]{1,128}(?:/[a-z0-9_-]{1,128}){0,7}")
_PRINTABLE = re.compile(r"[ -~]{1,255}")


def check_blob_key(key: object) -> str:
    """Return ``key`` when a blob can be stored under it: never a path that leads anywhere else."""
    if type(key) is not str or len(key) > MAX_KEY or not _KEY.fullmatch(key):
        raise InvalidInputError(
            f"key: must be 1 to 8 parts of a-z, 0-9, - and _ (at most 128 each, {MAX_KEY} in all), joined by /"
        )
    return key


def may_begin_key(prefix: object) -> bool:
    """Return whether any key can begin with ``prefix``; the empty one begins every key.

    Raises ``InvalidInputError`` for what is no text.
    """
    if type(prefix) is not str:
        raise InvalidInputError(f"prefix: must be a str, not {type(prefix).__name__}")
    return len(prefix) <= MAX_KEY and re.fullmatch(r"[a-z0-9_/-]*", prefix) is not None


def check_content_type(content_type: object) -> str:
    """Return ``content_type`` when it can be sent in a header, as it is and as nothing else."""
    if type(content_type) is not str or not _PRINTABLE.fullmatch(content_type):
        raise InvalidInputError("content_type: must be 1 to 255 printable ASCII characters")
    return content_type


def check_range(start: object, end: object) -> tuple[int, int | None]:
    """Return the range when it is one: from 0 on, the end not before the start."""
    if type(start) is not int or start < 0:
        raise InvalidInputError("start: must be an int of 0 or more")
    if end is not None and (type(end) is not int or end < start):
        raise InvalidInputError("end: must be an int that is not before start")
    return start, end


def chunks_of(source: BlobSource) -> AsyncGenerator[bytes]:
    """Iterate over the bytes of any source, none of the chunks empty; files are read in a thread."""
    if isinstance(source, bytes | bytearray | memoryview):
        return _memory_chunks(memoryview(source).cast("B"))
    if isinstance(source, str | Path):
        return _path_chunks(source)
    if hasattr(source, "read"):
        return _file_chunks(cast("BinaryIO", source))
    if isinstance(source, AsyncIterable):
        return _async_chunks(source)
    if isinstance(source, Iterable):
        return _sync_chunks(iter(source))
    raise InvalidInputError(f"source: must be bytes, a path, a binary file or chunks, not {type(source).__name__}")


async def _memory_chunks(data: memoryview) -> AsyncGenerator[bytes]:
    for start in range(0, len(data), CHUNK_BYTES):
        yield bytes(data[start : start + CHUNK_BYTES])


async def _path_chunks(path: str | Path) -> AsyncGenerator[bytes]:
    file = await asyncio.to_thread(open, path, "rb")
    try:
        async for chunk in _file_chunks(file):
            yield chunk
    finally:
        await asyncio.to_thread(file.close)


async def _file_chunks(file: BinaryIO) -> AsyncGenerator[bytes]:
    while chunk := _bytes(await asyncio.to_thread(file.read, CHUNK_BYTES)):
        yield chunk


async def _async_chunks(source: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    async for given in source:
        if chunk := _bytes(given):
            yield chunk


async def _sync_chunks(source: Iterator[bytes]) -> AsyncGenerator[bytes]:
    end: list[bytes] = []
    while (given := await asyncio.to_thread(next, source, end)) is not end:
        if chunk := _bytes(given):
            yield chunk


def _bytes(chunk: object) -> bytes:
    if not isinstance(chunk, bytes | bytearray | memoryview):
        raise InvalidInputError(f"source: must give bytes, not {type(chunk).__name__}; open files in binary mode")
    return bytes(chunk)


async def batches_of(chunks: AsyncGenerator[bytes], least: int) -> AsyncGenerator[list[bytes]]:
    """Iterate over the same chunks, several at a time: at least ``least`` bytes, fewer only at the end."""
    batch: list[bytes] = []
    size = 0
    async with aclosing(chunks):
        async for chunk in chunks:
            batch.append(chunk)
            size += len(chunk)
            if size >= least:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


class Meter:
    """Counts and hashes the bytes that pass; more or fewer than ``size`` raise ``InvalidInputError``.

    They are hashed in a thread, beside what is done with them meanwhile; the last few where they pass.
    """

    def __init__(self, size: int | None) -> None:
        if size is not None and (type(size) is not int or size < 0):
            raise InvalidInputError("size: must be an int of 0 or more")
        self._expected = size
        self._hash = hashlib.sha256()
        self._hashing: asyncio.Future[None] | None = None
        self._waiting: list[bytes] = []
        self._hashed = 0
        self.size: int = 0

    async def through(self, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """Yield the same chunks; the missing ones are told at the end, one too many at once."""
        async with aclosing(chunks):
            async for chunk in chunks:
                self._count(chunk)
                if self.size - self._hashed >= _HASHED_BYTES:
                    await self._hash_waiting()
                yield chunk
        if self._expected is not None and self.size < self._expected:
            raise InvalidInputError(f"source: {self.size:,} bytes, fewer than the {self._expected:,} declared")
        await self._turn()
        self._update(self._waiting)

    @property
    def sha256(self) -> str:
        """The checksum in hex of all bytes, once they have passed."""
        return self._hash.hexdigest()

    def _count(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self._expected is not None and self.size > self._expected:
            raise InvalidInputError(f"source: more than the {self._expected:,} bytes that were declared")
        self._waiting.append(chunk)

    async def _hash_waiting(self) -> None:
        await self._turn()
        waiting, self._waiting, self._hashed = self._waiting, [], self.size
        self._hashing = asyncio.get_running_loop().run_in_executor(None, self._update, waiting)

    async def _turn(self) -> None:
        """Wait for what is hashed at the moment."""
        if self._hashing is not None:
            await self._hashing

    def _update(self, chunks: Sequence[bytes]) -> None:
        for chunk in chunks:
            self._hash.update(chunk)
