"""What a browser is told about bytes: never a type that runs, never a header that breaks, always the right part."""

from __future__ import annotations

import hashlib
import re
import string
from base64 import b64decode
from email.message import Message
from typing import Any, Literal
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatstore.errors import InvalidInputError
from chatstore.serving import (
    OCTET_STREAM,
    ServedType,
    content_disposition,
    data_url,
    entity_tag,
    file_data_url,
    file_name,
    headers_for,
    is_shown_image,
    may_be_shown_image,
    plan_response,
    served_type,
)
from chatstore.sniffing import sniff

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0"
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF"
GIF = b"GIF89a\x01\0\x01\0\x80\0\0"
GIF_SCRIPT = b"GIF89a/*\0\0\0\0\0\0*/=1;alert(1)//"
WEBP = b"RIFF\x24\0\0\0WEBPVP8 "
AVIF = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1"
MP3 = b"ID3\x04\0\0\0\0\0\0"
MP4 = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2"
WEBM = b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\x82\x84webm"
OGG = b"OggS\0\x02\0\0"
WAV = b"RIFF\x24\0\0\0WAVEfmt "
FLAC = b"fLaC\0\0\0\x22"
AAC = b"\xff\xf1\x50\x80"
MOV = b"\0\0\0\x14ftypqt  \0\0\0\0qt  "
PDF = b"%PDF-1.7\n"
ZIP = b"PK\x03\x04\x14\0"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
HTML = b"<html><script>alert(1)</script></html>"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
SVG_LATE = b"\xef\xbb\xbf <?xml version='1.0'?>\n<!-- one --><!-- two -->\n" + SVG
XSLT = b"<?xml version='1.0'?><?xml-stylesheet type='text/xsl' href='#s'?><a><xsl:stylesheet id='s'/></a>"
XHTML = b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><script>alert(1)</script></html>"
UTF_16 = HTML.decode().encode("utf-16")
UTF_7 = b"+ADw-script+AD4-alert(1)+ADw-/script+AD4-"
SCRIPT = b"alert(document.cookie)"
TEXT = b"just some words"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

SHOWN = [
    ("image/png", PNG, "image/png"),
    ("IMAGE/PNG", PNG, "image/png"),
    (" image/png\t", PNG, "image/png"),
    ("image/png;charset=utf-8", PNG, "image/png"),
    ("image/png ; x=text/html", PNG, "image/png"),
    ("image/x-png", PNG, "image/png"),
    ("image/jpeg", JPEG, "image/jpeg"),
    ("image/jpg", JPEG, "image/jpeg"),
    ("image/gif", GIF, "image/gif"),
    ("image/webp", WEBP, "image/webp"),
    ("image/avif", AVIF, "image/avif"),
    ("audio/mpeg", MP3, "audio/mpeg"),
    ("audio/mp3", MP3, "audio/mpeg"),
    ("audio/mp4", MP4, "audio/mp4"),
    ("audio/x-m4a", MP4, "audio/mp4"),
    ("audio/ogg; codecs=opus", OGG, "audio/ogg"),
    ("audio/x-wav", WAV, "audio/wav"),
    ("audio/webm;codecs=opus", WEBM, "audio/webm"),
    ("audio/flac", FLAC, "audio/flac"),
    ("audio/aac", AAC, "audio/aac"),
    ("video/mp4", MP4, "video/mp4"),
    ("video/webm", WEBM, "video/webm"),
    ("video/ogg", OGG, "video/ogg"),
    ("video/quicktime", MOV, "video/quicktime"),
]

KEPT = [
    ("application/pdf", PDF, "application/pdf"),
    ("Application/PDF; version=1.7", PDF, "application/pdf"),
    ("application/zip", ZIP, "application/zip"),
    (DOCX, ZIP, DOCX),
    ("application/msword", OLE, "application/msword"),
    ("application/json", b'{"a": 1}', "application/json"),
    ("text/plain", TEXT, "text/plain; charset=utf-8"),
    ("text/plain;charset=utf-7", UTF_7[4:], "text/plain; charset=utf-8"),
    ("text/plain", b"", "text/plain; charset=utf-8"),
    ("text/csv", b"a,b\n1,2\n", "text/csv; charset=utf-8"),
    ("text/markdown", b"# Title", "text/markdown; charset=utf-8"),
]

OPAQUE = [
    # what a browser runs, however it is spelled
    ("text/html", HTML),
    ("text/html;charset=utf-8", HTML),
    ("TEXT/HTML", HTML),
    ("text/html ", HTML),
    ("text/html,image/png", HTML),
    ("text/html", TEXT),
    ("text/html", PNG),
    ("application/xhtml+xml", XHTML),
    ("application/xml", XSLT),
    ("text/xml", XSLT),
    ("text/xsl", XSLT),
    ("application/rss+xml", XSLT),
    ("application/mathml+xml", XSLT),
    ("image/svg+xml", SVG),
    ("image/svg+xml;x=y", SVG),
    ("Image/SVG+XML", SVG),
    ("image/svg+xml", SVG_LATE),
    ("image/svg+xml", PNG),
    ("image/svg", SVG),
    ("text/javascript", SCRIPT),
    ("application/javascript", SCRIPT),
    ("application/ecmascript", SCRIPT),
    ("application/wasm", b"\0asm\1\0\0\0"),
    ("text/css", b"body{}"),
    ("text/vtt", b"WEBVTT"),
    ("text/cache-manifest", b"CACHE MANIFEST"),
    ("multipart/related", b"--x"),
    ("multipart/x-mixed-replace", HTML),
    ("message/rfc822", HTML),
    ("application/x-shockwave-flash", b"CWS"),
    # what says it is harmless and is not
    ("image/png", HTML),
    ("image/png", UTF_16),
    ("image/png", UTF_7),
    ("image/png", SVG),
    ("image/png", PNG + HTML),
    ("image/png", PNG + HTML.decode().encode("utf-16-le")),
    ("image/gif", GIF + b"<!doctype html><body>"),
    ("image/jpeg", JPEG + SVG),
    ("image/gif", PNG),
    ("image/png", b""),
    ("image/png", b"\0" + PNG),
    ("image/png", PNG[:7]),
    ("image/png", PDF),
    ("image/bmp", b"BM=1;alert(1)"),
    ("image/x-icon", b"\0\0\1\0"),
    ("audio/mpeg", HTML),
    ("video/mp4", b"\0\0\0\x20moov"),
    ("video/mp4", MP3),
    ("application/pdf", HTML),
    ("application/pdf", b"%PDF-1.7\n" + HTML),
    ("application/pdf", TEXT),
    ("application/zip", PDF),
    (DOCX, HTML),
    ("application/json", HTML),
    ("text/plain", HTML),
    ("text/plain", UTF_16),
    ("text/plain", UTF_7),
    ("text/plain", SVG_LATE),
    ("text/plain", XSLT),
    ("text/csv", PDF),
    # what nobody knows
    ("", PNG),
    (";", PNG),
    ("image", PNG),
    ("image/", PNG),
    ("image/*", PNG),
    ("*/*", PNG),
    ("image/png, text/html", PNG),
    ("image/png text/html", PNG),
    ("image/png\r\nSet-Cookie: a=b", PNG),
    ("image/png\0", PNG),
    ("image/png\u00a0", PNG),
    ("\ufeffimage/png", PNG),
    ("text/mar\u212adown; x", PDF),
    ("application/octet-stream", PNG),
    ("application/x-msdownload", b"MZ"),
    ("chemical/x-pdb", TEXT),
    ("unknown/unknown", HTML),
]

NAMES = st.text(max_size=300) | st.text(string.printable + '"\\\r\n\0/%;\u202e\u2066\ud800éあ', max_size=300)
HEAD_SHA256 = hashlib.sha256(PNG).hexdigest()


@pytest.mark.parametrize(("declared", "data", "content_type"), SHOWN)
def test_images_sound_and_video_that_are_what_they_say_are_shown(declared: str, data: bytes, content_type: str) -> None:
    assert served_type(declared, sniff(data)) == ServedType(content_type, inline=True)


@pytest.mark.parametrize(("declared", "data", "content_type"), KEPT)
def test_harmless_documents_are_downloads_of_their_type(declared: str, data: bytes, content_type: str) -> None:
    assert served_type(declared, sniff(data)) == ServedType(content_type, inline=False)


@pytest.mark.parametrize(("declared", "data"), OPAQUE)
def test_anything_else_is_a_download_of_bytes(declared: str, data: bytes) -> None:
    assert served_type(declared, sniff(data)) == ServedType(OCTET_STREAM, inline=False)


@pytest.mark.parametrize(("declared", "data"), [(declared, data) for declared, data, _ in SHOWN + KEPT] + OPAQUE)
def test_every_answer_forbids_guessing_and_running(declared: str, data: bytes) -> None:
    headers = headers_for(declared, sniff(data), name="a.html", sha256=HEAD_SHA256)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'; style-src 'unsafe-inline'"
    assert re.match(r"inline|attachment", headers["Content-Disposition"])
    if headers["Content-Disposition"].startswith("inline"):
        assert re.match(r"(image|audio|video)/[a-z0-9]+$", headers["Content-Type"])


def test_a_picture_that_is_also_a_script_is_never_run_as_one() -> None:
    headers = headers_for("image/gif", sniff(GIF_SCRIPT), name="a.gif", sha256=HEAD_SHA256)
    assert headers["Content-Type"] == "image/gif"
    assert headers["X-Content-Type-Options"] == "nosniff"


@given(st.text(max_size=40), st.sampled_from([sniff(data) for _, data in OPAQUE]))
def test_nothing_of_the_declared_type_is_sent_on(declared: str, sniffed: str | None) -> None:
    known = {OCTET_STREAM} | {content_type for _, _, content_type in SHOWN + KEPT}
    assert served_type(declared, sniffed).content_type in known


@given(declared=st.text(max_size=60) | st.sampled_from([each[0] for each in SHOWN]), name=NAMES, flags=st.booleans())
def test_no_header_can_be_broken_out_of(declared: str, name: str, flags: bool) -> None:
    headers = headers_for(declared, sniff(PNG), name=name, sha256=HEAD_SHA256, signed=flags, download=not flags)
    plan = plan_response("GET", {"Range": declared, "If-Match": name}, size=7, etag=headers["ETag"])
    for header, value in (headers | plan.headers).items():
        assert re.fullmatch(r"[A-Za-z-]+", header)
        assert re.fullmatch(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?", value)


@given(NAMES)
@example("x" * 1000 + ".png")
@example("あ" * 1000 + ".png")
@example("\ufdfa" * 85)
@example("\uff0f\uff0fetc\uff0fpasswd")
@example("\uff0e\uff0e")
@example("\u2025")
@example("\u0301.pdf")
@example('a"; filename="evil.html')
@example("a%2e%2e%2fb")
def test_a_name_is_the_last_part_of_a_path_and_fits_the_header(name: str) -> None:
    value = content_disposition(name, inline=False)
    parsed = re.fullmatch(r'attachment; filename="([^"\\%;/:]+)"(?:; filename\*=UTF-8\'\'([A-Za-z0-9._~%-]+))?', value)
    assert parsed
    plain, whole = parsed[1], unquote(parsed[2] or parsed[1], errors="strict")
    assert whole == file_name(name)
    for shown in (plain, whole):
        assert 0 < len(shown.encode()) <= 255
        assert not re.search("[\\x00-\\x1f\\x7f-\\x9f/\\\\\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]", shown)
        assert not shown.startswith(".")
        assert not shown.endswith((".", " "))
        assert shown.strip() == shown


@given(NAMES)
def test_another_parser_reads_the_same_name_and_nothing_else(name: str) -> None:
    message = Message()
    message["Content-Disposition"] = content_disposition(name, inline=True)
    disposition, *names = message.get_params([], header="content-disposition")
    assert disposition == ("inline", "")
    assert [parameter for parameter, _ in names] in (["filename"], ["filename", "filename"])
    last = names[-1][1]
    assert (last if isinstance(last, str) else last[2].encode("latin-1").decode(last[0])) == file_name(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("report.pdf", 'attachment; filename="report.pdf"'),
        ("a b (1).txt", 'attachment; filename="a b (1).txt"'),
        ("../../etc/passwd", 'attachment; filename="passwd"'),
        ("C:\\Users\\ann\\x.png", 'attachment; filename="x.png"'),
        ("..\\..\\x", 'attachment; filename="x"'),
        ("résumé.pdf", "attachment; filename=\"resume.pdf\"; filename*=UTF-8''r%C3%A9sum%C3%A9.pdf"),
        ("€ rates.csv", "attachment; filename=\"_ rates.csv\"; filename*=UTF-8''%E2%82%AC%20rates.csv"),
        ("日本.txt", "attachment; filename=\"__.txt\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.txt"),
        ('say "hi".txt', "attachment; filename=\"say _hi_.txt\"; filename*=UTF-8''say%20%22hi%22.txt"),
        ("100%.txt", "attachment; filename=\"100_.txt\"; filename*=UTF-8''100%25.txt"),
        ("a\r\nSet-Cookie: b=c", "attachment; filename=\"aSet-Cookie_ b=c\"; filename*=UTF-8''aSet-Cookie%3A%20b%3Dc"),
        ("invoice\u202egnp.exe", 'attachment; filename="invoicegnp.exe"'),
        ("a\0.png", 'attachment; filename="a.png"'),
        ("half \ud800 pair.txt", 'attachment; filename="half  pair.txt"'),
        ("", 'attachment; filename="download"'),
        (".", 'attachment; filename="download"'),
        ("..", 'attachment; filename="download"'),
        ("a/b/", 'attachment; filename="download"'),
        (" \r\n\u200b ", 'attachment; filename="download"'),
        (".bashrc", 'attachment; filename="bashrc"'),
        ("x.txt. . ", 'attachment; filename="x.txt"'),
    ],
)
def test_names_are_written_as_the_standards_say(name: str, value: str) -> None:
    assert content_disposition(name, inline=False) == value


@pytest.mark.parametrize("stem", ["x" * 1000, "あ" * 1000, "👩‍👩‍👧" * 100, "x. " * 200])
def test_a_long_name_keeps_its_extension(stem: str) -> None:
    name = file_name(stem + ".jpeg")
    assert name.endswith(".jpeg")
    assert 240 < len(name.encode()) <= 255
    assert stem.startswith(name.removesuffix(".jpeg"))


def test_what_is_too_long_for_an_extension_is_cut() -> None:
    assert file_name("a." + "x" * 1000) == ("a." + "x" * 1000)[:255]


def test_joined_emoji_and_persian_names_stay_whole() -> None:
    assert file_name("👩‍👩‍👧.png") == "👩‍👩‍👧.png"
    assert file_name("می‌خواهم.txt") == "می‌خواهم.txt"


def test_a_download_is_never_inline() -> None:
    shown = headers_for("image/png", "image/png", name="a.png", sha256=HEAD_SHA256)
    saved = headers_for("image/png", "image/png", name="a.png", sha256=HEAD_SHA256, download=True)
    assert shown["Content-Disposition"] == 'inline; filename="a.png"'
    assert saved == shown | {"Content-Disposition": 'attachment; filename="a.png"'}


def test_only_a_signed_url_may_be_embedded_elsewhere() -> None:
    plain = headers_for("image/png", "image/png", name="a.png", sha256=HEAD_SHA256)
    signed = headers_for("image/png", "image/png", name="a.png", sha256=HEAD_SHA256, signed=True)
    assert plain["Cross-Origin-Resource-Policy"] == "same-origin"
    assert signed == plain | {"Cross-Origin-Resource-Policy": "cross-origin"}


def test_no_shared_cache_keeps_the_bytes_and_no_other_serves_them_unasked() -> None:
    headers = headers_for("image/png", "image/png", name="a.png", sha256=HEAD_SHA256)
    assert headers["Cache-Control"] == "private, no-cache"
    assert headers["ETag"] == f'"{HEAD_SHA256}"'
    assert headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("sha256", ["", "a" * 63, "A" * 64, "g" * 64, "a" * 64 + "\n", 'a"\r\n'])
def test_only_a_checksum_makes_an_entity_tag(sha256: str) -> None:
    with pytest.raises(InvalidInputError):
        entity_tag(sha256)


IMAGES = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"]


@pytest.mark.parametrize("data", [PNG, JPEG, GIF, WEBP, AVIF])
def test_an_image_can_be_a_data_url(data: bytes) -> None:
    content_type = sniff(data)
    url = data_url(f"{content_type}; x=y", data)
    head, _, encoded = url.partition(",")
    assert head == f"data:{content_type};base64"
    assert b64decode(encoded, validate=True) == data


@pytest.mark.parametrize(
    ("declared", "data"),
    [*OPAQUE, *((declared, data) for declared, data, _ in KEPT), ("video/mp4", MP4), ("audio/mpeg", MP3)],
)
def test_nothing_else_can_be_a_data_url(declared: str, data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        data_url(declared, data)


@pytest.mark.parametrize(("declared", "data"), OPAQUE)
def test_the_data_url_of_a_file_never_has_a_type_that_a_browser_runs(declared: str, data: bytes) -> None:
    assert file_data_url(declared, data).startswith("data:application/octet-stream;base64,")


@pytest.mark.parametrize(("declared", "data", "served"), KEPT)
def test_the_data_url_of_a_file_has_the_type_that_it_is_served_as(declared: str, data: bytes, served: str) -> None:
    head, _, encoded = file_data_url(declared, data).partition(",")
    assert head == f"data:{served.partition(';')[0]};base64"
    assert b64decode(encoded, validate=True) == data


@pytest.mark.parametrize("declared", ["image/png", "IMAGE/JPG; q=1", " image/webp ", "image/apng", "image/avif"])
def test_what_is_declared_an_image_may_be_shown_and_is_once_its_bytes_agree(declared: str) -> None:
    assert may_be_shown_image(declared)
    assert [is_shown_image(declared, sniffed) for sniffed in IMAGES].count(True) == 1
    assert not any(is_shown_image(declared, sniffed) for sniffed in (None, "text/html", "image/svg+xml"))


@pytest.mark.parametrize("declared", ["image/svg+xml", "image/heic", "text/html", "video/mp4", "", "image", "image/*"])
def test_what_is_declared_anything_else_is_never_shown_as_an_image(declared: str) -> None:
    assert not may_be_shown_image(declared)
    assert not any(is_shown_image(declared, sniffed) for sniffed in [*IMAGES, "text/html", None])


ETAG = f'"{HEAD_SHA256}"'
BODY = bytes(range(256)) * 40  # the 10,000 bytes of the RFC's examples are 10,240 here
Method = Literal["GET", "HEAD"]


def _answer(method: Method = "GET", size: int = 10_000, **fields: str) -> tuple[int, int, int, dict[str, str]]:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    plan = plan_response(method, headers, size=size, etag=ETAG)
    return plan.status, plan.start, plan.end, plan.headers


def _part(start: int, end: int, size: int = 10_000) -> tuple[int, int, int, dict[str, str]]:
    headers = {"Content-Range": f"bytes {start}-{end - 1}/{size}", "Content-Length": str(end - start)}
    return 206, start, end, headers


WHOLE = (200, 0, 10_000, {"Content-Length": "10000"})
NOTHING = (416, 0, 0, {"Content-Range": "bytes */10000", "Content-Length": "0"})


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        # RFC 9110, 14.1.2: the first 500 bytes, the second, the last, all but the first 9,500, the first, the last
        ("bytes=0-499", _part(0, 500)),
        ("bytes=500-999", _part(500, 1000)),
        ("bytes=-500", _part(9500, 10_000)),
        ("bytes=9500-", _part(9500, 10_000)),
        ("bytes=0-0", _part(0, 1)),
        ("bytes=-1", _part(9999, 10_000)),
        ("bytes= 0-999, 4500-5499, -1000", WHOLE),
        ("bytes=0-0,-1", WHOLE),
        ("bytes=500-600,601-999", WHOLE),
        # written otherwise
        ("BYTES=0-499", _part(0, 500)),
        ("bytes= 0-499 ", _part(0, 500)),
        ("bytes=0-499,", _part(0, 500)),
        ("bytes=, 0-499", _part(0, 500)),
        ("bytes=00000000000000000000000000-0499", _part(0, 500)),
        ("bytes=0-", _part(0, 10_000)),
        ("bytes=0-9999", _part(0, 10_000)),
        ("bytes=0-18446744073709551615", _part(0, 10_000)),
        ("bytes=9999-99999", _part(9999, 10_000)),
        ("bytes=-10000", _part(0, 10_000)),
        ("bytes=-99999999999999999999999", _part(0, 10_000)),
        # outside of the file
        ("bytes=10000-", NOTHING),
        ("bytes=10000-10001", NOTHING),
        ("bytes=99999999999999999999999-", NOTHING),
        ("bytes=-0", NOTHING),
        # not a range
        ("", WHOLE),
        ("bytes", WHOLE),
        ("bytes=", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=,", WHOLE),
        ("bytes=5-4", WHOLE),
        ("bytes=1e3-", WHOLE),
        ("bytes=+1-2", WHOLE),
        ("bytes=--5", WHOLE),
        ("bytes=1-2-3", WHOLE),
        ("bytes=0x0-0x5", WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=\u0661-\u0662", WHOLE),
        ("bytes 0-5", WHOLE),
        ("bytes =0-5", WHOLE),
        ("bytes=0 - 5", WHOLE),
        ("items=0-5", WHOLE),
        ("bytes=0-" + "9" * 10_000, WHOLE),
        ("bytes=" + "0-1," * 10_000, WHOLE),
        ("bytes=0-5\r\nX: y", WHOLE),
    ],
)
def test_a_range_is_answered_as_the_standard_says(value: str, answer: Any) -> None:
    assert _answer(Range=value) == answer


@given(
    st.integers(0, 300), st.integers(0, 350), st.integers(0, 350), st.sampled_from(["from", "to", "last", "between"])
)
def test_a_range_sends_what_a_slice_holds(size: int, first: int, last: int, kind: str) -> None:
    data = BODY[:size]
    value, expected = {
        "from": (f"bytes={first}-", data[first:]),
        "to": (f"bytes=0-{last}", data[: last + 1]),
        "last": (f"bytes=-{last}", data[-last:] if last else b""),
        "between": (f"bytes={first}-{last}", data[first : last + 1] if first <= last else data),
    }[kind]
    plan = plan_response("GET", {"range": value}, size=size, etag=ETAG)
    assert data[plan.start : plan.end] == expected
    assert int(plan.headers["Content-Length"]) == plan.end - plan.start
    if plan.status == 206:
        assert plan.headers["Content-Range"] == f"bytes {plan.start}-{plan.end - 1}/{size}"
    else:
        ignored = size == 0 or (kind == "between" and first > last)
        assert plan.status == (200 if ignored else 416)


@given(st.text(max_size=50) | st.text("bytes=-,0123456789 ", max_size=30).map("bytes=".__add__), st.integers(0, 2**63))
def test_no_range_leads_outside_of_the_file(value: str, size: int) -> None:
    plan = plan_response("GET", {"Range": value}, size=size, etag=ETAG)
    assert 0 <= plan.start <= plan.end <= size
    assert plan.status in (200, 206, 416)
    assert (plan.status == 200) == ("Content-Range" not in plan.headers)


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=0-99", "bytes=-1", "bytes=-0", "bytes=5-"])
def test_an_empty_file_has_no_ranges(value: str) -> None:
    assert _answer(size=0, Range=value) == (200, 0, 0, {"Content-Length": "0"})


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        (ETAG, _part(0, 5)),
        (f" {ETAG} ", _part(0, 5)),
        (f"W/{ETAG}", WHOLE),
        ('"other"', WHOLE),
        (HEAD_SHA256, WHOLE),
        ("*", WHOLE),
        ("", WHOLE),
        ("Sat, 29 Oct 1994 19:43:31 GMT", WHOLE),
    ],
)
def test_a_part_is_sent_only_of_what_the_client_holds(value: str, answer: Any) -> None:
    assert _answer(Range="bytes=0-4", If_Range=value) == answer


def test_a_part_of_something_else_is_the_whole_even_where_the_range_is_outside() -> None:
    assert _answer(Range="bytes=10000-", If_Range='"other"') == WHOLE


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (ETAG, 304),
        (f"W/{ETAG}", 304),
        ("*", 304),
        (f'"a", {ETAG}', 304),
        (f'W/"a",W/{ETAG} , "b"', 304),
        (f'"a,b", {ETAG}', 304),
        ('"a", "b"', 200),
        (HEAD_SHA256, 200),
        (ETAG[:-1], 200),
        ('"*"', 200),
        ("", 200),
        (f'"{HEAD_SHA256.upper()}"', 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_the_client_holds_is_not_sent_again(method: Method, value: str, status: int) -> None:
    assert _answer(method, If_None_Match=value)[0] == status
    assert _answer(method, If_None_Match=value, Range="bytes=0-4")[0] in (status, 206)


def test_nothing_is_said_about_a_body_that_is_not_sent() -> None:
    assert _answer(If_None_Match="*", Range="bytes=0-4") == (304, 0, 0, {})


@pytest.mark.parametrize(
    ("value", "status"), [("*", 200), (ETAG, 200), (f'"a", {ETAG}', 200), ('"a"', 412), (f"W/{ETAG}", 412), ("", 412)]
)
def test_a_client_may_insist_on_what_it_holds(value: str, status: int) -> None:
    assert _answer(If_Match=value)[0] == status


def test_insisting_comes_before_not_sending_again() -> None:
    assert _answer(If_Match='"a"', If_None_Match=ETAG) == (412, 0, 0, {"Content-Length": "0"})


def test_a_head_request_has_the_headers_of_the_whole_and_no_body() -> None:
    assert _answer("HEAD") == (200, 0, 0, WHOLE[3])
    assert _answer("HEAD", Range="bytes=0-4") == (200, 0, 0, WHOLE[3])
    assert _answer("HEAD", Range="bytes=10000-") == (200, 0, 0, WHOLE[3])


@pytest.mark.parametrize("name", ["Range", "range", "RANGE"])
def test_the_case_of_a_header_does_not_count(name: str) -> None:
    assert plan_response("GET", {name: "bytes=0-4"}, size=10_000, etag=ETAG).status == 206


def test_a_header_that_is_repeated_is_a_list() -> None:
    twice = {"If-None-Match": '"a"', "if-none-match": ETAG}
    assert plan_response("GET", twice, size=5, etag=ETAG).status == 304
    ranges = {"Range": "bytes=0-1", "range": "bytes=3-4"}
    assert plan_response("GET", ranges, size=5, etag=ETAG).status == 200
