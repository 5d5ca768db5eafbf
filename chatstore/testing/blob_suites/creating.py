"""``if_absent`` never replaces: a key that is taken is a conflict, and the blob under it stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from chatstore.errors import ConflictError, InvalidInputError, NotSupportedError
from chatstore.protocols import BlobInfo, BlobStore, Capability
from chatstore.testing.blob_suites.sources import (
    LARGE,
    PATIENCE,
    TYPE,
    Held,
    async_pieces,
    content,
    everything,
    keys,
    opened,
    put,
    under_way,
)


def _declares(blobs: BlobStore) -> None:
    if Capability.CONDITIONAL_CREATE not in blobs.capabilities:
        pytest.skip("the store does not declare CONDITIONAL_CREATE")


async def _create(blobs: BlobStore, data: bytes, *, large: bool = False) -> BlobInfo:
    source = async_pieces(data) if large else data
    return await blobs.put("key", source, content_type=TYPE, if_absent=True)


class CreatingTests:
    """One after another, and all at once."""

    @pytest.mark.parametrize("large", [False, True])
    async def test_a_key_that_is_taken_is_a_conflict(self, blobs: BlobStore, large: bool) -> None:
        """A second create raises ConflictError and keeps the first blob; a store that cannot, says so instead."""
        await put(blobs, "key", b"first")
        before = await everything(blobs)
        declared = Capability.CONDITIONAL_CREATE in blobs.capabilities
        for data in (content(LARGE) if large else b"second", b"first", b""):
            with pytest.raises(ConflictError if declared else (ConflictError, NotSupportedError)):
                await _create(blobs, data, large=large)
        assert await everything(blobs) == before
        assert await opened(blobs, "key") == b"first"

    @pytest.mark.parametrize("large", [False, True])
    async def test_a_key_that_is_free_is_taken(self, blobs: BlobStore, large: bool) -> None:
        """CONDITIONAL_CREATE: a create under a new key is a put like any other."""
        _declares(blobs)
        data = content(LARGE) if large else b"first"
        info = await _create(blobs, data, large=large)
        assert info.size == len(data)
        assert (await blobs.read("key") == data) is True

    async def test_a_deleted_key_is_free_again(self, blobs: BlobStore) -> None:
        """CONDITIONAL_CREATE: what was deleted is not in the way."""
        _declares(blobs)
        for data in (b"first", b"second"):
            await _create(blobs, data)
            assert await blobs.read("key") == data
            await blobs.delete("key")

    async def test_a_failed_create_leaves_its_key_free(self, blobs: BlobStore) -> None:
        """CONDITIONAL_CREATE: after a source that raised, or a wrong size, the next create succeeds."""
        _declares(blobs)

        async def broken() -> AsyncIterator[bytes]:
            yield b"half"
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            await blobs.put("key", broken(), content_type=TYPE, if_absent=True)
        with pytest.raises(InvalidInputError):
            await blobs.put("key", b"half", content_type=TYPE, size=8, if_absent=True)
        assert await keys(blobs) == []
        await _create(blobs, b"whole")
        assert await blobs.read("key") == b"whole"

    async def test_a_cancelled_create_leaves_its_key_free(self, blobs: BlobStore) -> None:
        """CONDITIONAL_CREATE: so it does after a create that was cancelled in the middle."""
        _declares(blobs)
        async with under_way(blobs, "key", Held(content(LARGE)), if_absent=True) as half:
            half.cancel()
        await asyncio.wait_for(_create(blobs, b"whole"), PATIENCE)
        assert await blobs.read("key") == b"whole"

    @pytest.mark.parametrize("large", [False, True])
    async def test_of_creates_at_once_exactly_one_wins(self, blobs: BlobStore, large: bool) -> None:
        """CONDITIONAL_CREATE: of many at once one is stored whole, and every other one is told of the conflict."""
        _declares(blobs)
        count = 3 if large else 16
        contents = [content(LARGE if large else 1000, seed) for seed in range(count)]
        creates = [_create(blobs, data, large=True) for data in contents]
        answers = await asyncio.wait_for(asyncio.gather(*creates, return_exceptions=True), PATIENCE)
        won = [number for number, answer in enumerate(answers) if isinstance(answer, BlobInfo)]
        assert len(won) == 1, answers
        assert {type(answer) for answer in answers if isinstance(answer, BaseException)} == {ConflictError}
        assert (await blobs.read("key") == contents[won[0]]) is True

    @pytest.mark.parametrize("size", [1000, LARGE])
    async def test_a_create_that_another_put_overtakes_is_a_conflict(self, blobs: BlobStore, size: int) -> None:
        """CONDITIONAL_CREATE: the key is looked at when the blob is stored, not only when its source begins."""
        _declares(blobs)
        source = Held(content(size), b"end")
        async with under_way(blobs, "key", source, if_absent=True) as half:
            await asyncio.wait_for(put(blobs, "key", b"quick"), PATIENCE)
            source.released.set()
            with pytest.raises(ConflictError):
                await asyncio.wait_for(half, PATIENCE)
        assert await blobs.read("key") == b"quick"

    async def test_a_create_under_one_key_does_not_hinder_another(self, blobs: BlobStore) -> None:
        """CONDITIONAL_CREATE: a conflict is about the very key, not about those around it."""
        _declares(blobs)
        around = ["a", "a/b/c", "a/bb", "a/b-", "a/b_c"]
        for key in around:
            await put(blobs, key)
        await blobs.put("a/b", b"new", content_type=TYPE, if_absent=True)
        assert await keys(blobs) == sorted([*around, "a/b"])
