"""Promise 6: found, absent and failed are three answers."""

from __future__ import annotations

import pytest

from chatstore.errors import ChatStoreError, ConflictError, NotFoundError
from chatstore.protocols import Store
from chatstore.testing.factories import ANN, NOON, message, messages, minutes
from chatstore.testing.suites.calls import CALLS, OWNED, READS, Subject, seed
from chatstore.testing.suites.reading import item_ids, snapshot, thread_ids

ABSENT_IS_AN_ERROR = [
    *(name for name in READS if name != "load_threads"),
    "update_thread",
    "add_thread_item",
    "add_thread_items",
    "save_item",
    "delete_thread_items_after",
    "save_attachment_in_thread",
]
QUIET = ["delete_thread", "delete_thread_item", "delete_thread_items", "delete_attachment"]


class AbsenceTests:
    """What is not there, and what is there and empty."""

    @pytest.mark.parametrize("name", ABSENT_IS_AN_ERROR)
    async def test_what_is_absent_is_a_not_found_error(self, store: Store, name: str) -> None:
        """A load of something absent, or a write into it, raises NotFoundError: no None, no empty page."""
        await store.create_thread(owner=ANN, id="other")
        with pytest.raises(NotFoundError) as error:
            await OWNED[name](store, ANN, Subject("absent-thread", "absent-item", "absent-file"))
        assert isinstance(error.value, LookupError)
        assert error.value.retryable is False
        assert any(id in str(error.value) for id in ("absent-thread", "absent-file"))

    @pytest.mark.parametrize("name", QUIET)
    async def test_a_delete_of_what_is_absent_is_quiet(self, store: Store, name: str) -> None:
        """A delete of something absent does nothing and raises nothing, however often."""
        await seed(store, ANN)
        before = await snapshot(store, ANN)
        for subject in (Subject("absent", "absent", "absent"), Subject("thread", "absent", "absent")):
            if name != "delete_thread" or subject.thread_id == "absent":
                assert await OWNED[name](store, ANN, subject) is None
        assert await snapshot(store, ANN) == before

    @pytest.mark.parametrize("name", QUIET)
    async def test_a_delete_can_be_repeated(self, store: Store, name: str) -> None:
        """The second delete of the same thing is as quiet as the first."""
        subject = await seed(store, ANN)
        assert await OWNED[name](store, ANN, subject) is None
        assert await OWNED[name](store, ANN, subject) is None

    async def test_an_item_absent_from_a_thread_that_exists_is_a_not_found_error(self, store: Store) -> None:
        """An item is looked for in the one thread, and its absence there is told."""
        await store.create_thread(owner=ANN, id="t")
        await store.create_thread(owner=ANN, id="u")
        await store.add_thread_item("u", message(id="a"), owner=ANN)
        with pytest.raises(NotFoundError, match="'a'"):
            await store.load_item("t", "a", owner=ANN)
        with pytest.raises(NotFoundError, match="'a'"):
            await store.delete_thread_items("t", owner=ANN, after="a")
        assert await item_ids(store, "u", ANN) == ["a"]

    async def test_an_empty_thread_is_an_empty_page(self, store: Store) -> None:
        """A thread without items is found and empty, which is not the answer of an absent one."""
        await store.create_thread(owner=ANN, id="t")
        for order in ("asc", "desc"):
            page = await store.load_thread_items("t", owner=ANN, order=order)
            assert (page.data, page.has_more, page.after) == ([], False, None)
        files = await store.load_thread_attachments("t", owner=ANN)
        assert (files.data, files.has_more, files.after) == ([], False, None)
        assert [item async for item in store.iter_thread_items("t", owner=ANN)] == []

    async def test_an_owner_without_threads_is_an_empty_page(self, store: Store) -> None:
        """Who never wrote anything has no threads, and that is no error."""
        page = await store.load_threads(owner=ANN)
        assert (page.data, page.has_more, page.after) == ([], False, None)

    async def test_an_empty_batch_is_an_empty_answer(self, store: Store) -> None:
        """Nothing to add, load or delete is nothing done; an absent thread is told all the same."""
        await seed(store, ANN)
        before = await snapshot(store, ANN)
        assert await store.add_thread_items("thread", [], owner=ANN) == []
        assert await store.load_attachments([], owner=ANN) == []
        await store.delete_thread_items("thread", [], owner=ANN)
        assert await snapshot(store, ANN) == before
        with pytest.raises(NotFoundError):
            await store.add_thread_items("absent", [], owner=ANN)

    async def test_a_write_that_failed_is_an_error_and_not_an_answer(self, store: Store) -> None:
        """A conflict is raised: no call swallows it, and the one after it works."""
        await store.create_thread(owner=ANN, id="t", title="x")
        await store.add_thread_item("t", message(id="a", created_at=NOON), owner=ANN)
        with pytest.raises(ConflictError, match="'t'"):
            await store.create_thread(owner=ANN, id="t", title="y")
        with pytest.raises(ConflictError, match="'a'"):
            await store.add_thread_item("t", message(id="a", created_at=minutes(1)), owner=ANN)
        await store.add_thread_items("t", messages(2), owner=ANN)
        assert await item_ids(store, "t", ANN) == ["a", "m0000", "m0001"]

    async def test_every_call_answers_for_what_exists(self, store: Store) -> None:
        """No call fails on a thread, an item and an attachment that are there."""
        for number, (name, call) in enumerate(CALLS.items()):
            subject = await seed(store, ANN, Subject(f"thread{number}", f"item{number}", f"file{number}"))
            if name == "create_thread":
                await store.update_thread(subject.thread_id, owner=ANN, title=None, metadata={})
            try:
                await call(store, ANN, subject)
            except ChatStoreError as error:
                pytest.fail(f"{name}: {error!r}")
        assert len(await thread_ids(store, ANN)) == len(CALLS) - 1
