"""Disks that fill: a file that finds no room, a SQLite database that may not grow, a small disk of its own."""

from __future__ import annotations

import errno
import io
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

Opener = Callable[[str, int], int]


class DiskUnavailable(Exception):
    """A disk of its own cannot be mounted here; the message says why."""


class FullDisk:
    """Opens files for which there is ``room`` bytes altogether; beyond that a write raises ``ENOSPC``.

    :meth:`open` takes the place of the built-in ``open`` where the code under test opens its files, with
    ``patch("aiofiles.threadpool.sync_open", disk.open)`` for aiofiles. What fits is written, as a disk does it.
    """

    def __init__(self, room: int) -> None:
        self.room: int = room

    def open(self, path: str | Path, mode: str = "r", *, opener: Opener | None = None, **options: Any) -> Any:
        """Open a file as ``open`` does; a binary one for writing has no more room than the disk."""
        if "b" not in mode or not set(mode) & set("wxa+"):
            return open(path, mode, opener=opener, **options)
        return io.BufferedWriter(_File(self, path, mode.replace("b", ""), opener))


class _File(io.FileIO):
    def __init__(self, disk: FullDisk, path: str | Path, mode: str, opener: Opener | None) -> None:
        super().__init__(path, mode, opener=opener)
        self._disk = disk

    def write(self, data: Any) -> int:
        fits = memoryview(data).cast("B")[: self._disk.room]
        if not fits:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.name)
        written = super().write(fits)
        self._disk.room -= written
        return written


class SQLitePages:
    """Lets the SQLite databases that are opened in its block have at most ``limit`` pages; a context manager.

    A write beyond raises ``SQLITE_FULL``. ``limit`` may be changed at any time and counts from the next statement on,
    which is how space is freed.
    """

    def __init__(self, limit: int) -> None:
        self.limit: int = limit

    def __enter__(self) -> SQLitePages:
        pages = self

        class Connection(sqlite3.Connection):
            def execute(self, *statement: Any) -> sqlite3.Cursor:
                super().execute(f"PRAGMA max_page_count = {pages.limit}")
                return super().execute(*statement)

        self._patch = patch.object(sqlite3, "connect", partial(sqlite3.connect, factory=Connection))
        self._patch.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._patch.stop()


@contextmanager
def small_disk(room: int) -> Iterator[Path]:
    """Mount a file system of ``room`` bytes in memory and yield its folder; needs Linux and the right to mount.

    Raises ``DiskUnavailable`` where that is refused.
    """
    with tempfile.TemporaryDirectory(prefix="chatstore-") as folder:
        command = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", folder]
        try:
            mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise DiskUnavailable(f"mount cannot be run: {error}") from error
        if mounted.returncode != 0:
            raise DiskUnavailable(mounted.stderr.strip())
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
