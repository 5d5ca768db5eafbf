"""Times as text and as microseconds."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatstore import instants
from chatstore.errors import InvalidInputError
from chatstore.testing.factories import MOMENTS, moments

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(moments())
def test_text_brings_a_time_back_with_its_offset(moment: datetime) -> None:
    back = instants.from_text(instants.to_text(moment), instants.to_microseconds(moment))
    assert back == moment
    assert back.isoformat() == moment.isoformat()
    assert back.utcoffset() == moment.utcoffset()


@pytest.mark.parametrize("name", MOMENTS)
def test_text_brings_back_the_times_that_stores_get_wrong(name: str) -> None:
    moment = MOMENTS[name]
    back = instants.from_text(instants.to_text(moment), instants.to_microseconds(moment))
    assert back.isoformat() == moment.isoformat()


@given(moments().filter(lambda moment: moment.tzinfo is not None))
def test_an_aware_time_has_the_instant_of_its_offset(moment: datetime) -> None:
    expected = (moment - EPOCH) // timedelta(microseconds=1)
    assert instants.to_microseconds(moment) == expected


@given(st.datetimes(datetime(1975, 1, 1), datetime(2035, 1, 1)))
def test_a_naive_time_is_local_time(moment: datetime) -> None:
    expected = (moment.astimezone(UTC) - EPOCH) // timedelta(microseconds=1)
    assert instants.to_microseconds(moment) == expected


@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_an_instant_is_a_time_in_utc(microseconds: int) -> None:
    moment = instants.from_microseconds(microseconds)
    assert moment.utcoffset() == timedelta()
    assert instants.to_microseconds(moment) == microseconds


@pytest.mark.parametrize("name", MOMENTS)
def test_every_time_has_an_instant_of_64_bits(name: str) -> None:
    assert -(2**63) <= instants.to_microseconds(MOMENTS[name]) < 2**63


def test_both_passes_of_a_repeated_hour_are_an_hour_apart() -> None:
    first = instants.to_microseconds(MOMENTS["first pass of a repeated hour"])
    second = instants.to_microseconds(MOMENTS["second pass of a repeated hour"])
    assert second - first == 3_600_000_000


def test_a_naive_time_keeps_its_pass_of_a_repeated_hour() -> None:
    program = """
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from chatstore.instants import from_text, to_microseconds, to_text
first, second = datetime(2024, 10, 27, 2, 30), datetime(2024, 10, 27, 2, 30, fold=1)
print(to_microseconds(second) - to_microseconds(first))
print([from_text(to_text(moment), to_microseconds(moment)).fold for moment in (first, second)])
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={"TZ": "CET-1CEST,M3.5.0,M10.5.0/3"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout == "3600000000\n[0, 1]\n"


def test_a_naive_time_stored_in_another_zone_keeps_its_wall_time() -> None:
    moment = datetime(2024, 5, 17, 12, 30)
    assert instants.from_text(instants.to_text(moment), 0) == moment


@pytest.mark.parametrize("value", [None, "2024-01-01", 5, 5.5, date(2024, 1, 1), UTC])
def test_only_a_datetime_is_a_time(value: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^created_at: "):
        instants.plain(value)


class _Odd(tzinfo):
    def __init__(self, offset: Any) -> None:
        self._offset = offset

    def utcoffset(self, moment: datetime | None) -> Any:
        if isinstance(self._offset, Exception):
            raise self._offset
        return self._offset

    def dst(self, moment: datetime | None) -> None:
        return None

    def tzname(self, moment: datetime | None) -> str:
        return "odd"


@pytest.mark.parametrize("offset", [RuntimeError("none"), timedelta(hours=30), "+01:00", 5])
def test_a_zone_that_does_not_say_its_offset_is_refused(offset: Any) -> None:
    with pytest.raises(InvalidInputError, match="time zone"):
        instants.plain(datetime(2024, 1, 1, tzinfo=_Odd(offset)))


def test_a_time_that_writes_itself_otherwise_is_kept_as_the_time_it_is() -> None:
    class Talkative(datetime):
        def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:
            return "the first of January"

    moment = Talkative(2024, 1, 1, 12, tzinfo=UTC)
    text = instants.to_text(instants.plain(moment))
    assert instants.from_text(text, instants.to_microseconds(moment)) == datetime(2024, 1, 1, 12, tzinfo=UTC)


def test_now_is_aware_and_the_two_clocks_agree() -> None:
    assert instants.now().utcoffset() == timedelta()
    assert abs(instants.now_microseconds() - instants.to_microseconds(instants.now())) < 60_000_000
