"""Identifiers: made, and checked."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatstore.errors import InvalidInputError
from chatstore.ids import check_key, new_id, new_item_id
from chatstore.testing.factories import DISTINCT_KEYS, REFUSED_KEYS, Text, keys


def test_a_new_id_is_its_prefix_and_128_bits() -> None:
    assert re.fullmatch(r"thr_[0-9a-f]{32}", new_id("thr"))


def test_new_ids_are_unique_and_sorted_by_time() -> None:
    ids = [new_id("msg") for _ in range(2000)]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize(
    ("item_type", "prefix"),
    [
        ("user_message", "msg"),
        ("assistant_message", "msg"),
        ("client_tool_call", "tc"),
        ("workflow", "wf"),
        ("task", "tsk"),
        ("sdk_hidden_context", "shcx"),
        ("hologram", "msg"),
        ("", "msg"),
    ],
)
def test_an_items_id_has_the_prefix_of_its_type(item_type: str, prefix: str) -> None:
    assert new_item_id(item_type).rpartition("_")[0] == prefix


@given(keys())
def test_every_other_text_is_a_key_as_it_is(key: str) -> None:
    assert check_key(key, "id") == key


@pytest.mark.parametrize("key", DISTINCT_KEYS)
def test_a_key_means_nothing(key: str) -> None:
    assert check_key(key, "id") == key


@pytest.mark.parametrize("key", [*REFUSED_KEYS, None, b"key", Text("key")])
def test_what_cannot_be_a_key_is_refused_by_the_name_of_its_field(key: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^thread_id: "):
        check_key(key, "thread_id")


@given(st.integers(0, 31) | st.integers(0x7F, 0x9F) | st.integers(0xD800, 0xDFFF))
def test_no_control_character_or_surrogate_is_part_of_a_key(code_point: int) -> None:
    with pytest.raises(InvalidInputError):
        check_key(f"a{chr(code_point)}b", "id")


@given(st.text(st.sampled_from(["a", "\u00e9", "\u20ac", "\U0001f600"]), min_size=60, max_size=300))
def test_the_length_of_a_key_is_counted_in_bytes(key: str) -> None:
    if len(key.encode()) <= 255:
        assert check_key(key, "id") == key
    else:
        with pytest.raises(InvalidInputError, match="255 bytes"):
            check_key(key, "id")


def test_a_refusal_does_not_repeat_the_value() -> None:
    with pytest.raises(InvalidInputError) as error:
        check_key("secret\x00", "id")
    assert "secret" not in str(error.value)
