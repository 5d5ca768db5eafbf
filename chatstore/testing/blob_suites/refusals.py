"""Bad input: the same ``InvalidInputError`` from every store, before anything is asked, and nothing written."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatstore.errors import InvalidInputError
from chatstore.protocols import BlobStore
from chatstore.streams import check_blob_key
from chatstore.testing.blob_suites.calls import HOUR, KEYED, refusal
from chatstore.testing.blob_suites.sources import TYPE, everything, keys, opened, put
from chatstore.testing.factories import Text

REFUSED_KEYS: list[Any] = [
    *("", " ", ".", "..", "...", "../x", "../../etc/passwd", "a/../b", "./a", "a/.", "a/..", "a/./b", ".a", "a.b"),
    *("/", "/abs", "//", "//host/share", "a/", "a//b", "/a/", "a\\b", "..\\x", "c:", "c:\\x", "\\\\host\\share"),
    *("A", "aB", "KEY", "\u00e9", "e\u0301", "\u00df", "\u0131", "\uff41", "\u0663", "\u212a", "\u4e2d", "\U0001f600"),
    *("nul\x00", "\x00", "a\x00b", "a\n", "\n", "a\r\nb", "a\tb", "\x7f", "a\x85", "a b", " a", "a ", "a\u00a0b"),
    *("\u200b", "\u202ea", "\ufeffa", "\ud800", "a\udfff", "%2e%2e%2fx", "a%00", "%", "*", "a?", "[a]", "{a}", "a|b"),
    *("a:b", "a;b", "a'b", 'a"b', "'; DROP TABLE blobs; --", "<a>", "a&b", "a=b", "a+b", "a,b", "a@b", "#", "a!"),
    *("~", "~root", "$HOME", "${x}", "`a`", "(a)", "^a$", "file:a", "http://a/b", "s3://a/b"),
    *("a" * 129, "x/" + "a" * 129, "/".join("a" * 9), "/".join(["a" * 100] * 6), "a/" * 500_000, "a" * 1_000_000),
    *(None, 5, 1.5, True, b"a", bytearray(b"a"), Path("a"), ["a"], ("a", "b"), {"a": 1}, object(), str, Text("a")),
]
"""What no store takes as a key."""

DISTINCT_KEYS = [
    *("a", "a-", "a_", "a0", "aa", "-", "--", "_", "__", "0", "00", "a/a", "a/b", "a-/b", "a_/b", "a/b/c", "a/b-c"),
    *("-/-", "_/_", "0/0", "con", "nul", "aux", "lpt1", "null", "none", "index", "tmp", "part", "meta", "blobs"),
    *("a-b", "a_b", "a-tmp", "a_tmp", "tmp/a", "a" * 128, "a" * 127 + "b", "/".join("abcdefgh"), "/".join("a" * 8)),
]
"""Keys that are all different from each other, some of them as if within another one."""


def _longest_key() -> str:
    """Return a key of as many and as long parts as ``check_blob_key`` lets through."""
    for length in range(128, 0, -1):
        try:
            return check_blob_key("/".join(["k" * length] * 8))
        except InvalidInputError:
            continue
    raise AssertionError("no key of eight parts is let through")


def _texts() -> Iterator[Any]:
    yield b"bytes first"
    yield "then text"


async def _texts_async() -> AsyncIterator[Any]:
    for piece in _texts():
        yield piece


REFUSED_SOURCES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "an int": lambda: 5,
    "a float": lambda: 1.5,
    "a bool": lambda: True,
    "an object": object,
    "a list of texts": lambda: ["text"],
    "a list of ints": lambda: [1, 2, 3],
    "a list of lists": lambda: [[b"bytes"]],
    "a dict": lambda: {"key": b"bytes"},
    "a text file": lambda: io.StringIO("text"),
    "a generator that gives text": _texts,
    "an async generator that gives text": _texts_async,
}
"""What bytes cannot be taken from."""

REFUSED_SIZES: list[Any] = [-1, -(10**30), True, False, 5.0, "5", b"5", [5], float("nan"), float("inf")]

REFUSED_TYPES: list[Any] = [
    *("", "a\r\nb", "text/plain\n", "\r", "a\x00b", "a\tb", "\u00e9", "\ud800", "x" * 256, "x" * 1_000_000),
    *(None, 5, 1.5, True, b"text/plain", ["text/plain"], object()),
]
"""What no header of HTTP can say of a content, and what would say more than that."""

REFUSED_PREFIXES: list[Any] = [None, 5, 1.5, True, b"a", ["a"], ("a",), object(), Path("a")]

REFUSED_BOUNDS: list[Any] = [-1, -(10**30), True, False, 1.0, "1", b"1", [1], float("nan")]

REFUSED_RANGES: list[dict[str, Any]] = [
    *({"start": bad} for bad in [*REFUSED_BOUNDS, None]),
    *({"end": bad} for bad in REFUSED_BOUNDS),
    {"start": 3, "end": 2},
    {"start": 10**30, "end": 1},
    {"start": True, "end": 2},
    {"start": 1, "end": -1},
]


class RefusalTests:
    """Keys, prefixes, sources, sizes, content types and ranges."""

    @pytest.mark.parametrize("where", KEYED)
    async def test_a_bad_key_is_refused(self, blobs: BlobStore, where: str) -> None:
        """A key that is a path elsewhere, or anything but the plain parts, is refused by every call that takes one."""
        await put(blobs, "a")
        await put(blobs, "a/b")
        before = await everything(blobs)
        for bad in REFUSED_KEYS:
            with pytest.raises(refusal(blobs, where)):
                await KEYED[where](blobs, bad)
        assert await everything(blobs) == before

    async def test_a_bad_key_is_refused_before_the_source_is_touched(self, blobs: BlobStore) -> None:
        """A refused put takes nothing from its source: not for its key, its size nor its content type."""
        drawn = []

        def source() -> Iterator[bytes]:
            drawn.append(True)
            yield b"x"

        with pytest.raises(InvalidInputError):
            await blobs.put("../x", source(), content_type=TYPE)
        with pytest.raises(InvalidInputError):
            await blobs.put("key", source(), content_type=TYPE, size=-1)
        with pytest.raises(InvalidInputError):
            await blobs.put("key", source(), content_type="a\nb")
        assert drawn == []
        assert await keys(blobs) == []

    async def test_a_bad_key_is_a_value_error_that_is_short(self, blobs: BlobStore) -> None:
        """The error is a ValueError, not retryable, and does not repeat a key of a megabyte."""
        with pytest.raises(InvalidInputError) as error:
            await blobs.read("a" * 1_000_000)
        assert isinstance(error.value, ValueError)
        assert error.value.retryable is False
        assert len(str(error.value)) < 1000

    async def test_a_prefix_that_no_key_begins_with_leads_nowhere(self, blobs: BlobStore) -> None:
        """Such a prefix is refused or lists nothing; it never lists what lies outside."""
        await put(blobs, "a/b")
        for prefix in (key for key in REFUSED_KEYS if type(key) is str and key and not "a/b".startswith(key)):
            try:
                assert await keys(blobs, prefix) == []
            except InvalidInputError:
                continue

    async def test_a_prefix_that_is_no_text_is_refused(self, blobs: BlobStore) -> None:
        """A prefix is a str: nothing else is taken for the empty one, which lists everything."""
        await put(blobs, "a/b")
        for bad in REFUSED_PREFIXES:
            with pytest.raises(InvalidInputError):
                await keys(blobs, bad)

    async def test_keys_that_look_alike_are_different(self, blobs: BlobStore) -> None:
        """Each key has its own bytes, also one that looks like a folder of others or like a device."""
        for key in DISTINCT_KEYS:
            await put(blobs, key, key.encode())
        assert {key: await blobs.read(key) for key in DISTINCT_KEYS} == {key: key.encode() for key in DISTINCT_KEYS}
        assert await keys(blobs) == sorted(DISTINCT_KEYS)

    async def test_the_longest_key_works_everywhere(self, blobs: BlobStore) -> None:
        """A key of eight parts, as long as they may be, can be stored, listed, read and deleted."""
        key = _longest_key()
        await put(blobs, key)
        assert await keys(blobs, key[:-1]) == [key]
        assert await opened(blobs, key) == b"kept"
        await blobs.delete(key)
        assert await blobs.stat(key) is None

    @pytest.mark.parametrize("kind", REFUSED_SOURCES)
    async def test_a_bad_source_is_refused(self, blobs: BlobStore, kind: str) -> None:
        """What gives no bytes is refused, text above all, and what was there before is untouched."""
        await put(blobs, "old")
        before = await everything(blobs)
        for key in ("old", "new"):
            with pytest.raises(InvalidInputError):
                await blobs.put(key, REFUSED_SOURCES[kind](), content_type=TYPE)
        assert await everything(blobs) == before

    async def test_a_bad_size_is_refused(self, blobs: BlobStore) -> None:
        """A size is an int of 0 or more: a negative one, a bool and any other type are refused."""
        await put(blobs, "old")
        before = await everything(blobs)
        for bad in REFUSED_SIZES:
            for key in ("old", "new"):
                with pytest.raises(InvalidInputError):
                    await blobs.put(key, b"12345", content_type=TYPE, size=bad)
        assert await everything(blobs) == before

    @pytest.mark.parametrize("where", ["put", "presign_put"])
    async def test_a_bad_content_type_is_refused(self, blobs: BlobStore, where: str) -> None:
        """A content type is 1 to 255 printable ASCII characters: it ends up in a header."""
        await put(blobs, "old")
        before = await everything(blobs)
        for bad in REFUSED_TYPES:
            call = (
                blobs.put("old", b"new", content_type=bad)
                if where == "put"
                else blobs.presign_put("old", size=3, content_type=bad, expires_in=HOUR)
            )
            with pytest.raises(refusal(blobs, where)):
                await call
        assert await everything(blobs) == before

    async def test_a_bad_range_is_refused(self, blobs: BlobStore) -> None:
        """A bound is an int of 0 or more and the end is not before the start; there is no counting from the end."""
        await put(blobs, "key", b"0123456789")
        for bounds in REFUSED_RANGES:
            with pytest.raises(InvalidInputError):
                await opened(blobs, "key", **bounds)

    async def test_a_bad_range_is_refused_before_the_blob_is_looked_for(self, blobs: BlobStore) -> None:
        """A range that can never be one is told as such, also of an absent blob."""
        for bounds in REFUSED_RANGES:
            with pytest.raises(InvalidInputError):
                await opened(blobs, "absent", **bounds)
