"""Promise 5, nobody else's: another owner's data is not there, and is answered as what never existed."""

from __future__ import annotations

from typing import Any

import pytest

from chatstore.errors import ConflictError, InvalidInputError, NotFoundError
from chatstore.owners import Owner
from chatstore.protocols import Store
from chatstore.testing.factories import ANN, BOB, NOON, message, messages, upload
from chatstore.testing.suites.calls import OWNED, Subject, seed
from chatstore.testing.suites.reading import (
    all_items,
    attachment_ids,
    item_ids,
    outcome,
    snapshot,
    thread_ids,
)

STRANGERS = [
    BOB,
    Owner("ann", "acme"),
    Owner("Ann"),
    Owner("ann "),
    Owner("an_"),
    Owner("%"),
    Owner("acme", "ann"),
]
"""Who is not Ann of the default tenant."""

ALIKE_OWNERS = [
    Owner("b/c", "a"),
    Owner("c", "a/b"),
    Owner("a/b/c"),
    Owner("b:c", "a"),
    Owner("c", "a:b"),
    Owner("b|c", "a"),
    Owner("c", "a|b"),
    Owner("a"),
    Owner("a", "a"),
    Owner("aa"),
    Owner("A"),
    Owner("\uff21"),
    Owner("a "),
    Owner(" a"),
    Owner("a%"),
    Owner("a_"),
    Owner("a\\"),
    Owner("../a"),
    Owner("'; DELETE FROM chatstore_threads; --"),
    Owner("caf\u00e9"),
    Owner("cafe\u0301"),
    Owner("\u00a0a"),
    Owner("0"),
    Owner("00"),
    Owner("None"),
    Owner("a", "None"),
    Owner("u" * 255, "t" * 255),
]
"""Owners that a separator, a comparison or a conversion could take for one another."""


class IsolationTests:
    """Every method, by owners who are alike and are not the same."""

    @pytest.mark.parametrize("name", OWNED)
    async def test_anothers_data_is_answered_as_what_never_existed(self, store: Store, name: str) -> None:
        """A call with another owner's ids answers in the same words as with ids that nobody has."""
        theirs = await seed(store, ANN)
        before = await snapshot(store, ANN)
        nowhere = Subject("nobody-thread", "nobody-item", "nobody-file")
        for stranger in STRANGERS:
            asked = await outcome(OWNED[name](store, stranger, theirs))
            invented = repr(await outcome(OWNED[name](store, stranger, nowhere)))
            assert repr(asked) == (
                invented.replace("nobody-thread", theirs.thread_id)
                .replace("nobody-item", theirs.item_id)
                .replace("nobody-file", theirs.attachment_id)
            )
        assert await snapshot(store, ANN) == before
        assert (await store.load_attachment("file", owner=ANN)).thread_id == "thread"

    async def test_a_loaded_model_of_another_is_not_there(self, store: Store) -> None:
        """What somebody else loaded cannot be saved: it is absent, also where the thread's id exists."""
        await seed(store, ANN)
        thread = await store.load_thread("thread", owner=ANN)
        item = await store.load_item("thread", "item", owner=ANN)
        file = await store.load_attachment("file", owner=ANN)
        with pytest.raises(NotFoundError):
            await store.save_thread(thread.model_copy(update={"title": "taken"}), owner=BOB)
        await store.create_thread(owner=BOB, id="thread")
        with pytest.raises(NotFoundError):
            await store.save_item("thread", item, owner=BOB)
        with pytest.raises(NotFoundError):
            await store.save_attachment(file.model_copy(update={"name": "taken"}), owner=BOB)
        assert await item_ids(store, "thread", BOB) == []
        assert await attachment_ids(store, "thread", BOB) == []

    async def test_two_owners_use_the_same_ids(self, store: Store) -> None:
        """The same ids of two owners are two threads, two items and two attachments, in every call."""
        for owner in (ANN, BOB):
            await store.create_thread(owner=owner, id="t", title=owner.user)
            await store.add_thread_item("t", message(owner.user, id="a", created_at=NOON), owner=owner)
            await store.save_attachment(upload("f", thread_id="t", name=owner.user), owner=owner)
        await store.update_thread("t", owner=BOB, title="changed")
        await store.save_item("t", message("changed", id="a"), owner=BOB)
        await store.save_attachment(upload("f", name="changed"), owner=BOB)
        assert (await store.load_thread("t", owner=ANN)).title == "ann"
        assert (await store.load_item("t", "a", owner=ANN)).data == {"text": "ann"}
        assert (await store.load_attachment("f", owner=ANN)).name == "ann"
        await store.delete_thread("t", owner=BOB)
        assert await item_ids(store, "t", ANN) == ["a"]
        assert await attachment_ids(store, "t", ANN) == ["f"]

    async def test_an_owner_lists_only_what_is_theirs(self, store: Store) -> None:
        """Listings hold an owner's own threads, in both orders and by both times."""
        for number, owner in enumerate([ANN, *STRANGERS] * 2):
            await store.create_thread(owner=owner, id=f"t{number}", created_at=NOON)
        for number, owner in enumerate([ANN, *STRANGERS]):
            mine = sorted([f"t{number}", f"t{number + len(STRANGERS) + 1}"])
            assert await thread_ids(store, owner) == mine
            assert await thread_ids(store, owner, order="desc") == mine[::-1]
            assert sorted(await thread_ids(store, owner, by="activity")) == mine
            assert sorted(await thread_ids(store, owner, order="desc", by="activity")) == mine

    async def test_owners_that_look_alike_are_different(self, store: Store) -> None:
        """No separator, case, accent, space, wildcard or path makes one owner another."""
        for number, owner in enumerate(ALIKE_OWNERS):
            await store.create_thread(owner=owner, id="t", title=str(number))
            await store.save_attachment(upload("f", name=str(number)), owner=owner)
        for number, owner in enumerate(ALIKE_OWNERS):
            page = await store.load_threads(owner=owner)
            assert [(thread.id, thread.title) for thread in page.data] == [("t", str(number))]
            assert (await store.load_attachment("f", owner=owner)).name == str(number)

    async def test_deleting_as_one_owner_leaves_those_alike(self, store: Store) -> None:
        """Deletes reach the one owner, whatever the others are called."""
        for owner in ALIKE_OWNERS:
            await store.create_thread(owner=owner, id="t")
            await store.add_thread_item("t", message(id="a"), owner=owner)
        deleted = [owner for owner in ALIKE_OWNERS if owner.user in ("a", "a%", "caf\u00e9", "c")]
        for owner in deleted:
            await store.delete_thread("t", owner=owner)
        for owner in ALIKE_OWNERS:
            assert await thread_ids(store, owner) == ([] if owner in deleted else ["t"])

    async def test_ids_and_owners_do_not_run_into_each_other(self, store: Store) -> None:
        """A thread's id and an item's id are two parts of a key, however they are cut."""
        for thread_id, item_id in (("a", "b/c"), ("a/b", "c"), ("a:b", "c"), ("a", "b:c")):
            await store.create_thread(owner=ANN, id=thread_id)
            await store.add_thread_item(thread_id, message(f"{thread_id} {item_id}", id=item_id), owner=ANN)
        for thread_id, item_id in (("a", "b/c"), ("a/b", "c"), ("a:b", "c"), ("a", "b:c")):
            item = await store.load_item(thread_id, item_id, owner=ANN)
            assert item.data == {"text": f"{thread_id} {item_id}"}
        with pytest.raises(NotFoundError):
            await store.load_item("a/b/c", "c", owner=ANN)

    async def test_a_cursor_of_another_owner_is_refused_as_a_forged_one(self, store: Store) -> None:
        """A cursor works for the owner it was given to; for others it is no cursor, in the same words."""
        for owner in (ANN, BOB, Owner("ann", "acme")):
            await store.create_thread(owner=owner, id="t")
            await store.create_thread(owner=owner, id="u")
            await store.add_thread_items("t", messages(3), owner=owner)
            for number in range(3):
                await store.save_attachment(upload(f"f{number}", thread_id="t"), owner=owner)
        items = (await store.load_thread_items("t", owner=ANN, limit=1)).after
        threads = (await store.load_threads(owner=ANN, limit=1)).after
        files = (await store.load_thread_attachments("t", owner=ANN, limit=1)).after

        async def answers(owner: Owner, after_items: Any, after_threads: Any, after_files: Any) -> list[Any]:
            return [
                await outcome(store.load_thread_items("t", owner=owner, after=after_items)),
                await outcome(store.load_threads(owner=owner, after=after_threads)),
                await outcome(store.load_thread_attachments("t", owner=owner, after=after_files)),
            ]

        for owner in (BOB, Owner("ann", "acme")):
            foreign = await answers(owner, items, threads, files)
            assert [kind for kind, *_ in foreign] == [InvalidInputError.__name__] * 3
            assert foreign == await answers(owner, "forged", "forged", "forged")

    async def test_an_attachment_joins_no_thread_of_another(self, store: Store) -> None:
        """A record cannot be put into somebody else's thread, which is not there."""
        await store.create_thread(owner=ANN, id="t")
        with pytest.raises(NotFoundError):
            await store.save_attachment(upload("f", thread_id="t"), owner=BOB)
        with pytest.raises(NotFoundError):
            await store.load_attachment("f", owner=BOB)
        assert await attachment_ids(store, "t", ANN) == []

    async def test_a_transaction_reaches_only_its_owners_data(self, store: Store) -> None:
        """Inside a block the owner bounds every call as outside."""
        await seed(store, ANN)
        before = await snapshot(store, ANN)
        async with store.transaction() as tx:
            assert (await tx.load_threads(owner=BOB)).data == []
            with pytest.raises(NotFoundError):
                await tx.load_item("thread", "item", owner=BOB)
            await tx.delete_thread("thread", owner=BOB)
            await tx.delete_attachment("file", owner=BOB)
            await tx.create_thread(owner=BOB, id="thread")
            await tx.add_thread_item("thread", message("bob", id="item"), owner=BOB)
        assert await snapshot(store, ANN) == before
        assert [item.data for item in await all_items(store, "thread", BOB)] == [{"text": "bob"}]

    async def test_a_conflict_is_with_ones_own_data_only(self, store: Store) -> None:
        """An id that somebody else uses is free, and never a conflict that would tell of it."""
        await store.create_thread(owner=ANN, id="t", title="ann")
        await store.add_thread_item("t", message(id="a", created_at=NOON), owner=ANN)
        await store.create_thread(owner=BOB, id="t", title="bob")
        await store.add_thread_item("t", message(id="a"), owner=BOB)
        with pytest.raises(ConflictError):
            await store.create_thread(owner=BOB, id="t", title="ann")
