"""URLs that carry their own permission: the blob store's where it can presign, else of the application's own routes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from chatstore import instants
from chatstore.errors import ConfigurationError, InvalidInputError, NotSupportedError
from chatstore.models import Attachment
from chatstore.owners import Owner
from chatstore.protocols import BlobStore, Capability, FileRecord, PresignedRequest
from chatstore.signing import MAX_LIFETIME, UrlSigner

UPLOAD = "upload"
DOWNLOAD = "download"


def check_lifetime(expires_in: object) -> timedelta:
    """Return how long a URL is good for when it may be."""
    if not isinstance(expires_in, timedelta) or not timedelta() < expires_in <= MAX_LIFETIME:
        raise InvalidInputError("expires_in: must be a timedelta of more than 0 and at most 7 days")
    return expires_in


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that has begun: the pending record, and the request that the client sends its bytes with.

    The URL is a secret and not shown by ``repr``.
    """

    attachment: Attachment
    url: str = field(repr=False)
    method: str
    headers: dict[str, str]
    expires_at: datetime


class Links:
    """Makes URLs for uploads and downloads.

    ``public_url`` is where the application mounted the attachment routes, as a browser sees it.
    """

    def __init__(self, blobs: BlobStore, signer: UrlSigner | None, public_url: str | None) -> None:
        if (signer is None) != (public_url is None):
            raise ConfigurationError("signing_keys and public_url: give both or none; one signs what the other serves")
        self._blobs = blobs
        self._public_url = "" if public_url is None else public_url.rstrip("/")
        self._signer = signer

    async def upload(self, record: FileRecord, *, owner: Owner, expires_in: timedelta) -> Upload:
        """Return the request by which a client uploads the bytes of a pending record, exactly as announced."""
        attachment, size = record.attachment, record.declared_size
        if Capability.PRESIGN_PUT in self._blobs.capabilities and size is not None:
            request = await self._blobs.presign_put(
                record.key, size=size, content_type=attachment.mime_type, expires_in=expires_in
            )
        else:
            request = self._signed(UPLOAD, owner, attachment, expires_in, method="PUT")
        return Upload(attachment, request.url, request.method, request.headers, request.expires_at)

    async def download(
        self, record: FileRecord, *, owner: Owner, expires_in: timedelta, download_name: str | None
    ) -> str:
        """Return a URL that fetches the bytes of a ready attachment."""
        if Capability.PRESIGN_GET in self._blobs.capabilities:
            request = await self._blobs.presign_get(record.key, expires_in=expires_in, download_name=download_name)
            return request.url
        return self.download_route(record.attachment, owner=owner, expires_in=expires_in, download_name=download_name)

    def download_route(
        self, attachment: Attachment, *, owner: Owner, expires_in: timedelta, download_name: str | None = None
    ) -> str:
        """Return the URL of the application's own route to an attachment; it answers 404 until that is ready.

        Raises ``NotSupportedError`` without a signer.
        """
        return self._signed(DOWNLOAD, owner, attachment, expires_in, name=download_name).url

    def has_signed(self, url: str) -> bool:
        """Say whether ``url`` is one that the signer made, expired or not."""
        return self._signer is not None and self._signer.has_signed(url.rpartition("/")[2])

    def _signed(
        self,
        action: str,
        owner: Owner,
        attachment: Attachment,
        expires_in: timedelta,
        *,
        method: str = "GET",
        name: str | None = None,
    ) -> PresignedRequest:
        if self._signer is None:
            raise NotSupportedError(
                f"{action}: the blob store cannot presign; give open_store(signing_keys=..., public_url=...)"
                " and mount attachments_router"
            )
        expires_at = instants.now() + expires_in
        token = self._signer.sign(action, owner, attachment.id, expires_at, {} if name is None else {"name": name})
        url = f"{self._public_url}/{action}/{token}"
        headers = {"Content-Type": attachment.mime_type} if method == "PUT" else {}
        return PresignedRequest(url, method, headers, expires_at)
