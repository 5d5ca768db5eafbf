"""Many at once, and a long history at random: what is stored is what a dictionary would hold."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from chatstore.errors import NotFoundError
from chatstore.protocols import BlobStore
from chatstore.testing.blob_suites.sources import (
    PATIENCE,
    TYPE,
    async_pieces,
    content,
    keys,
    opened,
    put,
)


class ConcurrencyTests:
    """Callers that do not know of each other."""

    async def test_puts_and_reads_at_once_are_all_answered(self, blobs: BlobStore) -> None:
        """Thirty-two puts beside thirty-two reads, more than any pool has places, and none is lost or mixed up."""
        old = {f"old/{number}": content(200_000 + number, number) for number in range(32)}
        new = {f"new/{number}": content(200_000 + number, 100 + number) for number in range(32)}
        for key, data in old.items():
            await put(blobs, key, data)
        puts = [blobs.put(key, async_pieces(data, 50_000), content_type=TYPE) for key, data in new.items()]
        reads = [opened(blobs, key) for key in old]
        answers = await asyncio.wait_for(asyncio.gather(*puts, *reads), PATIENCE)
        assert all(got == data for got, data in zip(answers[32:], old.values(), strict=True))
        for key, data in (old | new).items():
            assert (await blobs.read(key) == data) is True
        assert await keys(blobs) == sorted(old | new)

    async def test_many_readers_of_one_blob_each_get_all_of_it(self, blobs: BlobStore) -> None:
        """Readers of the same blob do not share a place in it."""
        data = content(700_000)
        await put(blobs, "key", data)
        reads = [opened(blobs, "key", start=number * 1000) for number in range(64)]
        answers = await asyncio.wait_for(asyncio.gather(*reads), PATIENCE)
        assert all(answer == data[number * 1000 :] for number, answer in enumerate(answers))

    async def test_puts_to_one_key_at_once_leave_one_of_them_whole(self, blobs: BlobStore) -> None:
        """One version stays, with its own size and tag, and every put is answered for its own bytes."""
        versions = [content(100_000 + number, number) for number in range(16)]
        puts = [blobs.put("key", async_pieces(version, 30_000), content_type=TYPE) for version in versions]
        infos = await asyncio.wait_for(asyncio.gather(*puts), PATIENCE)
        assert [info.size for info in infos] == [len(version) for version in versions]
        stat, data = await blobs.stat("key"), await blobs.read("key")
        assert stat is not None
        assert (data in versions) is True
        stored = infos[versions.index(data)]
        assert (stat.size, stat.etag) == (stored.size, stored.etag)
        assert await keys(blobs) == ["key"]

    async def test_puts_and_deletes_of_one_key_at_once_leave_it_whole_or_absent(self, blobs: BlobStore) -> None:
        """A key that is written and deleted at once can be used on, and its blob is whole wherever it is seen."""
        versions = [content(50_000, number) for number in range(12)]

        async def read() -> None:
            with suppress(NotFoundError):
                assert (await blobs.read("key") in versions) is True

        calls = [[put(blobs, "key", version), blobs.delete("key"), read()] for version in versions]
        answers = await asyncio.wait_for(
            asyncio.gather(*(call for three in calls for call in three), return_exceptions=True), PATIENCE
        )
        assert [answer for answer in answers if isinstance(answer, BaseException)] == []
        assert await keys(blobs) in (["key"], [])
        await put(blobs, "key", b"after")
        assert await blobs.read("key") == b"after"

    async def test_a_blob_may_be_put_while_another_is_read(self, blobs: BlobStore) -> None:
        """One blob is the source of another: a copy inside one store needs no room in between."""
        data = content(2_000_000)
        await put(blobs, "old", data)
        async with blobs.open("old") as chunks:
            info = await asyncio.wait_for(blobs.put("new", chunks, content_type=TYPE), PATIENCE)
        assert info.size == len(data)
        assert (await blobs.read("new") == data) is True

    @pytest.mark.parametrize("seed", range(3))
    async def test_a_random_history_agrees_with_a_dictionary(self, blobs: BlobStore, seed: int) -> None:
        """After each of a hundred puts, deletes, ranges and listings, the store is what a dictionary would be."""
        choose = random.Random(seed)
        names = ["a", "a/b", "a-b", "a_b", "ab", "b/c/d", "b"]
        model: dict[str, bytes] = {}
        for step in range(100):
            key = choose.choice(names)
            if choose.random() < 0.5:
                model[key] = content(choose.choice([0, 1, 1000, 300_000]), step)
                await put(blobs, key, model[key])
            elif choose.random() < 0.4:
                model.pop(key, None)
                await blobs.delete(key)
            stat = await blobs.stat(key)
            assert (None if stat is None else stat.size) == (len(model[key]) if key in model else None)
            if key in model:
                start, length = choose.randrange(1200), choose.randrange(300_000)
                expected = model[key][start : start + length]
                assert (await opened(blobs, key, start=start, end=start + length) == expected) is True
            prefix = choose.choice(["", "a", "a/", "b", "a_"])
            assert await keys(blobs, prefix) == sorted(name for name in model if name.startswith(prefix))
