"""What each error of a driver, of a pool or of the system becomes for the caller, and whether it is tried again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import asyncpg
import pytest
from asyncpg.exceptions._base import ClientConfigurationError, UnknownPostgresError
from asyncpg.exceptions._base import DataError as DriverDataError
from sqlalchemy import exc

from chatstore.errors import (
    ChatStoreError,
    ConfigurationError,
    IntegrityError,
    SchemaError,
    StorageError,
    StorageFullError,
    UnavailableError,
)
from chatstore.sql.failures import NotConnected, failure_of


def unknown(state: str) -> Exception:
    """Return what asyncpg makes of a code that it does not know."""
    error: Exception = UnknownPostgresError("secret")
    error.sqlstate = state  # type: ignore[attr-defined]
    return error


def sqlite(code: int | None, name: str = "") -> sqlite3.Error:
    error = sqlite3.OperationalError("what was written")
    if code is not None:
        error.sqlite_errorcode, error.sqlite_errorname = code, name
    return error


POOL = exc.TimeoutError("QueuePool limit of size 1 reached")

FINAL: list[tuple[BaseException, type[ChatStoreError], str]] = [
    (POOL, UnavailableError, f"no connection of the pool was free in time ({POOL})"),
    (TimeoutError(), UnavailableError, "no answer in time"),
    (asyncpg.UndefinedTableError("secret"), SchemaError, "a table is missing; run `chatstore migrate URL`"),
    (asyncpg.DiskFullError("secret"), StorageFullError, "the server's disk is full; free space, then try again"),
    (asyncpg.DivisionByZeroError("secret"), StorageError, "the database refused the statement (SQLSTATE 22012)"),
    (ClientConfigurationError("no such option"), ConfigurationError, "url: no such option"),
    (DriverDataError("secret"), StorageError, "the driver refused a value"),
    (sqlite(sqlite3.SQLITE_CORRUPT_INDEX), IntegrityError, "the database file is damaged; restore it from a backup"),
    (
        sqlite(sqlite3.SQLITE_TOOBIG, "SQLITE_TOOBIG"),
        StorageError,
        "the database refused the statement (SQLITE_TOOBIG)",
    ),
    (exc.ResourceClosedError("secret"), StorageError, "the engine failed"),
    (exc.EmulatedDBAPIException("secret"), StorageError, "the engine failed"),
]

AGAIN: list[tuple[BaseException, str]] = [
    (NotConnected(), "no connection was made in time"),
    (ConnectionRefusedError("secret"), "the server cannot be reached"),
    (asyncpg.InvalidCachedStatementError("secret"), "the tables were changed under a prepared statement"),
    (asyncpg.DeadlockDetectedError("secret"), "a deadlock was resolved against this one"),
    (asyncpg.ConnectionDoesNotExistError("secret"), "the connection was lost"),
    (asyncpg.InterfaceError("secret"), "the connection was lost"),
    (unknown("53999"), "the server is short of resources (SQLSTATE 53999)"),
    (sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT), "the database is locked by another process"),
    (sqlite(None), "the connection was lost"),
]


def name_of(value: object) -> str:
    return type(value).__name__ if isinstance(value, BaseException) else ""


@pytest.mark.parametrize(("error", "kind", "meaning"), FINAL, ids=name_of)
def test_what_waiting_does_not_mend_is_raised_at_once_with_its_meaning(
    error: BaseException, kind: type[ChatStoreError], meaning: str
) -> None:
    failure = failure_of(error, "save_item")
    assert failure is not None
    assert (type(failure.error), str(failure.error)) == (kind, f"save_item: {meaning}")
    assert not failure.again


@pytest.mark.parametrize(("error", "meaning"), AGAIN, ids=name_of)
def test_what_passes_is_unavailable_and_tried_again(error: BaseException, meaning: str) -> None:
    failure = failure_of(error, "save_item")
    assert failure is not None
    assert (type(failure.error), str(failure.error)) == (UnavailableError, f"save_item: {meaning}")
    assert failure.again


@pytest.mark.parametrize(
    "wrap",
    [
        lambda error: exc.DBAPIError("INSERT ...", {"text": "secret"}, error),
        lambda error: exc.EmulatedDBAPIException("secret", error),
        lambda error: exc.DBAPIError("INSERT ...", {}, exc.EmulatedDBAPIException("secret", error)),
    ],
    ids=["by the engine", "by its driver", "by both"],
)
def test_an_error_that_was_wrapped_means_what_it_meant(wrap: Callable[[Exception], Exception]) -> None:
    found = failure_of(wrap(asyncpg.DeadlockDetectedError("secret")), "transaction")
    assert found is not None
    assert str(found.error) == "transaction: a deadlock was resolved against this one"
    assert found.again


@pytest.mark.parametrize("error", [KeyError("of the caller"), ZeroDivisionError(), ValueError("of the caller")])
def test_an_error_of_the_callers_own_is_no_failure_of_the_storage(error: Exception) -> None:
    assert failure_of(error, "run") is None
