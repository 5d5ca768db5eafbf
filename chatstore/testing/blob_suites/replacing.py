"""A blob is replaced in one step: whoever reads meanwhile sees the old one whole or the new one whole."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chatstore.errors import ChatStoreError, NotFoundError
from chatstore.protocols import BlobStore
from chatstore.testing.blob_suites.sources import (
    LARGE,
    MIB,
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

SIZES = {"a small one": 1000, "a large one": LARGE}


class ReplacingTests:
    """Puts that are half done, replaced blobs, and copies."""

    @pytest.mark.parametrize("size", SIZES)
    async def test_a_half_put_is_seen_by_nobody(self, blobs: BlobStore, size: str) -> None:
        """A blob whose source has not ended is absent to every call, and there whole from the end on."""
        await put(blobs, "other")
        before = await everything(blobs)
        source = Held(content(SIZES[size]), b"end")
        async with under_way(blobs, "key", source) as half:
            assert await everything(blobs) == before
            assert await blobs.stat("key") is None
            with pytest.raises(NotFoundError):
                await blobs.read("key")
            with pytest.raises(NotFoundError):
                await opened(blobs, "key")
            source.released.set()
            info = await asyncio.wait_for(half, PATIENCE)
        assert (await blobs.read("key") == content(SIZES[size]) + b"end") is True
        assert info.size == SIZES[size] + 3
        assert await keys(blobs) == ["key", "other"]

    @pytest.mark.parametrize("size", SIZES)
    async def test_a_half_replaced_blob_is_the_old_one(self, blobs: BlobStore, size: str) -> None:
        """Until the new blob is there whole, every call answers with the old one."""
        await put(blobs, "key", b"the old one, whole")
        before, stat = await everything(blobs), await blobs.stat("key")
        source = Held(content(SIZES[size]), b"end")
        async with under_way(blobs, "key", source) as half:
            assert await everything(blobs) == before
            assert await blobs.stat("key") == stat
            assert await opened(blobs, "key", start=4, end=7) == b"old"
            source.released.set()
            await asyncio.wait_for(half, PATIENCE)
        assert (await blobs.read("key") == content(SIZES[size]) + b"end") is True

    async def test_a_half_put_keeps_nobody_from_writing(self, blobs: BlobStore) -> None:
        """While one slow source is waited for, others put, replace and delete."""
        await put(blobs, "old")
        source = Held(content(MIB), b"end")
        async with under_way(blobs, "slow", source) as half:
            async with asyncio.timeout(PATIENCE):
                await put(blobs, "new", b"new")
                await put(blobs, "new", b"newer")
                await blobs.delete("old")
                assert await blobs.read("new") == b"newer"
                assert await keys(blobs) == ["new"]
            source.released.set()
            await asyncio.wait_for(half, PATIENCE)
        assert await keys(blobs) == ["new", "slow"]

    async def test_of_two_puts_to_one_key_the_one_that_ends_last_stays(self, blobs: BlobStore) -> None:
        """A put that began before and ends after another one replaces it whole."""
        source = Held(content(MIB), b"end")
        async with under_way(blobs, "key", source) as half:
            async with asyncio.timeout(PATIENCE):
                await put(blobs, "key", b"quick")
                assert await blobs.read("key") == b"quick"
            source.released.set()
            slow = await asyncio.wait_for(half, PATIENCE)
        assert (await blobs.read("key") == content(MIB) + b"end") is True
        stat = await blobs.stat("key")
        assert stat is not None
        assert stat.etag == slow.etag

    @pytest.mark.parametrize(("old", "new"), [(4, 4), (4, 1), (1, 4), (4, 0)])
    async def test_a_blob_replaced_while_it_is_read_is_never_a_mixture(
        self, blobs: BlobStore, old: int, new: int
    ) -> None:
        """A reader that has begun gets one version whole or an error of ours, longer, shorter or empty."""
        before, after = content(old * MIB, 1), content(new * MIB, 2)
        await put(blobs, "key", before)
        got = []
        try:
            async with blobs.open("key") as chunks:
                got.append(await anext(chunks))
                await put(blobs, "key", after)
                got += [chunk async for chunk in chunks]
        except ChatStoreError:
            pass
        else:
            assert (b"".join(got) in (before, after)) is True
        assert (await blobs.read("key") == after) is True

    async def test_a_blob_deleted_while_it_is_read_is_never_cut_short(self, blobs: BlobStore) -> None:
        """A reader that has begun gets all of it or an error of ours: fewer bytes are no answer."""
        data = content(4 * MIB)
        await put(blobs, "key", data)
        got = []
        try:
            async with blobs.open("key") as chunks:
                got.append(await anext(chunks))
                await blobs.delete("key")
                got += [chunk async for chunk in chunks]
        except ChatStoreError:
            pass
        else:
            assert (b"".join(got) == data) is True
        assert await blobs.stat("key") is None

    async def test_readers_of_a_blob_that_changes_see_one_version_each(self, blobs: BlobStore) -> None:
        """However often it is replaced meanwhile, a read is old or new, never both, never short, never absent."""
        versions = [content(700_000 + 1000 * number, number) for number in range(8)]
        await put(blobs, "key", versions[0])
        done = asyncio.Event()

        async def write() -> None:
            for version in versions[1:]:
                await blobs.put("key", async_pieces(version, 100_000), content_type=TYPE)
            done.set()

        async def read() -> int:
            count = 0
            while not done.is_set() or not count:
                data = await blobs.read("key")
                assert (data in versions) is True
                count += 1
                await asyncio.sleep(0)
            return count

        counts = await asyncio.wait_for(asyncio.gather(write(), read(), read(), read()), PATIENCE)
        assert all(counts[1:])
        assert (await blobs.read("key") == versions[-1]) is True

    async def test_a_shorter_blob_leaves_nothing_of_the_longer_one(self, blobs: BlobStore) -> None:
        """The bytes, the size and the checksum are those of the last put alone."""
        for size in (LARGE, 1_000_000, 10, 0, 5, LARGE):
            info = await put(blobs, "key", content(size, size))
            stat = await blobs.stat("key")
            assert stat is not None
            assert (stat.size, stat.etag) == (info.size, info.etag) == (size, info.etag)
            assert (await opened(blobs, "key") == content(size, size)) is True
        assert await keys(blobs) == ["key"]

    async def test_the_same_put_twice_is_the_same_blob(self, blobs: BlobStore) -> None:
        """A put that is repeated after a lost answer changes nothing that a reader sees."""
        first = await put(blobs, "key", b"same")
        second = await put(blobs, "key", b"same")
        assert (first.size, first.sha256) == (second.size, second.sha256)
        assert await blobs.read("key") == b"same"
        assert await keys(blobs) == ["key"]

    @pytest.mark.parametrize("size", SIZES)
    async def test_changing_what_was_put_changes_nothing(self, blobs: BlobStore, size: str) -> None:
        """A bytearray belongs to its caller again as soon as the put has answered."""
        data = content(SIZES[size])
        given: Any = bytearray(data)
        await blobs.put("key", given, content_type=TYPE)
        given[:] = bytes(len(given))
        given.clear()
        assert (await blobs.read("key") == data) is True

    async def test_changing_the_pieces_that_were_put_changes_nothing(self, blobs: BlobStore) -> None:
        """So do the pieces of a list, and the list itself."""
        given: list[Any] = [bytearray(b"first"), bytearray(b"second")]
        await blobs.put("key", given, content_type=TYPE)
        given[0][:] = b"XXXXX"
        del given[1]
        assert await blobs.read("key") == b"firstsecond"
        assert await opened(blobs, "key") == b"firstsecond"
