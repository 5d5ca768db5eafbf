"""From a URL to an engine: driver, pool, deadlines; the URL without its password for messages."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from importlib import import_module
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chatstore.errors import ConfigurationError

CONNECT_TIMEOUT = 5.0
COMMAND_TIMEOUT = 15.0
POOL_SIZE = 10
"""Connections of an engine; the store counts them, not the pool, whose own counting costs more than a statement."""

_DROPPED = {"channel_binding", "connect_timeout", "gssencmode", "command_timeout"}
"""What libpq knows and asyncpg does not, or what is given to it otherwise."""

_HOST = re.compile(r"(?:\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]*)?")


def make_engine(url: str) -> AsyncEngine:
    """Return an engine for a URL of SQLite or PostgreSQL, which connects only when it is used.

    Raises ``ConfigurationError`` for a URL that cannot be read and a driver that is not installed.
    """
    return _sqlite_engine(url) if url.lower().startswith("sqlite") else _postgresql_engine(url)


def hide_password(url: str) -> str:
    """Return ``url`` without its password: all that stands before the last ``@``, and what its parameters say."""
    scheme, _, rest = url.partition(":")
    hidden = f"{scheme}://***@{rest.rpartition('@')[2]}" if "@" in rest else url
    return re.sub(r"([?&](?:password|sslpassword)=)[^&]*", r"\1***", hidden)


def _sqlite_engine(url: str) -> AsyncEngine:
    _, _, rest = url.partition(":")
    if not re.fullmatch(r"//(?:/[^?\x00-\x1f\x7f\ud800-\udfff]*)?", rest):
        raise ConfigurationError(
            "url: SQLite takes a path alone, without a question mark; write sqlite:///relative.db,"
            " sqlite:////absolute.db or sqlite:// for a database in memory"
        )
    parsed = make_url(f"sqlite+aiosqlite:{rest}")
    in_memory = parsed.database in (None, "", ":memory:")
    pool = {} if in_memory else {"pool_size": POOL_SIZE, "max_overflow": -1}
    return create_async_engine(
        parsed,
        connect_args={"isolation_level": None, "async_creator_fn": _connect_sqlite},
        pool_reset_on_return=None,
        skip_autocommit_rollback=True,
        **pool,
    )


async def _connect_sqlite(path: str, **options: Any) -> Any:
    """Connect; where that fails, end the driver's thread first, whose last answer is for an event loop still open."""
    connection = import_module("aiosqlite").connect(path, **options)
    thread = connection._thread
    thread.daemon = True
    try:
        return await connection
    except BaseException:
        await asyncio.to_thread(thread.join, CONNECT_TIMEOUT)
        raise


def _postgresql_engine(url: str) -> AsyncEngine:
    try:
        asyncpg = import_module("asyncpg")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            'PostgreSQL needs a driver that is not installed: pip install "chatstore-py[postgresql]"'
        ) from error
    dsn, connect_timeout = _libpq_url(url)
    connect = partial(
        asyncpg.connect,
        dsn,
        timeout=connect_timeout,
        command_timeout=COMMAND_TIMEOUT,
        server_settings={"plan_cache_mode": "force_generic_plan"},
    )
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=POOL_SIZE,
        pool_use_lifo=True,
        max_overflow=-1,
        pool_reset_on_return=None,
    )


def _libpq_url(url: str) -> tuple[str, float]:
    """Return the URL as asyncpg reads it, which knows most of libpq's parameters, and the connect timeout."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _unreadable() from None
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if not url.partition(":")[2].startswith("//") or "@" in parts.path or not all(map(_HOST.fullmatch, hosts)):
        raise _unreadable()
    query = dict(parse_qsl(parts.query))
    if query.get("channel_binding") == "require":
        raise ConfigurationError("url: channel_binding=require is more than asyncpg can do; write sslmode=verify-full")
    kept = {name: value for name, value in query.items() if name not in _DROPPED}
    return (
        urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(kept, quote_via=quote), "")),
        _seconds(query.get("connect_timeout")),
    )


def _unreadable() -> ConfigurationError:
    return ConfigurationError(
        "url: cannot be read; write postgresql://user:password@host:5432/database, with special characters of"
        " the password percent-encoded"
    )


def _seconds(text: Any) -> float:
    if text is None:
        return CONNECT_TIMEOUT
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ConfigurationError("url: connect_timeout must be a number of seconds above zero")
    return seconds
