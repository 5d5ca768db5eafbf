"""Found and absent are two answers, and a range is exactly the bytes asked for."""

from __future__ import annotations

import random

import pytest

from chatstore.errors import NotFoundError
from chatstore.protocols import BlobStore
from chatstore.streams import CHUNK_BYTES
from chatstore.testing.blob_suites.calls import READS
from chatstore.testing.blob_suites.sources import (
    LARGE,
    TYPE,
    async_pieces,
    content,
    everything,
    keys,
    opened,
    put,
)

RAISES_WHEN_ABSENT = [name for name in READS if name != "stat"]

RANGES: list[tuple[int, int | None]] = [
    *((0, None), (0, 10), (0, 1), (9, 10), (3, 7), (1, None), (9, None), (0, 9), (4, 5)),
    *((0, 0), (5, 5), (10, 10), (10, None), (11, None), (11, 20), (0, 11), (5, 1000), (9, 10**18), (10**18, None)),
    *((10**18, 10**18), (0, 10**18)),
]
"""Ranges of ten bytes: whole, within, at the ends, empty, and beyond."""


async def _agree(blobs: BlobStore, data: bytes, start: int, end: int | None) -> None:
    # Whole contents are not compared in the assert itself: a failure would print megabytes.
    got = await opened(blobs, "key", start=start, end=end)
    expected = data[start:end]
    assert len(got) == len(expected), f"{start}:{end}"
    assert got[:100] == expected[:100], f"{start}:{end}"
    assert (got == expected) is True, f"{start}:{end}"


class ReadingTests:
    """Absence, and ranges."""

    @pytest.mark.parametrize("name", RAISES_WHEN_ABSENT)
    async def test_what_is_absent_is_a_not_found_error(self, blobs: BlobStore, name: str) -> None:
        """A read of something absent raises NotFoundError that names the key: no empty bytes, no None."""
        await put(blobs, "other")
        with pytest.raises(NotFoundError, match="absent") as error:
            await READS[name](blobs, "absent")
        assert isinstance(error.value, LookupError)
        assert error.value.retryable is False

    async def test_opening_tells_of_absence_on_entering(self, blobs: BlobStore) -> None:
        """The error comes before the first chunk is asked for, in time for another status code."""
        manager = blobs.open("absent")
        entered = False
        with pytest.raises(NotFoundError):
            async with manager:
                entered = True
        assert not entered

    async def test_the_stat_of_what_is_absent_is_none(self, blobs: BlobStore) -> None:
        """To ask about a blob is no error; an empty blob is one that is there."""
        assert await blobs.stat("absent") is None
        await put(blobs, "empty", b"")
        assert await blobs.stat("empty") is not None

    async def test_a_delete_is_final_and_can_be_repeated(self, blobs: BlobStore) -> None:
        """What was deleted is as absent as what never existed, and a second delete is as quiet as the first."""
        await put(blobs, "key")
        await blobs.delete("key")
        await blobs.delete("key")
        await blobs.delete("never")
        assert await blobs.stat("key") is None
        assert await keys(blobs) == []
        for name in RAISES_WHEN_ABSENT:
            with pytest.raises(NotFoundError):
                await READS[name](blobs, "key")

    async def test_a_delete_takes_nothing_else_along(self, blobs: BlobStore) -> None:
        """Neither the blobs below a key nor those above it nor those alike are touched."""
        others = ["a/b", "a/b/c/d", "a/b-c", "a/bb", "a/b_", "a", "b"]
        for key in [*others, "a/b/c"]:
            await put(blobs, key, key.encode())
        await blobs.delete("a/b/c")
        assert await keys(blobs) == sorted(others)
        await blobs.delete("a")
        assert await keys(blobs) == sorted(set(others) - {"a"})
        assert [await blobs.read(key) for key in others if key != "a"] == [key.encode() for key in others if key != "a"]

    async def test_a_part_of_a_key_is_absent(self, blobs: BlobStore) -> None:
        """Where there is only a/b/c there is no a, no a/b and no a/b/c/d, to reads and to deletes."""
        await put(blobs, "a/b/c")
        before = await everything(blobs)
        for key in ("a", "a/b", "a/b/c/d", "c", "b/c"):
            assert await blobs.stat(key) is None
            await blobs.delete(key)
            for name in RAISES_WHEN_ABSENT:
                with pytest.raises(NotFoundError):
                    await READS[name](blobs, key)
        assert await everything(blobs) == before

    async def test_a_deleted_key_can_be_used_again(self, blobs: BlobStore) -> None:
        """A put after a delete stores a new blob, and nothing of the old one is left in it."""
        await put(blobs, "key", content(LARGE))
        await blobs.delete("key")
        info = await put(blobs, "key", b"new")
        assert info.size == 3
        assert await blobs.read("key") == b"new"
        assert await opened(blobs, "key") == b"new"

    @pytest.mark.parametrize(("start", "end"), RANGES)
    async def test_a_range_is_cut_to_the_blob(self, blobs: BlobStore, start: int, end: int | None) -> None:
        """The bytes from start up to, not including, end; what lies beyond the blob is simply not there."""
        await put(blobs, "key", b"0123456789")
        await _agree(blobs, b"0123456789", start, end)

    @pytest.mark.parametrize(("start", "end"), [(0, None), (0, 0), (0, 5), (3, 5), (3, None)])
    async def test_every_range_of_an_empty_blob_is_empty(self, blobs: BlobStore, start: int, end: int | None) -> None:
        """An empty blob can be opened, with any range, and has no bytes."""
        await put(blobs, "key", b"")
        assert await opened(blobs, "key", start=start, end=end) == b""

    @pytest.mark.parametrize("border", [CHUNK_BYTES, 2 * CHUNK_BYTES, 8 * 1024 * 1024])
    async def test_ranges_around_the_borders_of_pieces_are_exact(self, blobs: BlobStore, border: int) -> None:
        """A range may begin and end just before, on and just behind a border."""
        data = content(border + 10)
        await blobs.put("key", async_pieces(data), content_type=TYPE)
        for start in (0, border - 1, border, border + 1):
            for end in (border - 1, border, border + 1, border + 10, None):
                if end is None or start <= end:
                    await _agree(blobs, data, start, end)

    async def test_ranges_at_random_are_exact(self, blobs: BlobStore) -> None:
        """Forty ranges anywhere in a blob of several parts hold the bytes that are there."""
        data = content(LARGE)
        await blobs.put("key", async_pieces(data), content_type=TYPE)
        choose = random.Random(7)
        for _ in range(40):
            start = choose.randrange(LARGE)
            await _agree(blobs, data, start, start + choose.randrange(600_000))

    async def test_a_range_may_be_read_in_steps(self, blobs: BlobStore) -> None:
        """Ranges that follow each other make up the blob, none doubled and none missing."""
        data = content(1_000_003)
        await put(blobs, "key", data)
        steps = [await opened(blobs, "key", start=start, end=start + 99_991) for start in range(0, len(data), 99_991)]
        assert (b"".join(steps) == data) is True

    async def test_a_reader_may_stop_early(self, blobs: BlobStore) -> None:
        """Fifty readers that leave after no chunk or one use up nothing that the next one needs."""
        data = content(2_000_000)
        await put(blobs, "key", data)
        for number in range(50):
            async with blobs.open("key") as chunks:
                if number % 2:
                    assert data.startswith(await anext(chunks))
        assert (await opened(blobs, "key") == data) is True

    async def test_an_error_of_a_reader_comes_through(self, blobs: BlobStore) -> None:
        """What is raised inside the block leaves it as it is, and the blob can be opened again."""
        await put(blobs, "key")
        error = OSError("the reader's own")

        async def read() -> None:
            async with blobs.open("key") as chunks:
                assert await anext(chunks) == b"kept"
                raise error

        with pytest.raises(OSError, match="own") as raised:
            await read()
        assert raised.value is error
        assert await opened(blobs, "key") == b"kept"

    async def test_a_stream_that_is_at_its_end_stays_there(self, blobs: BlobStore) -> None:
        """After the last chunk there is none, however often it is asked for."""
        await put(blobs, "key")
        async with blobs.open("key") as chunks:
            assert [chunk async for chunk in chunks] == [b"kept"]
            assert [chunk async for chunk in chunks] == []
