"""The first bytes say what a file is, and markup is found wherever a browser would find it."""

from __future__ import annotations

import codecs
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatstore.sniffing import SNIFF_BYTES, sniff

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0"
GIF = b"GIF89a\x01\0\x01\0\x80\0\0"
HTML = "<html><script>alert(1)</script></html>"


@pytest.mark.parametrize(
    ("head", "shown"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"\xff\xd8\xff\xe1\0\x10Exif\0\0", "image/jpeg"),
        (b"GIF87a\x01\0\x01\0", "image/gif"),
        (GIF, "image/gif"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\x24\0\0\0WEBPVP8L", "image/webp"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "image/avif"),
        (b"\0\0\0\x20ftypmif1\0\0\0\0mif1miafavif", "image/avif"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "image/heic"),
        (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2", "video/mp4"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "video/mp4"),
        (b"\0\0\0\x1cftypM4A \0\0\0\0M4A mp42", "audio/mp4"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "video/quicktime"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\x82\x84webm", "video/webm"),
        (b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81\x01\x42\xf7\x81\x01\x42\x82\x88matroska", None),
        (b"OggS\0\x02\0\0", "application/ogg"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav"),
        (b"RIFF\x24\0\0\0AVI LIST", None),
        (b"fLaC\0\0\0\x22", "audio/flac"),
        (b"ID3\x04\0\0\0\0\0\0", "audio/mpeg"),
        (b"\xff\xfb\x90\x64", "audio/mpeg"),
        (b"\xff\xf3\x40\xc0", "audio/mpeg"),
        (b"\xff\xf1\x50\x80", "audio/aac"),
        (b"%PDF-1.7\n", "application/pdf"),
        (b"%!PS-Adobe-3.0", "application/postscript"),
        (b"PK\x03\x04\x14\0", "application/zip"),
        (b"PK\x05\x06\0\0", "application/zip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
        (b"\x1f\x8b\x08\0", "application/gzip"),
        (b"{\\rtf1\\ansi", "application/rtf"),
        (b"#!/bin/sh\n", "text/x-shellscript"),
        (b"", None),
        (b"plain words", None),
        (b"alert(1)", None),
        (b"BM=1;alert(1)", None),
        (b"\0\1\2\3\4\5", None),
        (b"{\"a\": 1}", None),
    ],
)  # fmt: skip
def test_the_first_bytes_show_the_type(head: bytes, shown: str | None) -> None:
    assert sniff(head) == shown


@pytest.mark.parametrize(
    "text",
    [
        HTML,
        HTML.upper(),
        "<!DOCTYPE html><p>",
        "<!doctype HTML PUBLIC 'x'>",
        "<!-- a comment --><html>",
        "<!-- a comment that never ends",
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<a/href=javascript:alert(1)>",
        "<x onclick=alert(1)>",
        "<b>bold",
        "</p>",
        "<br",
        "<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'/>",
        "<!DOCTYPE html [<!ENTITY x 'y'>]><html>",
        "<!DOCTYPE svg [" + "[]" * 1000,
    ],
)
@pytest.mark.parametrize("before", ["", " \r\n\t\f", "\n" * 1000])
def test_html_is_found_behind_white_space(before: str, text: str) -> None:
    assert sniff((before + text).encode()) == "text/html"


@pytest.mark.parametrize("text", [HTML, "\n <!-- x --> <body>"])
@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"],
)
def test_html_is_found_in_every_encoding(encoding: str, text: str) -> None:
    assert sniff(text.encode(encoding)) == "text/html"


def test_html_is_found_behind_a_big_endian_mark() -> None:
    assert sniff(codecs.BOM_UTF16_BE + HTML.encode("utf-16-be")) == "text/html"
    assert sniff(codecs.BOM_UTF32_BE + HTML.encode("utf-32-be")) == "text/html"


@pytest.mark.parametrize(
    "text", [b"+ADw-script+AD4-alert(1)+ADw-/script+AD4-", b"+/v8-+ADw-html+AD4-", b" +ADwAaAB0AG0APg-"]
)
def test_html_is_found_in_utf_7(text: bytes) -> None:
    assert sniff(text) == "text/html"


@pytest.mark.parametrize(
    "text",
    [
        "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        "<SVG>",
        "<?xml version='1.0'?>\n<svg/>",
        "<?xml version='1.0'?><!-- one --><!-- two --><!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'x'>\n<svg>",
        "<!DOCTYPE svg [<!ENTITY a 'b'>]><svg>",
        "<!-- " + "long " * 500 + "--><svg>",
        "<s:svg xmlns:s='http://www.w3.org/2000/svg'>",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le"])
def test_svg_is_found_behind_its_prologue(encoding: str, text: str) -> None:
    head = text.encode(encoding)
    assert sniff(head) == ("image/svg+xml" if len(head) < SNIFF_BYTES else "text/html")


@pytest.mark.parametrize(
    "text",
    [
        "<?xml version='1.0'?><note/>",
        "<?xml-stylesheet type='text/xsl' href='x'?><a/>",
        "<xsl:stylesheet version='1.0'>",
        "<?php echo 1;",
        "<?xml version='1.0'?><!-- never ends",
    ],
)
def test_xml_is_found(text: str) -> None:
    assert sniff(text.encode()) == "application/xml"


@pytest.mark.parametrize("text", ["< 3", "<3 you", "<ann@example.org> wrote:", "a <b>bold</b> word", "+AB", "1 < 2"])
def test_ordinary_text_is_not_taken_for_markup(text: str) -> None:
    assert sniff(text.encode()) is None


@pytest.mark.parametrize("magic", [PNG, GIF, b"\xff\xd8\xff\xe0", b"%PDF-1.7\n", b"PK\x03\x04", b"ID3\x03\0"])
@pytest.mark.parametrize(
    "document", [HTML.encode(), b"<!DOCTYPE html>", b"<svg onload=alert(1)>", b"<BODY\n", HTML.encode("utf-16-le")]
)
def test_a_document_within_another_format_is_taken_for_the_document(magic: bytes, document: bytes) -> None:
    assert sniff(magic + b"\0" * 100 + document) == "text/html"


def test_the_metadata_of_a_picture_is_no_document() -> None:
    xmp = b'<?xpacket begin="" id=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF></rdf:RDF></x:xmpmeta>'
    assert sniff(b"\xff\xd8\xff\xe1" + xmp) == "image/jpeg"


@given(
    st.binary(max_size=300), st.sampled_from([b"", PNG, b"<", b"<?xml", b"<!DOCTYPE x [", b"+/v8", b"\0\0\0\x20ftyp"])
)
def test_any_bytes_have_an_answer_that_the_rest_of_the_file_does_not_change(tail: bytes, start: bytes) -> None:
    head = (start + tail).ljust(SNIFF_BYTES, b".")
    assert sniff(head) == sniff(head + HTML.encode())


@pytest.mark.parametrize(
    "head",
    [
        b"<!--" * 1024,
        b"<!---->" * 600,
        b"<!DOCTYPE " + b"[]" * 2000,
        b"<?" * 2048,
        b"<" + b"a." * 2047,
        b" " * 4096,
        b"\0\0\0\x20ftypmif1" + b"avi_" * 1000,
        b"\x1a\x45\xdf\xa3" + b"\x42\x82" * 2000,
        b"+ADw" * 1024,
    ],
    ids=range(9),
)
def test_no_bytes_take_long(head: bytes) -> None:
    started = time.thread_time()
    sniff(head)
    assert time.thread_time() - started < 0.1
