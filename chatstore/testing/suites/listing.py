"""Promise 7 again: pages of an owner's threads, by creation and by last activity."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest

from chatstore.models import Order, ThreadOrder
from chatstore.protocols import Store
from chatstore.testing.factories import ANN, NOON, message, minutes
from chatstore.testing.suites.reading import all_threads, thread_ids, thread_pages

ORDERS: list[Order] = ["asc", "desc"]
BY: list[ThreadOrder] = ["created", "activity"]
LAG = timedelta(seconds=1)
"""How far ``updated_at`` may be behind."""


async def _threads(store: Store, count: int) -> list[str]:
    ids = [f"t{number}" for number in range(count)]
    for number, id in enumerate(ids):
        await store.create_thread(owner=ANN, id=id, created_at=minutes(number))
    return ids


class ListingTests:
    """Pages of threads."""

    @pytest.mark.parametrize("order", ORDERS)
    async def test_threads_are_listed_by_their_creation(self, store: Store, order: Order) -> None:
        """By creation, the time that was given decides, as an instant, and not when the thread was stored."""
        east = minutes(3).astimezone(timezone(timedelta(hours=9)))
        for id, created_at in (("d", minutes(4)), ("a", minutes(1)), ("c", east), ("b", minutes(2))):
            await store.create_thread(owner=ANN, id=id, created_at=created_at)
        ids = await thread_ids(store, ANN, order=order)
        assert ids == (["a", "b", "c", "d"] if order == "asc" else ["d", "c", "b", "a"])

    @pytest.mark.parametrize("by", BY)
    @pytest.mark.parametrize("order", ORDERS)
    @pytest.mark.parametrize("limit", [1, 3, 7])
    async def test_pages_hold_every_thread_once(self, store: Store, by: ThreadOrder, order: Order, limit: int) -> None:
        """All pages together are the owner's threads; has_more and after are exact."""
        ids = await _threads(store, 7)
        pages = await thread_pages(store, ANN, limit=limit, order=order, by=by)
        found = [thread.id for page in pages for thread in page.data]
        assert sorted(found) == ids
        assert [len(page.data) for page in pages[:-1]] == [limit] * (len(pages) - 1)
        assert [page.has_more for page in pages] == [True] * (len(pages) - 1) + [False]
        assert [page.after is not None for page in pages] == [page.has_more for page in pages]

    @pytest.mark.parametrize("order", ORDERS)
    @pytest.mark.parametrize("limit", [1, 2, 3, 5])
    async def test_threads_of_one_time_are_all_listed(self, store: Store, order: Order, limit: int) -> None:
        """Ties are ordered by id, by code points, and no page's edge loses one of them."""
        ids = ["Z", "a", "aa", "b", "\u00e9", "\uffff", "\U00010000"]
        for id in (ids[3], ids[0], ids[6], ids[1], ids[5], ids[2], ids[4]):
            await store.create_thread(owner=ANN, id=id, created_at=NOON)
        pages = await thread_pages(store, ANN, limit=limit, order=order)
        assert [thread.id for page in pages for thread in page.data] == (ids if order == "asc" else ids[::-1])

    @pytest.mark.parametrize("order", ORDERS)
    async def test_threads_are_listed_by_their_last_activity(self, store: Store, order: Order) -> None:
        """By activity, the listing is in the order of updated_at, ties by id."""
        await _threads(store, 6)
        for id in ("t3", "t0", "t5"):
            await store.update_thread(id, owner=ANN, title="touched")
        await store.add_thread_item("t1", message(), owner=ANN)
        threads = await all_threads(store, ANN, order=order, by="activity")
        marks = [(thread.updated_at, thread.id) for thread in threads]
        assert marks == sorted(marks, reverse=order == "desc")

    async def test_threads_come_by_activity_newest_first_unless_told_otherwise(self, store: Store) -> None:
        """Without options a page holds twenty threads, those that were active last."""
        await _threads(store, 21)
        page = await store.load_threads(owner=ANN)
        assert (len(page.data), page.has_more) == (20, True)
        assert page == await store.load_threads(owner=ANN, limit=20, order="desc", by="activity")

    async def test_every_write_moves_the_time_of_the_last_activity(self, store: Store) -> None:
        """updated_at never goes back and, a second of lag aside, moves with each write to the thread or its items."""
        await store.create_thread(owner=ANN, id="t", created_at=minutes(0))
        await store.create_thread(owner=ANN, id="clock")
        last = (await store.load_thread("t", owner=ANN)).updated_at
        for write in (
            lambda: store.add_thread_item("t", message("1", id="a", created_at=NOON), owner=ANN),
            lambda: store.add_thread_item("t", message("2", id="a", created_at=NOON), owner=ANN),
            lambda: store.add_thread_item("t", message(id="b"), owner=ANN, at=NOON),
            lambda: store.add_thread_items("t", [message(id="c"), message(id="d")], owner=ANN),
            lambda: store.save_item("t", message("3", id="a"), owner=ANN),
            lambda: store.delete_thread_item("t", "a", owner=ANN),
            lambda: store.delete_thread_items("t", owner=ANN, after="b"),
            lambda: store.update_thread("t", owner=ANN, title="x"),
        ):
            now = (await store.update_thread("clock", owner=ANN, title=str(write))).updated_at
            await write()
            updated_at = (await store.load_thread("t", owner=ANN)).updated_at
            assert updated_at >= max(last, now - LAG)
            last = updated_at

    async def test_times_of_activity_are_the_present_and_in_utc(self, store: Store) -> None:
        """updated_at is the store's own time, aware, whatever created_at is."""
        past = await store.create_thread(owner=ANN, created_at=minutes(0))
        present = await store.create_thread(owner=ANN)
        assert past.updated_at.utcoffset() == timedelta()
        assert abs(past.updated_at - present.updated_at) < timedelta(minutes=5)
        assert abs(present.created_at - present.updated_at) < timedelta(minutes=5)

    @pytest.mark.parametrize("by", BY)
    @pytest.mark.parametrize("order", ORDERS)
    async def test_a_loaded_thread_serves_as_a_cursor(self, store: Store, by: ThreadOrder, order: Order) -> None:
        """The page after a loaded thread is the page after the cursor that ends with it."""
        await _threads(store, 6)
        page = await store.load_threads(owner=ANN, limit=2, order=order, by=by)
        by_cursor = await store.load_threads(owner=ANN, limit=3, order=order, by=by, after=page.after)
        by_thread = await store.load_threads(owner=ANN, limit=3, order=order, by=by, after=page.data[-1])
        assert by_thread.data == by_cursor.data

    @pytest.mark.parametrize("by", BY)
    @pytest.mark.parametrize("order", ORDERS)
    async def test_threads_deleted_between_pages_lose_no_other(
        self, store: Store, by: ThreadOrder, order: Order
    ) -> None:
        """A cursor outlives the thread that it was made at, and those around it."""
        await _threads(store, 8)
        ids = await thread_ids(store, ANN, order=order, by=by)
        page = await store.load_threads(owner=ANN, limit=3, order=order, by=by)
        for id in (ids[0], ids[2], ids[3], ids[6]):
            await store.delete_thread(id, owner=ANN)
        rest = await store.load_threads(owner=ANN, order=order, by=by, after=page.after)
        assert [thread.id for thread in rest.data] == [ids[4], ids[5], ids[7]]

    @pytest.mark.parametrize("order", ORDERS)
    async def test_threads_created_between_pages_shift_no_other(self, store: Store, order: Order) -> None:
        """By creation, what is created meanwhile is found where its time is, and nothing comes twice."""
        await _threads(store, 6)
        page = await store.load_threads(owner=ANN, limit=3, order=order, by="created")
        await store.create_thread(owner=ANN, id="early", created_at=minutes(-9))
        await store.create_thread(owner=ANN, id="late", created_at=minutes(99))
        rest = await store.load_threads(owner=ANN, order=order, by="created", after=page.after)
        expected = ["t3", "t4", "t5", "late"] if order == "asc" else ["t2", "t1", "t0", "early"]
        assert [thread.id for thread in rest.data] == expected

    @pytest.mark.parametrize("order", ORDERS)
    async def test_a_thread_touched_between_pages_never_comes_twice(self, store: Store, order: Order) -> None:
        """By activity, a thread touched meanwhile may be missing from later pages; every other comes once."""
        await _threads(store, 8)
        page = await store.load_threads(owner=ANN, limit=2, order=order, by="activity")
        met = [thread.id for thread in page.data]
        touched = [met[0], "t5"]
        while page.after is not None:
            for id in touched:
                await store.add_thread_item(id, message(), owner=ANN)
                await store.update_thread(id, owner=ANN, title=f"seen {len(met)}")
            page = await store.load_threads(owner=ANN, limit=2, order=order, by="activity", after=page.after)
            met += [thread.id for thread in page.data]
        assert len(met) == len(set(met))
        assert set(met) >= {f"t{number}" for number in range(8)} - set(touched)

    @pytest.mark.parametrize("by", BY)
    async def test_the_longest_ids_can_be_paged_through(self, store: Store, by: ThreadOrder) -> None:
        """A cursor at a thread whose id is as long as ids may be works as any other."""
        ids = [character * (255 // len(character.encode())) for character in '"\\\u00e9\u4e2d\U0001f600']
        for number, id in enumerate(ids):
            await store.create_thread(owner=ANN, id=id, created_at=minutes(number))
        pages = await thread_pages(store, ANN, limit=1, by=by)
        assert sorted(thread.id for page in pages for thread in page.data) == sorted(ids)

    async def test_threads_of_every_year_are_listed_in_order(self, store: Store) -> None:
        """The first and the last year of the calendar have their place in a listing by creation."""
        years = [9999, 1, 1970, 2024, 1969, 1900]
        for year in years:
            await store.create_thread(owner=ANN, id=str(year), created_at=NOON.replace(year=year))
        assert await thread_ids(store, ANN) == [str(year) for year in sorted(years)]
