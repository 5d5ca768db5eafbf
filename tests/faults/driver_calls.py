"""The calls of the database drivers, where tests make them fail, and the errors that they fail with."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Literal, TypeAlias
from unittest.mock import patch

from chatstore.sql.dialects import PostgreSQL, SQLite, _SQLiteThread
from chatstore.testing.faults.failing import Hook, hooked

Fault: TypeAlias = tuple[Callable[[], BaseException], Literal["before", "after"]]
"""An error, and whether the call is made before it is raised."""

_PLACES = list(product([PostgreSQL, SQLite, _SQLiteThread], ["fetch", "execute_many"]))


@contextmanager
def hooked_driver() -> Iterator[Hook]:
    """Put a hook around every call of a driver, and let the store try again without a pause."""
    with patch("chatstore.sql.retries.random.uniform", lambda low, high: 0.0), hooked(_PLACES) as hook:
        yield hook


def of(kind: type[BaseException]) -> Callable[[], BaseException]:
    """Return what makes an error of a class."""
    return lambda: kind("made up")


def sqlite_error(code: int) -> Callable[[], BaseException]:
    """Return what makes an error of SQLite's."""

    def make() -> BaseException:
        error = sqlite3.OperationalError("made up")
        error.sqlite_errorcode = code
        return error

    return make
