"""Promise 9, copies in, copies out: what a caller does to a value reaches neither the store nor other callers."""

from __future__ import annotations

from typing import Any

from chatstore.models import Item, Thread
from chatstore.protocols import Store
from chatstore.testing.factories import ANN, upload
from chatstore.testing.suites.reading import all_items


def _value() -> dict[str, Any]:
    return {"text": "kept", "parts": [{"n": 1}, [2]], "inner": {"list": [3]}}


def _spoil(data: dict[str, Any]) -> None:
    data["text"] = "spoilt"
    data["parts"][0]["n"] = "spoilt"
    data["parts"][1].append("spoilt")
    data["inner"]["list"].clear()
    data["more"] = "spoilt"


class CopiesTests:
    """Mutations after saving and after loading."""

    async def test_changing_an_items_data_after_a_write_changes_nothing(self, store: Store) -> None:
        """What was handed to an add, a batch or a save is the caller's own again once it returned."""
        await store.create_thread(owner=ANN, id="t")
        given = [Item(id=id, type="any", data=_value()) for id in "abcd"]
        await store.add_thread_item("t", given[0], owner=ANN)
        await store.add_thread_items("t", given[1:3], owner=ANN)
        await store.save_item("t", given[3], owner=ANN)
        for item in given:
            _spoil(item.data)
        assert [item.data for item in await all_items(store, "t", ANN)] == [_value()] * 4

    async def test_changing_what_a_write_returned_changes_nothing(self, store: Store) -> None:
        """What a write returns is a copy as well, and not the caller's own value."""
        await store.create_thread(owner=ANN, id="t")
        given = [Item(id=id, type="any", data=_value()) for id in "abc"]
        returned = [await store.add_thread_item("t", given[0], owner=ANN)]
        returned += await store.add_thread_items("t", given[1:], owner=ANN)
        returned.append(await store.save_item("t", Item(id="d", type="any", data=_value()), owner=ANN))
        for item in returned:
            _spoil(item.data)
        assert [item.data for item in await all_items(store, "t", ANN)] == [_value()] * 4
        assert [item.data for item in given] == [_value()] * 3

    async def test_changing_a_loaded_item_changes_nothing(self, store: Store) -> None:
        """Every load gives a copy of its own, single or in a page."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_item("t", Item(id="a", type="any", data=_value()), owner=ANN)
        loaded = [await store.load_item("t", "a", owner=ANN) for _ in range(2)]
        loaded += (await store.load_thread_items("t", owner=ANN)).data
        _spoil(loaded[0].data)
        assert [item.data for item in loaded[1:]] == [_value()] * 2
        _spoil(loaded[2].data)
        assert (await store.load_item("t", "a", owner=ANN)).data == _value()
        assert [item.data for item in await all_items(store, "t", ANN)] == [_value()]

    async def test_one_value_in_two_items_is_two_values(self, store: Store) -> None:
        """Items that share an object when they are added share nothing when they are loaded."""
        await store.create_thread(owner=ANN, id="t")
        shared = _value()
        await store.add_thread_items("t", [Item(id=id, type="any", data=shared) for id in "ab"], owner=ANN)
        first, second = await all_items(store, "t", ANN)
        _spoil(first.data)
        assert second.data == _value()

    async def test_changing_a_page_changes_nothing(self, store: Store) -> None:
        """The list of a page is the caller's own."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_items("t", [Item(type="any", data=_value()) for _ in range(3)], owner=ANN)
        (await store.load_thread_items("t", owner=ANN)).data.clear()
        (await store.load_threads(owner=ANN)).data.clear()
        assert len(await all_items(store, "t", ANN)) == 3
        assert len((await store.load_threads(owner=ANN)).data) == 1

    async def test_changing_the_metadata_of_a_thread_changes_nothing(self, store: Store) -> None:
        """Metadata is copied on every way in and out."""
        given = _value()
        returned = [await store.create_thread(owner=ANN, id="t", metadata=given)]
        _spoil(given)
        returned.append(await store.load_thread("t", owner=ANN))
        returned += (await store.load_threads(owner=ANN)).data
        given = _value()
        returned.append(await store.update_thread("t", owner=ANN, metadata=given))
        _spoil(given)
        by_hand = Thread(id="t", metadata=_value())
        returned.append(await store.save_thread(by_hand, owner=ANN))
        _spoil(by_hand.metadata)
        for thread in returned:
            assert thread.metadata == _value()
            _spoil(thread.metadata)
        assert (await store.load_thread("t", owner=ANN)).metadata == _value()

    async def test_changing_the_metadata_of_an_attachment_changes_nothing(self, store: Store) -> None:
        """So is that of attachment records."""
        await store.create_thread(owner=ANN, id="t")
        given = upload("f", thread_id="t", metadata=_value())
        returned = [await store.save_attachment(given, owner=ANN)]
        _spoil(given.metadata)
        returned.append(await store.load_attachment("f", owner=ANN))
        returned += await store.load_attachments(["f", "f"], owner=ANN)
        returned += (await store.load_thread_attachments("t", owner=ANN)).data
        for attachment in returned:
            assert attachment.metadata == _value()
            _spoil(attachment.metadata)
        assert (await store.load_attachment("f", owner=ANN)).metadata == _value()

    async def test_a_read_inside_a_transaction_is_a_copy_too(self, store: Store) -> None:
        """What is changed inside a block without a save is not written by its commit."""
        await store.create_thread(owner=ANN, id="t", metadata=_value())
        await store.add_thread_item("t", Item(id="a", type="any", data=_value()), owner=ANN)
        async with store.transaction() as tx:
            _spoil((await tx.load_thread("t", owner=ANN)).metadata)
            _spoil((await tx.load_item("t", "a", owner=ANN)).data)
        assert (await store.load_thread("t", owner=ANN)).metadata == _value()
        assert (await store.load_item("t", "a", owner=ANN)).data == _value()
