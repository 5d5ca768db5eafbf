"""ChatKit's thread metadata to stored threads and back, and what changed in it since it was loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, TypedDict

from chatkit.types import ThreadMetadata
from pydantic import ValidationError

from chatstore import payloads
from chatstore.errors import IntegrityError, InvalidInputError
from chatstore.models import Thread, ThreadStatus

RESERVED = "chatstore.chatkit"
"""The key in a stored thread's metadata for the SDK's fields that a thread does not have."""

_FURTHER = frozenset(ThreadMetadata.model_fields) - {"id", "title", "created_at", "status", "metadata"}


@dataclass(frozen=True, slots=True)
class Values:
    """What an SDK object held at one moment; ``metadata`` is JSON text, ``further`` JSON values."""

    title: str | None
    status: ThreadStatus
    metadata: str
    further: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KnownThread:
    """A thread as ChatKit's object was when it was loaded or saved, and as it was stored then."""

    values: Values
    revision: int
    metadata: str

    @classmethod
    def of(cls, stored: Thread, values: Values) -> KnownThread:
        """Return what is known after ``stored`` was loaded or saved."""
        return cls(values, stored.revision, payloads.encode(stored.metadata, "metadata"))


class Changes(TypedDict):
    """The fields for ``update_thread``."""

    title: str | EllipsisType | None
    status: ThreadStatus | EllipsisType
    metadata: dict[str, Any] | EllipsisType


def values_of(thread: ThreadMetadata) -> Values:
    """Return what the SDK's object holds; the items of a ``Thread`` are left out.

    Raises ``InvalidInputError`` for metadata that would not come back as it is.
    """
    metadata = payloads.encode(thread.metadata, "metadata")
    if RESERVED in thread.metadata:
        raise InvalidInputError(f"metadata: the key {RESERVED!r} is the store's own")
    status = ThreadStatus(type=thread.status.type, reason=getattr(thread.status, "reason", None))
    further = thread.model_dump(mode="json", include=set(_FURTHER), warnings=False)
    return Values(thread.title, status, metadata, further)


def new_thread(thread: ThreadMetadata, values: Values) -> Thread:
    """Return a thread to insert, or to replace whatever is stored under its id."""
    return Thread(
        id=thread.id,
        title=values.title,
        created_at=thread.created_at,
        status=values.status,
        metadata=_metadata({}, None, values),
    )


def metadata_of(thread: Thread) -> ThreadMetadata:
    """Return a stored thread as ChatKit's type, which is the caller's own to change."""
    metadata = dict(thread.metadata)
    further = _further(metadata.pop(RESERVED, {}), thread.id)
    values = {name: value for name, value in further.items() if name in _FURTHER}
    try:
        return ThreadMetadata(
            id=thread.id,
            title=thread.title,
            created_at=thread.created_at,
            status=thread.status.model_dump(exclude_none=True),  # type: ignore[arg-type]
            metadata=metadata,
            **values,
        )
    except ValidationError:
        raise _contradiction(thread.id) from None


def changes(known: KnownThread, wanted: Values) -> Changes:
    """Return what changed in ChatKit's object since ``known``, on top of what is stored now."""
    was = known.values
    same_metadata = wanted.metadata == was.metadata and wanted.further == was.further
    return {
        "title": ... if wanted.title == was.title else wanted.title,
        "status": ... if wanted.status == was.status else wanted.status,
        "metadata": ... if same_metadata else _metadata(payloads.decode(known.metadata), was, wanted),
    }


def _metadata(stored: dict[str, Any], was: Values | None, wanted: Values) -> dict[str, Any]:
    further = dict(_further(stored.pop(RESERVED, {}), ""))
    for name, value in wanted.further.items():
        if was is None or was.further.get(name) != value:
            further[name] = value
    further = {name: value for name, value in further.items() if value is not None}
    own = stored if was is not None and was.metadata == wanted.metadata else payloads.decode(wanted.metadata)
    return {**own, RESERVED: further} if further else own


def _further(value: object, thread_id: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _contradiction(thread_id)
    return value


def _contradiction(thread_id: str) -> IntegrityError:
    return IntegrityError(f"thread {thread_id!r}: something else wrote its metadata[{RESERVED!r}]")
