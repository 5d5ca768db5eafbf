"""What tests of blobs are made of: contents, sources of every kind, and ways to look at what is stored."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from chatstore.protocols import BlobInfo, BlobStore
from chatstore.streams import CHUNK_BYTES

TYPE = "application/octet-stream"

MIB = 1024 * 1024

LARGE = 11 * MIB + 3
"""More than a store sends in one piece: two parts and a bit of the least that S3 takes, and more than 8 MiB."""

PATIENCE = 30


_LONGEST = 20 * MIB + 7
_STARTS = 4_194_301  # a prime, so that seeds which are near each other begin far apart


@cache
def _noise() -> bytes:
    return random.Random(0).randbytes(_LONGEST + _STARTS)


@lru_cache(maxsize=4)
def content(size: int, seed: int = 0) -> bytes:
    """Return ``size`` bytes, up to 20 MiB and 7, that are others for another seed, and nowhere the same twice."""
    assert size <= _LONGEST
    start = seed * 65_537 % _STARTS  # a cut: making as much noise anew takes longer than storing it
    return _noise()[start : start + size]


def written(path: Path, data: bytes) -> Path:
    """Write ``data`` to a file and return its path."""
    path.write_bytes(data)
    return path


def pieces(data: bytes, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Yield ``data`` in pieces of ``size`` bytes."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def async_pieces(data: bytes, size: int = CHUNK_BYTES) -> AsyncIterator[bytes]:
    """Yield ``data`` in pieces of ``size`` bytes, letting others run in between."""
    for piece in pieces(data, size):
        await asyncio.sleep(0)
        yield piece


async def _with_empty_pieces(data: bytes) -> AsyncIterator[bytes]:
    yield b""
    async for piece in async_pieces(data):
        yield piece
        yield b""


def _from_one_buffer(data: bytes) -> Iterator[memoryview]:
    buffer = bytearray(70_001)
    for piece in pieces(data, len(buffer)):
        buffer[: len(piece)] = piece
        yield memoryview(buffer)[: len(piece)]
    buffer[:] = bytes(len(buffer))


async def _from_one_buffer_async(data: bytes) -> AsyncIterator[bytearray]:
    buffer = bytearray()
    for piece in pieces(data, 70_001):
        buffer[:] = piece
        yield buffer
    buffer[:] = b"overwritten"


class _ShortReads(io.RawIOBase):
    """A file that gives fewer bytes than are asked for, as sockets and pipes do."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, 40_961) if size >= 0 else 40_961)


Source: TypeAlias = Callable[[bytes, Path], Any]

SOURCES: dict[str, Source] = {
    "bytes": lambda data, folder: data,
    "bytearray": lambda data, folder: bytearray(data),
    "memoryview": lambda data, folder: memoryview(data),
    "path": lambda data, folder: written(folder / "source", data),
    "path as text": lambda data, folder: str(written(folder / "source", data)),
    "file in memory": lambda data, folder: io.BytesIO(data),
    "file of short reads": lambda data, folder: _ShortReads(data),
    "list": lambda data, folder: list(pieces(data)),
    "list of one large piece": lambda data, folder: [data],
    "generator": lambda data, folder: pieces(data, 100_003),
    "generator with one buffer": lambda data, folder: _from_one_buffer(data),
    "async generator": lambda data, folder: async_pieces(data, 100_003),
    "async generator with one buffer": lambda data, folder: _from_one_buffer_async(data),
    "async generator with empty pieces": lambda data, folder: _with_empty_pieces(data),
}
"""Everything that bytes are taken from; each holds the same ones."""


class Held:
    """A source that gives ``before``, says so, waits until it is released, and gives ``after``."""

    def __init__(self, before: bytes, after: bytes = b"") -> None:
        self._before, self._after = before, after
        self.reached: asyncio.Event = asyncio.Event()
        self.released: asyncio.Event = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in pieces(self._before):
            yield piece
        self.reached.set()
        await self.released.wait()
        for piece in pieces(self._after):
            yield piece


@asynccontextmanager
async def under_way(blobs: BlobStore, key: str, source: Held, **options: Any) -> AsyncIterator[asyncio.Task[BlobInfo]]:
    """Begin a put and yield it once it waits in the middle of its source; leaving the block cancels it."""
    put = asyncio.create_task(_put(blobs, key, source, **options))
    try:
        await begun(put, source.reached)
        yield put
    finally:
        put.cancel()
        await asyncio.gather(put, return_exceptions=True)


async def begun(task: asyncio.Future[Any], event: asyncio.Event) -> None:
    """Wait until ``event`` is set; fail at once where ``task``, which is to set it, ends before."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({task, waiting}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    raised = task.exception() if task.done() and not task.cancelled() else None
    assert event.is_set(), f"it did not come so far: {raised or task!r}"


async def _put(blobs: BlobStore, key: str, source: Held, **options: Any) -> BlobInfo:
    return await blobs.put(key, source, content_type=TYPE, **options)


async def put(blobs: BlobStore, key: str, data: bytes = b"kept") -> BlobInfo:
    """Store ``data`` under ``key``."""
    return await blobs.put(key, data, content_type=TYPE)


async def opened(blobs: BlobStore, key: str, **bounds: Any) -> bytes:
    """Return what ``open`` yields, in one."""
    async with blobs.open(key, **bounds) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def keys(blobs: BlobStore, prefix: str = "") -> list[str]:
    """Return the keys that are listed."""
    return [key async for key, _ in blobs.list(prefix)]


async def everything(blobs: BlobStore) -> dict[str, tuple[BlobInfo, bytes]]:
    """Return all that is stored, to be compared with what is stored later."""
    return {key: (info, await blobs.read(key)) async for key, info in blobs.list()}
