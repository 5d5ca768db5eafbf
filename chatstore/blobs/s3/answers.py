"""What S3 answers: read with care, since some proxies answer 200 with a page of their own."""

from __future__ import annotations

from typing import Any

from chatstore.errors import ConfigurationError, UnavailableError
from chatstore.protocols import BlobInfo

SHA256 = "chatstore-sha256"
"""The metadata of a blob that holds its checksum, where that was known before it was sent."""


def field(what: str, answer: dict[str, Any], name: str) -> Any:
    """Return what every answer of S3 has; raise ``UnavailableError`` where this one has not."""
    if name not in answer:
        raise UnavailableError(f"{what}: the answer is not that of S3, its {name} is missing")
    return answer[name]


def etag_of(what: str, answer: dict[str, Any]) -> str:
    """Return the tag of a blob."""
    return str(field(what, answer, "ETag")).strip('"')


def info_of(what: str, answer: dict[str, Any]) -> BlobInfo:
    """Return what an answer says of a blob."""
    sha256 = answer.get("Metadata", {}).get(SHA256)
    return BlobInfo(field(what, answer, "ContentLength"), etag_of(what, answer), sha256, answer.get("LastModified"))


def body_of(what: str, answer: dict[str, Any], *, ranged: bool) -> Any:
    """Return the body of an answer that is a blob, or the range of one that was asked for."""
    body = answer["Body"]
    if "ETag" not in answer:
        body.close()
        raise UnavailableError(f"{what}: the answer is not that of S3")
    if ranged and "ContentRange" not in answer and answer.get("ContentLength") != 0:
        body.close()
        raise ConfigurationError(f"{what}: the server does not send ranges")
    return body
