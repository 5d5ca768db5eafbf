"""Blobs as files below one folder; ``blobs="file:./blobs"``.

The blob ``ab12/cd34`` is the file ``ab/ab12.d/cd/cd34``: a folder of its first two characters stands before each part
of a key, so that folders stay small, and names on disk sort as the keys do. Bytes are written in the folder ``.tmp``,
flushed, and only then moved to their place. What somebody else plants there, symbolic links above all, is never
followed and never listed; a call for a key that leads to it raises ``IntegrityError``.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import stat
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import unquote, urlsplit

import aiofiles  # type: ignore[import-untyped]

from chatstore import instants
from chatstore.errors import (
    ChatStoreError,
    ConfigurationError,
    ConflictError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    NotSupportedError,
    StorageFullError,
    UnavailableError,
)
from chatstore.lifetime import Lifetime
from chatstore.protocols import BlobInfo, BlobSource, Capability, PresignedRequest
from chatstore.shielding import finished
from chatstore.streams import CHUNK_BYTES, check_blob_key, check_range, chunks_of

T = TypeVar("T")

BLOCK_BYTES = 1024 * 1024
"""How much is written at once; smaller chunks are joined."""

LEFTOVER_SECONDS = 24 * 3600
"""After how long a temporary file that nobody writes to is taken for the leftover of a killed process."""

_TEMPORARY = ".tmp"
_LISTED_AT_ONCE = 256
_SHARD = re.compile(r"[a-z0-9_-][a-z0-9_.-]?")
_FOLDER = re.compile(r"[a-z0-9_-]{1,128}\.d")
_FILE = re.compile(r"[a-z0-9_-]{1,128}")
_NOTHING = re.compile(r"(?!)")
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # opening a planted pipe would wait forever

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}
_PLANTED = {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO}


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

    def __init__(self, root: str | Path) -> None:
        if not isinstance(root, str | Path) or not str(root) or "\0" in str(root):
            raise ConfigurationError("root: must be the path of a folder")
        self._given = Path(root)
        self._opened: _Files | None = None
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
        what = f"put {key!r}"
        blocks = _blocks(source, size)
        files = await self._files()
        temporary, digest = files.temporary(), hashlib.sha256()
        try:
            async with aclosing(blocks), _opened(what, temporary, "xb", files.create) as file:
                async for block in blocks:
                    # side by side: both leave the interpreter to others
                    await _done(what, asyncio.gather(file.write(block), asyncio.to_thread(digest.update, block)))
                await _done(what, file.flush())
                place = files.place(key)
                status = await _in_thread(what, files.publish, file.fileno(), temporary, place, if_absent)
        except BaseException:
            await _in_thread(what, _discard, temporary)
            raise
        return _info(status, digest.hexdigest())

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

    async def _files(self) -> _Files:
        if self._opened is None:
            self._opened = await _in_thread("open the folder of blobs", _Files, self._given)
        return self._opened


class _Files:
    """What is done below one root; every method but ``place`` and ``temporary`` blocks and is called in a thread."""

    def __init__(self, given: Path) -> None:
        self.root = Path(os.path.realpath(given))
        _make_folder(self.root)
        if not self.root.is_dir():
            raise ConfigurationError(f"blobs: {given} is not a folder")
        self.remove_leftovers()

    def place(self, key: str) -> Path:
        *folders, file = key.split("/")
        names = [*(f"{folder}.d" for folder in folders), file]
        return self.root.joinpath(*(step for name in names for step in (name[:2], name)))

    def temporary(self) -> Path:
        return self.root / _TEMPORARY / uuid.uuid4().hex

    def create(self, path: str, flags: int) -> int:
        _make_folder(Path(path).parent)
        return os.open(path, flags | _SAFELY, 0o666)

    def find(self, key: str, path: str, flags: int) -> int:
        _refuse_links(Path(path).parent)
        try:
            descriptor = os.open(path, flags | _SAFELY)
        except FileNotFoundError as error:
            raise NotFoundError(f"open: no blob {key!r}") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.ENXIO, "not a file")
        return descriptor

    def publish(self, descriptor: int, temporary: Path, place: Path, if_absent: bool) -> os.stat_result:
        os.fsync(descriptor)
        status = os.fstat(descriptor)
        _make_folder(place.parent)
        if if_absent:
            os.link(temporary, place)
            os.unlink(temporary)
        else:
            os.replace(temporary, place)
        _sync_folder(place.parent)
        return status

    def status(self, place: Path) -> os.stat_result | None:
        _refuse_links(place.parent)
        try:
            status = os.lstat(place)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.ENXIO, "not a file")
        return status

    def remove(self, place: Path) -> None:
        _refuse_links(place.parent)
        with suppress(FileNotFoundError):
            os.unlink(place)
            _sync_folder(place.parent)

    def walk(self, folder: Path, start: str, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
        """Iterate over what lies in ``folder``, where keys begin with ``start``, in the order of the keys."""
        for shard in _names(folder, folders=_SHARD):
            if _may_hold(start + shard.replace(".", "/"), prefix):
                yield from self._walk_shard(folder / shard, start, prefix)

    def _walk_shard(self, shard: Path, start: str, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
        for name in _names(shard, folders=_FOLDER, files=_FILE):
            key = start + name.replace(".d", "/")
            if not name.startswith(shard.name) or not _may_hold(key, prefix):
                continue
            if key.endswith("/"):
                yield from self.walk(shard / name, key, prefix)
            elif key.startswith(prefix) and (status := self.status(shard / name)):
                yield key, status

    def remove_leftovers(self) -> int:
        begun, removed = time.time() - LEFTOVER_SECONDS, 0
        for name in _names(self.root / _TEMPORARY, files=_FILE):
            with suppress(OSError):  # another process may remove it first
                path = self.root / _TEMPORARY / name
                if os.lstat(path).st_mtime < begun:
                    os.unlink(path)
                    removed += 1
        return removed


def _blocks(source: BlobSource, size: int | None) -> AsyncGenerator[bytes, None]:
    """Iterate over the bytes of ``source``, counted and joined to blocks; hashing them is left to a thread."""
    if size is not None and (type(size) is not int or size < 0):
        raise InvalidInputError("size: must be an int of 0 or more")
    return _joined(chunks_of(source), size)


async def _joined(chunks: AsyncGenerator[bytes, None], size: int | None) -> AsyncGenerator[bytes, None]:
    waiting: list[bytes] = []
    seen = joined = 0
    async with aclosing(chunks):
        async for chunk in chunks:
            waiting.append(chunk)
            seen += len(chunk)
            if size is not None and seen > size:
                raise InvalidInputError(f"source: more than the {size:,} bytes that were declared")
            if seen - joined >= BLOCK_BYTES:
                yield b"".join(waiting)
                waiting, joined = [], seen
    if size is not None and seen < size:
        raise InvalidInputError(f"source: {seen:,} bytes, fewer than the {size:,} declared")
    if waiting:
        yield b"".join(waiting)


async def _chunks(what: str, file: Any, size: int) -> AsyncGenerator[bytes, None]:
    while size > 0:
        chunk = await _done(what, file.read(min(size, CHUNK_BYTES)))
        if not chunk:
            raise IntegrityError(f"{what}: the file has become shorter while it was read")
        size -= len(chunk)
        yield chunk


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
        raise _failure(what, error) from error


def _failure(what: str, error: OSError) -> ChatStoreError:
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    if isinstance(error, FileExistsError):
        return ConflictError(f"{what}: there is a blob already")
    if error.errno in _FULL:
        return StorageFullError(f"{what}: {reason}; free space, then try again")
    if error.errno in _REFUSED:
        return ConfigurationError(f"{what}: {reason}; correct the folder, or who may write there")
    if error.errno in _PLANTED:
        return IntegrityError(f"{what}: a link, or something else that is not chatstore's, lies where the blob belongs")
    return UnavailableError(f"{what}: {reason}")


def _info(status: os.stat_result, sha256: str | None = None) -> BlobInfo:
    etag = f"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"
    return BlobInfo(status.st_size, etag, sha256, instants.from_microseconds(status.st_mtime_ns // 1000))


def _next_of(found: Iterator[T]) -> list[T]:
    return list(islice(found, _LISTED_AT_ONCE))


def _may_hold(start: str, prefix: str) -> bool:
    return start.startswith(prefix) or prefix.startswith(start)


def _names(folder: Path, *, folders: re.Pattern[str] = _NOTHING, files: re.Pattern[str] = _NOTHING) -> list[str]:
    """Return the names in ``folder`` that chatstore gives to folders and to files, sorted; none when it is gone."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if _is_ours(entry, folders, files))
    except FileNotFoundError:
        return []


def _is_ours(entry: os.DirEntry[str], folders: re.Pattern[str], files: re.Pattern[str]) -> bool:
    if entry.is_dir(follow_symlinks=False):
        return folders.fullmatch(entry.name) is not None
    return entry.is_file(follow_symlinks=False) and files.fullmatch(entry.name) is not None


def _refuse_links(folder: Path) -> None:
    """Raise where a link leads away from ``folder``, whose root was resolved before."""
    if os.path.realpath(folder) != str(folder):
        raise OSError(errno.ELOOP, "a symbolic link inside the root")


def _make_folder(folder: Path) -> None:
    """Make ``folder`` and what is missing above it; each new name is flushed, or a crash could take it away."""
    _refuse_links(folder)
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):
        os.mkdir(folder)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(temporary: Path) -> None:
    with suppress(OSError):
        os.unlink(temporary)
