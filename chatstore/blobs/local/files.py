"""What is done below the root of a folder of blobs; everything here blocks, and is called in a thread.

The blob ``ab12/cd34`` is the file ``ab/ab12.d/cd/cd34``: a folder of its first two characters stands before each part
of a key, so that folders stay small, and names on disk sort as the keys do. Bytes are written in the folder ``.tmp``,
flushed, and only then moved to their place. What somebody else plants there, symbolic links above all, is never
followed and never listed; a call for a key that leads to it raises ``IntegrityError``.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from chatstore.errors import (
    ChatStoreError,
    ConfigurationError,
    ConflictError,
    IntegrityError,
    NotFoundError,
    StorageFullError,
    UnavailableError,
)

LEFTOVER_SECONDS = 24 * 3600
"""After how long a temporary file that nobody writes to is taken for the leftover of a killed process."""

_TEMPORARY = ".tmp"
_SHARD = re.compile(r"[a-z0-9_-][a-z0-9_.-]?")
_FOLDER = re.compile(r"[a-z0-9_-]{1,128}\.d")
_FILE = re.compile(r"[a-z0-9_-]{1,128}")
_NOTHING = re.compile(r"(?!)")
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # opening a planted pipe would wait forever

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}
_PLANTED = {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO}


class Files:
    """The files below one root; ``place`` and ``temporary`` alone do not block."""

    def __init__(self, given: Path) -> None:
        self.root: Path = Path(os.path.realpath(given))
        _make_folder(self.root)
        if not self.root.is_dir():
            raise ConfigurationError(f"blobs: {given} is not a folder")
        self.remove_leftovers()

    def place(self, key: str) -> Path:
        """Return where the bytes of a blob lie."""
        *folders, file = key.split("/")
        names = [*(f"{folder}.d" for folder in folders), file]
        return self.root.joinpath(*(step for name in names for step in (name[:2], name)))

    def temporary(self) -> Path:
        """Return where bytes are written before they have their place."""
        return self.root / _TEMPORARY / uuid.uuid4().hex

    def create(self, path: str, flags: int) -> int:
        """Open a new temporary file."""
        _make_folder(Path(path).parent)
        return os.open(path, flags | _SAFELY, 0o666)

    def find(self, key: str, path: str, flags: int) -> int:
        """Open a blob's file; raise ``NotFoundError`` when absent."""
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
        """Flush a temporary file and move it to its place, for good when this returns."""
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
        """Return what the system knows of a blob's file, ``None`` when absent."""
        _refuse_links(place.parent)
        try:
            status = os.lstat(place)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.ENXIO, "not a file")
        return status

    def remove(self, place: Path) -> None:
        """Remove a blob's file; quiet when absent."""
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
        """Remove what uploads left behind that ended without a word, and return how many."""
        begun, removed = time.time() - LEFTOVER_SECONDS, 0
        for name in _names(self.root / _TEMPORARY, files=_FILE):
            with suppress(OSError):  # another process may remove it first
                path = self.root / _TEMPORARY / name
                if os.lstat(path).st_mtime < begun:
                    os.unlink(path)
                    removed += 1
        return removed


def failure_of(what: str, error: OSError) -> ChatStoreError:
    """Return our error for what the system says."""
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


def discard(temporary: Path) -> None:
    """Remove a temporary file, if it can be."""
    with suppress(OSError):
        os.unlink(temporary)


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
