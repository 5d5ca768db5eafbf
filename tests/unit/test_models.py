"""Threads, items, attachments and pages as values."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from pydantic import ValidationError

from chatstore import payloads
from chatstore.errors import IntegrityError, InvalidInputError
from chatstore.models import Attachment, Item, Page, Thread, ThreadStatus
from chatstore.testing.factories import NOON, json_objects, minutes

MODELS: list[Any] = [
    Thread(id="t", title="x", metadata={"a": 1}, created_at=NOON, updated_at=NOON, revision=1),
    Item(id="a", type="any", data={"a": [1]}, created_at=NOON, thread_id="t", position=5),
    Attachment(id="f", name="cat.png", mime_type="image/png", created_at=NOON),
    ThreadStatus(type="locked", reason="why"),
]


def _stored(payload: str = '{"a":[1]}', **values: Any) -> Item:
    known: dict[str, Any] = {"id": "a", "type": "any", "created_at": NOON, "thread_id": "t", "position": 5}
    return Item.of_payload(payload=payload, **(known | values))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_a_model_is_frozen(model: Any) -> None:
    for name in type(model).model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model, name, None)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_a_model_survives_pickle_copy_and_json(model: Any) -> None:
    assert pickle.loads(pickle.dumps(model)) == model
    assert copy.copy(model) == model
    assert copy.deepcopy(model) == model
    assert type(model).model_validate(model.model_dump()) == model
    assert type(model).model_validate_json(model.model_dump_json()) == model


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Thread, {"id": "t", "titel": "x"}),
        (Thread, {"id": 5}),
        (Thread, {}),
        (Thread, {"id": "t", "status": "frozen"}),
        (Item, {"type": "any", "data": {}, "text": "x"}),
        (Item, {"data": {}}),
        (Item, {"type": "any"}),
        (Item, {"type": "any", "data": {}, "created_at": "yesterday"}),
        (Item, {"type": "any", "data": {}, "created_at": 1715947200}),
        (Item, {"type": "any", "data": {}, "created_at": date(2024, 5, 17)}),
        (Item, {"type": "any", "data": {}, "created_at": "2024-05-17"}),
        (Item, {"type": "any", "data": {}, "created_at": "1715947200"}),
        (Item, {"type": "any", "data": {}, "position": "5"}),
        (Thread, {"id": "t", "revision": True}),
        (Attachment, {"id": "f", "name": "x", "mime_type": "y", "size": 1.0}),
        (Attachment, {"id": "f", "name": "x"}),
        (Attachment, {"id": "f", "name": "x", "mime_type": "y", "state": "lost"}),
        (ThreadStatus, {"type": "archived"}),
    ],
)
def test_a_wrong_or_unknown_field_is_bad_input(kind: Any, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=kind.__name__):
        kind(**values)


def test_the_error_of_a_wrong_field_does_not_repeat_the_value() -> None:
    with pytest.raises(InvalidInputError) as error:
        Thread(id="t", title=["secret words"])  # type: ignore[arg-type]
    assert "Thread.title" in str(error.value)
    assert "secret" not in str(error.value)


def test_a_field_that_is_none_counts_as_absent() -> None:
    item = Item(type="any", data={}, id=None, created_at=None)
    assert item.model_fields_set == {"type", "data"}
    assert Thread(id="t", metadata=None).metadata == {}


def test_metadata_is_not_shared_between_models() -> None:
    assert Thread(id="t").metadata is not Thread(id="u").metadata


def test_on_a_stored_model_no_field_counts_as_changed() -> None:
    thread = Thread.stored(id="t", title="x", revision=1)
    assert thread.model_fields_set == set()
    assert thread.model_copy(update={"title": "y"}).model_fields_set == {"title"}
    assert Attachment.stored(id="f").model_fields_set == set()
    assert _stored().model_fields_set == set()


def test_a_stored_item_decodes_its_data_on_first_use() -> None:
    item = _stored()
    assert "data" not in item.__dict__
    assert item.data == {"a": [1]}
    assert item.data is item.data


@given(json_objects())
def test_a_stored_item_equals_one_that_was_built(data: dict[str, Any]) -> None:
    built = Item(id="a", type="any", data=data, created_at=NOON, thread_id="t", position=5)
    stored = _stored(payloads.encode(data))
    assert built == stored
    assert stored == built
    assert repr(stored.data) == repr(data)


def test_the_payload_of_an_item_is_its_stored_text_or_its_data_encoded() -> None:
    text = '{"a": [1],  "b": 2.50}'
    item = _stored(text)
    assert item.payload is text
    item.data["c"] = 1
    assert item.payload == '{"a":[1],"b":2.5,"c":1}'
    assert Item(type="any", data={"a": 1}).payload == '{"a":1}'


@pytest.mark.parametrize(
    "use",
    [
        lambda item: item.data,
        lambda item: pickle.loads(pickle.dumps(item)),
        lambda item: json.loads(item.model_dump_json()),
        Item.model_dump,
        dict,
    ],
)
def test_every_use_of_a_stored_item_sees_its_data(use: Any) -> None:
    built = Item(id="a", type="any", data={"a": [1]}, created_at=NOON, thread_id="t", position=5)
    assert use(_stored()) == use(built)


def test_damaged_text_is_told_when_it_is_used() -> None:
    with pytest.raises(IntegrityError):
        _ = _stored("{").data


def test_items_differ_in_each_of_their_fields() -> None:
    item = _stored()
    others: list[dict[str, Any]] = [
        {"id": "b"},
        {"type": "other"},
        {"thread_id": "u"},
        {"position": 6},
        {"created_at": minutes(1)},
    ]
    assert all(item != _stored(**other) for other in others)
    assert item != _stored('{"a":[2]}')
    assert item != "a"


def test_a_copy_with_other_data_has_it() -> None:
    changed = _stored().model_copy(update={"data": {"b": 2}})
    assert changed.data == {"b": 2}
    assert changed.payload == '{"b":2}'
    assert changed.position == 5


def test_a_copy_of_an_item_that_was_not_read_has_its_data() -> None:
    assert _stored().model_copy().data == {"a": [1]}
    assert _stored().model_copy(update={"type": "other"}).data == {"a": [1]}


def test_an_unknown_attribute_of_an_item_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        _ = _stored().text  # type: ignore[attr-defined]


@pytest.mark.parametrize("model", [_stored('{"text":"secret words"}'), *MODELS], ids=lambda model: type(model).__name__)
def test_what_a_log_shows_is_not_what_people_wrote(model: Any) -> None:
    text = repr(model)
    assert "secret" not in text
    assert "cat.png" not in text
    assert "metadata" not in text


def test_a_page_of_nothing_is_the_last() -> None:
    page = Page[Item](data=[])
    assert (page.has_more, page.after) == (False, None)
