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


Serve: TypeAlias = Callable[[Path], AbstractContextManager[Running]]
