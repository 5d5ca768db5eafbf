"""Batches that are all or nothing, and deletes of items and whole threads."""

from __future__ import annotations

import asyncio

import pytest

from chatstore.errors import ConflictError, InvalidInputError, NotFoundError
from chatstore.models import Item
from chatstore.protocols import Store
from chatstore.testing.factories import ANN, NOON, message, messages, minutes, upload
from chatstore.testing.suites.reading import all_items, errors_of, item_ids, snapshot, thread_ids


class BatchTests:
    """add_thread_items."""

    async def test_a_batch_is_in_the_order_given(self, store: Store) -> None:
        """Items of a batch come back and are listed in the order of the list."""
        await store.create_thread(owner=ANN, id="t")
        given = [message(id=id, created_at=minutes(-number)) for number, id in enumerate("zyxabc")]
        added = await store.add_thread_items("t", given, owner=ANN)
        assert [item.id for item in added] == list("zyxabc")
        assert await all_items(store, "t", ANN) == added

    async def test_a_batch_of_a_thousand_is_one_write(self, store: Store) -> None:
        """A thousand items are added at once, after what was there."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_item("t", message(id="first"), owner=ANN)
        added = await store.add_thread_items("t", messages(1000), owner=ANN)
        assert len(added) == 1000
        assert await item_ids(store, "t", ANN) == ["first", *(item.id for item in added)]

    async def test_a_batch_with_a_conflict_adds_nothing(self, store: Store) -> None:
        """One item that exists with another time, wherever it stands in the batch, stops all of them."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_item("t", message("kept", id="old", created_at=NOON), owner=ANN)
        before = await snapshot(store, ANN)
        wrong = message("other", id="old", created_at=minutes(1))
        for batch in ([wrong, message(id="a")], [message(id="a"), wrong, message(id="b")], [message(id="a"), wrong]):
            with pytest.raises(ConflictError):
                await store.add_thread_items("t", batch, owner=ANN)
        assert await snapshot(store, ANN) == before

    async def test_a_batch_with_bad_input_adds_nothing(self, store: Store) -> None:
        """One item that no store takes, wherever it stands, stops all of them."""
        await store.create_thread(owner=ANN, id="t")
        wrong = Item(type="any", data={"x": float("nan")})
        for batch in ([wrong, message()], [message(), wrong, message()], [*messages(20), wrong]):
            with pytest.raises(InvalidInputError):
                await store.add_thread_items("t", batch, owner=ANN)
        assert await item_ids(store, "t", ANN) == []

    async def test_an_item_twice_in_one_batch_is_one_item(self, store: Store) -> None:
        """Given twice, an item is stored once, in its first place, with the data given last; both are answered."""
        await store.create_thread(owner=ANN, id="t")
        batch = [message("draft", id="a", created_at=NOON), message(id="b"), message("final", id="a")]
        added = await store.add_thread_items("t", batch, owner=ANN)
        assert [(item.id, item.data["text"]) for item in added] == [("a", "final"), ("b", "hi"), ("a", "final")]
        assert added[0] == added[2]
        assert added[0].created_at == NOON
        assert await all_items(store, "t", ANN) == added[:2]

    async def test_an_item_twice_in_one_batch_with_two_times_is_a_conflict(self, store: Store) -> None:
        """As two calls would, and nothing of the batch is stored."""
        await store.create_thread(owner=ANN, id="t")
        batch = [message(id="b"), message(id="a", created_at=NOON), message(id="a", created_at=minutes(1))]
        with pytest.raises(ConflictError):
            await store.add_thread_items("t", batch, owner=ANN)
        assert await item_ids(store, "t", ANN) == []

    async def test_a_batch_sent_again_is_the_same_batch(self, store: Store) -> None:
        """A retry of a batch, also with more items, leaves what is there in place and adds the rest."""
        await store.create_thread(owner=ANN, id="t")
        first = await store.add_thread_items("t", messages(3, created_at=NOON), owner=ANN)
        again = await store.add_thread_items("t", messages(5, created_at=NOON), owner=ANN)
        assert [item.position for item in again[:3]] == [item.position for item in first]
        assert await all_items(store, "t", ANN) == again

    async def test_a_batch_is_seen_whole_or_not_at_all(self, store: Store) -> None:
        """A read made while batches are written finds all items of a batch or none."""
        await store.create_thread(owner=ANN, id="t")
        writing = asyncio.gather(
            *(store.add_thread_items("t", messages(7, prefix=prefix), owner=ANN) for prefix in "abcdef")
        )
        counts: list[int] = []
        while not writing.done() and len(counts) < 500:
            counts.append(len(await item_ids(store, "t", ANN)))
            await asyncio.sleep(0)
        await writing
        ids = await item_ids(store, "t", ANN)
        assert all(count % 7 == 0 for count in counts)
        assert len(ids) == 42
        assert ["".join(id[0] for id in ids[start : start + 7]) for start in range(0, 42, 7)] == [
            id[0] * 7 for id in ids[::7]
        ]


class DeletingTests:
    """delete_thread_item, delete_thread_items and delete_thread."""

    async def test_a_deleted_item_is_gone_and_the_others_stay(self, store: Store) -> None:
        """One item is deleted; the order of the rest is as before."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_items("t", messages(5), owner=ANN)
        await store.delete_thread_item("t", "m0002", owner=ANN)
        assert await item_ids(store, "t", ANN) == ["m0000", "m0001", "m0003", "m0004"]
        with pytest.raises(NotFoundError):
            await store.load_item("t", "m0002", owner=ANN)

    async def test_several_items_are_deleted_in_one_call(self, store: Store) -> None:
        """Ids that are absent or given twice are no matter."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_items("t", messages(6), owner=ANN)
        await store.delete_thread_items("t", ["m0005", "absent", "m0000", "m0000", "m0003"], owner=ANN)
        assert await item_ids(store, "t", ANN) == ["m0001", "m0002", "m0004"]

    async def test_a_thousand_items_are_deleted_in_one_call(self, store: Store) -> None:
        """The largest delete by id takes all it names and nothing else."""
        await store.create_thread(owner=ANN, id="t")
        added = await store.add_thread_items("t", messages(1000), owner=ANN)
        await store.add_thread_item("t", message(id="kept"), owner=ANN)
        await store.delete_thread_items("t", [item.id for item in added], owner=ANN)
        assert await item_ids(store, "t", ANN) == ["kept"]

    async def test_everything_after_an_item_is_deleted(self, store: Store) -> None:
        """delete_thread_items(after=) deletes what stands after the item, by place, and keeps the item itself."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_items("t", messages(5, created_at=NOON), owner=ANN)
        await store.add_thread_item("t", message(id="early", created_at=minutes(-1)), owner=ANN, at=minutes(-1))
        await store.add_thread_item("t", message(id="past", created_at=minutes(-9)), owner=ANN)
        await store.delete_thread_items("t", owner=ANN, after="m0002")
        assert await item_ids(store, "t", ANN) == ["early", "m0000", "m0001", "m0002"]
        await store.delete_thread_items("t", owner=ANN, after="m0002")
        assert await item_ids(store, "t", ANN) == ["early", "m0000", "m0001", "m0002"]

    async def test_a_long_rest_is_deleted_after_an_item(self, store: Store) -> None:
        """So is a rest of more than a thousand items."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_items("t", messages(600, prefix="a"), owner=ANN)
        await store.add_thread_items("t", messages(600, prefix="b"), owner=ANN)
        await store.delete_thread_items("t", owner=ANN, after="a0000")
        assert await item_ids(store, "t", ANN) == ["a0000"]

    async def test_a_deleted_thread_is_gone_with_its_items(self, store: Store) -> None:
        """A deleted thread is absent in every call, and other threads keep what they have."""
        for thread_id in ("t", "u"):
            await store.create_thread(owner=ANN, id=thread_id)
            await store.add_thread_items(thread_id, messages(3), owner=ANN)
        await store.delete_thread("t", owner=ANN)
        assert await thread_ids(store, ANN) == ["u"]
        assert len(await item_ids(store, "u", ANN)) == 3
        errors = await errors_of(
            store.load_thread("t", owner=ANN),
            store.load_thread_items("t", owner=ANN),
            store.load_item("t", "m0000", owner=ANN),
            store.load_thread_attachments("t", owner=ANN),
        )
        assert errors == [NotFoundError] * 4

    async def test_the_id_of_a_deleted_thread_gives_an_empty_thread(self, store: Store) -> None:
        """A thread created under the id of a deleted one is new: no items, no conflict, its own values."""
        await store.create_thread(owner=ANN, id="t", title="old", metadata={"old": True}, created_at=NOON)
        await store.add_thread_item("t", message("old", id="a", created_at=NOON), owner=ANN)
        await store.delete_thread("t", owner=ANN)
        created = await store.create_thread(owner=ANN, id="t", title="new", created_at=minutes(1))
        assert (created.title, created.metadata, created.created_at) == ("new", {}, minutes(1))
        assert await item_ids(store, "t", ANN) == []
        await store.add_thread_item("t", message("new", id="a", created_at=minutes(2)), owner=ANN)
        assert [item.data for item in await all_items(store, "t", ANN)] == [{"text": "new"}]

    async def test_a_long_thread_is_deleted_whole_and_its_id_is_free_at_once(self, store: Store) -> None:
        """A thread of 1,500 items is unreachable after one call, and what was in it does not come back."""
        await store.create_thread(owner=ANN, id="t")
        for prefix in "ab":
            await store.add_thread_items("t", messages(750, prefix=prefix, created_at=NOON), owner=ANN)
        await store.save_attachment(upload("f", thread_id="t"), owner=ANN)
        await store.delete_thread("t", owner=ANN)
        assert await thread_ids(store, ANN) == []
        await store.create_thread(owner=ANN, id="t")
        assert await item_ids(store, "t", ANN) == []
        errors = await errors_of(store.load_item("t", "b0749", owner=ANN), store.load_attachment("f", owner=ANN))
        assert errors == [NotFoundError] * 2
        added = await store.add_thread_items("t", messages(3, prefix="a", created_at=minutes(1)), owner=ANN)
        assert await all_items(store, "t", ANN) == added
        await store.delete_thread("t", owner=ANN)
        assert await thread_ids(store, ANN) == []
