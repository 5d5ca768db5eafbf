"""Cursors: opaque, bound to one listing, and never mistaken for another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chatstore import cursors
from chatstore.cursors import NO_END, Listing, ThreadPosition
from chatstore.errors import InvalidInputError
from chatstore.instants import to_microseconds
from chatstore.models import Item, Page, Thread
from chatstore.owners import Owner
from chatstore.testing.factories import ANN, BOB, NOON, keys, minutes

LISTING = Listing(ANN, "items:t", "asc", "db")
POSITIONS = st.lists(st.integers(-(2**63), 2**63 - 1) | keys(), min_size=1, max_size=3)


def _loaded_item(**values: Any) -> Item:
    known: dict[str, Any] = {"id": "a", "thread_id": "t", "position": 7}
    return Item(type="any", data={}, **(known | values))


@given(POSITIONS)
def test_a_cursor_brings_its_position_back(position: list[int | str]) -> None:
    assert LISTING.position(LISTING.cursor(*position)) == tuple(position)


@given(st.text(max_size=200))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        LISTING.position(text)


@given(POSITIONS, st.data())
def test_no_altered_cursor_is_taken(position: list[int | str], data: st.DataObject) -> None:
    cursor = LISTING.cursor(*position)
    place = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.characters())
    assume(other != cursor[place])
    for altered in (cursor[:place] + other + cursor[place + 1 :], cursor[:place] + other + cursor[place:]):
        with pytest.raises(InvalidInputError):
            LISTING.position(altered)
    with pytest.raises(InvalidInputError):
        LISTING.position(cursor[:place])


@pytest.mark.parametrize(
    "other",
    [
        replace(LISTING, owner=BOB),
        replace(LISTING, owner=Owner("ann", "acme")),
        replace(LISTING, name="items:u"),
        replace(LISTING, name="threads:created"),
        replace(LISTING, order="desc"),
        replace(LISTING, database="other"),
    ],
)
def test_a_cursor_of_another_listing_is_refused(other: Listing) -> None:
    with pytest.raises(InvalidInputError):
        LISTING.position(other.cursor(5))


def test_the_parts_of_a_listing_do_not_run_into_each_other() -> None:
    one = Listing(Owner("c", "a/b"), "items:t", "asc", "db")
    other = Listing(Owner("b/c", "a"), "items:t", "asc", "db")
    with pytest.raises(InvalidInputError):
        one.position(other.cursor(5))


@pytest.mark.parametrize("value", ["", "x" * 1025, "A" * 2**20, "\ud800", "é", b"x", 5, 1.5, True, ["x"], {}, object()])
def test_what_is_no_text_of_a_cursors_length_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^after: "):
        LISTING.position(value)


@pytest.mark.parametrize("character", ["a", '"', "\\", "\u00e9", "\u4e2d", "\U0001f600"])
def test_the_longest_key_of_every_kind_fits_into_a_cursor(character: str) -> None:
    key = character * (255 // len(character.encode()))
    cursor = LISTING.cursor(-(2**63), key, -(2**63))
    assert LISTING.position(cursor) == (-(2**63), key, -(2**63))


def test_an_item_is_a_cursor_of_its_own_thread() -> None:
    assert cursors.after_item(None, LISTING, "t") is None
    assert cursors.after_item(_loaded_item(), LISTING, "t") == 7
    assert cursors.after_item(LISTING.cursor(9), LISTING, "t") == 9
    for wrong in (_loaded_item(thread_id="u"), _loaded_item(position=None), Item(type="any", data={})):
        with pytest.raises(InvalidInputError):
            cursors.after_item(wrong, LISTING, "t")


def test_a_thread_is_a_cursor_by_the_time_that_is_listed_by() -> None:
    thread = Thread(id="t", created_at=NOON, updated_at=minutes(5), revision=1)
    listing = cursors.threads_of(ANN, by="created", order="asc", database="db")
    assert cursors.after_thread(None, listing, "created") is None
    assert cursors.after_thread(thread, listing, "created") == ThreadPosition(to_microseconds(NOON), "t", NO_END)
    assert cursors.after_thread(thread, listing, "activity") == ThreadPosition(to_microseconds(minutes(5)), "t", NO_END)
    assert cursors.after_thread(listing.cursor(3, "t", 9), listing, "created") == ThreadPosition(3, "t", 9)
    with pytest.raises(InvalidInputError):
        cursors.after_thread(Thread(id="t", created_at=NOON), listing, "created")


def test_a_records_cursor_is_its_time_and_id() -> None:
    listing = cursors.attachments_of("t", owner=ANN, database="db")
    assert cursors.after_attachment(None, listing) is None
    assert cursors.after_attachment(listing.cursor(-5, "f"), listing) == (-5, "f")


def test_listings_of_different_things_are_different() -> None:
    listings = [
        cursors.items_of("t", owner=ANN, order="asc", database="db"),
        cursors.items_of("t", owner=ANN, order="desc", database="db"),
        cursors.attachments_of("t", owner=ANN, database="db"),
        cursors.threads_of(ANN, by="created", order="asc", database="db"),
        cursors.threads_of(ANN, by="activity", order="asc", database="db"),
    ]
    assert len({listing.cursor(1, "t", 1) for listing in listings}) == len(listings)


async def test_iterating_goes_from_page_to_page_and_stops_at_the_last() -> None:
    pages = {
        None: Page(data=[_loaded_item(id="a")], has_more=True, after="one"),
        "one": Page[Item](data=[], has_more=True, after="two"),
        "two": Page(data=[_loaded_item(id="b"), _loaded_item(id="c")]),
    }
    asked = []

    async def load(after: str | None) -> Page[Item]:
        asked.append(after)
        return pages[after]

    assert [item.id async for item in cursors.iterate(load)] == ["a", "b", "c"]
    assert asked == [None, "one", "two"]


async def test_iterating_loads_a_page_only_when_it_is_reached() -> None:
    asked = []

    async def load(after: str | None) -> Page[Item]:
        asked.append(after)
        return Page(data=[_loaded_item()], has_more=True, after=f"{len(asked)}")

    items = cursors.iterate(load)
    assert asked == []
    await anext(items)
    assert asked == [None]
    await anext(items)
    assert asked == [None, "1"]
