"""Promise 10: one unit of work, whole or not at all, seen by nobody before its commit."""

from __future__ import annotations

import asyncio

import pytest

from chatstore.errors import ClosedError, ConfigurationError, ConflictError, InvalidInputError, NotFoundError
from chatstore.models import Item
from chatstore.protocols import Store
from chatstore.testing.factories import ANN, BOB, NOON, message, messages, minutes, upload
from chatstore.testing.suites.calls import OWNED, WRITES, seed
from chatstore.testing.suites.reading import attachment_ids, item_ids, snapshot, thread_ids

PATIENCE = 10
"""Seconds after which a call that should answer at once counts as waiting for itself."""

GRACE = 0.2
"""Seconds given to a reader, who may as well wait for the block's end."""


class OnPurpose(Exception):
    """Ends a block."""


class AboveAll(BaseException):
    """Ends a block, and is caught by nobody who catches errors."""


async def _write_everything(store: Store) -> None:
    await store.create_thread(owner=ANN, id="new")
    await store.add_thread_item("new", message(id="x"), owner=ANN)
    await store.update_thread("thread", owner=ANN, title="changed")
    await store.save_item("thread", message("changed", id="item"), owner=ANN)
    await store.delete_thread_item("thread", "item-2", owner=ANN)
    await store.add_thread_items("thread", messages(3), owner=ANN)
    await store.add_thread_item("thread", message(id="early", created_at=minutes(-1)), owner=ANN, at=minutes(-1))
    await store.save_attachment(upload("second", thread_id="thread"), owner=ANN)
    await store.delete_attachment("file", owner=ANN)


class TransactionTests:
    """transaction() and run()."""

    async def test_leaving_the_block_commits(self, store: Store) -> None:
        """What was written in a block is there after it."""
        await seed(store, ANN)
        async with store.transaction() as tx:
            await _write_everything(tx)
        assert await thread_ids(store, ANN) == ["thread", "new"]
        assert (await store.load_thread("thread", owner=ANN)).title == "changed"
        assert await item_ids(store, "thread", ANN) == ["early", "item", "m0000", "m0001", "m0002"]
        assert await attachment_ids(store, "thread", ANN) == ["second"]

    @pytest.mark.parametrize("error", [OnPurpose, ValueError, asyncio.CancelledError, AboveAll])
    async def test_an_exception_rolls_back_and_is_raised(self, store: Store, error: type[BaseException]) -> None:
        """Whatever leaves the block as an exception undoes all of it, and arrives as it was raised."""
        await seed(store, ANN)
        before = await snapshot(store, ANN)
        raised = error()

        async def block() -> None:
            async with store.transaction() as tx:
                await _write_everything(tx)
                raise raised

        with pytest.raises(error) as caught:
            await block()
        assert caught.value is raised
        assert await snapshot(store, ANN) == before

    async def test_a_block_sees_its_own_writes(self, store: Store) -> None:
        """Every read inside finds what was written inside, in order, and what was there before."""
        await seed(store, ANN)
        async with store.transaction() as tx:
            await _write_everything(tx)
            inside = await snapshot(tx, ANN)
            assert await item_ids(tx, "thread", ANN) == ["early", "item", "m0000", "m0001", "m0002"]
            assert [item.id async for item in tx.iter_thread_items("new", owner=ANN)] == ["x"]
            with pytest.raises(NotFoundError):
                await tx.load_attachment("file", owner=ANN)
        assert await snapshot(store, ANN) == inside

    async def test_a_rolled_back_write_is_seen_by_nobody(self, store: Store) -> None:
        """Another task that reads while the block is open waits, or finds the state before; never the writes."""
        await seed(store, ANN)
        before = await snapshot(store, ANN)
        written = asyncio.Event()

        async def read() -> dict[str, object]:
            await written.wait()
            return await snapshot(store, ANN)

        async def block() -> None:
            async with store.transaction() as tx:
                await _write_everything(tx)
                written.set()
                await asyncio.wait({reader}, timeout=GRACE)
                raise OnPurpose

        reader = asyncio.create_task(read())
        with pytest.raises(OnPurpose):
            await block()
        assert await reader == before

    async def test_a_write_is_seen_by_others_from_the_commit_on(self, store: Store) -> None:
        """Who read while the block was open found nothing of it; who reads after it finds everything."""
        written = asyncio.Event()

        async def read() -> list[str]:
            await written.wait()
            return await thread_ids(store, ANN)

        reader = asyncio.create_task(read())
        async with store.transaction() as tx:
            await tx.create_thread(owner=ANN, id="t")
            written.set()
            await asyncio.wait({reader}, timeout=GRACE)
            read_in_time = reader.done()
        assert await reader == [] or not read_in_time
        assert await thread_ids(store, ANN) == ["t"]

    async def test_a_write_through_the_outer_store_is_refused_at_once(self, store: Store) -> None:
        """Inside a block, a write through the store outside would wait for itself: ConfigurationError."""
        subject = await seed(store, ANN)
        before = await snapshot(store, ANN)
        async with store.transaction() as tx:
            await tx.create_thread(owner=BOB, id="bobs")
            for name, write in WRITES.items():
                with pytest.raises(ConfigurationError, match=name.partition("_after")[0].partition("_in_")[0]):
                    await asyncio.wait_for(write(store, ANN, subject), PATIENCE)
            await tx.create_thread(owner=BOB, id="bobs-2")
        assert await snapshot(store, ANN) == before
        assert len(await thread_ids(store, BOB)) == 2

    async def test_a_second_block_of_the_outer_store_is_refused_at_once(self, store: Store) -> None:
        """So are transaction() and run() of the store outside; those of the one inside are a savepoint."""
        async with store.transaction() as tx:
            await tx.create_thread(owner=ANN, id="t")
            with pytest.raises(ConfigurationError):
                async with asyncio.timeout(PATIENCE), store.transaction():
                    pytest.fail("a block opened inside itself")
            with pytest.raises(ConfigurationError):
                await asyncio.wait_for(store.run(lambda inner: inner.load_thread("t", owner=ANN)), PATIENCE)
        assert await thread_ids(store, ANN) == ["t"]

    async def test_the_outer_store_works_again_after_the_block(self, store: Store) -> None:
        """However the block ended, the store outside writes as before."""
        async with store.transaction() as tx:
            await tx.create_thread(owner=ANN, id="t", created_at=minutes(1))
        await store.create_thread(owner=ANN, id="u", created_at=minutes(2))
        with pytest.raises(OnPurpose):
            async with store.transaction():
                raise OnPurpose
        await store.create_thread(owner=ANN, id="v", created_at=minutes(3))
        assert await thread_ids(store, ANN) == ["t", "u", "v"]

    async def test_a_nested_block_rolls_back_alone(self, store: Store) -> None:
        """An exception in a nested block undoes that block only, and the outer one goes on."""

        async def nested(tx: Store) -> None:
            async with tx.transaction() as inner:
                await inner.add_thread_item("t", message(id="b"), owner=ANN)
                await inner.delete_thread_item("t", "a", owner=ANN)
                raise OnPurpose

        async with store.transaction() as tx:
            await tx.create_thread(owner=ANN, id="t")
            await tx.add_thread_item("t", message(id="a"), owner=ANN)
            with pytest.raises(OnPurpose):
                await nested(tx)
            assert await item_ids(tx, "t", ANN) == ["a"]
            async with tx.transaction() as inner:
                await inner.add_thread_item("t", message(id="c"), owner=ANN)
        assert await item_ids(store, "t", ANN) == ["a", "c"]

    async def test_a_nested_block_is_committed_by_the_outer_one(self, store: Store) -> None:
        """What a nested block wrote is undone when the outer one is."""

        async def block() -> None:
            async with store.transaction() as tx:
                async with tx.transaction() as inner:
                    async with inner.transaction() as innermost:
                        await innermost.create_thread(owner=ANN, id="t")
                    await inner.add_thread_item("t", message(id="a"), owner=ANN)
                assert await item_ids(tx, "t", ANN) == ["a"]
                raise OnPurpose

        with pytest.raises(OnPurpose):
            await block()
        assert await thread_ids(store, ANN) == []

    async def test_a_write_through_the_enclosing_block_is_refused_at_once(self, store: Store) -> None:
        """Inside a nested block the enclosing block's store would wait for itself as well."""
        async with store.transaction() as tx:
            await tx.create_thread(owner=ANN, id="t")
            async with tx.transaction() as inner:
                for outer in (tx, store):
                    with pytest.raises(ConfigurationError):
                        await asyncio.wait_for(outer.add_thread_item("t", message(), owner=ANN), PATIENCE)
                await inner.add_thread_item("t", message(id="a"), owner=ANN)
        assert await item_ids(store, "t", ANN) == ["a"]

    async def test_an_error_caught_inside_a_block_leaves_it_usable(self, store: Store) -> None:
        """Absence, conflicts and bad input undo nothing but the call that met them."""
        await seed(store, ANN)
        async with store.transaction() as tx:
            await tx.add_thread_item("thread", message(id="a"), owner=ANN)
            with pytest.raises(NotFoundError):
                await tx.load_thread("absent", owner=ANN)
            with pytest.raises(NotFoundError):
                await tx.add_thread_item("absent", message(), owner=ANN)
            with pytest.raises(ConflictError):
                await tx.create_thread(owner=ANN, id="thread", title="other")
            other = message("other", id="item", created_at=minutes(1))
            with pytest.raises(ConflictError):
                await tx.add_thread_items("thread", [message(id="b"), other], owner=ANN)
            with pytest.raises(InvalidInputError):
                await tx.add_thread_item("thread", Item(type="any", data={"x": float("nan")}), owner=ANN)
            await tx.add_thread_item("thread", message(id="c"), owner=ANN)
        assert await item_ids(store, "thread", ANN) == ["item", "item-2", "a", "c"]

    async def test_the_store_of_an_ended_block_is_closed(self, store: Store) -> None:
        """After its block, committed or not, a block's store answers ClosedError."""
        subject = await seed(store, ANN)
        async with store.transaction() as committed, committed.transaction() as nested:
            pass
        with pytest.raises(OnPurpose):
            async with store.transaction() as rolled_back:
                raise OnPurpose
        for ended in (committed, nested, rolled_back):
            for call in OWNED.values():
                with pytest.raises(ClosedError):
                    await call(ended, ANN, subject)

    async def test_blocks_of_two_tasks_are_both_kept(self, store: Store) -> None:
        """Concurrent blocks, and writes beside them, are each whole in the end."""
        await store.create_thread(owner=ANN, id="t")

        async def block(name: str) -> None:
            async with store.transaction() as tx:
                for number in range(3):
                    await tx.add_thread_item("t", message(id=f"{name}{number}"), owner=ANN)

        single = store.add_thread_item("t", message(id="single"), owner=ANN)
        await asyncio.wait_for(asyncio.gather(block("a"), block("b"), single, block("c")), PATIENCE)
        ids = await item_ids(store, "t", ANN)
        assert len(ids) == 10
        for name in "abc":
            start = ids.index(f"{name}0")
            assert ids[start : start + 3] == [f"{name}0", f"{name}1", f"{name}2"]

    async def test_a_cancelled_block_rolls_back(self, store: Store) -> None:
        """A task that is cancelled inside its block leaves nothing of it, and the store goes on."""
        await store.create_thread(owner=ANN, id="t")
        written = asyncio.Event()

        async def block() -> None:
            async with store.transaction() as tx:
                await tx.add_thread_item("t", message(id="half"), owner=ANN)
                written.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(block())
        await written.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(store.add_thread_item("t", message(id="next"), owner=ANN), PATIENCE)
        assert await item_ids(store, "t", ANN) == ["next"]

    async def test_run_returns_what_the_work_returns(self, store: Store) -> None:
        """run() commits what the work wrote and hands back its result."""

        async def work(tx: Store) -> tuple[str, int]:
            await tx.create_thread(owner=ANN, id="t")
            added = await tx.add_thread_items("t", messages(3, created_at=NOON), owner=ANN)
            return "done", len(added)

        assert await store.run(work) == ("done", 3)
        assert len(await item_ids(store, "t", ANN)) == 3

    async def test_run_rolls_back_when_the_work_raises(self, store: Store) -> None:
        """The error is raised as it is, after one attempt, and nothing is written."""
        attempts = []
        raised = OnPurpose()

        async def work(tx: Store) -> None:
            attempts.append(tx)
            await tx.create_thread(owner=ANN, id="t")
            raise raised

        with pytest.raises(OnPurpose) as caught:
            await store.run(work)
        assert caught.value is raised
        assert len(attempts) == 1
        assert await thread_ids(store, ANN) == []

    async def test_run_inside_a_block_is_part_of_it(self, store: Store) -> None:
        """run() of a block's store is a savepoint of that block."""

        async def block() -> None:
            async with store.transaction() as tx:
                assert (await tx.run(lambda inner: inner.create_thread(owner=ANN, id="t"))).id == "t"
                assert await thread_ids(tx, ANN) == ["t"]
                raise OnPurpose

        with pytest.raises(OnPurpose):
            await block()
        assert await thread_ids(store, ANN) == []
