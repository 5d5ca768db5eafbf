"""From the errors of drivers and pools to ours, by code and type, never by a message's text."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

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


class NotConnected(Exception):
    """A connection was not made in time; nothing was asked of the server."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What a driver's error means: the error to raise, and whether the unit may be tried again before."""

    error: ChatStoreError
    again: bool = False


_NOT_PREPARED = (
    "a prepared statement was lost or somebody else's, as behind PgBouncer in transaction mode; write"
    " open_store(..., pgbouncer=True), or turn off both statement caches of an engine of your own"
)

_STATES: dict[str, tuple[type[ChatStoreError], str]] = {
    "3D000": (ConfigurationError, "the database does not exist; create it, or correct the URL"),
    "26000": (ConfigurationError, _NOT_PREPARED),
    "42P05": (ConfigurationError, _NOT_PREPARED),
    "28000": (ConfigurationError, "the server refuses this user; correct the URL or the server's pg_hba.conf"),
    "28P01": (ConfigurationError, "the server refuses this user or password; correct the URL"),
    "42501": (ConfigurationError, "the role lacks a right; grant it, or run `chatstore migrate` with one that has it"),
    "42704": (ConfigurationError, "the server does not know a parameter of the URL; take it out"),
    "42P01": (SchemaError, "a table is missing; run `chatstore migrate URL`"),
    "42703": (SchemaError, "a column is missing; run `chatstore migrate URL`"),
    "3F000": (SchemaError, "the schema is missing; run `chatstore migrate URL`"),
    "53100": (StorageFullError, "the server's disk is full; free space, then try again"),
    "57014": (UnavailableError, "the server cancelled the statement, at its statement_timeout or by hand"),
}

_RETRIED = {
    "08P01": "the pooler before the server, or the server, refused to go on; the cause says why",
    "25006": "the server is read-only, as a standby is; connecting anew",
    "25P03": "the server ended a transaction that was idle for too long",
    "25P04": "the server ended a transaction that took too long",
    "40001": "another transaction came first",
    "40P01": "a deadlock was resolved against this one",
    "53200": "the server is out of memory",
    "53300": "the server has no connection left",
    "55P03": "a lock was not granted in time",
    "57P01": "the server is shutting down",
    "57P02": "the server crashed",
    "57P03": "the server is starting up",
    "57P04": "the database was dropped",
    "57P05": "the server closed the idle connection",
}

_LOST = "the connection was lost"

_SQLITE = {
    # Every statement is one that SQLite understands, so a plain error means that what it names is not there.
    sqlite3.SQLITE_ERROR: Failure(SchemaError("a table or column is missing; run `chatstore migrate URL`")),
    sqlite3.SQLITE_BUSY: Failure(UnavailableError("the database is locked by another process"), again=True),
    sqlite3.SQLITE_LOCKED: Failure(UnavailableError("a table is locked by another connection"), again=True),
    sqlite3.SQLITE_FULL: Failure(StorageFullError("the disk is full; free space, then try again")),
    sqlite3.SQLITE_CORRUPT: Failure(IntegrityError("the database file is damaged; restore it from a backup")),
    sqlite3.SQLITE_NOTADB: Failure(IntegrityError("the file is not an SQLite database")),
    sqlite3.SQLITE_READONLY: Failure(ConfigurationError("the database file or its folder cannot be written to")),
    sqlite3.SQLITE_CANTOPEN: Failure(ConfigurationError("the database file cannot be opened; does its folder exist?")),
    sqlite3.SQLITE_PERM: Failure(ConfigurationError("the database file may not be opened by this user")),
    sqlite3.SQLITE_IOERR: Failure(UnavailableError("the disk failed to read or write the database file")),
}


def failure_of(error: BaseException, operation: str) -> Failure | None:
    """Return what ``error`` means for ``operation``, ``None`` where it is no failure of the storage."""
    found = _failure(error)
    if found is None:
        return None
    kind = type(found.error)
    return Failure(kind(f"{operation}: {found.error}"), found.again)


def _failure(error: BaseException) -> Failure | None:
    if isinstance(error, exc.TimeoutError):
        return Failure(UnavailableError(f"no connection of the pool was free in time ({error})"))
    if isinstance(error, NotConnected):
        return Failure(UnavailableError("no connection was made in time"), again=True)
    if isinstance(error, exc.DBAPIError | exc.EmulatedDBAPIException) and error.orig is not None:
        return _failure(error.orig)
    if isinstance(error, sqlite3.Error):
        return _sqlite_failure(error)
    if type(error).__name__ == "InvalidCachedStatementError":
        return Failure(UnavailableError("the tables were changed under a prepared statement"), again=True)
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return _state_failure(state)
    if isinstance(error, TimeoutError):
        return Failure(UnavailableError("no answer in time"))
    if isinstance(error, OSError):
        return Failure(UnavailableError("the server cannot be reached"), again=True)
    return _driver_failure(error)


def _state_failure(state: str) -> Failure:
    if state in _STATES:
        kind, meaning = _STATES[state]
        return Failure(kind(meaning))
    if state in _RETRIED:
        return Failure(UnavailableError(_RETRIED[state]), again=True)
    if state.startswith("08"):
        return Failure(UnavailableError(_LOST), again=True)
    if state.startswith("53"):
        return Failure(UnavailableError(f"the server is short of resources (SQLSTATE {state})"), again=True)
    return Failure(StorageError(f"the database refused the statement (SQLSTATE {state})"))


def _sqlite_failure(error: sqlite3.Error) -> Failure:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return Failure(UnavailableError(_LOST), again=True)
    known = _SQLITE.get(code & 0xFF)
    if known is not None:
        return known
    name = getattr(error, "sqlite_errorname", code)
    return Failure(StorageError(f"the database refused the statement ({name})"))


def _driver_failure(error: BaseException) -> Failure | None:
    if type(error).__module__.partition(".")[0] == "asyncpg":
        if type(error).__name__ == "ClientConfigurationError":
            return Failure(ConfigurationError(f"url: {error}"))
        if isinstance(error, ValueError):
            return Failure(StorageError("the driver refused a value"))
        return Failure(UnavailableError(_LOST), again=True)
    if isinstance(error, exc.SQLAlchemyError | exc.EmulatedDBAPIException):
        return Failure(StorageError("the engine failed"))
    return None
