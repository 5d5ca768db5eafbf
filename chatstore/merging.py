"""Which fields of a stored thread a call changes, and which it must not: the rule, once for every store."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Any

from chatstore import payloads
from chatstore.errors import ConflictError
from chatstore.inputs import NewThread, ThreadChanges


@dataclass(frozen=True, slots=True)
class ThreadFields:
    """What a thread's revision counts, and the revision at which each field was changed last."""

    title: str | None
    status: tuple[str, str | None]
    metadata: str
    revision: int = 1
    title_revision: int = 1
    status_revision: int = 1
    metadata_revision: int = 1


def merge(stored: ThreadFields, changes: ThreadChanges, thread_id: str, operation: str) -> ThreadFields:
    """Return the fields with ``changes`` made; the very same object where nothing differs.

    Raises ``ConflictError`` for a field that was changed after the revision that the caller had loaded, unless
    it already has the new value.
    """
    changed: dict[str, object] = {}
    for name in ("title", "status", "metadata"):
        value = getattr(changes, name)
        if isinstance(value, EllipsisType) or value == getattr(stored, name):
            continue
        if changes.revision is not None and getattr(stored, f"{name}_revision") > changes.revision:
            raise ConflictError(
                f"{operation}: {name} of thread {thread_id!r} was changed after revision {changes.revision}"
            )
        changed |= {name: value, f"{name}_revision": stored.revision + 1}
    return replace(stored, revision=stored.revision + 1, **changed) if changed else stored  # type: ignore[arg-type]


def same_thread(title: str | None, metadata: dict[str, Any], new: NewThread) -> bool:
    """Return whether a stored thread is the one that is being created, so that creating it again is success."""
    return title == new.title and _ordered(metadata) == _ordered(payloads.decode(new.metadata))


def _ordered(metadata: dict[str, Any]) -> str:
    """Return text that is equal where the values are, 1 and 1.0 and true told apart, in whatever order of keys."""
    return json.dumps(metadata, sort_keys=True)
