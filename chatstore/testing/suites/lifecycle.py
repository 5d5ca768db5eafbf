"""Opening, closing and where a store may be used; and what its capabilities declare."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeAlias

import pytest

from chatstore.errors import ClosedError, ConfigurationError, NotFoundError
from chatstore.protocols import Capability, Store
from chatstore.testing.factories import ANN, BOB, NOON, message, messages
from chatstore.testing.suites.calls import CALLS, OWNED, Subject, seed
from chatstore.testing.suites.reading import all_items, item_ids, snapshot

Reopen: TypeAlias = Callable[[], Awaitable[Store]]


def _second(reopen: Reopen | None, capability: Capability) -> Reopen:
    if reopen is None:
        pytest.fail(f"the store declares {capability.name}: override the fixture `reopen`, so that it can be tested")
    return reopen


def _opener(reopen: Reopen | None, capability: Capability) -> Reopen:
    if reopen is None:
        pytest.skip(f"the store does not declare {capability.name}, and the fixture `reopen` opens no second one")
    return reopen


class LifecycleTests:
    """From the first call to the close."""

    async def test_it_is_a_store(self, store: Store) -> None:
        """The object has every method of the protocol, and says what it can do."""
        assert isinstance(store, Store)
        assert isinstance(store.capabilities, frozenset)
        assert store.capabilities <= set(Capability)

    async def test_after_the_close_every_call_is_a_closed_error(self, store: Store) -> None:
        """A closed store answers no call, and names the cause."""
        await seed(store, ANN)
        await store.aclose()
        for call in CALLS.values():
            with pytest.raises(ClosedError):
                await call(store, ANN, Subject())

    async def test_closing_twice_is_fine(self, store: Store) -> None:
        """A second close does nothing; a closed store is not opened again."""
        await store.load_threads(owner=ANN)
        await store.aclose()
        await store.aclose()
        with pytest.raises(ClosedError):
            await store.__aenter__()

    async def test_leaving_the_block_of_a_store_closes_it(self, store: Store) -> None:
        """`async with` gives the store itself and closes it, also when it was used before."""
        await store.create_thread(owner=ANN, id="t")
        async with store as entered:
            assert entered is store
            assert (await entered.load_thread("t", owner=ANN)).id == "t"
        with pytest.raises(ClosedError):
            await store.load_thread("t", owner=ANN)

    async def test_an_iteration_that_outlives_the_store_ends_in_a_closed_error(self, store: Store) -> None:
        """The next page after the close is an error and not the end of the thread."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_items("t", messages(4), owner=ANN)
        items = store.iter_thread_items("t", owner=ANN, page_size=2)
        met = [await anext(items), await anext(items)]
        await store.aclose()
        with pytest.raises(ClosedError):
            await anext(items)
        assert [item.id for item in met] == ["m0000", "m0001"]

    async def test_writes_under_way_end_before_the_close(self, store: Store) -> None:
        """A close does not cut a call off: each is answered, or refused as one that came after the close."""
        await store.create_thread(owner=ANN, id="t")
        writes = [
            asyncio.ensure_future(store.add_thread_item("t", message(id=str(number)), owner=ANN))
            for number in range(10)
        ]
        await asyncio.sleep(0)
        await store.aclose()
        for answer in await asyncio.wait_for(asyncio.gather(*writes, return_exceptions=True), 10):
            assert isinstance(answer, ClosedError) or not isinstance(answer, BaseException)

    async def test_a_check_of_a_store_that_works_passes_and_leaves_nothing(self, store: Store) -> None:
        """Checks, several at once and beside writes, raise nothing and are seen by no owner."""
        await seed(store, ANN)
        before = await snapshot(store, ANN)
        checks = asyncio.gather(*(store.check() for _ in range(5)))
        await store.create_thread(owner=BOB, id="beside")
        for remark in await checks:
            assert remark is None or isinstance(remark, str)
        assert await snapshot(store, ANN) == before
        assert [thread.id for thread in (await store.load_threads(owner=BOB)).data] == ["beside"]
        assert await store.take_deletions(limit=10, retry_after=timedelta(hours=1)) == []

    async def test_a_second_event_loop_is_refused(self, store: Store) -> None:
        """A store belongs to the loop of its first call; in another one every call is a ConfigurationError."""
        subject = await seed(store, ANN)
        before = await snapshot(store, ANN)

        async def elsewhere() -> list[str]:
            answered = []
            for name, call in CALLS.items():
                try:
                    await call(store, ANN, subject)
                except ConfigurationError:
                    continue
                answered.append(name)
            return answered

        assert await asyncio.to_thread(asyncio.run, elsewhere()) == []
        assert await snapshot(store, ANN) == before

    async def test_many_calls_at_once_are_all_answered(self, store: Store) -> None:
        """More callers than a pool has connections wait their turn, and none is lost."""
        await seed(store, ANN)
        reads = [OWNED[name](store, ANN, Subject()) for name in ("load_thread", "load_item", "load_attachment") * 30]
        answers = await asyncio.wait_for(asyncio.gather(*reads), 60)
        assert len({repr(answer) for answer in answers}) == 3


class CapabilityTests:
    """What is declared holds, and what is not declared is not there by accident."""

    async def test_a_durable_store_has_everything_after_it_is_opened_again(
        self, store: Store, reopen: Reopen | None
    ) -> None:
        """DURABLE: all that was acknowledged is read back exactly after a close. Not declared: nothing is."""
        await seed(store, ANN)
        await store.add_thread_items("thread", messages(20), owner=ANN)
        before = await snapshot(store, ANN)
        page = await store.load_thread_items("thread", owner=ANN, limit=5)
        if Capability.DURABLE not in store.capabilities:
            await _holds_nothing_when_opened_again(store, _opener(reopen, Capability.DURABLE))
            return
        again = _second(reopen, Capability.DURABLE)
        await store.aclose()
        async with await again() as opened:
            assert opened.capabilities == store.capabilities
            assert await snapshot(opened, ANN) == before
            rest = await opened.load_thread_items("thread", owner=ANN, after=page.after)
            assert len(rest.data) == 17
            last = (await all_items(opened, "thread", ANN))[-1]
            assert (await opened.add_thread_item("thread", message(), owner=ANN)).position > last.position

    async def test_a_durable_store_keeps_what_was_acknowledged_beside_a_close(
        self, store: Store, reopen: Reopen | None
    ) -> None:
        """DURABLE: of writes that a close overtook, every acknowledged one is there when it is opened again."""
        await store.create_thread(owner=ANN, id="t")
        if Capability.DURABLE not in store.capabilities:
            pytest.skip("the store does not declare DURABLE")
        again = _second(reopen, Capability.DURABLE)
        writes = [
            asyncio.ensure_future(store.add_thread_item("t", message(id=str(number)), owner=ANN))
            for number in range(10)
        ]
        await asyncio.sleep(0)
        await store.aclose()
        answers = await asyncio.gather(*writes, return_exceptions=True)
        acknowledged = {item.id for item in answers if not isinstance(item, BaseException)}
        async with await again() as opened:
            assert set(await item_ids(opened, "t", ANN)) >= acknowledged

    async def test_a_shared_store_is_one_for_all_who_open_it(self, store: Store, reopen: Reopen | None) -> None:
        """SHARED: what one writes another reads at once; cursors and repeats work across. Not declared: nothing is."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_items("t", messages(3, created_at=NOON), owner=ANN)
        if Capability.SHARED not in store.capabilities:
            await _is_alone(store, _opener(reopen, Capability.SHARED))
            return
        async with await _second(reopen, Capability.SHARED)() as other:
            page = await other.load_thread_items("t", owner=ANN, limit=2)
            assert [item.id for item in page.data] == ["m0000", "m0001"]
            rest = await store.load_thread_items("t", owner=ANN, after=page.after)
            assert [item.id for item in rest.data] == ["m0002"]
            again = await other.add_thread_item("t", message("again", id="m0001", created_at=NOON), owner=ANN)
            assert again.position == page.data[1].position
            await other.add_thread_item("t", message(id="theirs"), owner=ANN)
            await store.add_thread_item("t", message(id="mine"), owner=ANN)
            expected = ["m0000", "m0001", "m0002", "theirs", "mine"]
            assert await item_ids(store, "t", ANN) == await item_ids(other, "t", ANN) == expected

    async def test_writers_of_a_shared_store_are_ordered_together(self, store: Store, reopen: Reopen | None) -> None:
        """SHARED: appends through two at once are all there once, each writer's in its own order."""
        await store.create_thread(owner=ANN, id="t")
        if Capability.SHARED not in store.capabilities:
            pytest.skip("the store does not declare SHARED")

        async def write(through: Store, name: str) -> None:
            for number in range(8):
                await through.add_thread_item("t", message(id=f"{name}{number}"), owner=ANN)

        async with await _second(reopen, Capability.SHARED)() as other:
            await asyncio.gather(write(store, "a"), write(other, "b"), write(store, "c"), write(other, "d"))
            ids = await item_ids(other, "t", ANN)
        assert len(ids) == 32
        for name in "abcd":
            assert [id for id in ids if id[0] == name] == [f"{name}{number}" for number in range(8)]


async def _holds_nothing_when_opened_again(store: Store, reopen: Reopen) -> None:
    await store.aclose()
    async with await reopen() as opened:
        assert (await opened.load_threads(owner=ANN)).data == []


async def _is_alone(store: Store, reopen: Reopen) -> None:
    async with await reopen() as other:
        with pytest.raises(NotFoundError):
            await other.load_thread("t", owner=ANN)
    assert len(await item_ids(store, "t", ANN)) == 3
