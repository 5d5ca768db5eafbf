"""From a URL to an engine: driver, pool, deadlines; the URL without its password for messages."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from dataclasses import fields, replace
from functools import partial
from importlib import import_module
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chatstore.deadlines import LONGEST, POOL_SIZE, USUAL, Deadlines
from chatstore.errors import ConfigurationError
from chatstore.sql.dialects import dialect_of, milliseconds

_THREAD_SECONDS = 5.0

Connect: TypeAlias = "Callable[..., Coroutine[Any, Any, Any]]"

_PROTOCOL_VIOLATION = "08P01"
"""What PgBouncer calls a startup parameter that it does not know, a server that is away, and all else."""

_DROPPED = {"channel_binding", "connect_timeout", "gssencmode", "command_timeout"}
"""What libpq knows and asyncpg does not, or what is given to it otherwise."""

_HOST = re.compile(r"(?:\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]*)?")


def make_engine(
    url: str, deadlines: Deadlines = USUAL, *, pool_size: int = POOL_SIZE, pgbouncer: bool = False
) -> AsyncEngine:
    """Return an engine for a URL of SQLite or PostgreSQL, which connects only when it is used.

    Its pool keeps ``pool_size`` connections and does not count them: the store does, which is cheaper. Raises
    ``ConfigurationError`` for a URL that cannot be read, a driver that is not installed and what PgBouncer refuses.
    """
    if not _is_file(url):
        return _postgresql_engine(url, deadlines_of(url, deadlines), pool_size, pgbouncer)
    if pgbouncer:
        raise ConfigurationError("pgbouncer: stands before PostgreSQL alone; leave it out for SQLite")
    return _sqlite_engine(url, pool_size)


def deadlines_of(url: str, deadlines: Deadlines) -> Deadlines:
    """Return the deadlines as the URL has them, whose ``connect_timeout`` counts; check that ``total`` has room."""
    if not _is_file(url):
        _, connect = _libpq_url(url)
        deadlines = deadlines if connect is None else replace(deadlines, connect=connect)
    deadlines.check_total()
    return deadlines


def check_options_of(engine: AsyncEngine, deadlines: Deadlines, pool_size: int, *, pgbouncer: bool) -> None:
    """Raise ``ConfigurationError`` for an option that an engine of the caller's does not take from the store."""
    kept = dialect_of(engine.dialect).kept_on_any_engine
    given = [
        f"deadlines: {field.name}"
        for field in fields(Deadlines)
        if field.name not in kept and getattr(deadlines, field.name) != getattr(USUAL, field.name)
    ]
    given += ["pool_size"] * (pool_size != POOL_SIZE) + ["pgbouncer"] * pgbouncer
    if given:
        raise ConfigurationError(f"{given[0]} cannot be set on an engine of your own; set it where you make the engine")


def hide_password(url: str) -> str:
    """Return ``url`` without its password: all that stands before the last ``@``, and what its parameters say."""
    scheme, _, rest = url.partition(":")
    hidden = f"{scheme}://***@{rest.rpartition('@')[2]}" if "@" in rest else url
    return re.sub(r"([?&](?:password|sslpassword)=)[^&]*", r"\1***", hidden)


def _is_file(url: str) -> bool:
    return url.lower().startswith("sqlite")


def _sqlite_engine(url: str, pool_size: int) -> AsyncEngine:
    _, _, rest = url.partition(":")
    if not re.fullmatch(r"//(?:/[^?\x00-\x1f\x7f\ud800-\udfff]*)?", rest):
        raise ConfigurationError(
            "url: SQLite takes a path alone, without a question mark; write sqlite:///relative.db,"
            " sqlite:////absolute.db or sqlite:// for a database in memory"
        )
    parsed = make_url(f"sqlite+aiosqlite:{rest}")
    in_memory = parsed.database in (None, "", ":memory:")
    pool = {} if in_memory else {"pool_size": pool_size, "max_overflow": -1}
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
        await asyncio.to_thread(thread.join, _THREAD_SECONDS)
        raise


def _postgresql_engine(url: str, deadlines: Deadlines, pool_size: int, pgbouncer: bool) -> AsyncEngine:
    try:
        asyncpg = import_module("asyncpg")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            'PostgreSQL needs a driver that is not installed: pip install "chatstore-py[postgresql]"'
        ) from error
    dsn, _ = _libpq_url(url)
    connect = partial(asyncpg.connect, dsn, timeout=deadlines.connect, command_timeout=deadlines.command)
    return create_async_engine(
        "postgresql+asyncpg://",
        connect_args=_behind_pgbouncer(connect, deadlines) if pgbouncer else _directly(connect, deadlines),
        pool_size=pool_size,
        pool_use_lifo=True,
        max_overflow=-1,
        pool_reset_on_return=None,
    )


def _behind_pgbouncer(connect: Connect, deadlines: Deadlines) -> dict[str, Any]:
    """Return what an engine connects with where the next statement may go to another server process.

    A statement without a name is gone with the next one; a named one would stay behind, for others to stumble on.
    """
    for name in ("statement", "lock"):
        if getattr(deadlines, name) is not None:
            raise ConfigurationError(
                f"deadlines: {name} cannot be told through PgBouncer, which serves others with the same connection;"
                f" say ALTER ROLE ... SET {name}_timeout on the server, and leave {name} out"
            )
    return {
        "async_creator_fn": partial(connect, statement_cache_size=0),
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": lambda: "",
    }


def _directly(connect: Connect, deadlines: Deadlines) -> dict[str, Any]:
    settings = {"plan_cache_mode": "force_generic_plan"}
    for name in ("statement", "lock"):
        seconds = getattr(deadlines, name)
        if seconds is not None:
            settings[f"{name}_timeout"] = str(milliseconds(seconds))

    async def connect_or_explain() -> Any:
        try:
            return await connect(server_settings=settings)
        except Exception as error:
            if getattr(error, "sqlstate", None) == _PROTOCOL_VIOLATION and await _is_pooler(connect):
                raise ConfigurationError(
                    "pgbouncer: a pooler stands before the server, and refuses what a server understands;"
                    " write open_store(..., pgbouncer=True), or chatstore ... --pgbouncer"
                ) from error
            raise

    return {"async_creator_fn": connect_or_explain}


async def _is_pooler(connect: Connect) -> bool:
    """Return whether a connection is made where nothing is set, after one with settings was refused.

    PgBouncer says everything that it has to say with one code; only this tells a setting that it does not know from
    a server that is away.
    """
    try:
        connection = await connect(statement_cache_size=0)
    except Exception:
        return False
    connection.terminate()
    return True


def _libpq_url(url: str) -> tuple[str, float | None]:
    """Return the URL as asyncpg reads it, which knows most of libpq's parameters, and its connect timeout, if any."""
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


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST:
        raise ConfigurationError(f"url: connect_timeout must be a number of seconds above 0, at most {LONGEST:g}")
    return seconds
