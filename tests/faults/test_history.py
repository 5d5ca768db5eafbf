"""The judge of histories knows every kind of broken promise, and finds none where all are kept."""

from __future__ import annotations

import random

import pytest

from chatstore.testing.faults.history import Append, Findings, Read, check


def append(value: str, begun: float, acknowledged: float | None, writer: str = "w") -> Append:
    return Append(writer, "t", value, begun, acknowledged)


def read(values: str, begun: float, ended: float) -> Read:
    return Read("t", list(values), begun, ended)


APPENDS = [append("a", 0, 1), append("b", 2, 3), append("c", 4, 5)]


def kinds(found: Findings) -> set[str]:
    return {kind for kind, count in found.counts().items() if count}


def test_a_history_that_keeps_every_promise_has_no_findings() -> None:
    reads = [read("", 0, 0.5), read("a", 0.2, 2.5), read("ab", 2.6, 3.5), read("abc", 6, 7)]
    found = check(APPENDS, reads, {"t": "abc"})
    assert not found
    assert set(found.counts().values()) == {0}


@pytest.mark.parametrize(
    ("final", "broken"),
    [
        ("ab", {"lost"}),
        ("", {"lost"}),
        ("abbc", {"duplicated"}),
        ("abca", {"duplicated"}),
        ("abcx", {"unknown"}),
        ("acb", {"reordered"}),
        ("cba", {"reordered"}),
        ("xacc", {"unknown", "lost", "duplicated"}),
    ],
)
def test_what_is_there_at_the_end_must_be_what_was_acknowledged(final: str, broken: set[str]) -> None:
    assert kinds(check(APPENDS, [], {"t": final})) == broken


@pytest.mark.parametrize("final", ["abc", "abxc", "abcx", "axbc"])
def test_an_append_that_was_never_answered_may_be_there_at_any_place_after_its_beginning(final: str) -> None:
    assert not check([*APPENDS, append("x", 0.5, None, "other")], [], {"t": final})


def test_an_append_that_was_never_answered_is_not_there_twice_nor_before_its_beginning() -> None:
    late = [*APPENDS, append("x", 1.5, None, "other")]
    assert kinds(check(late, [], {"t": "abxcx"})) == {"duplicated"}
    assert kinds(check(late, [], {"t": "xabc"})) == {"reordered"}


def test_appends_that_overlap_may_stand_in_either_order() -> None:
    both = [append("a", 0, 2, "v"), append("b", 1, 3, "w")]
    assert not check(both, [], {"t": "ab"})
    assert not check(both, [], {"t": "ba"})


@pytest.mark.parametrize(
    "reads",
    [
        [read("b", 2, 3)],
        [read("ac", 4, 5)],
        [read("ba", 2, 3)],
        [read("ab", 2, 3), read("a", 4, 5)],
        [read("abc", 2, 3), read("ab", 2.5, 4), read("ab", 3.5, 5)],
        [read("abcx", 5, 6)],
    ],
)
def test_a_read_that_does_not_extend_an_earlier_one_is_found_once(reads: list[Read]) -> None:
    assert check(APPENDS, reads, {"t": "abc"}).counts()["unextended"] == 1


def test_reads_that_overlap_may_differ_in_length() -> None:
    assert not check(APPENDS, [read("abc", 1, 5), read("ab", 2, 6)], {"t": "abc"})


def test_threads_are_judged_apart() -> None:
    other = [Append("w", "u", "a", 0, 1), Append("w", "u", "z", 2, 3)]
    assert not check([*APPENDS, *other], [read("abc", 6, 7), Read("u", ["a"], 8, 9)], {"t": "abc", "u": "az"})
    assert check([*APPENDS, *other], [], {"t": "abc"}).lost == ("a in u", "z in u")


def test_where_clocks_cannot_be_compared_only_a_writers_own_order_counts() -> None:
    apart = [append("a", 100, 101, "v"), append("b", 0, 1, "w"), append("c", 2, 3, "w")]
    assert kinds(check(apart, [], {"t": "abc"})) == {"reordered"}
    assert not check(apart, [read("ab", 5, 6), read("a", 7, 8)], {"t": "abc"}, one_clock=False)
    assert kinds(check(apart, [], {"t": "acb"}, one_clock=False)) == {"reordered"}
    assert kinds(check(apart, [read("b", 5, 6)], {"t": "abc"}, one_clock=False)) == {"unextended"}


def test_a_real_order_is_never_blamed_and_any_two_values_that_change_places_are() -> None:
    """Histories at random, in which one true order exists by construction."""
    chance = random.Random(7)
    for _ in range(200):
        moments = sorted(chance.uniform(0, 10) for _ in range(12))
        appends = [append(chr(97 + n), at - chance.random(), at + chance.random()) for n, at in enumerate(moments)]
        final = [each.value for each in appends]
        reads = []
        for _ in range(10):
            at = chance.uniform(0, 10)
            seen = [value for value, moment in zip(final, moments, strict=True) if moment <= at]
            reads.append(Read("t", seen, at - chance.random(), at + chance.random()))
        assert not check(appends, reads, {"t": final})
        one, other = sorted(chance.sample(range(12), 2))
        mistaken = (appends[one].acknowledged or 0) < appends[other].begun
        final[one], final[other] = final[other], final[one]
        assert not mistaken or check(appends, [], {"t": final}).reordered
