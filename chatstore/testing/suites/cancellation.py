"""Promise 8: a cancelled write is whole or absent, and one that was begun is finished."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest

from chatstore.errors import NotFoundError
from chatstore.protocols import Store
from chatstore.testing.factories import ANN, NOON, message, messages, minutes
from chatstore.testing.suites.reading import all_items, item_ids, thread_ids

TURNS = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512, 1024, 2048]
"""After how many turns of the event loop a write is cancelled: before it began, under way, nearly done."""

PATIENCE = 10


async def _cancel_everywhere(write: Callable[[int], Awaitable[object]]) -> set[int]:
    """Cancel ``write(turns)`` after every number of turns; return those that were acknowledged."""
    acknowledged = set()
    for turns in TURNS:
        task = asyncio.ensure_future(write(turns))
        for _ in range(turns):
            if task.done():
                break
            await asyncio.sleep(0)
        task.cancel()
        (answer,) = await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), PATIENCE)
        if not isinstance(answer, asyncio.CancelledError):
            assert not isinstance(answer, BaseException), answer
            acknowledged.add(turns)
    return acknowledged


class CancellationTests:
    """Tasks that are cancelled, and scopes that already are."""

    async def test_a_cancelled_add_is_whole_or_absent(self, store: Store) -> None:
        """An add that is cancelled at any moment is stored or not; what was acknowledged is stored."""
        await store.create_thread(owner=ANN, id="t")
        acknowledged = await _cancel_everywhere(
            lambda turns: store.add_thread_item("t", message(str(turns), id=str(turns)), owner=ANN)
        )
        items = await all_items(store, "t", ANN)
        assert {str(turns) for turns in acknowledged} <= {item.id for item in items} <= {str(turns) for turns in TURNS}
        assert all(item.data == {"text": item.id} for item in items)
        await store.add_thread_item("t", message(id="after"), owner=ANN)
        assert await item_ids(store, "t", ANN) == [*(item.id for item in items), "after"]

    async def test_a_cancelled_batch_is_whole_or_absent(self, store: Store) -> None:
        """So is a batch: all of its items or none."""
        await store.create_thread(owner=ANN, id="t")
        acknowledged = await _cancel_everywhere(
            lambda turns: store.add_thread_items("t", messages(20, prefix=f"{turns}-"), owner=ANN)
        )
        ids = await item_ids(store, "t", ANN)
        counts = {turns: sum(id.startswith(f"{turns}-") for id in ids) for turns in TURNS}
        assert set(counts.values()) <= {0, 20}
        assert all(counts[turns] == 20 for turns in acknowledged)

    async def test_a_cancelled_change_is_whole_or_absent(self, store: Store) -> None:
        """So are a save, an update and a delete."""
        await store.create_thread(owner=ANN, id="t", title="old")
        ids = [item.id for item in await store.add_thread_items("t", messages(1000), owner=ANN)]

        async def change(turns: int) -> None:
            await store.update_thread("t", owner=ANN, title=str(turns), metadata={"turns": turns})

        acknowledged = await _cancel_everywhere(change)
        thread = await store.load_thread("t", owner=ANN)
        assert thread.metadata == ({} if thread.title == "old" else {"turns": int(str(thread.title))})
        assert not acknowledged or thread.title != "old"

        task = asyncio.ensure_future(store.delete_thread_items("t", ids, owner=ANN))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert len(await item_ids(store, "t", ANN)) in (0, 1000)

    async def test_a_cancelled_run_is_whole_or_absent(self, store: Store) -> None:
        """A unit of several writes that is cancelled at any moment is committed whole or not at all."""

        async def write(turns: int) -> None:
            async def work(tx: Store) -> None:
                await tx.create_thread(owner=ANN, id=str(turns))
                await tx.add_thread_item(str(turns), message(id="a"), owner=ANN)
                await tx.add_thread_item(str(turns), message(id="b"), owner=ANN)

            await store.run(work)

        acknowledged = await _cancel_everywhere(write)
        for turns in TURNS:
            try:
                assert await item_ids(store, str(turns), ANN) == ["a", "b"]
            except NotFoundError:
                assert turns not in acknowledged

    async def test_a_cancelled_write_among_others_takes_none_along(self, store: Store) -> None:
        """Of writes that are under way together, a cancelled one fails alone."""
        await store.create_thread(owner=ANN, id="t")
        tasks = [
            asyncio.ensure_future(store.add_thread_item("t", message(id=str(number)), owner=ANN))
            for number in range(12)
        ]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        answers = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), PATIENCE)
        kept = {str(number) for number in range(12) if number % 3}
        assert {item.id for item in answers if not isinstance(item, BaseException)} >= kept
        assert set(await item_ids(store, "t", ANN)) >= kept

    async def test_two_writes_in_a_cancelled_scope_both_finish(self, store: Store) -> None:
        """In an anyio scope that is cancelled already, writes are made one after another, and none is half."""
        await store.create_thread(owner=ANN, id="t")
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await anyio.sleep_forever()
            except asyncio.CancelledError:
                await store.add_thread_item("t", message(id="partial answer"), owner=ANN)
                await store.add_thread_item("t", message(id="note"), owner=ANN)
                await store.update_thread("t", owner=ANN, title="stopped")
                raise
        assert scope.cancelled_caught
        assert await item_ids(store, "t", ANN) == ["partial answer", "note"]
        assert (await store.load_thread("t", owner=ANN)).title == "stopped"

    async def test_every_kind_of_write_finishes_in_a_cancelled_scope(self, store: Store) -> None:
        """So are placings, batches, saves, deletes and new threads."""
        await store.create_thread(owner=ANN, id="t", created_at=minutes(0))
        await store.add_thread_items("t", messages(3, created_at=NOON), owner=ANN)
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await anyio.sleep_forever()
            except asyncio.CancelledError:
                await store.add_thread_item("t", message(id="first"), owner=ANN, at=minutes(-1))
                await store.add_thread_items("t", [message(id="x"), message(id="y")], owner=ANN)
                await store.save_item("t", message("changed", id="x"), owner=ANN)
                await store.delete_thread_item("t", "m0001", owner=ANN)
                await store.create_thread(owner=ANN, id="u", created_at=minutes(1))
                raise
        assert await item_ids(store, "t", ANN) == ["first", "m0000", "m0002", "x", "y"]
        assert (await store.load_item("t", "x", owner=ANN)).data == {"text": "changed"}
        assert await thread_ids(store, ANN) == ["t", "u"]

    async def test_cancelled_reads_leave_the_store_usable(self, store: Store) -> None:
        """However many reads are cancelled, the next ones find everything."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_items("t", messages(50), owner=ANN)
        await _cancel_everywhere(lambda turns: store.load_thread_items("t", owner=ANN))
        reads = [store.load_thread_items("t", owner=ANN) for _ in range(30)]
        pages = await asyncio.wait_for(asyncio.gather(*reads), PATIENCE)
        assert [len(page.data) for page in pages] == [50] * 30

    async def test_a_timeout_around_a_write_says_nothing_about_it(self, store: Store) -> None:
        """After a deadline of the caller's, the same add again leaves the item there once."""
        await store.create_thread(owner=ANN, id="t")
        item = message(id="a", created_at=NOON)

        async def add_in_no_time() -> None:
            async with asyncio.timeout(0):
                await store.add_thread_item("t", item, owner=ANN)
                await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            await add_in_no_time()
        await store.add_thread_item("t", item, owner=ANN)
        assert await item_ids(store, "t", ANN) == ["a"]
