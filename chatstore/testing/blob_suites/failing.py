"""A put that fails stores nothing, leaves what was there, and says what the matter is."""

from __future__ import annotations

import errno
import io
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatstore.errors import InvalidInputError, NotFoundError
from chatstore.protocols import BlobStore
from chatstore.testing.blob_suites.sources import (
    LARGE,
    MIB,
    SOURCES,
    TYPE,
    async_pieces,
    content,
    everything,
    keys,
    pieces,
    put,
)


class Lost(Exception):
    """An error of the caller's own."""


ERRORS: dict[str, Callable[[], Exception]] = {
    "an error of its own": lambda: Lost("mine"),
    "a full disk": lambda: OSError(errno.ENOSPC, "No space left on device"),
    "a connection that is lost": lambda: ConnectionResetError("peer"),
    "a timeout": lambda: TimeoutError("too slow"),
    "a file that is absent": lambda: FileNotFoundError(errno.ENOENT, "gone"),
    "a value error": lambda: ValueError("bad"),
    "an error of the library": lambda: NotFoundError("source: not there"),
}
"""What sources raise, and what a store might take for an error of its own place."""

HOW_FAR = {"at once": 0, "after a few bytes": 100, "after some chunks": MIB, "after the first parts": LARGE}
"""How many bytes a source gives before it raises."""


def _raising(error: Exception, data: bytes) -> Iterator[bytes]:
    yield from pieces(data)
    raise error


async def _raising_async(error: Exception, data: bytes) -> AsyncIterator[bytes]:
    async for piece in async_pieces(data):
        yield piece
    raise error


class _RaisingFile(io.BytesIO):
    def __init__(self, error: Exception, data: bytes) -> None:
        super().__init__(data)
        self._error = error

    def read(self, size: int | None = -1) -> bytes:
        chunk = super().read(size)
        if not chunk:
            raise self._error
        return chunk


RAISING: dict[str, Callable[[Exception, bytes], Any]] = {
    "a generator": _raising,
    "an async generator": _raising_async,
    "a file": _RaisingFile,
}


async def _fails_with(blobs: BlobStore, error: Exception, source: Callable[[], Any], **options: Any) -> None:
    """Put over a blob and under a new key: the source's error comes through and nothing changes."""
    await put(blobs, "old")
    before = await everything(blobs)
    for key in ("old", "new"):
        with pytest.raises(type(error)) as raised:
            await blobs.put(key, source(), content_type=TYPE, **options)
        assert raised.value is error
    assert await everything(blobs) == before


async def _refuses_size(blobs: BlobStore, source: Callable[[], Any], size: int) -> None:
    await put(blobs, "old")
    before = await everything(blobs)
    for key in ("old", "new"):
        with pytest.raises(InvalidInputError):
            await blobs.put(key, source(), content_type=TYPE, size=size)
    assert await everything(blobs) == before


class FailingTests:
    """Sizes that are not kept, and sources that raise."""

    @pytest.mark.parametrize("kind", SOURCES)
    async def test_more_bytes_than_declared_are_refused(self, blobs: BlobStore, tmp_path: Path, kind: str) -> None:
        """One byte more than the size is bad input, and nothing is stored."""
        await _refuses_size(blobs, lambda: SOURCES[kind](content(1001), tmp_path), 1000)

    @pytest.mark.parametrize("kind", SOURCES)
    async def test_fewer_bytes_than_declared_are_refused(self, blobs: BlobStore, tmp_path: Path, kind: str) -> None:
        """One byte fewer than the size is bad input, and nothing is stored."""
        await _refuses_size(blobs, lambda: SOURCES[kind](content(999), tmp_path), 1000)

    @pytest.mark.parametrize("size", [LARGE - 1, LARGE + 1, 0, 10**15])
    async def test_a_wrong_size_of_a_large_blob_is_refused(self, blobs: BlobStore, size: int) -> None:
        """So is a wrong size that turns out only after much was sent."""
        data = content(LARGE)
        await _refuses_size(blobs, lambda: async_pieces(data), size)

    async def test_nothing_where_something_was_declared_is_refused(self, blobs: BlobStore) -> None:
        """An empty source of a declared size is bad input, and so is a byte where none was declared."""
        await _refuses_size(blobs, lambda: b"", 1)
        await _refuses_size(blobs, lambda: b"x", 0)

    async def test_the_empty_blob_may_be_declared(self, blobs: BlobStore) -> None:
        """Size 0 is a size like any other."""
        assert (await blobs.put("key", b"", content_type=TYPE, size=0)).size == 0
        assert await blobs.read("key") == b""

    async def test_an_endless_source_is_stopped_at_the_declared_size(self, blobs: BlobStore) -> None:
        """A source that never ends is left after the first byte too many."""
        drawn = []

        async def nearly_endless() -> AsyncIterator[bytes]:
            for number in range(1000):
                drawn.append(number)
                yield b"x" * 1000

        with pytest.raises(InvalidInputError):
            await blobs.put("key", nearly_endless(), content_type=TYPE, size=10_000)
        assert len(drawn) == 11
        assert await keys(blobs) == []

    @pytest.mark.parametrize("kind", ERRORS)
    async def test_what_a_source_raises_comes_through_as_it_is(self, blobs: BlobStore, kind: str) -> None:
        """The very error of the source is raised, never taken for one of the store's place, and nothing is stored."""
        error = ERRORS[kind]()
        await _fails_with(blobs, error, lambda: _raising_async(error, content(1000)))

    @pytest.mark.parametrize("kind", RAISING)
    async def test_every_kind_of_source_may_raise(self, blobs: BlobStore, kind: str) -> None:
        """So it is for generators, async generators and files, and for what looks like a full disk."""
        error = OSError(errno.ENOSPC, "No space left on device")
        await _fails_with(blobs, error, lambda: RAISING[kind](error, content(1000)))

    @pytest.mark.parametrize("how_far", HOW_FAR)
    async def test_a_source_may_raise_at_any_point(self, blobs: BlobStore, how_far: str) -> None:
        """Nothing is stored, however many bytes came before the error."""
        error, data = Lost("mine"), content(HOW_FAR[how_far])
        await _fails_with(blobs, error, lambda: _raising_async(error, data))

    async def test_an_error_at_the_declared_end_stores_nothing(self, blobs: BlobStore) -> None:
        """A source that gave all the bytes declared and then raises has failed."""
        error = Lost("mine")
        await _fails_with(blobs, error, lambda: _raising_async(error, content(1000)), size=1000)

    async def test_a_path_that_is_absent_is_the_callers_error(self, blobs: BlobStore, tmp_path: Path) -> None:
        """A source file that is not there is a FileNotFoundError, not an absent blob; a folder is no file."""
        await put(blobs, "old")
        before = await everything(blobs)
        for key in ("old", "new"):
            with pytest.raises(FileNotFoundError):
                await blobs.put(key, tmp_path / "absent", content_type=TYPE)
            with pytest.raises(IsADirectoryError):
                await blobs.put(key, tmp_path, content_type=TYPE)
        assert await everything(blobs) == before

    async def test_a_failed_put_can_be_repeated(self, blobs: BlobStore) -> None:
        """After a failure the same key takes the same bytes, and nothing of the first try is among them."""
        data = content(LARGE)
        with pytest.raises(Lost):
            await blobs.put("key", _raising_async(Lost("mine"), content(LARGE, 1)), content_type=TYPE)
        assert await blobs.stat("key") is None
        await blobs.put("key", async_pieces(data), content_type=TYPE)
        assert await blobs.read("key") == data
        assert await keys(blobs) == ["key"]

    async def test_many_failed_puts_leave_the_store_usable(self, blobs: BlobStore) -> None:
        """Fifty failures in a row use up nothing that the next put needs."""
        for number in range(50):
            with pytest.raises(Lost):
                await blobs.put(f"key{number}", _raising(Lost("mine"), content(1000)), content_type=TYPE)
        assert await keys(blobs) == []
        await put(blobs, "key")
        assert await blobs.read("key") == b"kept"
