"""The blob store over a folder: bytes through aiofiles, everything else in threads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import unquote, urlsplit

import aiofiles  # type: ignore[import-untyped]

from chatstore import instants
from chatstore.blobs.local.files import Files, discard, failure_of
from chatstore.errors import ConfigurationError, IntegrityError, NotSupportedError
from chatstore.lifetime import Lifetime
from chatstore.protocols import BlobInfo, BlobSource, Capability, PresignedRequest
from chatstore.shielding import finished
from chatstore.streams import (
    CHUNK_BYTES,
    Meter,
    batches_of,
    check_blob_key,
    check_content_type,
    check_range,
    chunks_of,
    may_begin_key,
)

T = TypeVar("T")

BLOCK_BYTES = 512 * 1024
"""How much is written at once, at the least."""

_LISTED_AT_ONCE = 256


def open_local(url: str) -> LocalBlobs:
    """Return the blobs of ``file:./relative`` or ``file:///absolute``; raise ``ConfigurationError`` for others."""
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise ConfigurationError("blobs: a folder is written file:./blobs or file:///var/lib/blobs")
    return LocalBlobs(unquote(parts.path))


class LocalBlobs:
    """Blobs as files below ``root``, a folder that is made when absent and that several processes may share.

    The first call removes temporary files that nobody has written to for a day. A blob that is being read keeps
    its content when it is replaced or deleted meanwhile.
    """

    system = "file"

    def __init__(self, root: str | Path) -> None:
        if not isinstance(root, str | Path) or not str(root) or "\0" in str(root):
            raise ConfigurationError("root: must be the path of a folder")
        self._given = Path(root)
        self._opened: Files | None = None
        self._lifetime = Lifetime()

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.DURABLE, Capability.SHARED, Capability.CONDITIONAL_CREATE, Capability.DISCARD})

    async def put(
        self,
        key: str,
        source: BlobSource,
        *,
        content_type: str,
        size: int | None = None,
        if_absent: bool = False,
    ) -> BlobInfo:
        self._enter(key)
        check_content_type(content_type)
        what = f"put {key!r}"
        meter = Meter(size)
        batches = batches_of(meter.through(chunks_of(source)), BLOCK_BYTES)
        files = await self._files()
        temporary = files.temporary()
        try:
            async with aclosing(batches), _opened(what, temporary, "xb", files.create) as file:
                async for batch in batches:
                    await _done(what, file.writelines(batch))
                await _done(what, file.flush())
                place = files.place(key)
                status = await _in_thread(what, files.publish, file.fileno(), temporary, place, if_absent)
        except BaseException:
            await _in_thread(what, discard, temporary)
            raise
        return _info(status, meter.sha256)

    @asynccontextmanager
    async def open(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        self._enter(key)
        what = f"open {key!r}"
        start, end = check_range(start, end)
        files = await self._files()
        async with _opened(what, files.place(key), "rb", partial(files.find, key)) as file:
            status = await _in_thread(what, os.fstat, file.fileno())
            end = status.st_size if end is None else min(end, status.st_size)
            await _done(what, file.seek(min(start, end)))
            async with aclosing(_chunks(what, file, end - min(start, end))) as chunks:
                yield chunks

    async def read(self, key: str) -> bytes:
        async with self.open(key) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def stat(self, key: str) -> BlobInfo | None:
        self._enter(key)
        files = await self._files()
        status = await _in_thread(f"stat {key!r}", files.status, files.place(key))
        return None if status is None else _info(status)

    async def delete(self, key: str) -> None:
        self._enter(key)
        files = await self._files()
        await _in_thread(f"delete {key!r}", files.remove, files.place(key))

    async def list(self, prefix: str = "") -> AsyncIterator[tuple[str, BlobInfo]]:
        self._lifetime.enter()
        if not may_begin_key(prefix):
            return
        files = await self._files()
        found = files.walk(files.root, "", prefix)
        while batch := await _in_thread("list", _next_of, found):
            for key, status in batch:
                yield key, _info(status)

    async def discard_unfinished(self) -> int:
        self._lifetime.enter()
        files = await self._files()
        return await _in_thread("discard_unfinished", files.remove_leftovers)

    async def presign_get(
        self, key: str, *, expires_in: timedelta, download_name: str | None = None
    ) -> PresignedRequest:
        raise NotSupportedError("presign_get: blobs in files have no URL")

    async def presign_put(self, key: str, *, size: int, content_type: str, expires_in: timedelta) -> PresignedRequest:
        raise NotSupportedError("presign_put: blobs in files have no URL")

    async def aclose(self) -> None:
        self._lifetime.closed = True

    async def __aenter__(self) -> Self:
        self._lifetime.enter()
        await self._files()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _enter(self, key: str) -> None:
        self._lifetime.enter()
        check_blob_key(key)

    async def _files(self) -> Files:
        if self._opened is None:
            self._opened = await _in_thread("open the folder of blobs", Files, self._given)
        return self._opened


async def _chunks(what: str, file: Any, size: int) -> AsyncGenerator[bytes, None]:
    # one buffer, and copies that are made here: each thread would keep memory of its own for what it reads
    buffer = memoryview(bytearray(min(size, CHUNK_BYTES)))
    while size > 0:
        count = await _done(what, file.readinto(buffer[: min(size, CHUNK_BYTES)]))
        if not count:
            raise IntegrityError(f"{what}: the file has become shorter while it was read")
        size -= count
        yield bytes(buffer[:count])


@asynccontextmanager
async def _opened(what: str, path: Path, mode: str, opener: Callable[[str, int], int]) -> AsyncIterator[Any]:
    opening = asyncio.ensure_future(aiofiles.open(path, mode, opener=opener))
    try:
        yield await _done(what, opening)
    finally:
        if opening.exception() is None:
            await _done(what, opening.result().close())


async def _in_thread(what: str, function: Callable[..., T], *arguments: object) -> T:
    return await _done(what, asyncio.to_thread(function, *arguments))


async def _done(what: str, work: Awaitable[T]) -> T:
    """Await ``work`` to its end, since its thread goes on anyway; a cancellation is raised after it."""
    try:
        return await finished(work)
    except OSError as error:
        raise failure_of(what, error) from error


def _info(status: os.stat_result, sha256: str | None = None) -> BlobInfo:
    etag = f"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"
    return BlobInfo(status.st_size, etag, sha256, instants.from_microseconds(status.st_mtime_ns // 1000))


def _next_of(found: Iterator[T]) -> list[T]:
    return list(islice(found, _LISTED_AT_ONCE))
