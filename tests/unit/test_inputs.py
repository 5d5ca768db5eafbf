"""What callers hand in, checked and turned into what is stored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from chatstore import inputs
from chatstore.errors import ConflictError, InvalidInputError
from chatstore.instants import to_microseconds
from chatstore.models import Attachment, Item, Thread, ThreadStatus
from chatstore.testing.factories import NOON, message, messages, minutes, upload

LARGEST = inputs.MAX_ITEM_BYTES


def _loaded_thread(**changes: Any) -> Thread:
    thread = Thread.stored(
        id="t", title="x", status=ThreadStatus(), metadata={"a": 1}, created_at=NOON, updated_at=NOON, revision=3
    )
    return thread.model_copy(update=changes)


@pytest.mark.parametrize(("given", "limit"), [(1, 1), (999, 999), (1000, 1000), (1001, 1000), (10**30, 1000)])
def test_a_limit_is_at_most_a_thousand(given: int, limit: int) -> None:
    assert inputs.check_limit(given) == limit


@pytest.mark.parametrize("given", [0, -1, True, False, 1.0, "1", None])
def test_a_limit_is_an_int_of_one_or_more(given: object) -> None:
    with pytest.raises(InvalidInputError, match=r"^page_size: "):
        inputs.check_limit(given, "page_size")


def test_orders_are_two_words() -> None:
    assert [inputs.check_order(order) for order in ("asc", "desc")] == ["asc", "desc"]
    assert [inputs.check_by(by) for by in ("created", "activity")] == ["created", "activity"]
    for wrong in ("", "ASC", None, True, 1):
        with pytest.raises(InvalidInputError):
            inputs.check_order(wrong)
        with pytest.raises(InvalidInputError):
            inputs.check_by(wrong)


def test_a_text_is_measured_in_characters() -> None:
    assert inputs.check_text("\U0001f600" * 1024, "title") == "\U0001f600" * 1024
    with pytest.raises(InvalidInputError, match="1,024"):
        inputs.check_text("x" * 1025, "title")


def test_ids_come_in_a_list_of_at_most_a_thousand() -> None:
    assert inputs.check_keys(("a", "b"), "ids") == ["a", "b"]
    assert len(inputs.check_keys(["a"] * 1000, "ids")) == 1000
    for wrong in ("ab", {"a"}, iter(["a"]), ["a"] * 1001, ["a", ""], None, 5):
        with pytest.raises(InvalidInputError):
            inputs.check_keys(wrong, "ids")


def test_an_item_is_placed_by_an_instant() -> None:
    assert inputs.check_at(None) is None
    assert inputs.check_at(NOON) == to_microseconds(NOON)
    for wrong in ("now", 5, NOON.date(), NOON.time()):
        with pytest.raises(InvalidInputError):
            inputs.check_at(wrong)


def test_a_delete_names_its_items_in_one_way() -> None:
    assert inputs.deleted_items(["a"], None) == ["a"]
    assert inputs.deleted_items(None, "a") == []
    for item_ids, after in ((None, None), (["a"], "a"), (None, ""), ([""], None)):
        with pytest.raises(InvalidInputError):
            inputs.deleted_items(item_ids, after)


def test_a_new_thread_gets_an_id_and_a_time() -> None:
    before = datetime.now(UTC)
    new = inputs.new_thread(id=None, title=None, metadata=None, created_at=None)
    assert new.id.startswith("thr_")
    assert (new.title, new.status, new.reason, new.metadata) == (None, "active", None, "{}")
    assert before <= datetime.fromisoformat(new.created_at) <= datetime.now(UTC)
    assert to_microseconds(datetime.fromisoformat(new.created_at)) == new.instant


def test_a_new_thread_keeps_what_was_given() -> None:
    new = inputs.new_thread(id="t", title="x", metadata={"b": 1, "a": 2}, created_at=NOON)
    assert (new.id, new.title, new.metadata) == ("t", "x", '{"b":1,"a":2}')
    assert (new.created_at, new.instant) == (NOON.isoformat(), to_microseconds(NOON))


def test_changes_leave_alone_what_is_not_given() -> None:
    nothing = inputs.thread_changes(title=..., status=..., metadata=..., revision=None)
    assert (nothing.title, nothing.status, nothing.metadata, nothing.revision) == (..., ..., ..., None)
    changes = inputs.thread_changes(
        title=None, status=ThreadStatus(type="locked", reason="why"), metadata={}, revision=3
    )
    assert (changes.title, changes.status, changes.metadata, changes.revision) == (None, ("locked", "why"), "{}", 3)


def test_a_thread_built_by_hand_is_inserted_or_changes_every_field() -> None:
    id, new, changes = inputs.saved_thread(Thread(id="t", title="x"))
    assert id == "t"
    assert new is not None
    assert (changes.title, changes.status, changes.metadata, changes.revision) == ("x", ("active", None), "{}", None)


def test_a_loaded_thread_changes_the_fields_that_were_copied_over() -> None:
    id, new, changes = inputs.saved_thread(_loaded_thread(title="y"))
    assert (id, new) == ("t", None)
    assert (changes.title, changes.status, changes.metadata, changes.revision) == ("y", ..., ..., 3)
    _, _, changes = inputs.saved_thread(_loaded_thread(status=ThreadStatus(type="closed"), metadata={}))
    assert (changes.title, changes.status, changes.metadata) == (..., ("closed", None), "{}")
    _, _, changes = inputs.saved_thread(_loaded_thread())
    assert (changes.title, changes.status, changes.metadata) == (..., ..., ...)


@pytest.mark.parametrize(
    "status",
    [None, "locked", ThreadStatus(reason="why"), ThreadStatus().model_copy(update={"type": "archived"})],
)
def test_a_status_is_checked(status: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^status: "):
        inputs.thread_changes(title=..., status=status, metadata=..., revision=None)


def test_metadata_is_measured_in_bytes_of_json() -> None:
    fits = {"x": "y" * (inputs.MAX_METADATA_BYTES - 8)}
    assert len(inputs.new_thread(id=None, title=None, metadata=fits, created_at=None).metadata) == 65536
    for metadata in ({"x": "y" * (inputs.MAX_METADATA_BYTES - 7)}, {"x": "\u00e9" * 32765}):
        with pytest.raises(InvalidInputError, match=r"^metadata: "):
            inputs.new_thread(id=None, title=None, metadata=metadata, created_at=None)


def test_a_new_item_says_what_was_given_and_what_was_made() -> None:
    made = inputs.new_item(message(), LARGEST)
    assert (made.dated, made.named) == (False, False)
    assert made.id.startswith("msg_")
    given = inputs.new_item(message("hi", id="a", created_at=NOON), LARGEST)
    assert (given.id, given.created_at, given.dated, given.named) == ("a", NOON.isoformat(), True, True)
    assert (given.payload, given.size) == ('{"text":"hi"}', 13)


def test_the_size_of_an_item_is_counted_in_bytes_and_bounded() -> None:
    item = Item(type="any", data={"x": "\u00e9\u00e9"})
    assert inputs.new_item(item, 12).size == 12
    with pytest.raises(InvalidInputError, match="max_item_bytes"):
        inputs.new_item(item, 11)


def test_an_undecoded_item_is_stored_as_the_text_it_was_loaded_with() -> None:
    text = '{"a":  1.50}'
    loaded = Item.of_payload(id="a", type="any", payload=text, created_at=NOON, thread_id="t", position=5)
    assert inputs.new_item(loaded, LARGEST).payload == text
    with pytest.raises(InvalidInputError):
        inputs.new_item(Item.of_payload(type="any", payload='{"a": NaN}'), LARGEST)


def test_a_batch_answers_each_item_at_its_place() -> None:
    new, places = inputs.new_items([message("1", id="a"), message("2", id="b"), message("3", id="a")], LARGEST)
    assert [(one.id, one.payload) for one in new] == [("a", '{"text":"3"}'), ("b", '{"text":"2"}')]
    assert places == [0, 1, 0]


def test_an_item_given_twice_keeps_the_time_that_was_given() -> None:
    for batch in (
        [message(id="a", created_at=NOON), message(id="a")],
        [message(id="a"), message(id="a", created_at=NOON)],
        [message(id="a", created_at=NOON), message(id="a", created_at=NOON)],
    ):
        (new,), _ = inputs.new_items(batch, LARGEST)
        assert (new.created_at, new.instant, new.dated) == (NOON.isoformat(), to_microseconds(NOON), True)


def test_an_item_given_twice_with_two_times_is_a_conflict() -> None:
    with pytest.raises(ConflictError, match="'a'"):
        inputs.new_items([message(id="a", created_at=NOON), message(id="a", created_at=minutes(1))], LARGEST)


def test_a_batch_is_bounded_in_number_and_in_bytes() -> None:
    assert len(inputs.new_items(messages(1000), LARGEST)[0]) == 1000
    with pytest.raises(InvalidInputError, match="1,000"):
        inputs.new_items(messages(1001), LARGEST)
    large = [Item(id=str(number), type="any", data={"x": "y" * (LARGEST - 8)}) for number in range(9)]
    assert len(inputs.new_items(large[:8], LARGEST)[0]) == 8
    with pytest.raises(InvalidInputError, match="67,108,864 bytes"):
        inputs.new_items(large, LARGEST)


def test_a_saved_item_was_loaded_if_it_has_a_position() -> None:
    loaded = Item(id="a", type="any", data={}, thread_id="t", position=5)
    assert inputs.saved_item(message(id="a"), "t", LARGEST)[1] is False
    assert inputs.saved_item(loaded, "t", LARGEST)[1] is True
    with pytest.raises(InvalidInputError, match="another thread"):
        inputs.saved_item(loaded, "u", LARGEST)


def test_a_record_built_by_hand_may_be_inserted_and_changes_every_field() -> None:
    new, by_hand, changes = inputs.saved_attachment(upload("f", thread_id="t", metadata={"a": 1}))
    assert by_hand is True
    assert (new.id, new.thread_id, new.mime_type) == ("f", "t", "image/png")
    assert (changes.name, changes.thread_id, changes.metadata) == ("cat.png", "t", '{"a":1}')
    assert inputs.saved_attachment(upload("f"))[2].thread_id is ...


def test_a_loaded_record_changes_the_fields_that_were_copied_over() -> None:
    loaded = Attachment.stored(**upload("f", thread_id="t").model_dump())
    for update, expected in (
        ({}, (..., ..., ...)),
        ({"name": "new"}, ("new", ..., ...)),
        ({"thread_id": "u"}, (..., "u", ...)),
        ({"thread_id": None}, (..., ..., ...)),
        ({"metadata": {}, "state": "ready"}, (..., ..., "{}")),
    ):
        _, by_hand, changes = inputs.saved_attachment(loaded.model_copy(update=update))
        assert by_hand is False
        assert (changes.name, changes.thread_id, changes.metadata) == expected
