"""open_store: from a URL to the class that serves its scheme, named as a string until it is used."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal

from chatstore.assembly import ChatStore
from chatstore.errors import ConfigurationError
from chatstore.inputs import MAX_ITEM_BYTES

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_BUILT_IN = {
    "memory": "chatstore.stores.memory:open_memory",
    "sqlite": "chatstore.stores.sql:open_sql",
    "postgres": "chatstore.stores.sql:open_sql",
    "postgresql": "chatstore.stores.sql:open_sql",
}

_GROUP = "chatstore.stores"
"""The entry point group in which other packages register a scheme: ``scheme = "package.module:function"``."""


def open_store(
    url: str | AsyncEngine,
    *,
    migrate: Literal["auto", "check", "off"] = "auto",
    schema: str | None = None,
    prefix: str = "chatstore_",
    max_item_bytes: int = MAX_ITEM_BYTES,
) -> ChatStore:
    """Return a store for ``url``, without connecting: that happens on first use or on ``async with``.

    ``memory://``, ``sqlite:///chat.db`` (``sqlite://`` in memory), ``postgresql://user@host/database`` or a
    SQLAlchemy ``AsyncEngine`` of one of these, which stays the caller's to dispose. ``migrate`` says what
    happens to tables that are missing or outdated when connecting: ``auto`` makes them, ``check`` raises
    ``SchemaError`` with the command to run, ``off`` does not look. ``schema`` (PostgreSQL) and ``prefix`` say
    where the tables are; ``max_item_bytes`` bounds one item's JSON.

    Raises ``ConfigurationError`` for a scheme nobody serves, a missing extra and a wrong option.
    """
    _check_options(migrate, schema, prefix, max_item_bytes)
    options: dict[str, Any] = {
        "migrate": migrate,
        "schema": schema,
        "prefix": prefix,
        "max_item_bytes": max_item_bytes,
    }
    scheme = _scheme(url)
    return ChatStore(_opener(scheme)(url, **options))


def _scheme(url: object) -> str:
    if isinstance(url, str):
        scheme, separator, _ = url.partition(":")
        if not separator or not scheme:
            raise ConfigurationError('url: must begin with a scheme, such as "sqlite:///chat.db"')
        return scheme.partition("+")[0].lower()
    if hasattr(url, "dialect"):
        return str(url.dialect.name)
    raise ConfigurationError(f"url: must be a str or an AsyncEngine, not {type(url).__name__}")


def _opener(scheme: str) -> Any:
    place = _BUILT_IN.get(scheme)
    if place is not None:
        module, _, name = place.partition(":")
        return getattr(import_module(module), name)
    for entry_point in entry_points(group=_GROUP, name=scheme):
        return entry_point.load()
    known = ", ".join(f"{name}://" for name in sorted(_BUILT_IN))
    raise ConfigurationError(f"url: nothing serves the scheme {scheme!r}; known are {known}")


def _check_options(migrate: object, schema: object, prefix: object, max_item_bytes: object) -> None:
    if migrate not in ("auto", "check", "off"):
        raise ConfigurationError('migrate: must be "auto", "check" or "off"')
    if schema is not None and (not isinstance(schema, str) or not schema):
        raise ConfigurationError("schema: must be the name of a PostgreSQL schema, or None")
    if not isinstance(prefix, str) or not re.fullmatch(r"[A-Za-z0-9_]{1,40}", prefix):
        raise ConfigurationError("prefix: must be 1 to 40 ASCII letters, digits and underscores")
    if type(max_item_bytes) is not int or max_item_bytes < 1:
        raise ConfigurationError("max_item_bytes: must be an int of 1 or more")
