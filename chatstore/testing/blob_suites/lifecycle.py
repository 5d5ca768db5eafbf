"""Opening, closing and where a store may be used; and what DURABLE and SHARED declare."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias, cast

import pytest

from chatstore.errors import ChatStoreError, ClosedError, ConfigurationError, NotFoundError
from chatstore.protocols import BlobInfo, BlobStore, Capability, DiscardsUnfinished
from chatstore.testing.blob_suites.calls import supported
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
    put,
    under_way,
)

Reopen: TypeAlias = Callable[[], Awaitable[BlobStore]]


def _second(blobs: BlobStore, reopen: Reopen | None, capability: Capability) -> Reopen:
    """Return ``reopen``, which a store that declares ``capability`` must have; skip where nobody can tell."""
    if reopen is not None:
        return reopen
    if capability in blobs.capabilities:
        pytest.fail(f"the store declares {capability.name}: override the fixture `reopen`, so that it can be tested")
    pytest.skip(f"the store does not declare {capability.name}, and the fixture `reopen` opens no second one")


class LifecycleTests:
    """From the first call to the close."""

    async def test_it_is_a_blob_store(self, blobs: BlobStore) -> None:
        """The object has every method of the protocol, and says what it can do."""
        assert isinstance(blobs, BlobStore)
        assert isinstance(blobs.capabilities, frozenset)
        assert blobs.capabilities <= set(Capability)

    async def test_after_the_close_every_call_is_a_closed_error(self, blobs: BlobStore) -> None:
        """A closed store answers no call, neither for a blob that was there nor for one that was not."""
        await put(blobs, "key")
        await blobs.aclose()
        for call in supported(blobs).values():
            for key in ("key", "absent"):
                with pytest.raises(ClosedError):
                    await call(blobs, key)

    async def test_closing_twice_is_fine(self, blobs: BlobStore) -> None:
        """A second close does nothing; a closed store is not opened again."""
        await keys(blobs)
        await blobs.aclose()
        await blobs.aclose()
        with pytest.raises(ClosedError):
            await blobs.__aenter__()

    async def test_leaving_the_block_of_a_store_closes_it(self, blobs: BlobStore) -> None:
        """`async with` gives the store itself and closes it, also when it was used before."""
        await put(blobs, "key")
        async with blobs as entered:
            assert entered is blobs
            assert await entered.read("key") == b"kept"
        with pytest.raises(ClosedError):
            await blobs.read("key")

    async def test_a_reader_that_outlives_the_store_is_never_cut_short(self, blobs: BlobStore) -> None:
        """What is read across the close is whole or an error of ours: fewer bytes are no answer."""
        data = content(4 * MIB)
        await put(blobs, "key", data)
        got = []
        try:
            async with blobs.open("key") as chunks:
                got.append(await anext(chunks))
                await blobs.aclose()
                got += [chunk async for chunk in chunks]
        except ChatStoreError:
            return
        assert (b"".join(got) == data) is True

    async def test_puts_under_way_at_the_close_are_answered(self, blobs: BlobStore) -> None:
        """A close leaves no caller waiting: each put is stored, or refused with an error of ours."""
        puts = [
            asyncio.ensure_future(blobs.put(f"key{number}", async_pieces(content(100_000), 10_000), content_type=TYPE))
            for number in range(8)
        ]
        await asyncio.sleep(0)
        await blobs.aclose()
        for answer in await asyncio.wait_for(asyncio.gather(*puts, return_exceptions=True), PATIENCE):
            assert isinstance(answer, BlobInfo | ChatStoreError), answer

    async def test_a_second_event_loop_is_refused(self, blobs: BlobStore) -> None:
        """A store belongs to the loop of its first call; in another one every call is a ConfigurationError."""
        await put(blobs, "key")
        before = await everything(blobs)

        async def elsewhere() -> list[str]:
            answered = []
            for name, call in supported(blobs).items():
                try:
                    await call(blobs, "key")
                except ConfigurationError:
                    continue
                answered.append(name)
            return answered

        assert await asyncio.to_thread(asyncio.run, elsewhere()) == []
        assert await everything(blobs) == before


class CapabilityTests:
    """What is declared holds, and what is not declared is not there by accident."""

    async def test_a_durable_store_has_everything_after_it_is_opened_again(
        self, blobs: BlobStore, reopen: Reopen | None
    ) -> None:
        """DURABLE: all that was acknowledged is read back exactly after a close. Not declared: nothing is."""
        for key, size in {"a": 0, "a/b": 1000, "c": LARGE}.items():
            await put(blobs, key, content(size))
        await put(blobs, "deleted")
        await blobs.delete("deleted")
        before = await everything(blobs)
        declared = Capability.DURABLE in blobs.capabilities
        again = _second(blobs, reopen, Capability.DURABLE)
        await blobs.aclose()
        async with await again() as opened_again:
            assert opened_again.capabilities == blobs.capabilities
            assert (await everything(opened_again) == (before if declared else {})) is True

    async def test_a_durable_store_has_no_half_puts_after_it_is_opened_again(
        self, blobs: BlobStore, reopen: Reopen | None
    ) -> None:
        """DURABLE: a put that never ended is absent afterwards, and what it was to replace is there."""
        if Capability.DURABLE not in blobs.capabilities:
            pytest.skip("the store does not declare DURABLE")
        again = _second(blobs, reopen, Capability.DURABLE)
        await put(blobs, "old")
        old, new = Held(content(LARGE)), Held(content(1000))
        async with under_way(blobs, "old", old), under_way(blobs, "new", new):
            pass
        before = await everything(blobs)
        await blobs.aclose()
        async with await again() as opened_again:
            assert await everything(opened_again) == before
            assert await opened_again.stat("new") is None
            await put(opened_again, "new", b"whole")
            assert await opened_again.read("new") == b"whole"

    async def test_a_durable_store_keeps_what_was_acknowledged_beside_a_close(
        self, blobs: BlobStore, reopen: Reopen | None
    ) -> None:
        """DURABLE: of puts that a close overtook, every acknowledged one is there when it is opened again."""
        if Capability.DURABLE not in blobs.capabilities:
            pytest.skip("the store does not declare DURABLE")
        again = _second(blobs, reopen, Capability.DURABLE)
        puts = [asyncio.ensure_future(put(blobs, str(number), content(50_000, number))) for number in range(8)]
        await asyncio.sleep(0)
        await blobs.aclose()
        answers = await asyncio.wait_for(asyncio.gather(*puts, return_exceptions=True), PATIENCE)
        async with await again() as opened_again:
            for number, answer in enumerate(answers):
                if isinstance(answer, BlobInfo):
                    assert (await opened_again.read(str(number)) == content(50_000, number)) is True

    async def test_a_shared_store_is_one_for_all_who_open_it(self, blobs: BlobStore, reopen: Reopen | None) -> None:
        """SHARED: what one stores, replaces or deletes, another sees at once. Not declared: nothing of it is seen."""
        first = await put(blobs, "key", b"first")
        again = _second(blobs, reopen, Capability.SHARED)
        async with await again() as other:
            if Capability.SHARED not in blobs.capabilities:
                with pytest.raises(NotFoundError):
                    await other.read("key")
                return
            stat = await other.stat("key")
            assert stat is not None
            assert stat.etag == first.etag
            await put(other, "key", b"second")
            assert await blobs.read("key") == b"second"
            await put(other, "other")
            assert await keys(blobs) == await keys(other) == ["key", "other"]
            await blobs.delete("key")
            assert await other.stat("key") is None

    async def test_a_create_is_conditional_for_all_who_open_the_store(
        self, blobs: BlobStore, reopen: Reopen | None
    ) -> None:
        """SHARED and CONDITIONAL_CREATE: of creates through two stores at once, one wins."""
        if not {Capability.SHARED, Capability.CONDITIONAL_CREATE} <= blobs.capabilities:
            pytest.skip("the store does not declare SHARED and CONDITIONAL_CREATE")
        async with await _second(blobs, reopen, Capability.SHARED)() as other:
            for number in range(10):
                creates = [
                    store.put(str(number), name, content_type=TYPE, if_absent=True)
                    for store, name in [(blobs, b"one"), (other, b"two")]
                ]
                answers = await asyncio.wait_for(asyncio.gather(*creates, return_exceptions=True), PATIENCE)
                won = [
                    name for name, answer in zip([b"one", b"two"], answers, strict=True) if isinstance(answer, BlobInfo)
                ]
                assert len(won) == 1, answers
                assert await blobs.read(str(number)) == await other.read(str(number)) == won[0]

    async def test_discarding_takes_nothing_from_uploads_under_way(self, blobs: BlobStore) -> None:
        """DISCARD: blobs that are there stay, and a put that is under way ends as if nobody had looked."""
        if Capability.DISCARD not in blobs.capabilities:
            pytest.skip("the store does not declare DISCARD")
        await put(blobs, "old", content(MIB))
        source = Held(content(LARGE))
        async with under_way(blobs, "new", source) as half:
            assert await cast("DiscardsUnfinished", blobs).discard_unfinished() == 0
            source.released.set()
            await asyncio.wait_for(half, PATIENCE)
        assert (await blobs.read("new") == content(LARGE)) is True
        assert (await blobs.read("old") == content(MIB)) is True
