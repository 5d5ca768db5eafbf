"""The example server under way, as the tests see it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True)
class Running:
    """A server under way."""

    address: str
    database: Path
    files: Path
    pid: int

    def contents(self) -> list[bytes]:
        """Return the bytes of every file that it keeps."""
        return [file.read_bytes() for file in self.files.rglob("*") if file.is_file()]


Serve: TypeAlias = Callable[[Path], AbstractContextManager[Running]]
