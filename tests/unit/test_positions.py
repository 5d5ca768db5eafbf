"""Where an item stands, against a model that looks at every item."""

from __future__ import annotations

from bisect import insort

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatstore.positions import STEP, WINDOW, appended, placed

NOW = 1_700_000_000_000_000
"""A present instant, in microseconds."""


@given(st.integers(0, 2**52), st.integers(-(2**62), 2**62))
def test_an_append_comes_after_everything_and_follows_the_clock(now: int, last: int) -> None:
    position = appended(now, last)
    assert position >= last + STEP
    assert position in (now * STEP, last + STEP)
    assert position >= now * STEP


def test_a_clock_that_stands_still_or_steps_back_changes_nothing() -> None:
    last, positions = 0, []
    for now in (NOW, NOW, NOW - 5, NOW - 10**9, NOW + 1):
        last = appended(now, last)
        positions.append(last)
    assert positions == sorted(set(positions))


def test_no_item_later_means_an_append() -> None:
    assert placed([], NOW) is None
    assert placed([(NOW * STEP, 5), (NOW * STEP + STEP, 7)], 7) is None


def test_the_time_itself_is_the_place_where_it_lies_between_the_neighbours() -> None:
    newest = [(NOW * STEP, NOW), ((NOW + 100) * STEP, NOW + 100)]
    assert placed(newest, NOW + 40) == (NOW + 40) * STEP


@pytest.mark.parametrize("step", [-1, 0, 1])
def test_a_thousand_items_find_room_in_front_of_all_others(step: int) -> None:
    thread = [(NOW * STEP, NOW)]
    for number in range(1000):
        position = placed(thread, step * number)
        assert position is not None
        insort(thread, (position, step * number))
    assert [instant for _, instant in thread] == [*sorted(step * number for number in range(1000)), NOW]


_gaps = st.integers(2, 4 * STEP)
_instants = st.integers(0, 20)


@st.composite
def _threads(draw: st.DrawFn) -> list[tuple[int, int]]:
    position, thread = NOW * STEP, []
    for instant in draw(st.lists(_instants, min_size=1, max_size=12)):
        position += draw(_gaps)
        thread.append((position, instant))
    return thread


@given(_threads(), _instants)
def test_a_place_is_directly_before_the_first_later_item(thread: list[tuple[int, int]], instant: int) -> None:
    position = placed(thread, instant)
    later = [index for index, (_, other) in enumerate(thread) if other > instant]
    if not later:
        assert position is None
        return
    assert position is not None
    before = [other for other, _ in thread[: later[0]]]
    assert position < thread[later[0]][0]
    assert not before or position > before[-1]


@given(_threads(), st.lists(_instants, max_size=40))
def test_no_place_is_given_twice_however_many_are_placed(thread: list[tuple[int, int]], placings: list[int]) -> None:
    for instant in placings:
        position = placed(thread, instant)
        if position is not None:
            assert position not in {other for other, _ in thread}
            insort(thread, (position, instant))


@given(st.lists(_instants, max_size=8))
def test_eight_placings_between_two_that_were_appended_together_stand_by_time(placings: list[int]) -> None:
    thread = [(NOW * STEP, -1), (NOW * STEP + STEP, 100)]
    expected: list[tuple[int, int]] = []
    for number, instant in enumerate(placings):
        position = placed(thread, instant)
        assert position is not None
        insort(thread, (position, instant))
        spot = next((i for i, (other, _) in enumerate(expected) if other > instant), len(expected))
        expected.insert(spot, (instant, number))
    assert [instant for _, instant in thread] == [-1, *(instant for instant, _ in expected), 100]


@pytest.mark.parametrize("instant", [0, 50])
def test_a_spot_without_numbers_passes_the_item_on_to_the_next_gap(instant: int) -> None:
    thread = [(1000, instant), (1001, 100), (1002, 100), (5000, 100)]
    assert placed(thread, instant) == 1002 + STEP


def test_no_gap_at_all_is_an_append() -> None:
    assert placed([(1000, 0), (1001, 100), (1002, 100)], 0) is None


def test_items_older_than_the_window_are_not_looked_at() -> None:
    neighbour = (NOW * STEP, 100)
    window = [(NOW * STEP + (number + 1) * STEP, 0) for number in range(WINDOW)]
    assert placed([neighbour, *window], 50) is None
    position = placed([neighbour, (window[0][0], 100), *window[1:]], 50)
    assert position is not None
    assert neighbour[0] < position < window[0][0]
