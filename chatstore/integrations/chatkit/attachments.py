"""ChatKit's attachments to stored records and back, and what changed in one since it was loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatkit.types import Attachment, AttachmentUploadDescriptor, FileAttachment
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

_OF_FILES = _CORE | {"metadata"}
"""What may change in a file that is kept here; the rest says what its bytes are and where, and is made on loading."""


def values_of(attachment: Attachment) -> Values:
    """Return what the SDK's object holds; raise ``InvalidInputError`` for what would not come back as it is."""
    exactness.check(attachment, "attachment")
    try:
        return {name: to_json(value) for name, value in _fields(attachment).items()}
    except PydanticSerializationError:
        raise InvalidInputError("attachment: holds a value that JSON cannot carry") from None


def changed_fields(was: Values, wanted: Values, *, is_file: bool) -> set[str]:
    """Return the names of the fields to write."""
    return {name for name, value in wanted.items() if was.get(name) != value and (not is_file or name in _OF_FILES)}


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
    """Return a record without bytes as ChatKit's type; one that something else made is a file.

    Raises ``IntegrityError`` where what is stored for ChatKit is not an attachment.
    """
    return _valid(record, {"mime_type": record.mime_type, **_stored(record)})


def file_of(
    record: models.Attachment,
    *,
    preview_url: str | None = None,
    descriptor: AttachmentUploadDescriptor | None = None,
) -> Attachment:
    """Return a file that is kept here as ChatKit's type: an image where it has a preview.

    Raises ``IntegrityError`` as :func:`attachment_of` does.
    """
    shown = {"type": "file"} if preview_url is None else {"type": "image", "preview_url": preview_url}
    own = {"metadata": _stored(record).get("metadata"), "mime_type": record.mime_type}
    return _valid(record, {**shown, **own, "upload_descriptor": descriptor})


def without_urls(attachment: Attachment) -> Attachment:
    """Return an attachment as a file that is not there any more."""
    return FileAttachment.model_validate(attachment.model_dump(include={*_OF_FILES, "mime_type"}))


def _stored(record: models.Attachment) -> Mapping[str, Any]:
    own = record.metadata.get(RESERVED, {"type": "file", "metadata": record.metadata or None})
    if not isinstance(own, Mapping):
        raise _contradiction(record)
    return own


def _valid(record: models.Attachment, values: Mapping[str, Any]) -> Attachment:
    try:
        return _ATTACHMENTS.validate_python(
            {**values, "id": record.id, "name": record.name, "thread_id": record.thread_id}
        )
    except ValidationError:
        raise _contradiction(record) from None


def _contradiction(record: models.Attachment) -> IntegrityError:
    return IntegrityError(f"attachment {record.id!r}: something else wrote its metadata[{RESERVED!r}]")


def _own(attachment: Attachment) -> dict[str, Any]:
    return {name: value for name, value in _fields(attachment).items() if name not in _CORE}


def _fields(attachment: Attachment) -> dict[str, Any]:
    return attachment.model_dump(mode="json", warnings=False)
