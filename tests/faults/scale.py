"""How much of a fault's test is run: the short form, or the long one of ``make torture``, ``CHATSTORE_TORTURE=1``."""

from __future__ import annotations

import os
import sys
from typing import TypeVar

T = TypeVar("T")

_IS_LONG = os.environ.get("CHATSTORE_TORTURE") == "1"


def scaled(short: T, long: T) -> T:
    """Return what the form that is run takes."""
    return long if _IS_LONG else short


def tell(figures: str) -> None:
    """Say what was reached; pytest shows it for tests that pass with ``-rP``."""
    sys.stdout.write(f"{figures}\n")
