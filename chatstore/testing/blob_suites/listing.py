"""A listing holds every blob under a prefix once, in the order of the keys, and no half upload."""

from __future__ import annotations

import asyncio

import pytest

from chatstore.protocols import BlobStore
from chatstore.testing.blob_suites.sources import LARGE, Held, content, keys, put, under_way

KEYS = [
    *("a", "a-", "a-b", "a/b", "a/b/c", "a/b-c", "a/c", "a0", "a_", "a_b", "aa", "aa/b", "ab", "ab/c"),
    *("-", "-a", "_", "_a", "0", "9", "9a", "10", "b", "b/a", "b/a/a", "z/z"),
]
"""Keys that sort differently by folder, by language and by code point, and look alike to a pattern."""

MANY = 1100
"""More than one page of the services that give a thousand keys at a time."""


async def _fill(blobs: BlobStore, names: list[str]) -> None:
    for start in range(0, len(names), 32):
        await asyncio.gather(*(put(blobs, name, name.encode()) for name in names[start : start + 32]))


class ListingTests:
    """Order, prefixes, and what happens meanwhile."""

    async def test_an_empty_store_lists_nothing(self, blobs: BlobStore) -> None:
        """Nothing stored is an empty listing and no error."""
        assert await keys(blobs) == []
        assert await keys(blobs, "any/thing") == []

    async def test_keys_are_listed_in_their_order(self, blobs: BlobStore) -> None:
        """The order is that of the keys' characters, whatever the order of the puts."""
        await _fill(blobs, KEYS[::2] + KEYS[1::2][::-1])
        assert await keys(blobs) == sorted(KEYS)

    @pytest.mark.parametrize("prefix", ["a", "a/", "a/b", "a-", "a_", "aa", "a/b/", "a/b/c", "-", "_", "9", "b/a/a"])
    async def test_a_prefix_is_the_beginning_of_a_key(self, blobs: BlobStore, prefix: str) -> None:
        """A prefix ends anywhere, not only between parts; it is no pattern, and a key begins with itself."""
        await _fill(blobs, KEYS)
        assert await keys(blobs, prefix) == sorted(key for key in KEYS if key.startswith(prefix))

    @pytest.mark.parametrize("prefix", ["absent", "a/b/c/d", "aaa", "b/b", "c/", "zz", "x" * 128])
    async def test_an_absent_prefix_lists_nothing(self, blobs: BlobStore, prefix: str) -> None:
        """A prefix that no stored key begins with is an empty listing."""
        await _fill(blobs, KEYS)
        assert await keys(blobs, prefix) == []

    async def test_a_listing_says_what_stat_says(self, blobs: BlobStore) -> None:
        """Size and tag of each blob are those of its own, the checksum too where it is known."""
        sizes = {"a": 0, "b": 1, "c/d": 1000, "e": LARGE}
        for key, size in sizes.items():
            await put(blobs, key, content(size))
        listed = {key: info async for key, info in blobs.list()}
        assert {key: info.size for key, info in listed.items()} == sizes
        for key, info in listed.items():
            stat = await blobs.stat(key)
            assert stat is not None
            assert info.etag == stat.etag
            assert None in (info.sha256, stat.sha256) or info.sha256 == stat.sha256

    async def test_many_blobs_are_all_listed_once(self, blobs: BlobStore) -> None:
        """More keys than one page of any backend holds are listed whole and in order, also under a prefix."""
        names = [f"many/{number:04}" for number in range(MANY)]
        await _fill(blobs, [*names[::-1], "before", "nearly"])
        assert await keys(blobs) == ["before", *names, "nearly"]
        assert await keys(blobs, "many/") == names
        assert await keys(blobs, "many/00") == names[:100]

    async def test_a_deleted_blob_is_not_listed(self, blobs: BlobStore) -> None:
        """A listing that begins after a delete has answered does not hold the blob."""
        await _fill(blobs, ["a", "b", "c"])
        await blobs.delete("b")
        assert await keys(blobs) == ["a", "c"]

    async def test_a_replaced_blob_is_listed_once(self, blobs: BlobStore) -> None:
        """Versions are not kept: the listing holds the last one alone."""
        for data in (b"1", b"22", b"333"):
            await put(blobs, "key", data)
        assert [(key, info.size) async for key, info in blobs.list()] == [("key", 3)]

    async def test_half_puts_are_not_listed(self, blobs: BlobStore) -> None:
        """Neither new blobs on their way in nor anything they are kept in meanwhile is listed under any prefix."""
        await _fill(blobs, ["a/b", "z"])
        small, large = Held(content(1000)), Held(content(LARGE))
        async with under_way(blobs, "a/small", small), under_way(blobs, "large", large):
            assert await keys(blobs) == ["a/b", "z"]
            assert await keys(blobs, "a") == ["a/b"]
            assert await keys(blobs, "l") == []
        assert await keys(blobs) == ["a/b", "z"]

    async def test_listing_while_deleting_meets_every_blob(self, blobs: BlobStore) -> None:
        """Each blob may be deleted as it is met; none is skipped and none is met twice."""
        names = [f"key{number:03}" for number in range(150)]
        await _fill(blobs, names)
        met = []
        async for key, _ in blobs.list():
            met.append(key)
            await blobs.delete(key)
        assert met == names
        assert await keys(blobs) == []

    async def test_listing_while_writing_meets_what_stays(self, blobs: BlobStore) -> None:
        """What is there all the time is met once and in order, whatever else comes, goes or is replaced."""
        names = [f"key{number:03}" for number in range(60)]
        await _fill(blobs, names)
        met = []
        async for key, info in blobs.list("key"):
            met.append(key)
            assert info.size in (6, 8)
            if key in names:
                await put(blobs, f"{key}-x")
                await put(blobs, f"0{key}")
                await put(blobs, names[30], b"replaced")
                await blobs.delete(f"{key}-x")
        assert [key for key in met if key in names] == names
        assert len(set(met)) == len(met)

    async def test_a_listing_that_is_left_early_is_let_go(self, blobs: BlobStore) -> None:
        """Fifty listings that end after the first key use up nothing that the next one needs."""
        await _fill(blobs, ["a", "b", "c"])
        for _ in range(50):
            listing = blobs.list()
            key, _ = await anext(listing)
            assert key == "a"
            await listing.aclose()  # type: ignore[attr-defined]  # not promised; without it, the collector's work
        assert await keys(blobs) == ["a", "b", "c"]

    async def test_two_listings_at_once_do_not_mix(self, blobs: BlobStore) -> None:
        """Each has its own place."""
        await _fill(blobs, ["a/1", "a/2", "b/1", "b/2"])
        first, second = blobs.list("a"), blobs.list("b")
        met = [(await anext(first))[0], (await anext(second))[0], (await anext(first))[0], (await anext(second))[0]]
        assert met == ["a/1", "b/1", "a/2", "b/2"]
        assert [key async for key, _ in first] == [key async for key, _ in second] == []
