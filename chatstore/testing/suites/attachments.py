"""The records of attachments: inserted pending, merged by field, in one thread at most."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chatstore.errors import ConflictError, InvalidInputError, NotFoundError
from chatstore.protocols import Store
from chatstore.testing.factories import ANN, NOON, minutes, upload
from chatstore.testing.suites.reading import attachment_ids, attachment_pages, exactly


class AttachmentTests:
    """save_attachment, the loads and delete_attachment."""

    async def test_a_new_record_is_pending(self, store: Store) -> None:
        """A record is inserted with what was given, pending, and comes back as loads return it."""
        given = upload("f", name="cat.png", metadata={"a": 1})
        saved = await store.save_attachment(given, owner=ANN)
        assert exactly(saved) == exactly(given)
        assert (saved.state, saved.size, saved.sha256, saved.thread_id) == ("pending", None, None, None)
        assert saved.model_fields_set == set()
        assert await store.load_attachment("f", owner=ANN) == saved

    async def test_state_size_and_checksum_are_never_taken_from_a_save(self, store: Store) -> None:
        """They belong to the upload: neither an insert nor a change of a stored record sets them."""
        claimed: dict[str, Any] = {"state": "ready", "size": 5, "sha256": "0" * 64}
        saved = await store.save_attachment(upload("f", **claimed), owner=ANN)
        assert (saved.state, saved.size, saved.sha256) == ("pending", None, None)
        changed = await store.save_attachment(saved.model_copy(update={**claimed, "name": "x"}), owner=ANN)
        assert (changed.name, changed.state, changed.size, changed.sha256) == ("x", "pending", None, None)
        await store.save_attachment(upload("f", **claimed), owner=ANN)
        assert (await store.load_attachment("f", owner=ANN)).state == "pending"

    async def test_a_stored_record_keeps_its_type_and_time(self, store: Store) -> None:
        """A save changes name, metadata and thread; what the bytes are and when they came stays."""
        await store.save_attachment(upload("f", mime_type="image/png", created_at=NOON), owner=ANN)
        again = upload("f", name="new", mime_type="text/html", created_at=minutes(5))
        saved = await store.save_attachment(again, owner=ANN)
        assert (saved.name, saved.mime_type, saved.created_at) == ("new", "image/png", NOON)

    async def test_changes_to_different_fields_of_a_record_are_both_kept(self, store: Store) -> None:
        """A save of a loaded record writes the changed fields only."""
        await store.create_thread(owner=ANN, id="t")
        loaded = await store.save_attachment(upload("f"), owner=ANN)
        await store.save_attachment(loaded.model_copy(update={"name": "new"}), owner=ANN)
        await store.save_attachment(loaded.model_copy(update={"metadata": {"a": 1}}), owner=ANN)
        await store.save_attachment(loaded.model_copy(update={"thread_id": "t"}), owner=ANN)
        saved = await store.save_attachment(loaded, owner=ANN)
        assert (saved.name, saved.metadata, saved.thread_id) == ("new", {"a": 1}, "t")

    async def test_a_record_built_by_hand_replaces_name_and_metadata(self, store: Store) -> None:
        """It counts as changed in every field, but never takes a record out of its thread."""
        await store.create_thread(owner=ANN, id="t")
        await store.save_attachment(upload("f", thread_id="t", metadata={"a": 1}), owner=ANN)
        saved = await store.save_attachment(upload("f", name="new"), owner=ANN)
        assert (saved.name, saved.metadata, saved.thread_id) == ("new", {}, "t")

    async def test_an_attachment_joins_one_thread_once(self, store: Store) -> None:
        """Joining the same thread again is no matter; another thread is a conflict and changes nothing."""
        for thread_id in ("t", "u"):
            await store.create_thread(owner=ANN, id=thread_id)
        loaded = await store.save_attachment(upload("f"), owner=ANN)
        joined = await store.save_attachment(loaded.model_copy(update={"thread_id": "t"}), owner=ANN)
        assert joined.thread_id == "t"
        await store.save_attachment(upload("f", thread_id="t"), owner=ANN)
        for other in (loaded.model_copy(update={"thread_id": "u", "name": "x"}), upload("f", thread_id="u", name="x")):
            with pytest.raises(ConflictError):
                await store.save_attachment(other, owner=ANN)
        assert await store.load_attachment("f", owner=ANN) == joined
        assert (await attachment_ids(store, "t", ANN), await attachment_ids(store, "u", ANN)) == (["f"], [])

    async def test_of_concurrent_joins_of_two_threads_one_wins(self, store: Store) -> None:
        """Of two threads that name an attachment at once, one has it."""
        for thread_id in ("t", "u"):
            await store.create_thread(owner=ANN, id=thread_id)
        await store.save_attachment(upload("f"), owner=ANN)
        joins = [store.save_attachment(upload("f", thread_id=thread_id), owner=ANN) for thread_id in "tutu"]
        answers = await asyncio.gather(*joins, return_exceptions=True)
        joined = (await store.load_attachment("f", owner=ANN)).thread_id
        assert joined in ("t", "u")
        for thread_id, answer in zip("tutu", answers, strict=True):
            assert isinstance(answer, ConflictError) == (thread_id != joined)

    async def test_an_attachment_joins_an_existing_thread_only(self, store: Store) -> None:
        """A thread that does not exist is a NotFoundError, and the record stays as it was, absent or free."""
        with pytest.raises(NotFoundError):
            await store.save_attachment(upload("new", thread_id="absent"), owner=ANN)
        with pytest.raises(NotFoundError):
            await store.load_attachment("new", owner=ANN)
        loaded = await store.save_attachment(upload("f"), owner=ANN)
        with pytest.raises(NotFoundError):
            await store.save_attachment(loaded.model_copy(update={"thread_id": "absent", "name": "x"}), owner=ANN)
        assert await store.load_attachment("f", owner=ANN) == loaded

    async def test_a_loaded_record_that_is_gone_is_not_brought_back(self, store: Store) -> None:
        """A save of a record that was loaded and is gone since is a NotFoundError."""
        loaded = await store.save_attachment(upload("f"), owner=ANN)
        await store.delete_attachment("f", owner=ANN)
        for gone in (loaded, loaded.model_copy(update={"name": "back"})):
            with pytest.raises(NotFoundError):
                await store.save_attachment(gone, owner=ANN)
        with pytest.raises(NotFoundError):
            await store.load_attachment("f", owner=ANN)

    async def test_records_are_loaded_in_the_order_of_the_ids(self, store: Store) -> None:
        """load_attachments answers each id in its place, also twice; one that is absent fails the call."""
        for id in "abc":
            await store.save_attachment(upload(id), owner=ANN)
        found = await store.load_attachments(["c", "a", "c", "b"], owner=ANN)
        assert [one.id for one in found] == ["c", "a", "c", "b"]
        with pytest.raises(NotFoundError, match="'absent'"):
            await store.load_attachments(["a", "absent", "b"], owner=ANN)

    @pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
    async def test_pages_hold_every_record_of_a_thread_once(self, store: Store, limit: int) -> None:
        """A thread's records come by creation, ties by id, each once; has_more is exact."""
        await store.create_thread(owner=ANN, id="t")
        await store.create_thread(owner=ANN, id="u")
        for id, minute in (("b", 1), ("z", 0), ("a", 1), ("\u00e9", 1)):
            await store.save_attachment(upload(id, thread_id="t", created_at=minutes(minute)), owner=ANN)
        await store.save_attachment(upload("other", thread_id="u"), owner=ANN)
        await store.save_attachment(upload("free"), owner=ANN)
        pages = await attachment_pages(store, "t", ANN, limit=limit)
        assert [one.id for page in pages for one in page.data] == ["z", "a", "b", "\u00e9"]
        assert [page.has_more for page in pages] == [True] * (len(pages) - 1) + [False]
        assert len(pages) == -(-4 // limit)

    async def test_records_deleted_between_pages_lose_no_other(self, store: Store) -> None:
        """A cursor outlives the record that it was made at."""
        await store.create_thread(owner=ANN, id="t")
        for id in "abcde":
            await store.save_attachment(upload(id, thread_id="t"), owner=ANN)
        page = await store.load_thread_attachments("t", owner=ANN, limit=2)
        for id in "abc":
            await store.delete_attachment(id, owner=ANN)
        rest = await store.load_thread_attachments("t", owner=ANN, after=page.after)
        assert [one.id for one in rest.data] == ["d", "e"]

    async def test_a_deleted_thread_takes_its_records_along(self, store: Store) -> None:
        """The records of a thread go with it; those that are free or of another thread stay."""
        for thread_id in ("t", "u"):
            await store.create_thread(owner=ANN, id=thread_id)
            await store.save_attachment(upload(f"in-{thread_id}", thread_id=thread_id), owner=ANN)
        await store.save_attachment(upload("free"), owner=ANN)
        await store.delete_thread("t", owner=ANN)
        with pytest.raises(NotFoundError):
            await store.load_attachment("in-t", owner=ANN)
        assert len(await store.load_attachments(["in-u", "free"], owner=ANN)) == 2
        assert (await store.save_attachment(upload("in-t", thread_id="u"), owner=ANN)).thread_id == "u"

    async def test_a_record_can_be_deleted_and_inserted_again(self, store: Store) -> None:
        """After a delete the id is free, and the new record is in no thread."""
        await store.create_thread(owner=ANN, id="t")
        await store.save_attachment(upload("f", thread_id="t", name="old"), owner=ANN)
        await store.delete_attachment("f", owner=ANN)
        assert await attachment_ids(store, "t", ANN) == []
        saved = await store.save_attachment(upload("f", name="new"), owner=ANN)
        assert (saved.name, saved.thread_id) == ("new", None)

    async def test_an_absent_time_of_a_record_is_made(self, store: Store) -> None:
        """created_at is filled in where it is absent, and a later save does not move it."""
        saved = await store.save_attachment(upload("f", created_at=None), owner=ANN)
        assert saved.created_at is not None
        again = await store.save_attachment(upload("f", created_at=None, name="new"), owner=ANN)
        assert again.created_at == saved.created_at

    async def test_a_record_needs_a_name_and_a_type(self, store: Store) -> None:
        """A record without them is refused as any other bad input is."""
        with pytest.raises(InvalidInputError):
            await store.save_attachment(upload("f", name=None), owner=ANN)
        with pytest.raises(InvalidInputError):
            await store.save_attachment(upload("f", mime_type=None), owner=ANN)
        with pytest.raises(NotFoundError):
            await store.load_attachment("f", owner=ANN)
