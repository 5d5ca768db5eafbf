"""What the first bytes of a file show it to be, whatever its name and its sender say.

The signatures are those of the WHATWG's *MIME Sniffing Standard* and of the formats' own specifications. They
tell a file that is not what it claims from one that may be: they never prove that it is harmless.
"""

from __future__ import annotations

import re

SNIFF_BYTES = 4096
"""How much of a file's beginning :func:`sniff` looks at."""

_SIGNATURES = tuple(
    (re.compile(pattern, re.DOTALL), content_type)
    for pattern, content_type in (
        (rb"\x89PNG\r\n\x1a\n", "image/png"),
        (rb"\xff\xd8\xff", "image/jpeg"),
        (rb"GIF8[79]a", "image/gif"),
        (rb"RIFF.{4}WEBPVP8[ LX]", "image/webp"),
        (rb".{4}ftyp(?:(?:mif1|msf1|miaf).{4}(?:.{4}){0,15}?)?avi[fs]", "image/avif"),
        (rb".{4}ftyp(?:hei[cxms]|hev[cx]|mif1)", "image/heic"),
        (rb".{4}ftypM4[AB] ", "audio/mp4"),
        (rb".{4}ftypqt  ", "video/quicktime"),
        (rb".{4}ftyp(?:iso.|mp4[12]|avc1|dash|MSNV|M4V[ HP])", "video/mp4"),
        (rb"\x1a\x45\xdf\xa3.{0,64}?\x42\x82.{1,8}?webm", "video/webm"),
        (rb"OggS\x00", "application/ogg"),
        (rb"RIFF.{4}WAVE", "audio/wav"),
        (rb"fLaC", "audio/flac"),
        (rb"ID3[\x02-\x04]|\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef]", "audio/mpeg"),
        (rb"\xff[\xf0\xf1\xf8\xf9]", "audio/aac"),
        (rb"%PDF-", "application/pdf"),
        (rb"%!PS", "application/postscript"),
        (rb"PK(?:\x03\x04|\x05\x06)", "application/zip"),
        (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
        (rb"\x1f\x8b\x08", "application/gzip"),
        (rb"\{\\rtf", "application/rtf"),
        (rb"#!", "text/x-shellscript"),
    )
)

_BYTE_ORDER_MARKS_AND_SPACE = b"\xef\xbb\xbf\xfe\xff" + bytes(range(0x21))
_UTF_7 = re.compile(rb"\+(?:/v[89+/]|AD[w-z])")
_MARKUP = re.compile(rb"<(?:[a-z][\w.:-]*(?:[\s/>]|$)|[!?/])", re.IGNORECASE)
_PROLOGUE = re.compile(rb"\s*<(?:!--.*?--|\?.*?\?|!doctype[^\[>]*(?:\[[^\]]*\]\s*)?)>", re.IGNORECASE | re.DOTALL)
_ROOT = re.compile(rb"\s*<([a-z][\w.-]*:)?([a-z][\w.-]*)", re.IGNORECASE)
_HIDDEN_MARKUP = re.compile(rb"<(?:!doctype\s+html|html|head|body|script|iframe|svg)[\s/>]", re.IGNORECASE)


def sniff(head: bytes) -> str | None:
    """Return the type that a file's first bytes show, ``None`` where they show none (plain text does not).

    ``head`` is at least the first :data:`SNIFF_BYTES`, or all there is. Markup is found in every encoding, with or
    without its mark, behind white space and comments. A file that begins as something else and holds a document
    within its head is taken for the document: ``text/html``.
    """
    head = head[:SNIFF_BYTES]
    plain = head.translate(None, b"\0")
    shown = next((content_type for pattern, content_type in _SIGNATURES if pattern.match(head)), None)
    if shown is not None:
        return "text/html" if _HIDDEN_MARKUP.search(plain) else shown
    return _markup(plain.lstrip(_BYTE_ORDER_MARKS_AND_SPACE))


def _markup(text: bytes) -> str | None:
    if _UTF_7.match(text):
        text = text.decode("utf-7", "ignore").encode("utf-8", "ignore").lstrip(_BYTE_ORDER_MARKS_AND_SPACE)
    if not _MARKUP.match(text):
        return None
    root = _ROOT.match(text, _end_of_prologue(text))
    name = root[2].lower() if root else b""
    if name == b"svg":
        return "image/svg+xml"
    is_xml = text.startswith(b"<?") or (root is not None and root[1] is not None)
    return "application/xml" if is_xml and name != b"html" else "text/html"


def _end_of_prologue(text: bytes) -> int:
    end = 0
    while part := _PROLOGUE.match(text, end):
        end = part.end()
    return end
