"""Make and check identifiers."""

from __future__ import annotations

import re

from uuid_utils import uuid7

from chatstore.errors import InvalidInputError

MAX_KEY_BYTES = 255
"""Bytes of UTF-8 in an id, a user or a tenant: four of them fit a PostgreSQL index row of 2,704 bytes."""

_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_ITEM_PREFIXES = {
    "user_message": "msg",
    "assistant_message": "msg",
    "client_tool_call": "tc",
    "workflow": "wf",
    "task": "tsk",
    "sdk_hidden_context": "shcx",
}


def new_id(prefix: str) -> str:
    """Return a fresh id, ``prefix`` and the 32 hex digits of a UUIDv7: sorted by time, unique across processes."""
    return f"{prefix}_{uuid7().hex}"


def new_item_id(item_type: str) -> str:
    """Return a fresh id for an item, under the prefix that ChatKit uses for its type and ``msg`` for any other."""
    return new_id(_ITEM_PREFIXES.get(item_type, "msg"))


def check_key(value: object, what: str) -> str:
    """Return ``value`` when it can be part of a key: a string of 1 to 255 bytes of UTF-8, opaque.

    Control characters (NUL among them) and lone surrogates raise ``InvalidInputError``, for no database and
    no log keeps them alike.
    """
    if type(value) is not str:
        raise InvalidInputError(f"{what}: must be a str, not {type(value).__name__}")
    if not value:
        raise InvalidInputError(f"{what}: must not be empty")
    if _REFUSED.search(value):
        raise InvalidInputError(f"{what}: must not hold control characters or lone surrogates")
    if len(value) > MAX_KEY_BYTES or len(value.encode()) > MAX_KEY_BYTES:
        raise InvalidInputError(f"{what}: at most {MAX_KEY_BYTES} bytes of UTF-8")
    return value
