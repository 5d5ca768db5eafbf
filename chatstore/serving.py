"""How bytes may be shown to a browser: as which type, inline or as a download, under which name, and which part.

Nothing here trusts what an uploader said. A file is shown inline only where its declared type is on an exact list
of images, sound and video *and* its first bytes show that type; anything else is a download, and what a browser
could run is ``application/octet-stream``. All values of headers are made here, printable ASCII, from closed lists
or by encoding.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from chatstore.errors import InvalidInputError
from chatstore.sniffing import sniff

OCTET_STREAM = "application/octet-stream"
MAX_NAME_BYTES = 255
MAX_EXTENSION_BYTES = 32

_MP4 = {"audio/mp4", "video/mp4"}

_INLINE: Mapping[str, set[str]] = {
    "image/png": {"image/png"},
    "image/jpeg": {"image/jpeg"},
    "image/gif": {"image/gif"},
    "image/webp": {"image/webp"},
    "image/avif": {"image/avif"},
    "audio/mpeg": {"audio/mpeg"},
    "audio/mp4": _MP4,
    "audio/aac": {"audio/aac"},
    "audio/ogg": {"application/ogg"},
    "audio/wav": {"audio/wav"},
    "audio/webm": {"video/webm"},
    "audio/flac": {"audio/flac"},
    "video/mp4": _MP4,
    "video/ogg": {"application/ogg"},
    "video/webm": {"video/webm"},
    "video/quicktime": {"video/quicktime"},
}
"""What may be shown, and as what its bytes must have been sniffed."""

_ZIP: set[str | None] = {"application/zip"}
_OLE: set[str | None] = {"application/x-ole-storage"}
_TEXT: set[str | None] = {None}

_DOWNLOADS: Mapping[str, set[str | None]] = {
    "application/pdf": {"application/pdf"},
    "application/rtf": {"application/rtf"},
    "application/gzip": {"application/gzip"},
    "application/zip": _ZIP,
    "application/epub+zip": _ZIP,
    "application/vnd.oasis.opendocument.text": _ZIP,
    "application/vnd.oasis.opendocument.spreadsheet": _ZIP,
    "application/vnd.oasis.opendocument.presentation": _ZIP,
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": _ZIP,
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": _ZIP,
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": _ZIP,
    "application/msword": _OLE,
    "application/vnd.ms-excel": _OLE,
    "application/vnd.ms-powerpoint": _OLE,
    "application/json": _TEXT,
    "image/heic": {"image/heic"},
    "text/plain": _TEXT,
    "text/csv": _TEXT,
    "text/markdown": _TEXT,
}
"""What keeps its type in a download: no browser runs it."""

_ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/apng": "image/png",
    "image/heif": "image/heic",
    "audio/mp3": "audio/mpeg",
    "audio/x-mp3": "audio/mpeg",
    "audio/m4a": "audio/mp4",
    "audio/x-m4a": "audio/mp4",
    "audio/x-aac": "audio/aac",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/opus": "audio/ogg",
    "video/x-m4v": "video/mp4",
    "application/x-pdf": "application/pdf",
    "application/x-zip-compressed": "application/zip",
    "application/x-gzip": "application/gzip",
    "text/x-markdown": "text/markdown",
    "text/rtf": "application/rtf",
}

# style-src lets the browser's own viewer lay out an image that is opened alone. Sound and video opened alone do not
# play, for that takes the sandbox's allow-same-origin; embedded in a page, they do.
_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"

_PATH = re.compile(r"[/\\]")
_OUTER = ".\u0020\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_JOINERS = "\u200c\u200d"
_UNSAFE_IN_FALLBACK = re.compile(r"[^A-Za-z0-9 ._()\[\]+,=@!#&~'-]")
_SHA256 = re.compile(r"[0-9a-f]{64}")

_RANGE = re.compile(r"([0-9]{0,100})-([0-9]{0,100})")
_ENTITY_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


@dataclass(frozen=True, slots=True)
class ServedType:
    """As what bytes are sent, and whether a browser may show them."""

    content_type: str
    inline: bool


@dataclass(frozen=True, slots=True)
class ResponsePlan:
    """The answer to a request for bytes: its status, which of them to send (``end`` exclusive), and its headers."""

    status: Literal[200, 206, 304, 412, 416]
    start: int
    end: int
    headers: dict[str, str]


def served_type(declared: str, sniffed: str | None) -> ServedType:
    """Return as what bytes are served that were declared as one type and sniffed as another, or as none.

    Parameters, case and outer blanks of ``declared`` do not count. Where the two disagree, the bytes are
    ``application/octet-stream``.
    """
    essence = declared.partition(";")[0].strip(" \t").lower()
    content_type = _ALIASES.get(essence, essence)
    if sniffed in _INLINE.get(content_type, ()):
        return ServedType(content_type, inline=True)
    if sniffed not in _DOWNLOADS.get(content_type, ()):
        return ServedType(OCTET_STREAM, inline=False)
    is_text = content_type.startswith("text/")
    return ServedType(f"{content_type}; charset=utf-8" if is_text else content_type, inline=False)


def file_name(name: str) -> str:
    """Return the last part of ``name`` as a file name: printable, at most 255 bytes, its extension kept.

    Control characters, marks that turn the writing direction, lone surrogates, and outer dots and blanks are left
    out. A name of nothing else is ``download``.
    """
    last = _PATH.split(name)[-1]
    visible = "".join(character for character in last if _is_visible(character))
    return _shortened(visible.strip(_OUTER)) or "download"


def content_disposition(name: str, *, inline: bool) -> str:
    """Return the header value of RFC 6266: an ASCII name for all, and the whole one (RFC 8187) where it differs."""
    name = file_name(name)
    ascii_name = _fallback(name)
    value = f'{"inline" if inline else "attachment"}; filename="{ascii_name}"'
    return value if ascii_name == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"


def entity_tag(sha256: str) -> str:
    """Return the strong entity tag of bytes with this checksum, 64 hex digits."""
    if not _SHA256.fullmatch(sha256):
        raise InvalidInputError("sha256: must be 64 hex digits in lower case")
    return f'"{sha256}"'


def headers_for(
    declared: str,
    sniffed: str | None,
    *,
    name: str,
    sha256: str,
    signed: bool = False,
    download: bool = False,
) -> dict[str, str]:
    """Return the headers of every response that carries the bytes; those of its :class:`ResponsePlan` come on top.

    Bytes never change, but who may see them does: they are kept by the browser alone, and asked for again each
    time. Pages of other origins may embed them only by a ``signed`` URL, which is itself the permission (a chat
    component runs in a frame of another origin); elsewhere the user's cookie would be. ``download`` never shows
    them inline.
    """
    served = served_type(declared, sniffed)
    return {
        "Content-Type": served.content_type,
        "Content-Disposition": content_disposition(name, inline=served.inline and not download),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": _POLICY,
        "Cross-Origin-Resource-Policy": "cross-origin" if signed else "same-origin",
        "Cache-Control": "private, no-cache",
        "ETag": entity_tag(sha256),
        "Accept-Ranges": "bytes",
    }


def is_shown_image(declared: str, sniffed: str | None) -> bool:
    """Say whether a browser is shown bytes as an image that were declared as one type and sniffed as another."""
    served = served_type(declared, sniffed)
    return served.inline and served.content_type.startswith("image/")


def may_be_shown_image(declared: str) -> bool:
    """Say whether bytes declared so are shown as an image, once they turn out to be what they are declared to be."""
    return any(is_shown_image(declared, sniffed) for sniffed in _INLINE)


def data_url(declared: str, data: bytes) -> str:
    """Return an image as a ``data:`` URL.

    Raises ``InvalidInputError`` for anything but an image that may be shown inline.
    """
    if not is_shown_image(declared, sniff(data)):
        raise InvalidInputError("data: not an image that may be shown; PNG, JPEG, GIF, WebP and AVIF are")
    return file_data_url(declared, data)


def file_data_url(declared: str, data: bytes) -> str:
    """Return a file as a ``data:`` URL of the type it is served as, never one that a browser would run.

    It is for a model or another program; what a browser may show is :func:`data_url`'s to say.
    """
    content_type = served_type(declared, sniff(data)).content_type.partition(";")[0]
    return f"data:{content_type};base64,{b64encode(data).decode()}"


def plan_response(
    method: Literal["GET", "HEAD"], request_headers: Mapping[str, str], *, size: int, etag: str
) -> ResponsePlan:
    """Return what to answer to a request for ``size`` bytes whose strong entity tag is ``etag`` (RFC 9110).

    ``If-Match``, ``If-None-Match``, ``Range`` and ``If-Range`` count. Of several ranges, of none that can be read,
    and of an empty file, the whole is sent; dates are never compared, since none is sent.
    """
    fields = _fields(request_headers)
    matches = fields.get("if-match")
    if matches is not None and not _lists(matches, etag, weakly=False):
        return ResponsePlan(412, 0, 0, {"Content-Length": "0"})
    none_match = fields.get("if-none-match")
    if none_match is not None and _lists(none_match, etag, weakly=True):
        return ResponsePlan(304, 0, 0, {})
    wanted = _range(fields["range"], size) if method == "GET" and "range" in fields else None
    if wanted is None or fields.get("if-range", etag) != etag:
        return ResponsePlan(200, 0, size if method == "GET" else 0, {"Content-Length": str(size)})
    start, end = wanted
    if start >= end:
        return ResponsePlan(416, 0, 0, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
    headers = {"Content-Range": f"bytes {start}-{end - 1}/{size}", "Content-Length": str(end - start)}
    return ResponsePlan(206, start, end, headers)


def _is_visible(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _shortened(name: str) -> str:
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    ending = (dot + extension).encode()
    if not stem or len(ending) > MAX_EXTENSION_BYTES:
        stem, ending = name, b""
    kept = stem.encode()[: MAX_NAME_BYTES - len(ending)]
    return kept.decode("utf-8", "ignore").rstrip(". ") + ending.decode()


def _fallback(name: str) -> str:
    base = "".join(part for part in unicodedata.normalize("NFKD", name) if not unicodedata.combining(part))
    return _shortened(_UNSAFE_IN_FALLBACK.sub("_", base).strip(_OUTER)) or "download"


def _fields(headers: Mapping[str, str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in headers.items():
        name, value = name.lower(), value.strip(" \t")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _lists(value: str, etag: str, *, weakly: bool) -> bool:
    if value == "*":
        return True
    tags = _ENTITY_TAG.findall(value)
    return etag in tags or (weakly and f"W/{etag}" in tags)


def _range(value: str, size: int) -> tuple[int, int] | None:
    """Return the one range that is asked for, cut to the bytes there are; ``None`` to send the whole."""
    unit, _, listed = value.partition("=")
    ranges = [part for part in (each.strip(" \t") for each in listed.split(",")) if part]
    read = _RANGE.fullmatch(ranges[0]) if len(ranges) == 1 else None
    if read is None or unit.lower() != "bytes" or size == 0:
        return None
    first, last = (int(digits) if digits else None for digits in read.groups())
    if first is None:
        return None if last is None else (max(0, size - last), size)
    if last is None:
        return first, size
    return None if last < first else (first, min(size, last + 1))
