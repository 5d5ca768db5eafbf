"""How threads are saved: by field, against the revision that was loaded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chatstore.errors import ConflictError, NotFoundError
from chatstore.models import Thread, ThreadStatus
from chatstore.protocols import Store
from chatstore.testing.factories import ANN, NOON, message, minutes
from chatstore.testing.suites.reading import exactly, item_ids, snapshot, thread_ids

LOCKED = ThreadStatus(type="locked", reason="paid plans only")
CHANGES: dict[str, Any] = {"title": "mine", "status": LOCKED, "metadata": {"by": "me"}}
OTHERS: dict[str, Any] = {"title": "theirs", "status": ThreadStatus(type="closed"), "metadata": {"by": "them"}}


class MergingTests:
    """save_thread and update_thread."""

    async def test_a_new_thread_has_what_was_given_and_a_revision(self, store: Store) -> None:
        """create_thread returns the thread as loads return it, active, with no field counted as changed."""
        created = await store.create_thread(owner=ANN, id="t", title="x", metadata={"a": 1}, created_at=NOON)
        assert (created.id, created.title, created.metadata, created.created_at) == ("t", "x", {"a": 1}, NOON)
        assert created.status == ThreadStatus(type="active")
        assert created.revision is not None
        assert created.model_fields_set == set()
        assert await store.load_thread("t", owner=ANN) == created
        assert (await store.load_threads(owner=ANN)).data == [created]

    async def test_a_thread_built_by_hand_is_inserted(self, store: Store) -> None:
        """save_thread of a thread that does not exist stores all its fields."""
        given = Thread(id="t", title="x", status=LOCKED, metadata={"a": 1}, created_at=NOON)
        saved = await store.save_thread(given, owner=ANN)
        assert exactly(saved) == exactly(given)
        assert await store.load_thread("t", owner=ANN) == saved

    async def test_a_thread_built_by_hand_replaces_every_field(self, store: Store) -> None:
        """One that exists gets its title, status and metadata, also where they are empty, and keeps its items."""
        await store.create_thread(owner=ANN, id="t", title="x", metadata={"a": 1}, created_at=NOON)
        await store.add_thread_item("t", message(id="a"), owner=ANN)
        await store.update_thread("t", owner=ANN, status=LOCKED)
        saved = await store.save_thread(Thread(id="t", created_at=minutes(5)), owner=ANN)
        assert (saved.title, saved.status, saved.metadata, saved.created_at) == (None, ThreadStatus(), {}, NOON)
        assert await item_ids(store, "t", ANN) == ["a"]

    @pytest.mark.parametrize("mine", CHANGES)
    @pytest.mark.parametrize("theirs", OTHERS)
    async def test_changes_to_different_fields_are_both_kept(self, store: Store, mine: str, theirs: str) -> None:
        """A save writes the changed fields only; one that somebody else changed meanwhile is a conflict."""
        loaded = await store.create_thread(owner=ANN, id="t", title="x")
        await store.save_thread(loaded.model_copy(update={theirs: OTHERS[theirs]}), owner=ANN)
        saving = store.save_thread(loaded.model_copy(update={mine: CHANGES[mine]}), owner=ANN)
        if mine == theirs:
            before = await snapshot(store, ANN)
            with pytest.raises(ConflictError):
                await saving
            assert await snapshot(store, ANN) == before
            return
        saved = await saving
        assert (getattr(saved, mine), getattr(saved, theirs)) == (CHANGES[mine], OTHERS[theirs])
        assert await store.load_thread("t", owner=ANN) == saved

    @pytest.mark.parametrize("field", CHANGES)
    async def test_the_same_change_by_two_is_no_conflict(self, store: Store, field: str) -> None:
        """A changed field whose stored value already equals the new one is saved, and moves nothing."""
        loaded = await store.create_thread(owner=ANN, id="t", title="x")
        change = {field: CHANGES[field]}
        first = await store.save_thread(loaded.model_copy(update=change), owner=ANN)
        again = await store.save_thread(loaded.model_copy(update=change), owner=ANN)
        assert (getattr(again, field), again.revision) == (CHANGES[field], first.revision)

    async def test_a_conflict_in_one_field_writes_no_other(self, store: Store) -> None:
        """Of a save with a conflict nothing is written, not even the fields that nobody else changed."""
        loaded = await store.create_thread(owner=ANN, id="t", title="x")
        await store.update_thread("t", owner=ANN, title="theirs")
        with pytest.raises(ConflictError):
            await store.save_thread(loaded.model_copy(update={"title": "mine", "metadata": {"a": 1}}), owner=ANN)
        thread = await store.load_thread("t", owner=ANN)
        assert (thread.title, thread.metadata) == ("theirs", {})

    async def test_saving_a_loaded_thread_unchanged_writes_nothing(self, store: Store) -> None:
        """A loaded thread without a change is no change, whatever somebody else wrote since."""
        loaded = await store.create_thread(owner=ANN, id="t", title="x")
        changed = await store.update_thread("t", owner=ANN, title="theirs", status=LOCKED)
        saved = await store.save_thread(loaded, owner=ANN)
        assert (saved.title, saved.status, saved.revision) == ("theirs", LOCKED, changed.revision)

    async def test_the_times_of_a_thread_are_not_taken_from_a_save(self, store: Store) -> None:
        """created_at and updated_at of a stored thread belong to the store."""
        loaded = await store.create_thread(owner=ANN, id="t", created_at=NOON)
        forged = loaded.model_copy(update={"created_at": minutes(5), "updated_at": minutes(5), "title": "x"})
        saved = await store.save_thread(forged, owner=ANN)
        assert (saved.title, saved.created_at) == ("x", NOON)
        assert saved.updated_at >= loaded.updated_at

    async def test_a_save_can_follow_a_save(self, store: Store) -> None:
        """What a save returns is loaded: it can be changed and saved again, as can what an update returns."""
        thread = await store.create_thread(owner=ANN, id="t")
        for number in range(4):
            thread = await store.save_thread(thread.model_copy(update={"title": f"{number}"}), owner=ANN)
            thread = await store.update_thread("t", owner=ANN, metadata={"n": number}, revision=thread.revision)
        assert (thread.title, thread.metadata) == ("3", {"n": 3})
        assert thread.model_fields_set == set()
        assert await store.load_thread("t", owner=ANN) == thread

    async def test_the_revision_moves_with_the_threads_own_fields_only(self, store: Store) -> None:
        """Items, attachments and equal values leave the revision; title, status and metadata move it."""
        thread = await store.create_thread(owner=ANN, id="t", title="x", metadata={"a": 1})
        await store.add_thread_item("t", message(id="a"), owner=ANN)
        await store.save_item("t", message("changed", id="a"), owner=ANN)
        await store.delete_thread_item("t", "a", owner=ANN)
        await store.update_thread("t", owner=ANN, title="x", metadata={"a": 1}, status=ThreadStatus())
        assert (await store.load_thread("t", owner=ANN)).revision == thread.revision
        revisions = [thread.revision]
        for field, value in CHANGES.items():
            revisions.append((await store.update_thread("t", owner=ANN, **{field: value})).revision)
        assert revisions == sorted(set(revisions))

    async def test_an_update_writes_the_given_fields(self, store: Store) -> None:
        """update_thread sets what it is given, None and empty values too, and leaves the rest."""
        await store.create_thread(owner=ANN, id="t", title="x", metadata={"a": 1})
        await store.update_thread("t", owner=ANN, status=LOCKED)
        await store.update_thread("t", owner=ANN, metadata={})
        thread = await store.load_thread("t", owner=ANN)
        assert (thread.title, thread.status, thread.metadata) == ("x", LOCKED, {})
        thread = await store.update_thread("t", owner=ANN, title=None, status=ThreadStatus())
        assert (thread.title, thread.status, thread.metadata) == (None, ThreadStatus(), {})
        assert await store.load_thread("t", owner=ANN) == thread

    async def test_an_update_of_nothing_returns_the_thread(self, store: Store) -> None:
        """An update without fields is a load."""
        created = await store.create_thread(owner=ANN, id="t", title="x")
        assert exactly(await store.update_thread("t", owner=ANN)) == exactly(created)
        with pytest.raises(NotFoundError):
            await store.update_thread("u", owner=ANN)

    @pytest.mark.parametrize("field", CHANGES)
    async def test_an_update_with_a_revision_sees_a_change_since(self, store: Store, field: str) -> None:
        """With a revision, a field changed after it is a conflict unless the value is equal; another is not."""
        loaded = await store.create_thread(owner=ANN, id="t")
        await store.update_thread("t", owner=ANN, **{field: OTHERS[field]})
        with pytest.raises(ConflictError):
            await store.update_thread("t", owner=ANN, revision=loaded.revision, **{field: CHANGES[field]})
        thread = await store.update_thread("t", owner=ANN, revision=loaded.revision, **{field: OTHERS[field]})
        assert getattr(thread, field) == OTHERS[field]
        for other in CHANGES.keys() - {field}:
            thread = await store.update_thread("t", owner=ANN, revision=loaded.revision, **{other: CHANGES[other]})
            assert getattr(thread, other) == CHANGES[other]

    async def test_an_update_without_a_revision_wins(self, store: Store) -> None:
        """Without a revision, the last update is the one that stays."""
        await store.create_thread(owner=ANN, id="t")
        await store.update_thread("t", owner=ANN, title="first")
        await store.update_thread("t", owner=ANN, title="second")
        assert (await store.load_thread("t", owner=ANN)).title == "second"

    async def test_of_concurrent_saves_of_one_field_one_wins(self, store: Store) -> None:
        """Of changes made to one loaded thread at once, one is stored and every other is told."""
        loaded = await store.create_thread(owner=ANN, id="t")
        saves = [store.save_thread(loaded.model_copy(update={"title": str(number)}), owner=ANN) for number in range(5)]
        answers = await asyncio.gather(*saves, return_exceptions=True)
        (winner,) = [answer for answer in answers if isinstance(answer, Thread)]
        assert [type(answer) for answer in answers if answer is not winner] == [ConflictError] * 4
        assert (await store.load_thread("t", owner=ANN)).title == winner.title

    async def test_concurrent_saves_of_different_fields_are_all_kept(self, store: Store) -> None:
        """Changes of three fields at once are all stored."""
        loaded = await store.create_thread(owner=ANN, id="t")
        saves = [
            store.save_thread(loaded.model_copy(update={field: value}), owner=ANN) for field, value in CHANGES.items()
        ]
        await asyncio.gather(*saves)
        thread = await store.load_thread("t", owner=ANN)
        assert {field: getattr(thread, field) for field in CHANGES} == CHANGES

    async def test_a_locked_or_closed_thread_still_takes_items(self, store: Store) -> None:
        """The status is a label for people: the store accepts items whatever it says."""
        for type in ("locked", "closed"):
            await store.save_thread(Thread(id=type, status=ThreadStatus(type=type)), owner=ANN)
            await store.add_thread_item(type, message(id="a"), owner=ANN)
            assert await item_ids(store, type, ANN) == ["a"]
        assert sorted(await thread_ids(store, ANN)) == ["closed", "locked"]
