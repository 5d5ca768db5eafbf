"""Promise 4, exactly as given: data, times, texts and ids come back as the very values that were handed in."""

from __future__ import annotations

from typing import Any

import pytest

from chatstore.models import Item, Thread, ThreadStatus
from chatstore.protocols import Store
from chatstore.testing.factories import ANN, DISTINCT_KEYS, EXACT_DATA, MOMENTS, message, minutes, upload
from chatstore.testing.suites.reading import all_items, all_threads, exactly, item_ids, thread_ids


class ExactnessTests:
    """What goes in and comes out."""

    @pytest.mark.parametrize("name", EXACT_DATA)
    async def test_data_comes_back_exactly(self, store: Store, name: str) -> None:
        """Each value of data comes back as the same value of the same type, keys in their order."""
        given = EXACT_DATA[name]
        await store.create_thread(owner=ANN, id="t")
        added = await store.add_thread_item("t", Item(id="a", type="any", data=given), owner=ANN)
        (listed,) = await all_items(store, "t", ANN)
        loaded = await store.load_item("t", "a", owner=ANN)
        assert [repr(item.data) for item in (added, listed, loaded)] == [repr(given)] * 3

    async def test_every_way_in_keeps_data_exactly(self, store: Store) -> None:
        """A batch, a save, a repeated add, a placing and the re-adding of a loaded item store the same."""
        given = EXACT_DATA["floats to the last bit"] | EXACT_DATA["unicode"]
        for thread_id in ("t", "u"):
            await store.create_thread(owner=ANN, id=thread_id)
        one = Item(id="a", type="any", data=given)
        await store.add_thread_items("t", [one, one.model_copy(update={"id": "b"})], owner=ANN)
        await store.save_item("t", Item(id="c", type="any", data=given), owner=ANN)
        await store.save_item("t", one, owner=ANN)
        await store.add_thread_item("t", one.model_copy(update={"id": "d"}), owner=ANN, at=minutes(0))
        await store.add_thread_item("t", one, owner=ANN)
        for item in (await store.load_thread_items("t", owner=ANN)).data:
            await store.add_thread_item("u", item, owner=ANN)
        items = await all_items(store, "t", ANN) + await all_items(store, "u", ANN)
        assert [repr(item.data) for item in items] == [repr(given)] * 8

    @pytest.mark.parametrize("name", MOMENTS)
    async def test_the_time_of_an_item_comes_back_as_given(self, store: Store, name: str) -> None:
        """created_at comes back with its wall time and offset, naive or aware as it went in."""
        given = MOMENTS[name]
        await store.create_thread(owner=ANN, id="t")
        added = await store.add_thread_item("t", message(id="a", created_at=given), owner=ANN)
        loaded = await store.load_item("t", "a", owner=ANN)
        for moment in (added.created_at, loaded.created_at):
            assert moment.isoformat() == given.isoformat()
            assert moment.utcoffset() == given.utcoffset()

    async def test_the_times_of_threads_and_attachments_come_back_as_given(self, store: Store) -> None:
        """So do those of threads and of attachment records."""
        for number, given in enumerate(MOMENTS.values()):
            await store.create_thread(owner=ANN, id=f"t{number}", created_at=given)
            await store.save_attachment(upload(f"f{number}", created_at=given), owner=ANN)
        given_times = [given.isoformat() for given in MOMENTS.values()]
        threads = {thread.id: thread.created_at for thread in await all_threads(store, ANN)}
        files = await store.load_attachments([f"f{number}" for number in range(len(MOMENTS))], owner=ANN)
        assert [threads[f"t{number}"].isoformat() for number in range(len(MOMENTS))] == given_times
        assert [one.created_at.isoformat() for one in files] == given_times

    @pytest.mark.parametrize("name", ["integers of any size", "unicode", "NUL characters", "key order", "64 levels"])
    async def test_metadata_comes_back_exactly(self, store: Store, name: str) -> None:
        """Metadata of threads and attachments follows the rules of data."""
        given = EXACT_DATA[name]
        await store.create_thread(owner=ANN, id="t", metadata=given)
        await store.create_thread(owner=ANN, id="u")
        await store.update_thread("u", owner=ANN, metadata=given)
        await store.save_attachment(upload("f", metadata=given), owner=ANN)
        found: list[Any] = [thread.metadata for thread in await all_threads(store, ANN)]
        found.append((await store.load_attachment("f", owner=ANN)).metadata)
        assert [repr(metadata) for metadata in found] == [repr(given)] * 3

    async def test_texts_come_back_exactly(self, store: Store) -> None:
        """Titles, reasons, types and names come back with every character but NUL that they may hold."""
        text = "\x01\t\n\x7f 'quoted' %_ \\ 👩‍👩‍👧 e\u0301 \ufeff\uffff\U0010ffff trailing \n "
        status = ThreadStatus(type="locked", reason=text)
        given = Thread(id="t", title=text, status=status, created_at=minutes(0))
        await store.save_thread(given, owner=ANN)
        await store.create_thread(owner=ANN, id="empty", title="")
        await store.add_thread_item("t", Item(id="a", type=text, data={}), owner=ANN)
        await store.save_attachment(upload("f", name=text), owner=ANN)
        assert exactly(await store.load_thread("t", owner=ANN)) == exactly(given)
        assert (await store.load_thread("empty", owner=ANN)).title == ""
        assert (await store.load_item("t", "a", owner=ANN)).type == text
        assert (await store.load_attachment("f", owner=ANN)).name == text

    async def test_the_longest_values_are_kept(self, store: Store) -> None:
        """Texts and metadata of exactly the largest size are taken and come back whole."""
        title, kind, metadata = "\U0001f600" * 1024, "\U0001f600" * 64, {"x": "y" * (64 * 1024 - 8)}
        await store.create_thread(owner=ANN, id="t", title=title, metadata=metadata)
        await store.update_thread("t", owner=ANN, status=ThreadStatus(type="closed", reason=title))
        await store.add_thread_item("t", Item(id="a", type=kind, data={}), owner=ANN)
        await store.save_attachment(upload("f", name=title, mime_type="x" * 255, metadata=metadata), owner=ANN)
        thread = await store.load_thread("t", owner=ANN)
        assert (thread.title, thread.metadata, thread.status.reason) == (title, metadata, title)
        assert (await store.load_item("t", "a", owner=ANN)).type == kind
        assert (await store.load_attachment("f", owner=ANN)).name == title

    async def test_an_unknown_type_comes_back_whole(self, store: Store) -> None:
        """The type is the writer's own word: one that nobody knows is kept with all its data."""
        await store.create_thread(owner=ANN, id="t")
        given = {"version": 99, "parts": [{"kind": "from the future"}]}
        await store.add_thread_item("t", Item(id="a", type="hologram/v99", data=given), owner=ANN)
        loaded = await store.load_item("t", "a", owner=ANN)
        assert (loaded.type, loaded.data) == ("hologram/v99", given)

    async def test_thread_ids_that_look_alike_are_different_threads(self, store: Store) -> None:
        """An id is opaque: case, accents, spaces, wildcards, paths and SQL in it mean nothing."""
        for id in DISTINCT_KEYS:
            await store.create_thread(owner=ANN, id=id, title=f"title of {id}")
        assert sorted(await thread_ids(store, ANN)) == sorted(DISTINCT_KEYS)
        for id in DISTINCT_KEYS:
            assert (await store.load_thread(id, owner=ANN)).title == f"title of {id}"

    async def test_deleting_one_of_many_alike_leaves_the_others(self, store: Store) -> None:
        """A delete takes the one thread, item and attachment of exactly that id."""
        deleted = ["t%", "%", "_", "thread", "caf\u00e9", "A", "thread "]
        await store.create_thread(owner=ANN, id="t")
        for id in DISTINCT_KEYS:
            await store.create_thread(owner=ANN, id=id)
            await store.save_attachment(upload(id), owner=ANN)
        await store.add_thread_items("t", [message(id=id) for id in DISTINCT_KEYS], owner=ANN)
        for id in deleted:
            await store.delete_thread(id, owner=ANN)
            await store.delete_attachment(id, owner=ANN)
        await store.delete_thread_items("t", deleted, owner=ANN)
        kept = [id for id in DISTINCT_KEYS if id not in deleted]
        assert sorted(await thread_ids(store, ANN)) == sorted([*kept, "t"])
        assert await item_ids(store, "t", ANN) == kept
        assert [one.id for one in await store.load_attachments(kept, owner=ANN)] == kept

    async def test_item_ids_that_look_alike_are_different_items(self, store: Store) -> None:
        """So is the id of an item."""
        await store.create_thread(owner=ANN, id="t")
        await store.add_thread_items("t", [message(f"of {id}", id=id) for id in DISTINCT_KEYS], owner=ANN)
        assert await item_ids(store, "t", ANN) == DISTINCT_KEYS
        for id in DISTINCT_KEYS[:12]:
            assert (await store.load_item("t", id, owner=ANN)).data == {"text": f"of {id}"}
