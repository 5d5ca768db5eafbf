"""The ids that the adapter makes: fresh ones under the SDK's prefixes, and derived ones that a retry meets again."""

from __future__ import annotations

import hashlib
import json

from chatkit.store import StoreItemType, default_generate_id

from chatstore import ids
from chatstore.errors import InvalidInputError


def fresh_id(item_type: StoreItemType) -> str:
    """Return the SDK's prefix for ``item_type`` and a UUIDv7 in hex."""
    return ids.new_id(default_generate_id(item_type).rpartition("_")[0])


def derived_id(prefix: str, *named: str) -> str:
    """Return the id of what stands for ``named``: the same one every time."""
    text = json.dumps(named)
    return f"{prefix}_{hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def is_key(id: str) -> bool:
    """Say whether anything can be stored under ``id``."""
    try:
        ids.check_key(id, "id")
    except InvalidInputError:
        return False
    return True
