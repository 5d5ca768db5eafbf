"""open_store: from a URL to the class that serves its scheme, named as a string until it is used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal, cast

from chatstore.assembly import ChatStore
from chatstore.deadlines import POOL_SIZE, USUAL, Deadlines
from chatstore.errors import ConfigurationError
from chatstore.inputs import MAX_ITEM_BYTES
from chatstore.protocols import BlobStore, Capability, Limits
from chatstore.signing import UrlSigner

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_BUILT_IN = {
    "memory": "chatstore.stores.memory:open_memory",
    "sqlite": "chatstore.stores.sql:open_sql",
    "postgres": "chatstore.stores.sql:open_sql",
    "postgresql": "chatstore.stores.sql:open_sql",
}

_BUILT_IN_BLOBS = {
    "memory": "chatstore.blobs.memory:open_memory",
    "file": "chatstore.blobs.local:open_local",
    "s3": "chatstore.blobs.s3:open_s3",
}

_GROUP = "chatstore.stores"
"""The entry point group in which other packages register a scheme: ``scheme = "package.module:function"``."""

_BLOB_GROUP = "chatstore.blobs"
"""The same for the schemes of blob stores."""


def open_store(
    url: str | AsyncEngine,
    *,
    blobs: str | BlobStore | None = None,
    limits: Limits | None = None,
    signing_keys: Sequence[bytes] | None = None,
    public_url: str | None = None,
    migrate: Literal["auto", "check", "off"] = "auto",
    schema: str | None = None,
    prefix: str = "chatstore_",
    max_item_bytes: int = MAX_ITEM_BYTES,
    coalesce: bool = True,
    deadlines: Deadlines | None = None,
    pool_size: int = POOL_SIZE,
    pgbouncer: bool = False,
    row_security: bool = False,
) -> ChatStore:
    """Return a store for ``url``, without connecting: that happens on first use or on ``async with``.

    ``memory://``, ``sqlite:///chat.db`` (``sqlite://`` in memory), ``postgresql://user@host/database`` or a
    SQLAlchemy ``AsyncEngine`` of one of these, which stays the caller's to dispose. ``migrate`` says what
    happens to tables that are missing or outdated when connecting: ``auto`` makes them, ``check`` raises
    ``SchemaError`` with the command to run, ``off`` does not look. ``schema`` (PostgreSQL) and ``prefix`` say
    where the tables are; ``max_item_bytes`` bounds one item's JSON. Items that several tasks write at the same time are
    sent to a database together, and pages that they read come together, unless ``coalesce`` is false. With
    ``row_security`` PostgreSQL itself keeps every statement from the rows of other owners; ``chatstore migrate URL
    --row-security`` comes first.

    ``blobs`` says where the bytes of attachments live: ``memory://``, ``file:./folder``,
    ``s3://bucket/prefix?endpoint_url=...``, ``sql`` (chunks in the store's own database) or a blob store.
    ``limits`` bounds what an owner may store. ``signing_keys`` and ``public_url`` make URLs for uploads and
    downloads through the application's own routes, where the blob store cannot presign.

    ``deadlines`` bounds every wait on the database, ``pool_size`` its connections from this store. ``pgbouncer`` says
    that PgBouncer stands before PostgreSQL in transaction mode. An engine of the caller's keeps its own: there only
    ``total`` counts, and on SQLite ``lock``.

    Raises ``ConfigurationError`` for a scheme nobody serves, a missing extra and a wrong option.
    """
    check_options(migrate, schema, prefix, max_item_bytes)
    deadlines = USUAL if deadlines is None else deadlines
    _check_waits(deadlines, pool_size, pgbouncer)
    options: dict[str, Any] = {
        "migrate": migrate,
        "schema": schema,
        "prefix": prefix,
        "max_item_bytes": max_item_bytes,
        "coalesce": coalesce,
        "deadlines": deadlines,
        "pool_size": pool_size,
        "pgbouncer": pgbouncer,
    }
    if row_security:
        options["row_security"] = True
    store = _opener(_scheme(url), _BUILT_IN, "url")(url, **options)
    if row_security and Capability.ROW_SECURITY not in store.capabilities:
        raise ConfigurationError("row_security: this store has none; PostgreSQL has")
    signer = None if signing_keys is None else UrlSigner(signing_keys)
    return ChatStore(store, _open_blobs(blobs, store), limits=limits, signer=signer, public_url=public_url)


def _open_blobs(blobs: object, store: object) -> BlobStore | None:
    if blobs is None or isinstance(blobs, BlobStore):
        return blobs
    if not isinstance(blobs, str):
        raise ConfigurationError(f"blobs: must be a URL or a BlobStore, not {type(blobs).__name__}")
    if blobs == "sql":
        database = getattr(store, "database", None)
        if database is None:
            raise ConfigurationError('blobs: "sql" needs a store in a database; choose "memory://" or "file:./blobs"')
        return cast("BlobStore", import_module("chatstore.blobs.sql").SQLBlobs(database))
    return cast("BlobStore", _opener(blobs.partition(":")[0].lower(), _BUILT_IN_BLOBS, "blobs")(blobs))


def _is_schema(schema: object) -> bool:
    return isinstance(schema, str) and re.fullmatch(r"(?!pg_)[A-Za-z0-9_-]{1,63}", schema) is not None


def _scheme(url: object) -> str:
    if isinstance(url, str):
        scheme, separator, _ = url.partition(":")
        if not separator or not scheme:
            raise ConfigurationError('url: must begin with a scheme, such as "sqlite:///chat.db"')
        return scheme.partition("+")[0].lower()
    if hasattr(url, "dialect"):
        return str(url.dialect.name)
    raise ConfigurationError(f"url: must be a str or an AsyncEngine, not {type(url).__name__}")


def _opener(scheme: str, built_in: dict[str, str], option: str) -> Any:
    place = built_in.get(scheme)
    if place is not None:
        module, _, name = place.partition(":")
        return getattr(import_module(module), name)
    group = _GROUP if option == "url" else _BLOB_GROUP
    for entry_point in entry_points(group=group, name=scheme):
        return entry_point.load()
    known = ", ".join(sorted(built_in))
    raise ConfigurationError(f"{option}: nothing serves the scheme {scheme!r}; known are {known}")


def check_options(migrate: object, schema: object, prefix: object, max_item_bytes: object = MAX_ITEM_BYTES) -> None:
    """Raise ``ConfigurationError`` for an option that no store takes."""
    if migrate not in ("auto", "check", "off"):
        raise ConfigurationError('migrate: must be "auto", "check" or "off"')
    if schema is not None and not _is_schema(schema):
        raise ConfigurationError("schema: must be 1 to 63 ASCII letters, digits, underscores and hyphens, not pg_...")
    if not isinstance(prefix, str) or not re.fullmatch(r"[A-Za-z0-9_]{1,40}", prefix):
        raise ConfigurationError("prefix: must be 1 to 40 ASCII letters, digits and underscores")
    if type(max_item_bytes) is not int or max_item_bytes < 1:
        raise ConfigurationError("max_item_bytes: must be an int of 1 or more")


def _check_waits(deadlines: object, pool_size: object, pgbouncer: object) -> None:
    if not isinstance(deadlines, Deadlines):
        raise ConfigurationError(f"deadlines: must be Deadlines(...), not {type(deadlines).__name__}")
    if type(pool_size) is not int or pool_size < 1:
        raise ConfigurationError("pool_size: must be an int of 1 or more")
    if type(pgbouncer) is not bool:
        raise ConfigurationError("pgbouncer: must be True or False")
