"""Promise 8: a cancelled put leaves nothing behind, and a cancelled read takes nothing along."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from chatstore.protocols import BlobStore
from chatstore.testing.blob_suites.sources import (
    LARGE,
    MIB,
    PATIENCE,
    TYPE,
    Held,
    async_pieces,
    begun,
    content,
    everything,
    keys,
    opened,
    put,
    under_way,
)

TURNS = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512, 1024, 2048]
"""After how many turns of the event loop a call is cancelled: before it began, under way, nearly done."""


async def _cancelled_after(turns: int, call: Callable[[], Awaitable[Any]]) -> bool:
    """Cancel ``call`` after some turns of the event loop; say whether it was acknowledged all the same."""
    task = asyncio.ensure_future(call())
    for _ in range(turns):
        if task.done():
            break
        await asyncio.sleep(0)
    task.cancel()
    (answer,) = await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), PATIENCE)
    if isinstance(answer, asyncio.CancelledError):
        return False
    assert not isinstance(answer, BaseException), answer
    return True


class CancellationTests:
    """Tasks that are cancelled anywhere."""

    @pytest.mark.parametrize("size", [0, 1000, LARGE])
    async def test_a_put_cancelled_in_the_middle_leaves_nothing(self, blobs: BlobStore, size: int) -> None:
        """Neither a new blob nor a trace of it is there, and what was under the key is untouched."""
        await put(blobs, "old")
        before = await everything(blobs)
        for key in ("old", "new"):
            async with under_way(blobs, key, Held(content(size))) as half:
                half.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(half, PATIENCE)
            assert await everything(blobs) == before
        assert await blobs.stat("new") is None

    async def test_a_put_cancelled_at_any_moment_is_whole_or_absent(self, blobs: BlobStore) -> None:
        """Whenever it comes, the blob is there whole or not at all, and what was acknowledged is there."""
        for turns in TURNS:
            data = content(600_000, turns)

            async def store(key: str = str(turns), data: bytes = data) -> None:
                await blobs.put(key, async_pieces(data, 100_000), content_type=TYPE)

            acknowledged = await _cancelled_after(turns, store)
            stored = await blobs.stat(str(turns))
            assert stored is not None or not acknowledged
            if stored is not None:
                assert (await blobs.read(str(turns)) == data) is True

    async def test_a_replacement_cancelled_at_any_moment_is_old_or_new(self, blobs: BlobStore) -> None:
        """Of a blob that is there, a cancelled put leaves the old version whole or has put the new one whole."""
        current = content(300_000)
        await put(blobs, "key", current)
        for turns in TURNS:
            data = content(600_000, turns + 1)

            async def store(data: bytes = data) -> None:
                await blobs.put("key", async_pieces(data, 100_000), content_type=TYPE)

            acknowledged = await _cancelled_after(turns, store)
            found = await blobs.read("key")
            assert (found == data or (found == current and not acknowledged)) is True
            current = found
        assert await keys(blobs) == ["key"]

    async def test_a_cancelled_put_lets_its_source_go(self, blobs: BlobStore) -> None:
        """The source is not read on once its put has ended."""
        drawn = 0
        reached = asyncio.Event()

        async def source() -> AsyncIterator[bytes]:
            nonlocal drawn
            while True:
                drawn += 1
                reached.set()
                await asyncio.sleep(0)
                yield b"x"

        task = asyncio.ensure_future(blobs.put("key", source(), content_type=TYPE))
        await begun(task, reached)
        task.cancel()
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), PATIENCE)
        after = drawn
        await keys(blobs)
        for _ in range(10):
            await asyncio.sleep(0)
        assert drawn == after

    async def test_a_timeout_around_a_put_leaves_nothing(self, blobs: BlobStore) -> None:
        """A put that is given up on by its caller is a TimeoutError there, and no blob here."""
        source = Held(content(MIB))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await blobs.put("key", source, content_type=TYPE)
        assert await blobs.stat("key") is None
        assert await keys(blobs) == []

    async def test_many_cancelled_puts_leave_the_store_usable(self, blobs: BlobStore) -> None:
        """Fifty puts that are cancelled in the middle use up nothing that the next one needs."""
        for number in range(50):
            async with under_way(blobs, f"key{number}", Held(b"half")) as half:
                half.cancel()
        assert await keys(blobs) == []
        await asyncio.wait_for(put(blobs, "key"), PATIENCE)
        assert await blobs.read("key") == b"kept"

    async def test_many_cancelled_reads_leave_the_store_usable(self, blobs: BlobStore) -> None:
        """Fifty reads that are cancelled anywhere take neither a connection nor a file nor the blob along."""
        data = content(MIB)
        await put(blobs, "key", data)
        for number in range(50):
            call = opened if number % 2 else type(blobs).read
            await _cancelled_after(number, lambda call=call: call(blobs, "key"))  # type: ignore[misc]
        reads = [blobs.read("key") for _ in range(20)] + [opened(blobs, "key") for _ in range(20)]
        answers = await asyncio.wait_for(asyncio.gather(*reads), PATIENCE)
        assert all(answer == data for answer in answers)

    async def test_many_readers_cancelled_in_the_middle_leave_the_store_usable(self, blobs: BlobStore) -> None:
        """So do fifty that are cancelled between two chunks."""
        data = content(MIB)
        await put(blobs, "key", data)

        async def read(reached: asyncio.Event) -> None:
            async with blobs.open("key") as chunks:
                await anext(chunks)
                reached.set()
                await asyncio.Event().wait()

        for _ in range(50):
            reached = asyncio.Event()
            task = asyncio.ensure_future(read(reached))
            await begun(task, reached)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert (await asyncio.wait_for(opened(blobs, "key"), PATIENCE) == data) is True

    async def test_a_cancelled_delete_or_listing_leaves_the_store_usable(self, blobs: BlobStore) -> None:
        """A cancelled delete has deleted or not; a cancelled listing has listed nothing wrong; both go on working."""
        for turns in TURNS:
            await put(blobs, "key")
            acknowledged = await _cancelled_after(turns, lambda: blobs.delete("key"))
            assert not acknowledged or await blobs.stat("key") is None
            await _cancelled_after(turns, lambda: keys(blobs))
        await put(blobs, "key")
        assert await asyncio.wait_for(keys(blobs), PATIENCE) == ["key"]
        await blobs.delete("key")
        assert await keys(blobs) == []

    async def test_a_cancelled_put_among_others_takes_none_along(self, blobs: BlobStore) -> None:
        """Of puts that are under way together, a cancelled one fails alone."""
        tasks = [
            asyncio.ensure_future(
                blobs.put(f"key{number:02}", async_pieces(content(10_000, number), 1000), content_type=TYPE)
            )
            for number in range(16)
        ]
        await asyncio.sleep(0)
        for task in tasks[::4]:
            task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), PATIENCE)
        for number in range(16):
            if number % 4:
                assert (await blobs.read(f"key{number:02}") == content(10_000, number)) is True
