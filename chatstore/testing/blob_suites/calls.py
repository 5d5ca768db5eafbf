"""Every method of a blob store as one call, so that a promise about all of them is tested on all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeAlias, cast

from chatstore.errors import ChatStoreError, InvalidInputError, NotSupportedError
from chatstore.protocols import BlobStore, Capability, DiscardsUnfinished
from chatstore.testing.blob_suites.sources import TYPE, keys, opened

Call: TypeAlias = Callable[[BlobStore, Any], Awaitable[Any]]

HOUR = timedelta(hours=1)

READS: dict[str, Call] = {
    "read": lambda blobs, key: blobs.read(key),
    "open": opened,
    "open a range": lambda blobs, key: opened(blobs, key, start=1, end=3),
    "stat": lambda blobs, key: blobs.stat(key),
}

WRITES: dict[str, Call] = {
    "put": lambda blobs, key: blobs.put(key, b"taken", content_type=TYPE),
    "put if absent": lambda blobs, key: blobs.put(key, b"taken", content_type=TYPE, if_absent=True),
    "delete": lambda blobs, key: blobs.delete(key),
}

PRESIGNS: dict[str, Call] = {
    "presign_get": lambda blobs, key: blobs.presign_get(key, expires_in=HOUR),
    "presign_put": lambda blobs, key: blobs.presign_put(key, size=5, content_type=TYPE, expires_in=HOUR),
}

DISCARDS: dict[str, Call] = {
    "discard": lambda blobs, key: cast("DiscardsUnfinished", blobs).discard_unfinished(),
}

KEYED: dict[str, Call] = READS | WRITES | PRESIGNS
"""The methods that take a key."""


def declared(blobs: BlobStore, name: str) -> bool:
    """Say whether the store declares what the call needs."""
    return name not in PRESIGNS | DISCARDS or Capability(name) in blobs.capabilities


def refusal(blobs: BlobStore, name: str) -> tuple[type[ChatStoreError], ...]:
    """Return the errors that a bad value may raise: a call that is not supported need not look at it."""
    return (InvalidInputError,) if declared(blobs, name) else (InvalidInputError, NotSupportedError)


def supported(blobs: BlobStore) -> dict[str, Call]:
    """Return the calls that this store answers."""
    return {name: call for name, call in (KEYED | DISCARDS | {"list": keys}).items() if declared(blobs, name)}
