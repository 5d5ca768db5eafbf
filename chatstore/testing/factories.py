"""What tests of a store are made of: items of every kind, values that stores get wrong, and strategies for them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any

from hypothesis import strategies as st

from chatstore.models import Attachment, Item
from chatstore.owners import Owner

ANN = Owner("ann")
BOB = Owner("bob")

NOON = datetime(2024, 5, 17, 12, 0, tzinfo=UTC)
"""A time long before the tests run, from which other times are counted."""


def message(text: str = "hi", *, id: str | None = None, created_at: datetime | None = None) -> Item:
    """Return a user's message that says ``text``."""
    return Item(type="user_message", data={"text": text}, id=id, created_at=created_at)


def messages(count: int, *, prefix: str = "m", created_at: datetime | None = None) -> list[Item]:
    """Return ``count`` messages with ids that sort in their order."""
    return [message(str(number), id=f"{prefix}{number:04}", created_at=created_at) for number in range(count)]


def upload(id: str = "file", *, thread_id: str | None = None, **values: Any) -> Attachment:
    """Return the record of an image that was not stored before."""
    known: dict[str, Any] = {"name": "cat.png", "mime_type": "image/png", "created_at": NOON}
    return Attachment(id=id, thread_id=thread_id, **(known | values))


def minutes(count: float) -> datetime:
    """Return the time ``count`` minutes after noon."""
    return NOON + timedelta(minutes=count)


def nested(levels: int) -> dict[str, Any]:
    """Return an object of ``levels`` levels, dicts and lists in turn."""
    value: Any = "bottom"
    for level in range(levels - 1, 0, -1):
        value = [value] if level % 2 else {"deeper": value}
    return {"deeper": value}


class RepeatedHour(tzinfo):
    """A zone whose clock is an hour further in the second pass of a repeated hour: offset by ``fold``."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        """Return two hours, and one in the second pass."""
        return timedelta(hours=1 if moment is not None and moment.fold else 2)

    def dst(self, moment: datetime | None) -> timedelta:
        """Return what summer time adds."""
        return self.utcoffset(moment) - timedelta(hours=1)

    def tzname(self, moment: datetime | None) -> str:
        """Return the zone's name, which no store keeps."""
        return "Tests/RepeatedHour"


class Text(str):
    """A ``str`` of another type, which would come back as a plain one."""


EXACT_DATA: dict[str, dict[str, Any]] = {
    "nothing": {},
    "empty values": {"object": {}, "list": [], "text": "", "null": None, "nested": [[], {}, [[]]]},
    "integers of any size": {"n": [2**31, 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**400, -(10**400), 10**4299]},
    "floats to the last bit": {"x": [5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1, 0.1 + 0.2, 1e22]},
    "zeros": {"x": [0, 0.0, -0.0, [-0.0], {"minus": -0.0}]},
    "bools beside numbers": {"x": [True, 1, 1.0, False, 0, 0.0, None, "1", "true", "null"]},
    "NUL characters": {"a\x00b": "\x00", "text": "before\x00after", "\x00": ["\x00\x00"]},
    "control characters": {"all": "".join(map(chr, range(32))) + "\x7f\x80\x9f", "lines": "\u2028\u2029\x85\r\n"},
    "unicode": {
        "text": "👩‍👩‍👧 ﷽ שלום \u202e \ufeff \ufffe\uffff \U0010ffff",
        "é": "composed",
        "e\u0301": "decomposed",
    },
    "quotes and escapes": {"text": "'\"\\`%_$1 :name ?1 \\u0000 \\x00 {} {{x}}", "a'b\"c\\d": "\\"},
    "text like JSON": {"a": '{"b": 1}', "b": "NaN", "c": "Infinity", "d": "[1", "e": "\\ud800"},
    "text like SQL": {"a": "'; DROP TABLE chatstore_items; --", "b": "NULL", "c": "$$x$$"},
    "keys as given": {"b": 1, "a": 2, "": 3, " ": 4, "A": 5, "10": 6, "9": 7, "__proto__": 8, "id": 9, "data": 10},
    "key order": {str(number): {"z": 1, "y": 2, "x": 3} for number in range(50, 0, -1)},
    "64 levels": nested(64),
    "many values": {"n": list(range(5000)), "o": [{"k": number} for number in range(500)]},
    "long text": {"text": "x" * 300_000 + "é" * 100_000},
}
"""Objects that come back exactly as they are from every store."""

MOMENTS: dict[str, datetime] = {
    "naive": datetime(2024, 5, 17, 12, 30, 15, 123456),
    "naive midnight": datetime(2024, 5, 17),
    "UTC": datetime(2024, 5, 17, 12, 30, 15, 1, tzinfo=UTC),
    "an offset": datetime(2024, 5, 17, 12, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    "an offset of seconds": datetime(1890, 1, 1, 12, tzinfo=timezone(timedelta(minutes=53, seconds=28))),
    "an offset of microseconds": datetime(2024, 1, 1, tzinfo=timezone(-timedelta(hours=3, microseconds=1))),
    "an offset below a second": datetime(2024, 1, 1, tzinfo=timezone(-timedelta(microseconds=1))),
    "first pass of a repeated hour": datetime(2024, 10, 27, 2, 30, tzinfo=RepeatedHour()),
    "second pass of a repeated hour": datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=RepeatedHour()),
    "before 1970": datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    "naive year 1": datetime(1, 1, 1),
    "year 1 in the far east": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    "naive year 9999": datetime(9999, 12, 31, 23, 59, 59, 999999),
    "year 9999 in the far west": datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone(-timedelta(hours=12))),
}
"""Times that come back with the same wall time and offset from every store."""

DISTINCT_KEYS = [
    "thread",
    "Thread",
    "thread ",
    " thread",
    "thread%",
    "t%",
    "%",
    "_",
    "threa_",
    "thread*",
    "thread\\",
    "../thread",
    "thread/..",
    "thread/1",
    "thread:1",
    "thread|1",
    "thread'--",
    "'; DROP TABLE chatstore_threads; --",
    "caf\u00e9",
    "cafe\u0301",
    "cafe",
    "stra\u00dfe",
    "strasse",
    "\ufb01",
    "fi",
    "\u0131",
    "i",
    "I",
    "\uff21",
    "A",
    "a",
    "1",
    "01",
    "1.0",
    "NULL",
    "None",
    "\U0001f600",
    "\uffff",
    "\u200b",
    "a" * 255,
    "\u00e9" * 127,
]
"""Ids that are all different from each other, however alike they look to a database."""

REFUSED_KEYS: list[Any] = [
    "",
    5,
    ["thread"],
    "a" * 256,
    "\u00e9" * 128,
    "a" * 1_000_000,
    "nul\x00",
    "line\n",
    "tab\t",
    "\x1f",
    "\x7f",
    "\x85",
    "\ud800",
    "\udfff",
]
"""What no store takes as an id."""

REFUSED_TEXTS: list[Any] = [5, ["text"], "nul\x00", "\ud800", "a\udfffb"]
"""What no store takes as a title, a type, a reason or a name; one that is too long aside."""

REFUSED_DATA: dict[str, Any] = {
    "not an object": ["a list"],
    "text": "{}",
    "NaN": {"x": float("nan")},
    "infinity": {"x": [float("inf")]},
    "minus infinity": {"x": {"y": -float("inf")}},
    "a lone surrogate": {"x": "\ud800"},
    "a lone surrogate in a key": {"\udfff": 1},
    "an int key": {"x": {1: 2}},
    "a None key": {None: 1},
    "a tuple": {"x": (1, 2)},
    "a set": {"x": {1}},
    "bytes": {"x": b"1"},
    "a date": {"x": date(2024, 1, 1)},
    "a datetime": {"x": NOON},
    "an object": {"x": object()},
    "a str of another type": {"x": Text("y")},
    "a str key of another type": {Text("x"): 1},
    "a dict of another type": {"x": type("Other", (dict,), {})()},
    "65 levels": nested(65),
    "an int of 4,301 digits": {"x": 10**4300},
}
"""What no store takes as data or as metadata."""


def keys() -> st.SearchStrategy[str]:
    """Return a strategy of ids that every store takes."""
    characters = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])
    return st.text(characters, min_size=1, max_size=80).filter(lambda key: len(key.encode()) <= 255)


def texts() -> st.SearchStrategy[str]:
    """Return a strategy of texts with every character that JSON carries, NUL among them."""
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def json_values() -> st.SearchStrategy[Any]:
    """Return a strategy of what ``data`` may hold."""
    integers = st.integers() | st.integers(-(10**400), 10**400)
    floats = st.floats(allow_nan=False, allow_infinity=False)
    leaves = st.none() | st.booleans() | integers | floats | texts()
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts(), inner, max_size=4))


def json_objects() -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy of ``data``."""
    return st.dictionaries(texts(), json_values(), max_size=4)


def moments() -> st.SearchStrategy[datetime]:
    """Return a strategy of times: naive and aware, of all years, with offsets of whole minutes."""
    offsets = st.integers(-23 * 60, 23 * 60).map(lambda count: timezone(timedelta(minutes=count)))
    return st.datetimes(timezones=st.none() | offsets)
