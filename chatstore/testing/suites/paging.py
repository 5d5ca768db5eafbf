"""Promise 7, bounded: keyset pages of items, in both orders, correct under deletes and writes between them."""

from __future__ import annotations

from typing import Any

import pytest

from chatstore.errors import InvalidInputError
from chatstore.models import Item, Order
from chatstore.protocols import Store
from chatstore.stores.memory import MemoryStore
from chatstore.testing.factories import ANN, BOB, message, messages, minutes, upload
from chatstore.testing.suites.reading import errors_of, item_ids, item_pages

ORDERS: list[Order] = ["asc", "desc"]
MEBIBYTE = 1024 * 1024


async def _thread_of(store: Store, count: int) -> list[str]:
    await store.create_thread(owner=ANN, id="t")
    return [item.id for item in await store.add_thread_items("t", messages(count), owner=ANN)]


class PagingTests:
    """Pages of items, and cursors."""

    @pytest.mark.parametrize("order", ORDERS)
    @pytest.mark.parametrize("limit", [1, 2, 3, 9, 10, 11])
    async def test_pages_hold_every_item_once(self, store: Store, order: Order, limit: int) -> None:
        """All pages together are the thread, each but the last is full, and only the last has nothing after it."""
        ids = await _thread_of(store, 10)
        pages = await item_pages(store, "t", ANN, limit=limit, order=order)
        found = [item.id for page in pages for item in page.data]
        assert found == (ids if order == "asc" else ids[::-1])
        assert [len(page.data) for page in pages[:-1]] == [limit] * (len(pages) - 1)
        assert [page.has_more for page in pages] == [True] * (len(pages) - 1) + [False]
        assert [page.after is not None for page in pages] == [page.has_more for page in pages]

    @pytest.mark.parametrize("order", ORDERS)
    async def test_a_page_that_ends_with_the_thread_has_nothing_after_it(self, store: Store, order: Order) -> None:
        """has_more is exact: a full page of the last items says that there are no more."""
        await _thread_of(store, 4)
        page = await store.load_thread_items("t", owner=ANN, limit=4, order=order)
        assert (len(page.data), page.has_more, page.after) == (4, False, None)
        page = await store.load_thread_items("t", owner=ANN, limit=3, order=order)
        assert (len(page.data), page.has_more) == (3, True)

    @pytest.mark.parametrize("order", ORDERS)
    async def test_a_loaded_item_serves_as_a_cursor(self, store: Store, order: Order) -> None:
        """The page after a loaded item is the page after the cursor that ends with it."""
        await _thread_of(store, 6)
        page = await store.load_thread_items("t", owner=ANN, limit=2, order=order)
        by_cursor = await store.load_thread_items("t", owner=ANN, limit=3, order=order, after=page.after)
        by_item = await store.load_thread_items("t", owner=ANN, limit=3, order=order, after=page.data[-1])
        assert by_item == by_cursor
        last = (await store.load_thread_items("t", owner=ANN, order=order)).data[-1]
        assert (await store.load_thread_items("t", owner=ANN, order=order, after=last)).data == []

    @pytest.mark.parametrize("order", ORDERS)
    async def test_deletes_between_pages_lose_no_other_item(self, store: Store, order: Order) -> None:
        """A cursor outlives the item that it was made at, and those before and after it."""
        ids = await _thread_of(store, 9)
        ids = ids if order == "asc" else ids[::-1]
        page = await store.load_thread_items("t", owner=ANN, limit=3, order=order)
        await store.delete_thread_items("t", [ids[0], ids[2], ids[3], ids[5]], owner=ANN)
        rest = await store.load_thread_items("t", owner=ANN, order=order, after=page.after)
        assert [item.id for item in rest.data] == [ids[4], *ids[6:]]
        by_item = await store.load_thread_items("t", owner=ANN, order=order, after=page.data[-1])
        assert by_item.data == rest.data

    async def test_items_added_between_pages_come_at_the_end(self, store: Store) -> None:
        """Ascending, what is added meanwhile is found by the later pages; nothing comes twice."""
        ids = await _thread_of(store, 5)
        page = await store.load_thread_items("t", owner=ANN, limit=3)
        await store.add_thread_item("t", message(id="new"), owner=ANN)
        rest = await store.load_thread_items("t", owner=ANN, after=page.after)
        assert [item.id for item in rest.data] == [*ids[3:], "new"]

    async def test_items_added_between_pages_do_not_shift_older_ones(self, store: Store) -> None:
        """Descending, what is added meanwhile is before the first page and moves nothing."""
        ids = await _thread_of(store, 5)
        page = await store.load_thread_items("t", owner=ANN, limit=3, order="desc")
        await store.add_thread_items("t", [message(), message()], owner=ANN)
        rest = await store.load_thread_items("t", owner=ANN, order="desc", after=page.after)
        assert [item.id for item in rest.data] == [ids[1], ids[0]]

    async def test_pages_follow_positions_and_not_times(self, store: Store) -> None:
        """Equal and backward times lose nothing at a page's edge, nor do placed items."""
        await store.create_thread(owner=ANN, id="t")
        for number in range(6):
            await store.add_thread_item("t", message(id=f"a{number}", created_at=minutes(-(number // 3))), owner=ANN)
        await store.add_thread_item("t", message(id="x", created_at=minutes(-1)), owner=ANN, at=minutes(-1))
        whole = await item_ids(store, "t", ANN)
        assert whole == ["x", "a0", "a1", "a2", "a3", "a4", "a5"]
        for limit in (1, 2, 3):
            pages = await item_pages(store, "t", ANN, limit=limit)
            assert [item.id for page in pages for item in page.data] == whole

    async def test_a_limit_over_a_thousand_is_a_thousand(self, store: Store) -> None:
        """However much is asked for, a page holds a thousand items at most."""
        await _thread_of(store, 1000)
        await store.add_thread_item("t", message(id="last"), owner=ANN)
        for limit in (1001, 10**9, 10**30):
            page = await store.load_thread_items("t", owner=ANN, limit=limit)
            assert (len(page.data), page.has_more) == (1000, True)
        rest = await store.load_thread_items("t", owner=ANN, limit=5000, after=page.after)
        assert [item.id for item in rest.data] == ["last"]
        assert len((await store.load_threads(owner=ANN, limit=10**30)).data) == 1
        assert (await store.load_thread_attachments("t", owner=ANN, limit=10**30)).data == []

    @pytest.mark.parametrize("order", ORDERS)
    async def test_a_page_ends_after_sixteen_mebibytes(self, store: Store, order: Order) -> None:
        """A page ends near 16 MiB of payload, says that there is more, and the next one goes on there."""
        await store.create_thread(owner=ANN, id="t")
        large = [Item(id=f"a{number}", type="large", data={"x": "y" * (3 * MEBIBYTE)}) for number in range(7)]
        await store.add_thread_items("t", large, owner=ANN)
        pages = await item_pages(store, "t", ANN, limit=100, order=order)
        found = [item.id for page in pages for item in page.data]
        assert found == [f"a{number}" for number in (range(7) if order == "asc" else range(6, -1, -1))]
        assert [page.has_more for page in pages] == [True, False]
        assert len(pages[0].data) in (5, 6)

    async def test_iterating_finds_every_item_in_both_orders(self, store: Store) -> None:
        """iter_thread_items goes through all pages, whatever their size."""
        ids = await _thread_of(store, 7)
        for page_size in (1, 3, 7, 100, 5000):
            ascending = store.iter_thread_items("t", owner=ANN, page_size=page_size)
            descending = store.iter_thread_items("t", owner=ANN, order="desc", page_size=page_size)
            assert [item.id async for item in ascending] == ids
            assert [item.id async for item in descending] == ids[::-1]

    async def test_iterating_while_deleting_meets_every_item(self, store: Store) -> None:
        """Each item can be deleted as it is met."""
        ids = await _thread_of(store, 7)
        met = []
        async for item in store.iter_thread_items("t", owner=ANN, page_size=2):
            met.append(item.id)
            await store.delete_thread_item("t", item.id, owner=ANN)
        assert met == ids
        assert await item_ids(store, "t", ANN) == []

    async def test_an_altered_cursor_is_refused(self, store: Store) -> None:
        """No character of a cursor can be changed, added or left out."""
        await _thread_of(store, 3)
        cursor = (await store.load_thread_items("t", owner=ANN, limit=1)).after
        assert cursor is not None
        altered = [cursor[:end] for end in range(len(cursor))]
        altered += [cursor[:place] + other + cursor[place + 1 :] for place in range(len(cursor)) for other in "Az9"]
        altered += [cursor + tail for tail in ("A", "AA", "=", "==", "\n", " ", "\x00")]
        for wrong in set(altered) - {cursor}:
            with pytest.raises(InvalidInputError):
                await store.load_thread_items("t", owner=ANN, after=wrong)
        assert len((await store.load_thread_items("t", owner=ANN, after=cursor)).data) == 2

    async def test_what_is_no_cursor_is_refused(self, store: Store) -> None:
        """Forged texts, other types and a megabyte are refused by every listing."""
        await _thread_of(store, 3)
        forged: list[Any] = [
            "",
            "x",
            "0",
            "1000",
            "m0001",
            "W10",
            "AAAAAAAAAAAAAAAAAAAAWzFd",
            "\ud800",
            "é",
            "x" * 2**20,
        ]
        forged += [0, 5, 1.5, True, b"x", ["x"], {"after": "x"}, message(), message(id="m0001")]
        for wrong in forged:
            with pytest.raises(InvalidInputError):
                await store.load_thread_items("t", owner=ANN, after=wrong)
            with pytest.raises(InvalidInputError):
                await store.load_threads(owner=ANN, after=wrong)
            with pytest.raises(InvalidInputError):
                await store.load_thread_attachments("t", owner=ANN, after=wrong)

    async def test_a_cursor_belongs_to_one_listing(self, store: Store) -> None:
        """A cursor of another thread, order or kind of listing is refused, and so is an item of another thread."""
        for thread_id in ("t", "u"):
            await store.create_thread(owner=ANN, id=thread_id)
            await store.add_thread_items(thread_id, messages(3), owner=ANN)
            for number in range(2):
                await store.save_attachment(upload(f"{thread_id}{number}", thread_id=thread_id), owner=ANN)
        items = await store.load_thread_items("t", owner=ANN, limit=1)
        threads = await store.load_threads(owner=ANN, limit=1)
        files = await store.load_thread_attachments("t", owner=ANN, limit=1)
        errors = await errors_of(
            store.load_thread_items("u", owner=ANN, after=items.after),
            store.load_thread_items("u", owner=ANN, after=items.data[0]),
            store.load_thread_items("t", owner=ANN, order="desc", after=items.after),
            store.load_thread_items("t", owner=ANN, after=threads.after),
            store.load_thread_items("t", owner=ANN, after=files.after),
            store.load_thread_attachments("u", owner=ANN, after=files.after),
            store.load_thread_attachments("t", owner=ANN, after=items.after),
            store.load_threads(owner=ANN, after=items.after),
            store.load_threads(owner=ANN, order="asc", after=threads.after),
            store.load_threads(owner=ANN, by="created", after=threads.after),
        )
        assert errors == [InvalidInputError] * 10

    async def test_a_cursor_belongs_to_one_database(self, store: Store) -> None:
        """A cursor that another store made for the same owner, thread and order is refused."""
        await _thread_of(store, 3)
        other = MemoryStore()
        await _thread_of(other, 3)
        foreign = (await other.load_thread_items("t", owner=ANN, limit=1)).after
        with pytest.raises(InvalidInputError):
            await store.load_thread_items("t", owner=ANN, after=foreign)

    async def test_a_cursor_says_nothing_to_other_owners(self, store: Store) -> None:
        """Another owner with the same thread id cannot go on from a cursor."""
        await _thread_of(store, 3)
        await store.create_thread(owner=BOB, id="t")
        await store.add_thread_items("t", messages(3), owner=BOB)
        page = await store.load_thread_items("t", owner=ANN, limit=1)
        with pytest.raises(InvalidInputError):
            await store.load_thread_items("t", owner=BOB, after=page.after)

    async def test_a_cursor_can_be_used_again(self, store: Store) -> None:
        """The same cursor gives the same page, also inside a transaction, and one made there works outside."""
        await _thread_of(store, 6)
        first = await store.load_thread_items("t", owner=ANN, limit=2)
        second = await store.load_thread_items("t", owner=ANN, limit=2, after=first.after)
        assert await store.load_thread_items("t", owner=ANN, limit=2, after=first.after) == second
        async with store.transaction() as tx:
            assert await tx.load_thread_items("t", owner=ANN, limit=2, after=first.after) == second
            made_inside = (await tx.load_thread_items("t", owner=ANN, limit=2)).after
        assert await store.load_thread_items("t", owner=ANN, limit=2, after=made_inside) == second
