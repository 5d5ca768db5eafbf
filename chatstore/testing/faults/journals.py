"""What writers and readers saw, on disk line by line, so that nothing of it is lost when their process is killed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from chatstore.testing.faults.history import Append, Read


class Journal:
    """A file to which one process adds what happens, at once; a context manager."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def begin(self, writer: str, thread: str, value: str) -> None:
        """Note that an append begins now."""
        self._add("begin", writer, thread, value, time.monotonic())

    def acknowledge(self, thread: str, value: str) -> None:
        """Note that it was acknowledged now."""
        self._add("acknowledge", thread, value, time.monotonic())

    def fail(self, thread: str, value: str, error: Exception) -> None:
        """Note that it failed; it may be stored or not."""
        self._add("fail", thread, value, time.monotonic(), f"{type(error).__name__}: {error}")

    def read(self, thread: str, values: Sequence[str], begun: float) -> None:
        """Note what a read that began at ``begun`` has returned now."""
        self._add("read", thread, list(values), begun, time.monotonic())

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _add(self, *line: Any) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")


class Journals:
    """The journals of several processes, read together."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._appends: dict[tuple[str, str], Append] = {}
        self.reads: list[Read] = []
        self.failures: list[str] = []
        """The errors of appends, each with its operation."""
        for path in paths:
            for line in path.read_text().splitlines():
                kind, *values = json.loads(line)
                getattr(self, f"_{kind}")(*values)

    @property
    def appends(self) -> list[Append]:
        """All appends that began."""
        return list(self._appends.values())

    def _begin(self, writer: str, thread: str, value: str, now: float) -> None:
        self._appends[thread, value] = Append(writer, thread, value, now)

    def _acknowledge(self, thread: str, value: str, now: float) -> None:
        self._appends[thread, value] = replace(self._appends[thread, value], acknowledged=now)

    def _fail(self, thread: str, value: str, now: float, error: str) -> None:
        self.failures.append(error)

    def _read(self, thread: str, values: list[str], begun: float, ended: float) -> None:
        self.reads.append(Read(thread, values, begun, ended))
