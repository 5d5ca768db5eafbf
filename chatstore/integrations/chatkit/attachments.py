"""ChatKit's attachments to stored records and back, and what changed in one since it was loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatkit.types import Attachment
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from chatstore import models
from chatstore.errors import IntegrityError, InvalidInputError
from chatstore.integrations.chatkit import exactness

RESERVED = "chatstore.chatkit"
"""The key in a stored record's metadata for everything that only ChatKit's attachment has."""

Values = Mapping[str, bytes]
"""What an SDK object held at one moment: the JSON text of each field."""

_ATTACHMENTS: TypeAdapter[Attachment] = TypeAdapter(Attachment)

_CORE = frozenset({"id", "name", "thread_id"})


def values_of(attachment: Attachment) -> Values:
    """Return what the SDK's object holds; raise ``InvalidInputError`` for what would not come back as it is."""
    exactness.check(attachment, "attachment")
    try:
        return {name: to_json(value) for name, value in _fields(attachment).items()}
    except PydanticSerializationError:
        raise InvalidInputError("attachment: holds a value that JSON cannot carry") from None


def new_record(attachment: Attachment) -> models.Attachment:
    """Return a pending record to insert."""
    return models.Attachment(
        id=attachment.id,
        name=attachment.name,
        mime_type=attachment.mime_type,
        thread_id=attachment.thread_id,
        metadata={RESERVED: _own(attachment)},
    )


def changed_record(attachment: Attachment, fields: Mapping[str, Any]) -> models.Attachment:
    """Return the stored record in which only ``fields`` are changed."""
    record = models.Attachment.stored(
        id=attachment.id,
        name=attachment.name,
        mime_type=attachment.mime_type,
        size=None,
        sha256=None,
        state="pending",
        thread_id=None,
        metadata={},
        created_at=None,
    )
    return record.model_copy(update=fields)


def merged_metadata(record: models.Attachment, attachment: Attachment, changed: set[str]) -> dict[str, Any]:
    """Return the metadata of ``record`` with the changed fields of ``attachment`` in it.

    An upload descriptor that is gone does not come back: whoever still has it loaded the attachment before the
    upload.
    """
    own = _own(attachment_of(record))
    given = {name: value for name, value in _own(attachment).items() if name in changed}
    if own["upload_descriptor"] is None:
        given.pop("upload_descriptor", None)
    return {**record.metadata, RESERVED: own | given}


def attachment_of(record: models.Attachment) -> Attachment:
    """Return a stored record as ChatKit's type; one that something else made is a file.

    Raises ``IntegrityError`` where what is stored for ChatKit is not an attachment.
    """
    own = record.metadata.get(RESERVED, {"type": "file", "metadata": record.metadata or None})
    try:
        return _ATTACHMENTS.validate_python(
            {"mime_type": record.mime_type, **own, "id": record.id, "name": record.name, "thread_id": record.thread_id}
        )
    except (ValidationError, TypeError):
        raise IntegrityError(f"attachment {record.id!r}: something else wrote its metadata[{RESERVED!r}]") from None


def _own(attachment: Attachment) -> dict[str, Any]:
    return {name: value for name, value in _fields(attachment).items() if name not in _CORE}


def _fields(attachment: Attachment) -> dict[str, Any]:
    return attachment.model_dump(mode="json", warnings=False)
