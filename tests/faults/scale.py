"""How much of a fault's test is run: the short form, or the long one of ``make torture``.

``CHATSTORE_TORTURE`` is the share of the long form's figures, ``1`` for all of them.
"""

from __future__ import annotations

import os
import sys
from typing import TypeVar, cast

T = TypeVar("T")

_SHARE = float(os.environ.get("CHATSTORE_TORTURE", "0"))


def scaled(short: T, long: T) -> T:
    """Return what the form that is run takes; of a count, its share, and no less than in the short form."""
    if not _SHARE:
        return short
    if isinstance(long, int) and isinstance(short, int):
        return cast("T", max(short, round(long * _SHARE)))
    return long


def tell(figures: str) -> None:
    """Say what was reached; pytest shows it for tests that pass with ``-rP``."""
    sys.stdout.write(f"{figures}\n")
