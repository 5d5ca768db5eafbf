"""Promise 3, in order: the place of an item is drawn once, and clocks do not decide."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import pairwise

from chatstore.models import Item
from chatstore.protocols import Store
from chatstore.testing.factories import ANN, NOON, message, messages, minutes
from chatstore.testing.suites.reading import all_items, item_ids


async def _seconds_apart(store: Store, *ids: str) -> None:
    await store.create_thread(owner=ANN, id="t")
    for number, id in enumerate(ids):
        await store.add_thread_item("t", message(id=id, created_at=minutes(number)), owner=ANN)


async def _place(store: Store, id: str, at: datetime) -> Item:
    return await store.add_thread_item("t", message(id=id, created_at=at), owner=ANN, at=at)


class OrderTests:
    """Appends, concurrent appends, and items placed by time."""

    async def test_items_are_in_the_order_of_their_adds(self, store: Store) -> None:
        """Positions strictly increase from one add to the next, and a listing is in their order."""
        await store.create_thread(owner=ANN, id="t")
        added = [await store.add_thread_item("t", message(), owner=ANN) for _ in range(10)]
        positions = [item.position for item in added]
        assert positions == sorted(set(positions))
        assert await all_items(store, "t", ANN) == added

    async def test_descending_is_the_exact_reverse(self, store: Store) -> None:
        """The same items come in both orders, one the reverse of the other."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_items("t", messages(25), owner=ANN)
        await _place(store, "early", minutes(-5))
        ascending = await all_items(store, "t", ANN)
        assert await all_items(store, "t", ANN, order="desc") == ascending[::-1]

    async def test_a_thousand_equal_times_change_nothing(self, store: Store) -> None:
        """Items with one created_at keep the order of their adds."""
        await store.create_thread(owner=ANN, id="t")
        ids = [f"{(number * 7919) % 1009:04}" for number in range(1000)]
        batch = [message(id=id, created_at=NOON) for id in ids[:990]]
        await store.add_thread_items("t", batch, owner=ANN)
        for id in ids[990:]:
            await store.add_thread_item("t", message(id=id, created_at=NOON), owner=ANN)
        assert await item_ids(store, "t", ANN) == ids

    async def test_a_clock_that_steps_back_changes_nothing(self, store: Store) -> None:
        """Items whose created_at goes backwards keep the order of their adds."""
        await store.create_thread(owner=ANN, id="t")
        for number in range(10):
            await store.add_thread_item("t", message(id=str(number), created_at=minutes(-number)), owner=ANN)
        assert await item_ids(store, "t", ANN) == [str(number) for number in range(10)]

    async def test_concurrent_appends_are_all_there_once(self, store: Store) -> None:
        """Fifty appends at once are fifty items, each in a place of its own, as each was answered."""
        await store.create_thread(owner=ANN, id="t")
        added = await asyncio.gather(
            *(store.add_thread_item("t", message(str(number)), owner=ANN) for number in range(50))
        )
        assert len({item.position for item in added}) == 50
        assert await all_items(store, "t", ANN) == sorted(added, key=lambda item: item.position)

    async def test_each_writer_finds_its_appends_in_its_own_order(self, store: Store) -> None:
        """An append acknowledged before another one began comes before it, whoever writes beside."""
        await store.create_thread(owner=ANN, id="t")

        async def write(writer: str) -> None:
            for number in range(8):
                await store.add_thread_item("t", message(id=f"{writer}{number}"), owner=ANN)

        await asyncio.gather(*(write(writer) for writer in "abcd"))
        ids = await item_ids(store, "t", ANN)
        assert len(ids) == 32
        for writer in "abcd":
            assert [id for id in ids if id[0] == writer] == [f"{writer}{number}" for number in range(8)]

    async def test_concurrent_appends_to_many_threads_end_where_they_belong(self, store: Store) -> None:
        """Appends to several threads at once are each in their own thread, in order."""
        for number in range(5):
            await store.create_thread(owner=ANN, id=str(number))
        adds = [store.add_thread_item(str(number % 5), message(id=str(number)), owner=ANN) for number in range(40)]
        added = await asyncio.gather(*adds)
        for number in range(5):
            mine = [item for item in added if item.thread_id == str(number)]
            listed = await all_items(store, str(number), ANN)
            assert listed == sorted(mine, key=lambda item: item.position)
            assert {int(item.id) % 5 for item in listed} == {number}

    async def test_a_read_while_others_write_is_a_prefix_of_every_later_read(self, store: Store) -> None:
        """What a read found stays in front of everything that later reads find."""
        await store.create_thread(owner=ANN, id="t")

        async def write(writer: str) -> None:
            for number in range(6):
                await store.add_thread_item("t", message(id=f"{writer}{number}"), owner=ANN)

        writing = asyncio.gather(*(write(writer) for writer in "abcd"))
        reads = [await item_ids(store, "t", ANN)]
        while not writing.done() and len(reads) < 500:
            reads.append(await item_ids(store, "t", ANN))
            await asyncio.sleep(0)
        await writing
        reads.append(await item_ids(store, "t", ANN))
        assert len(reads[-1]) == 24
        for earlier, later in pairwise(reads):
            assert later[: len(earlier)] == earlier

    async def test_a_place_is_never_given_again(self, store: Store) -> None:
        """An item that follows a deleted one comes after the place which that had."""
        await store.create_thread(owner=ANN, id="t")
        last = [await store.add_thread_item("t", message(), owner=ANN) for _ in range(3)][-1]
        await store.delete_thread_item("t", last.id, owner=ANN)
        assert (await store.add_thread_item("t", message(), owner=ANN)).position > last.position

    async def test_a_save_with_another_time_does_not_move_an_item(self, store: Store) -> None:
        """created_at is a value of the item, not its place."""
        await _seconds_apart(store, "a", "b", "c")
        await store.save_item("t", message(id="a", created_at=minutes(60)), owner=ANN)
        assert await item_ids(store, "t", ANN) == ["a", "b", "c"]

    async def test_a_placed_item_goes_before_the_first_later_one(self, store: Store) -> None:
        """With at=, an item is placed directly before the first item whose time is later."""
        await _seconds_apart(store, "a", "b", "c", "d")
        placed = await _place(store, "x", minutes(1.5))
        assert await item_ids(store, "t", ANN) == ["a", "b", "x", "c", "d"]
        assert placed.created_at == minutes(1.5)
        assert await store.load_item("t", "x", owner=ANN) == placed

    async def test_a_placed_item_goes_after_those_of_the_same_instant(self, store: Store) -> None:
        """An item whose time equals at= is not later, so the placed one follows it."""
        await _seconds_apart(store, "a", "b", "c")
        await _place(store, "x", minutes(1))
        await _place(store, "y", minutes(1))
        assert await item_ids(store, "t", ANN) == ["a", "b", "x", "y", "c"]

    async def test_an_item_older_than_everything_goes_first(self, store: Store) -> None:
        """A placed item that is older than all others comes before them, also several times."""
        await _seconds_apart(store, "a", "b")
        for number in range(1, 6):
            await _place(store, f"old{number}", minutes(-number))
        await _place(store, "oldest", datetime(1, 1, 1, tzinfo=UTC))
        assert await item_ids(store, "t", ANN) == ["oldest", "old5", "old4", "old3", "old2", "old1", "a", "b"]

    async def test_an_item_later_than_everything_is_appended(self, store: Store) -> None:
        """Where no item is later than at=, the item is appended."""
        await _seconds_apart(store, "a", "b")
        for id, at in (("c", minutes(1)), ("d", minutes(30)), ("e", datetime(9999, 12, 31, tzinfo=UTC))):
            await _place(store, id, at)
        assert await item_ids(store, "t", ANN) == ["a", "b", "c", "d", "e"]

    async def test_the_first_item_of_a_thread_can_be_placed(self, store: Store) -> None:
        """In an empty thread a placed item is simply the first one."""
        await store.create_thread(owner=ANN, id="t")
        await _place(store, "a", NOON)
        assert await item_ids(store, "t", ANN) == ["a"]

    async def test_at_places_by_the_times_of_the_others_and_keeps_its_own(self, store: Store) -> None:
        """at= says where the item goes; its created_at may be another time and comes back as given."""
        await _seconds_apart(store, "a", "b", "c")
        item = message(id="x", created_at=minutes(60))
        placed = await store.add_thread_item("t", item, owner=ANN, at=minutes(0.5))
        assert placed.created_at == minutes(60)
        assert await item_ids(store, "t", ANN) == ["a", "x", "b", "c"]

    async def test_a_naive_at_is_local_time(self, store: Store) -> None:
        """A naive time is placed as the local time that it is."""
        await _seconds_apart(store, "a", "b", "c")
        local = minutes(1.5).astimezone().replace(tzinfo=None)
        await store.add_thread_item("t", message(id="x"), owner=ANN, at=local)
        assert await item_ids(store, "t", ANN) == ["a", "b", "x", "c"]

    async def test_several_items_are_placed_at_one_spot_one_after_another(self, store: Store) -> None:
        """Items placed between two neighbours that were appended together stand in the order of their times."""
        await store.create_thread(owner=ANN, id="t")
        pair = [message(id="a", created_at=minutes(0)), message(id="z", created_at=minutes(10))]
        await store.add_thread_items("t", pair, owner=ANN)
        for number in range(8):
            await _place(store, f"p{number}", minutes(1 + number // 2))
        assert await item_ids(store, "t", ANN) == ["a", *(f"p{number}" for number in range(8)), "z"]

    async def test_many_items_placed_at_one_spot_are_all_kept(self, store: Store) -> None:
        """However many are placed between two neighbours, each is there once, and what stood there stays in order."""
        await store.create_thread(owner=ANN, id="t")
        pair = [message(id="a", created_at=minutes(0)), message(id="z", created_at=minutes(10))]
        await store.add_thread_items("t", pair, owner=ANN)
        for number in range(40):
            before = await item_ids(store, "t", ANN)
            await _place(store, f"p{number}", minutes(1))
            after = await item_ids(store, "t", ANN)
            assert [id for id in after if id != f"p{number}"] == before
        assert len(await item_ids(store, "t", ANN)) == 42

    async def test_concurrent_placings_are_all_there_once(self, store: Store) -> None:
        """Items placed at one spot at once are all there, between their neighbours."""
        await _seconds_apart(store, "a", "z")
        placings = [_place(store, f"p{number}", minutes(0.5)) for number in range(8)]
        assert len({item.position for item in await asyncio.gather(*placings)}) == 8
        ids = await item_ids(store, "t", ANN)
        assert (ids[0], ids[-1], sorted(ids[1:-1])) == ("a", "z", [f"p{number}" for number in range(8)])

    async def test_an_append_after_a_placing_is_last(self, store: Store) -> None:
        """An append goes to the end, wherever the item before it was placed."""
        await _seconds_apart(store, "a", "b")
        await _place(store, "x", minutes(0.5))
        await store.add_thread_item("t", message(id="c", created_at=minutes(0)), owner=ANN)
        assert await item_ids(store, "t", ANN) == ["a", "x", "b", "c"]

    async def test_only_the_newest_thousand_are_looked_at(self, store: Store) -> None:
        """A placing does not look further back than a thousand items, so that it never reads a whole history."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_item("t", message(id="far", created_at=minutes(60)), owner=ANN)
        await store.add_thread_items("t", messages(1000, created_at=NOON), owner=ANN)
        await _place(store, "x", minutes(1))
        await store.delete_thread_item("t", "m0000", owner=ANN)
        await store.delete_thread_item("t", "x", owner=ANN)
        await _place(store, "y", minutes(1))
        ids = await item_ids(store, "t", ANN)
        assert (ids[:2], ids[-1]) == (["y", "far"], "m0999")
