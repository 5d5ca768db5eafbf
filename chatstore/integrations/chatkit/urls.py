"""The URLs in ChatKit's attachments: where a client uploads, and what shows it an image."""

from __future__ import annotations

from datetime import timedelta

from chatkit.types import AttachmentUploadDescriptor
from pydantic import ValidationError

from chatstore import models, serving
from chatstore.errors import ConfigurationError, NotSupportedError
from chatstore.links import Links, Upload
from chatstore.owners import Owner
from chatstore.protocols import FileRecord


def descriptor_of(upload: Upload) -> AttachmentUploadDescriptor:
    """Return the request that a client sends its bytes with; raise ``ConfigurationError`` for a relative URL."""
    fields = {"url": upload.url, "method": upload.method, "headers": upload.headers}
    try:
        return AttachmentUploadDescriptor.model_validate(fields)
    except ValidationError:
        raise ConfigurationError("public_url: ChatKit's client needs a whole URL: https://...") from None


async def descriptor_to_come(
    links: Links, record: FileRecord, owner: Owner, expires_in: timedelta
) -> AttachmentUploadDescriptor | None:
    """Return the request for a pending record, ``None`` where its bytes do not come from the client itself."""
    if record.declared_size is None:
        return None
    try:
        return descriptor_of(await links.upload(record, owner=owner, expires_in=expires_in))
    except NotSupportedError:
        return None


async def preview_of(links: Links, record: FileRecord, owner: Owner, expires_in: timedelta) -> str | None:
    """Return a URL that shows a ready file, ``None`` unless its bytes are those of an image that may be shown."""
    if not serving.is_shown_image(record.attachment.mime_type, record.sniffed):
        return None
    try:
        return await links.download(record, owner=owner, expires_in=expires_in, download_name=None)
    except NotSupportedError:
        return None


def preview_to_come(links: Links, attachment: models.Attachment, owner: Owner, expires_in: timedelta) -> str | None:
    """Return a URL that shows a pending file once it is ready, if it is the image that it is said to be.

    Only a route of the application's own can: where a blob store presigns, the bytes are not yet what they will be.
    """
    if not serving.may_be_shown_image(attachment.mime_type):
        return None
    try:
        return links.download_route(attachment, owner=owner, expires_in=expires_in)
    except NotSupportedError:
        return None
