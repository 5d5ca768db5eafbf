"""Bad input: the same ``InvalidInputError`` from every store, and nothing written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any, TypeAlias

import pytest

from chatstore.errors import InvalidInputError
from chatstore.models import Item, Thread, ThreadStatus
from chatstore.owners import Owner
from chatstore.protocols import Store
from chatstore.testing.factories import (
    ANN,
    NOON,
    REFUSED_DATA,
    REFUSED_KEYS,
    REFUSED_TEXTS,
    Text,
    message,
    upload,
)
from chatstore.testing.suites.calls import OWNED, Subject, seed
from chatstore.testing.suites.reading import snapshot

Refused: TypeAlias = Callable[[Store, Any], Awaitable[Any]]


async def _iterate(store: Store, thread_id: Any = "thread", **options: Any) -> list[Item]:
    return [item async for item in store.iter_thread_items(thread_id, owner=ANN, **options)]


KEYS: dict[str, Refused] = {
    "create_thread.id": lambda store, bad: store.create_thread(owner=ANN, id=bad),
    "load_thread.thread_id": lambda store, bad: store.load_thread(bad, owner=ANN),
    "save_thread.id": lambda store, bad: store.save_thread(Thread(id=bad), owner=ANN),
    "update_thread.thread_id": lambda store, bad: store.update_thread(bad, owner=ANN, title="x"),
    "delete_thread.thread_id": lambda store, bad: store.delete_thread(bad, owner=ANN),
    "add_thread_item.thread_id": lambda store, bad: store.add_thread_item(bad, message(), owner=ANN),
    "add_thread_item.id": lambda store, bad: store.add_thread_item("thread", message(id=bad), owner=ANN),
    "add_thread_items.thread_id": lambda store, bad: store.add_thread_items(bad, [message()], owner=ANN),
    "add_thread_items.id": lambda store, bad: store.add_thread_items("thread", [message(), message(id=bad)], owner=ANN),
    "load_item.thread_id": lambda store, bad: store.load_item(bad, "item", owner=ANN),
    "load_item.item_id": lambda store, bad: store.load_item("thread", bad, owner=ANN),
    "save_item.thread_id": lambda store, bad: store.save_item(bad, message(id="item"), owner=ANN),
    "save_item.id": lambda store, bad: store.save_item("thread", message(id=bad), owner=ANN),
    "load_thread_items.thread_id": lambda store, bad: store.load_thread_items(bad, owner=ANN),
    "iter_thread_items.thread_id": _iterate,
    "delete_thread_item.thread_id": lambda store, bad: store.delete_thread_item(bad, "item", owner=ANN),
    "delete_thread_item.item_id": lambda store, bad: store.delete_thread_item("thread", bad, owner=ANN),
    "delete_thread_items.thread_id": lambda store, bad: store.delete_thread_items(bad, ["item"], owner=ANN),
    "delete_thread_items.item_ids": lambda store, bad: store.delete_thread_items("thread", ["item", bad], owner=ANN),
    "delete_thread_items.after": lambda store, bad: store.delete_thread_items("thread", owner=ANN, after=bad),
    "save_attachment.id": lambda store, bad: store.save_attachment(upload(bad), owner=ANN),
    "save_attachment.thread_id": lambda store, bad: store.save_attachment(upload("new", thread_id=bad), owner=ANN),
    "load_attachment.attachment_id": lambda store, bad: store.load_attachment(bad, owner=ANN),
    "load_attachments.attachment_ids": lambda store, bad: store.load_attachments(["file", bad], owner=ANN),
    "load_thread_attachments.thread_id": lambda store, bad: store.load_thread_attachments(bad, owner=ANN),
    "delete_attachment.attachment_id": lambda store, bad: store.delete_attachment(bad, owner=ANN),
}

IN_MODELS = {name for name in KEYS if name.endswith(".id")} - {"create_thread.id"} | {"save_attachment.thread_id"}
"""The ids that come in a model, which turns bytes into a str and may lack the id."""

TEXTS: dict[str, tuple[int, Refused]] = {
    "create_thread.title": (1024, lambda store, bad: store.create_thread(owner=ANN, title=bad)),
    "update_thread.title": (1024, lambda store, bad: store.update_thread("thread", owner=ANN, title=bad)),
    "save_thread.title": (1024, lambda store, bad: store.save_thread(Thread(id="new", title=bad), owner=ANN)),
    "update_thread.reason": (
        1024,
        lambda store, bad: store.update_thread("thread", owner=ANN, status=ThreadStatus(type="locked", reason=bad)),
    ),
    "save_thread.reason": (
        1024,
        lambda store, bad: store.save_thread(
            Thread(id="new", status=ThreadStatus(type="closed", reason=bad)), owner=ANN
        ),
    ),
    "add_thread_item.type": (
        64,
        lambda store, bad: store.add_thread_item("thread", Item(type=bad, data={}), owner=ANN),
    ),
    "add_thread_items.type": (
        64,
        lambda store, bad: store.add_thread_items("thread", [message(), Item(type=bad, data={})], owner=ANN),
    ),
    "save_item.type": (
        64,
        lambda store, bad: store.save_item("thread", Item(id="item", type=bad, data={}), owner=ANN),
    ),
    "save_attachment.name": (1024, lambda store, bad: store.save_attachment(upload("file", name=bad), owner=ANN)),
    "save_attachment.mime_type": (
        255,
        lambda store, bad: store.save_attachment(upload("new", mime_type=bad), owner=ANN),
    ),
}

DATA: dict[str, Refused] = {
    "add_thread_item": lambda store, bad: store.add_thread_item("thread", Item(type="any", data=bad), owner=ANN),
    "add_thread_items": lambda store, bad: store.add_thread_items(
        "thread", [message(), Item(type="any", data=bad)], owner=ANN
    ),
    "save_item": lambda store, bad: store.save_item("thread", Item(id="item", type="any", data=bad), owner=ANN),
}

METADATA: dict[str, Refused] = {
    "create_thread": lambda store, bad: store.create_thread(owner=ANN, metadata=bad),
    "save_thread": lambda store, bad: store.save_thread(Thread(id="new", metadata=bad), owner=ANN),
    "update_thread": lambda store, bad: store.update_thread("thread", owner=ANN, metadata=bad),
    "save_attachment": lambda store, bad: store.save_attachment(upload("file", metadata=bad), owner=ANN),
}

LIMITS: dict[str, Refused] = {
    "load_threads": lambda store, bad: store.load_threads(owner=ANN, limit=bad),
    "load_thread_items": lambda store, bad: store.load_thread_items("thread", owner=ANN, limit=bad),
    "load_thread_attachments": lambda store, bad: store.load_thread_attachments("thread", owner=ANN, limit=bad),
    "iter_thread_items": lambda store, bad: _iterate(store, page_size=bad),
}

ORDERS: dict[str, Refused] = {
    "load_threads": lambda store, bad: store.load_threads(owner=ANN, order=bad),
    "load_thread_items": lambda store, bad: store.load_thread_items("thread", owner=ANN, order=bad),
    "iter_thread_items": lambda store, bad: _iterate(store, order=bad),
    "load_threads by": lambda store, bad: store.load_threads(owner=ANN, by=bad),
}


async def _refuses(store: Store, call: Refused, bad_values: list[Any]) -> None:
    await seed(store, ANN)
    before = await snapshot(store, ANN)
    for bad in bad_values:
        # A model may refuse the value when it is built, before there is a call to await.
        with pytest.raises(InvalidInputError):
            await call(store, bad)
    assert await snapshot(store, ANN) == before


class RefusalTests:
    """Each field, in each method that takes it."""

    max_item_bytes = 8 * 1024 * 1024
    """The largest item of the store under test, in bytes of JSON."""

    @pytest.mark.parametrize("where", KEYS)
    async def test_a_bad_id_is_refused(self, store: Store, where: str) -> None:
        """An id that is empty, too long, not a plain str, or holds control characters or surrogates is refused."""
        bad_arguments = [] if where in IN_MODELS else [b"thread", Text("thread")]
        absent = [] if where in {*IN_MODELS, "create_thread.id"} else [None]
        await _refuses(store, KEYS[where], [*REFUSED_KEYS, *bad_arguments, *absent])

    @pytest.mark.parametrize("where", TEXTS)
    async def test_a_bad_text_is_refused(self, store: Store, where: str) -> None:
        """A title, type, reason or name that is too long, not a str, or holds NUL or surrogates is refused."""
        longest, call = TEXTS[where]
        await _refuses(store, call, [*REFUSED_TEXTS, "x" * (longest + 1), "x" * 1_000_000])

    @pytest.mark.parametrize("where", DATA)
    async def test_bad_data_is_refused(self, store: Store, where: str) -> None:
        """Data that would not come back exactly is refused, whatever is wrong with it."""
        await _refuses(store, DATA[where], list(REFUSED_DATA.values()))

    @pytest.mark.parametrize("where", METADATA)
    async def test_bad_metadata_is_refused(self, store: Store, where: str) -> None:
        """So is such metadata, and metadata of more than 64 KiB."""
        await _refuses(store, METADATA[where], [*REFUSED_DATA.values(), {"x": "y" * 64 * 1024}])

    @pytest.mark.parametrize("where", DATA)
    async def test_data_over_the_size_is_refused(self, store: Store, where: str) -> None:
        """An item whose JSON is longer than the store's largest is refused, counted in bytes of UTF-8."""
        largest = self.max_item_bytes
        await _refuses(store, DATA[where], [{"x": "y" * (largest - 7)}, {"x": "\u00e9" * (largest // 2)}])

    async def test_data_of_exactly_the_size_is_kept(self, store: Store) -> None:
        """An item of the largest size is taken and comes back whole."""
        await store.create_thread(owner=ANN, id="t")
        data = {"x": "y" * (self.max_item_bytes - 8)}
        await store.add_thread_item("t", Item(id="a", type="any", data=data), owner=ANN)
        assert (await store.load_item("t", "a", owner=ANN)).data == data

    @pytest.mark.parametrize("where", LIMITS)
    async def test_a_bad_limit_is_refused(self, store: Store, where: str) -> None:
        """A limit is an int of 1 or more: zero, a negative one, a bool and any other type are refused."""
        await _refuses(store, LIMITS[where], [0, -1, -(10**30), True, False, 1.0, "5", None, [5]])

    @pytest.mark.parametrize("where", ORDERS)
    async def test_a_bad_order_is_refused(self, store: Store, where: str) -> None:
        """An order is one of the two words, as is what threads are ordered by."""
        await _refuses(store, ORDERS[where], ["", "ASC", "asc ", "descending", "updated", None, 1, True, ["asc"]])

    @pytest.mark.parametrize("where", OWNED)
    async def test_whoever_is_not_an_owner_is_refused(self, store: Store, where: str) -> None:
        """Every call takes an Owner and nothing that merely looks like one."""
        call = OWNED[where]
        others = [None, "ann", "", b"ann", 5, ("ann", ""), ["ann"], {"user": "ann", "tenant": ""}, Owner]
        await _refuses(store, lambda store, bad: call(store, bad, Subject()), others)

    async def test_a_bad_batch_is_refused(self, store: Store) -> None:
        """A batch is a list of at most a thousand items."""
        batches = ["ab", 5, None, message(), {"a": message()}, iter([message()]), [message(), {"text": "hi"}], [None]]
        batches.append([message() for _ in range(1001)])
        await _refuses(store, lambda store, bad: store.add_thread_items("thread", bad, owner=ANN), batches)

    async def test_a_bad_list_of_ids_is_refused(self, store: Store) -> None:
        """Ids come in a list of at most a thousand; a lone string is not read letter by letter."""
        lists: list[Any] = ["item", 5, {"item"}, iter(["item"]), {"item": 1}, ["item"] * 1001]
        await _refuses(store, lambda store, bad: store.delete_thread_items("thread", bad, owner=ANN), lists)
        await _refuses(store, lambda store, bad: store.load_attachments(bad, owner=ANN), [*lists, None])

    async def test_what_to_delete_is_said_in_exactly_one_way(self, store: Store) -> None:
        """delete_thread_items takes ids or an item to delete after, and never deletes all for want of both."""

        async def delete(store: Store, options: Any) -> None:
            await store.delete_thread_items("thread", owner=ANN, **options)

        await _refuses(store, delete, [{}, {"item_ids": None}, {"item_ids": ["item"], "after": "item"}])

    async def test_something_else_than_a_model_is_refused(self, store: Store) -> None:
        """A dict, None or another model is not taken for an item, a thread or an attachment."""
        others: list[Any] = [None, {"id": "item", "type": "any", "data": {}}, "item", Owner("ann")]
        items = [*others, Thread(id="thread"), upload()]
        await _refuses(store, lambda store, bad: store.add_thread_item("thread", bad, owner=ANN), items)
        await _refuses(store, lambda store, bad: store.save_item("thread", bad, owner=ANN), items)
        await _refuses(store, lambda store, bad: store.save_thread(bad, owner=ANN), [*others, message()])
        await _refuses(store, lambda store, bad: store.save_attachment(bad, owner=ANN), [*others, message()])

    async def test_a_bad_time_is_refused(self, store: Store) -> None:
        """A time is a datetime: a text, a number and a date are refused."""
        times: list[Any] = ["2024-05-17T12:00:00", 1715947200, date(2024, 5, 17), NOON.time(), True]
        await _refuses(store, lambda store, bad: store.create_thread(owner=ANN, created_at=bad), times)
        await _refuses(store, lambda store, bad: store.add_thread_item("thread", message(), owner=ANN, at=bad), times)

    async def test_a_bad_status_is_refused(self, store: Store) -> None:
        """A status is a ThreadStatus of a known type, with a reason only where one is possible."""
        statuses: list[Any] = ["locked", None, {"type": "locked"}, 5, ThreadStatus(reason="why")]
        statuses.append(ThreadStatus().model_copy(update={"type": "archived"}))
        await _refuses(store, lambda store, bad: store.update_thread("thread", owner=ANN, status=bad), statuses)

    async def test_a_bad_revision_is_refused(self, store: Store) -> None:
        """A revision is an int."""
        revisions: list[Any] = ["1", 1.0, True, [1]]
        await _refuses(
            store, lambda store, bad: store.update_thread("thread", owner=ANN, title="x", revision=bad), revisions
        )

    async def test_bad_input_is_told_before_absence(self, store: Store) -> None:
        """A bad value is refused before anything is asked, also where the thread does not exist."""
        for name in ("load_item.item_id", "save_item.id", "delete_thread_item.item_id", "delete_thread_items.after"):
            with pytest.raises(InvalidInputError):
                await KEYS[name](store, "nul\x00")
        for call in (*DATA.values(), *LIMITS.values()):
            with pytest.raises(InvalidInputError):
                await call(store, 0)

    async def test_an_error_does_not_repeat_the_content(self, store: Store) -> None:
        """What is refused may be somebody's message: the error names the field and not the text."""
        await store.create_thread(owner=ANN, id="thread")
        for call in (*DATA.values(), *METADATA.values()):
            with pytest.raises(InvalidInputError) as error:
                await call(store, {"secret words": float("nan"), "other": "secret words"})
            assert "secret words" not in str(error.value)
