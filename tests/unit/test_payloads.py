"""Data to JSON text and back, value for value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from chatstore import payloads
from chatstore.errors import IntegrityError, InvalidInputError
from chatstore.testing.factories import EXACT_DATA, REFUSED_DATA, json_objects, nested


@given(json_objects())
def test_whatever_is_encoded_is_decoded_to_the_same_value(data: dict[str, Any]) -> None:
    assert repr(payloads.decode(payloads.encode(data))) == repr(data)


@given(json_objects())
def test_the_text_is_plain_json_that_others_read_alike(data: dict[str, Any]) -> None:
    assert repr(json.loads(payloads.encode(data))) == repr(data)


@given(json_objects())
def test_encoded_text_is_accepted_as_it_is(data: dict[str, Any]) -> None:
    text = payloads.encode(data)
    assert payloads.check_payload(text) == text


@pytest.mark.parametrize("name", EXACT_DATA)
def test_the_values_that_stores_get_wrong_come_back(name: str) -> None:
    assert repr(payloads.decode(payloads.encode(EXACT_DATA[name]))) == repr(EXACT_DATA[name])


@pytest.mark.parametrize("name", REFUSED_DATA)
def test_what_cannot_come_back_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError):
        payloads.encode(REFUSED_DATA[name])


def test_the_refusal_names_the_field_it_was_asked_about() -> None:
    with pytest.raises(InvalidInputError, match=r"^metadata: "):
        payloads.encode({"x": float("nan")}, "metadata")


@pytest.mark.parametrize("levels", [1, 2, 63, 64])
def test_up_to_64_levels_are_kept(levels: int) -> None:
    assert payloads.decode(payloads.encode(nested(levels))) == nested(levels)


@pytest.mark.parametrize("levels", [65, 66, 1000, 100_000])
def test_more_levels_are_refused_without_a_recursion_error(levels: int) -> None:
    with pytest.raises(InvalidInputError, match="64 levels"):
        payloads.encode(nested(levels))


def test_a_value_that_holds_itself_is_refused() -> None:
    data: dict[str, Any] = {}
    data["self"] = data
    with pytest.raises(InvalidInputError, match="64 levels"):
        payloads.encode(data)


def test_an_int_of_4300_digits_is_the_largest() -> None:
    assert payloads.decode(payloads.encode({"n": -(10**4300) + 1})) == {"n": -(10**4300) + 1}
    for number in (10**4300, -(10**4300)):
        with pytest.raises(InvalidInputError, match="4,300 digits"):
            payloads.encode({"n": number})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "null",
        '"text"',
        "{",
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": -Infinity}',
        '{"a": 1} x',
        "{'a': 1}",
        '{"a": "\\ud800"}',
        '{"a": 1e999}',
    ],
)
def test_text_that_is_no_such_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        payloads.check_payload(text)


@pytest.mark.parametrize("payload", [None, 5, b"{}", {}, ["{}"]])
def test_a_payload_that_is_no_text_is_refused(payload: object) -> None:
    with pytest.raises(InvalidInputError):
        payloads.check_payload(payload)


def test_a_payload_of_more_than_64_levels_is_refused() -> None:
    text = json.dumps(nested(65))
    with pytest.raises(InvalidInputError, match="64 levels"):
        payloads.check_payload(text)


@pytest.mark.parametrize("text", ["", "x", "[]", "5", '{"a": NaN}', '{"a"'])
def test_stored_text_that_no_version_writes_is_an_integrity_error(text: str) -> None:
    with pytest.raises(IntegrityError):
        payloads.decode(text)


def test_the_message_of_an_integrity_error_holds_no_stored_text() -> None:
    with pytest.raises(IntegrityError) as error:
        payloads.decode('{"secret words": ')
    assert "secret" not in str(error.value)
