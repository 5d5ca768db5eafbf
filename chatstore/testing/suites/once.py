"""Promise 2, once: a write that is repeated is one write, and what is gone is not brought back."""

from __future__ import annotations

import asyncio
from datetime import timedelta, timezone

import pytest

from chatstore.errors import ConflictError, InvalidInputError, NotFoundError
from chatstore.models import Item
from chatstore.protocols import Store
from chatstore.testing.factories import ANN, BOB, NOON, message, minutes
from chatstore.testing.suites.reading import all_items, errors_of, item_ids, snapshot, thread_ids


class OnceTests:
    """Repeated adds, repeated creates and saves."""

    async def test_an_item_added_again_keeps_its_place_and_takes_the_data_given_last(self, store: Store) -> None:
        """The same id with the same created_at is the same item in the same place with the data given last."""
        await store.create_thread(owner=ANN, id="t")
        first = await store.add_thread_item("t", message("draft", id="a", created_at=NOON), owner=ANN)
        await store.add_thread_item("t", message("next", id="b"), owner=ANN)
        again = await store.add_thread_item("t", message("final", id="a", created_at=NOON), owner=ANN)
        assert again.position == first.position
        assert [(item.id, item.data["text"]) for item in await all_items(store, "t", ANN)] == [
            ("a", "final"),
            ("b", "next"),
        ]

    async def test_an_item_added_again_without_a_time_matches_the_stored_one(self, store: Store) -> None:
        """An absent created_at matches the stored one, and does not replace it."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_item("t", message("draft", id="a", created_at=NOON), owner=ANN)
        again = await store.add_thread_item("t", message("final", id="a"), owner=ANN)
        assert (again.created_at, again.data) == (NOON, {"text": "final"})
        assert await all_items(store, "t", ANN) == [again]

    async def test_the_time_that_the_store_made_matches_when_it_is_given_back(self, store: Store) -> None:
        """The created_at that an add returned, given with the repeated add, is the same item."""
        await store.create_thread(owner=ANN, id="t")
        added = await store.add_thread_item("t", message("draft", id="a"), owner=ANN)
        again = message("final", id="a", created_at=added.created_at)
        assert (await store.add_thread_item("t", again, owner=ANN)).position == added.position
        assert await item_ids(store, "t", ANN) == ["a"]

    async def test_an_item_added_again_with_another_time_is_a_conflict_and_touches_nothing(self, store: Store) -> None:
        """The same id with another created_at is a ConflictError, and nothing is touched."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_item("t", message("kept", id="a", created_at=NOON), owner=ANN)
        before = await snapshot(store, ANN)
        with pytest.raises(ConflictError):
            await store.add_thread_item("t", message("other", id="a", created_at=minutes(1)), owner=ANN)
        with pytest.raises(ConflictError):
            await store.add_thread_item("t", message("other", id="a", created_at=minutes(1)), owner=ANN, at=NOON)
        assert await snapshot(store, ANN) == before

    async def test_the_same_instant_in_another_offset_is_another_time(self, store: Store) -> None:
        """Same created_at compares the text with its offset, as the offset is part of what comes back."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_item("t", message("kept", id="a", created_at=NOON), owner=ANN)
        elsewhere = NOON.astimezone(timezone(timedelta(hours=2)))
        with pytest.raises(ConflictError):
            await store.add_thread_item("t", message("other", id="a", created_at=elsewhere), owner=ANN)
        assert (await store.load_item("t", "a", owner=ANN)).data == {"text": "kept"}

    async def test_a_placed_item_added_again_stays_where_it_is(self, store: Store) -> None:
        """A repeated add with at= keeps the place of the first, whatever at= says."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_item("t", message(id="a", created_at=minutes(1)), owner=ANN)
        await store.add_thread_item("t", message(id="c", created_at=minutes(3)), owner=ANN)
        late = message(id="b", created_at=minutes(2))
        placed = await store.add_thread_item("t", late, owner=ANN, at=minutes(2))
        assert (await store.add_thread_item("t", late, owner=ANN, at=minutes(0))).position == placed.position
        assert (await store.add_thread_item("t", late, owner=ANN)).position == placed.position
        assert await item_ids(store, "t", ANN) == ["a", "b", "c"]

    async def test_one_add_sent_many_times_at_once_is_one_item(self, store: Store) -> None:
        """Concurrent repeats of one add leave one item, and each of them is answered with it."""
        await store.create_thread(owner=ANN, id="t")
        item = message(id="a", created_at=NOON)
        added = await asyncio.gather(*(store.add_thread_item("t", item, owner=ANN) for _ in range(10)))
        assert len({one.position for one in added}) == 1
        assert await item_ids(store, "t", ANN) == ["a"]

    async def test_of_two_items_under_one_id_at_once_one_wins_and_the_others_are_told(self, store: Store) -> None:
        """Concurrent adds under one id with different times: one is stored, every other is a ConflictError."""
        await store.create_thread(owner=ANN, id="t")
        adds = [
            store.add_thread_item("t", message(str(number), id="a", created_at=minutes(number)), owner=ANN)
            for number in range(5)
        ]
        answers = await asyncio.gather(*adds, return_exceptions=True)
        (winner,) = [answer for answer in answers if isinstance(answer, Item)]
        assert [type(answer) for answer in answers if answer is not winner] == [ConflictError] * 4
        assert await all_items(store, "t", ANN) == [winner]

    async def test_one_id_in_two_threads_is_two_items(self, store: Store) -> None:
        """An item's id is its own within a thread only."""
        for thread_id in ("t", "u"):
            await store.create_thread(owner=ANN, id=thread_id)
            await store.add_thread_item(thread_id, message(thread_id, id="a"), owner=ANN)
        assert (await store.load_item("t", "a", owner=ANN)).data == {"text": "t"}
        assert (await store.load_item("u", "a", owner=ANN)).data == {"text": "u"}

    async def test_absent_ids_are_made_and_never_twice(self, store: Store) -> None:
        """Ids and times that are absent are filled in, and every id is another one."""
        threads = [await store.create_thread(owner=ANN) for _ in range(3)]
        added = await store.add_thread_items(threads[0].id, [message() for _ in range(20)], owner=ANN)
        assert len({item.id for item in added} | {thread.id for thread in threads}) == 23
        assert all(item.created_at is not None and item.thread_id == threads[0].id for item in added)
        assert await all_items(store, threads[0].id, ANN) == added

    async def test_a_thread_created_again_is_the_stored_one(self, store: Store) -> None:
        """create_thread with an id that exists and equal title and metadata is success and changes nothing."""
        created = await store.create_thread(owner=ANN, id="t", title="x", metadata={"a": [1]}, created_at=NOON)
        await store.add_thread_item("t", message(id="a"), owner=ANN)
        again = await store.create_thread(owner=ANN, id="t", title="x", metadata={"a": [1]})
        assert (again.created_at, again.revision) == (NOON, created.revision)
        assert await thread_ids(store, ANN) == ["t"]
        assert await item_ids(store, "t", ANN) == ["a"]

    async def test_a_thread_created_again_with_other_values_is_a_conflict_and_touches_nothing(
        self, store: Store
    ) -> None:
        """create_thread with an id that exists and another title or metadata is a ConflictError."""
        await store.create_thread(owner=ANN, id="t", title="x", metadata={"a": 1})
        before = await snapshot(store, ANN)
        for title, metadata in (("y", {"a": 1}), (None, {"a": 1}), ("x", {"a": 2}), ("x", None)):
            with pytest.raises(ConflictError):
                await store.create_thread(owner=ANN, id="t", title=title, metadata=metadata)
        assert await snapshot(store, ANN) == before

    async def test_one_thread_created_many_times_at_once_is_one_thread(self, store: Store) -> None:
        """Concurrent repeats of one create_thread leave one thread and are all answered with it."""
        creates = [store.create_thread(owner=ANN, id="t", title="x", created_at=NOON) for _ in range(8)]
        assert {thread.id for thread in await asyncio.gather(*creates)} == {"t"}
        assert await thread_ids(store, ANN) == ["t"]

    async def test_a_saved_item_keeps_its_position(self, store: Store) -> None:
        """save_item replaces type, data and created_at of an item and leaves it in its place."""
        await store.create_thread(owner=ANN, id="t")
        first = await store.add_thread_item("t", message("draft", id="a", created_at=NOON), owner=ANN)
        await store.add_thread_item("t", message(id="b"), owner=ANN)
        changed = Item(id="a", type="widget", data={"done": True}, created_at=minutes(9))
        saved = await store.save_item("t", changed, owner=ANN)
        assert (saved.type, saved.data, saved.created_at) == ("widget", {"done": True}, minutes(9))
        assert saved.position == first.position
        assert [item.id for item in await all_items(store, "t", ANN)] == ["a", "b"]
        assert await store.load_item("t", "a", owner=ANN) == saved

    async def test_an_item_saved_without_a_time_keeps_the_stored_one(self, store: Store) -> None:
        """save_item replaces the creation time only where one is given."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_item("t", message("draft", id="a", created_at=NOON), owner=ANN)
        saved = await store.save_item("t", message("final", id="a"), owner=ANN)
        assert (saved.created_at, saved.data) == (NOON, {"text": "final"})

    async def test_an_item_never_stored_is_inserted_by_its_save(self, store: Store) -> None:
        """save_item of an item that was never stored appends it."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_item("t", message(id="a"), owner=ANN)
        saved = await store.save_item("t", message("new", id="b"), owner=ANN)
        assert await item_ids(store, "t", ANN) == ["a", "b"]
        assert await store.load_item("t", "b", owner=ANN) == saved

    async def test_a_loaded_item_that_is_gone_is_not_brought_back(self, store: Store) -> None:
        """A save of an item that was loaded and is gone since is a NotFoundError, never a resurrection."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_item("t", message(id="a"), owner=ANN)
        loaded = await store.load_item("t", "a", owner=ANN)
        await store.delete_thread_item("t", "a", owner=ANN)
        with pytest.raises(NotFoundError):
            await store.save_item("t", loaded.model_copy(update={"data": {"text": "back"}}), owner=ANN)
        assert await item_ids(store, "t", ANN) == []

    async def test_a_loaded_item_of_a_deleted_thread_is_not_brought_back(self, store: Store) -> None:
        """Nor is one whose thread is gone, also when another thread has the id since."""
        await store.create_thread(owner=ANN, id="t")
        loaded = await store.add_thread_item("t", message(id="a"), owner=ANN)
        await store.delete_thread("t", owner=ANN)
        with pytest.raises(NotFoundError):
            await store.save_item("t", loaded, owner=ANN)
        assert await thread_ids(store, ANN) == []
        await store.create_thread(owner=ANN, id="t")
        with pytest.raises(NotFoundError):
            await store.save_item("t", loaded, owner=ANN)
        assert await item_ids(store, "t", ANN) == []

    async def test_a_loaded_thread_that_is_gone_is_not_brought_back(self, store: Store) -> None:
        """A save of a thread that was loaded and is gone since is a NotFoundError."""
        loaded = await store.create_thread(owner=ANN, id="t")
        await store.delete_thread("t", owner=ANN)
        with pytest.raises(NotFoundError):
            await store.save_thread(loaded.model_copy(update={"title": "back"}), owner=ANN)
        with pytest.raises(NotFoundError):
            await store.save_thread(loaded, owner=ANN)
        assert await thread_ids(store, ANN) == []

    async def test_a_loaded_item_is_saved_in_its_own_thread_only(self, store: Store) -> None:
        """An item loaded from one thread cannot be saved in another, where it has no place."""
        for thread_id in ("t", "u"):
            await store.create_thread(owner=ANN, id=thread_id)
        loaded = await store.add_thread_item("t", message(id="a"), owner=ANN)
        with pytest.raises(InvalidInputError):
            await store.save_item("u", loaded, owner=ANN)
        assert await item_ids(store, "u", ANN) == []

    async def test_a_deleted_item_that_is_added_again_is_a_new_one_at_the_end(self, store: Store) -> None:
        """What was deleted can be added again under its id, as the newest item."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_items("t", [message(id="a", created_at=NOON), message(id="b")], owner=ANN)
        await store.delete_thread_item("t", "a", owner=ANN)
        await store.add_thread_item("t", message("new", id="a", created_at=minutes(5)), owner=ANN)
        assert await item_ids(store, "t", ANN) == ["b", "a"]

    async def test_an_item_is_added_to_an_existing_thread_only(self, store: Store) -> None:
        """An item for a thread that does not exist is a NotFoundError and makes no thread."""
        await store.create_thread(owner=BOB, id="t")
        errors = await errors_of(
            store.add_thread_item("t", message(id="a"), owner=ANN),
            store.add_thread_item("t", message(id="a"), owner=ANN, at=NOON),
            store.add_thread_items("t", [message(id="a")], owner=ANN),
            store.save_item("t", message(id="a"), owner=ANN),
        )
        assert errors == [NotFoundError] * 4
        assert await thread_ids(store, ANN) == []
        assert await item_ids(store, "t", BOB) == []
