"""Values that stores get wrong, each with a name: texts, numbers, times, objects and what is none of them."""

from __future__ import annotations

import decimal
import enum
import fractions
import uuid
from collections import OrderedDict, UserDict, defaultdict
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

from chatstore.models import Item, ThreadStatus
from chatstore.testing.factories import RepeatedHour, Text, nested

MEBIBYTE = 1024 * 1024


class Colour(enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


class Float(float):
    pass


class Dict(dict[str, Any]):
    pass


class Nowhere(RepeatedHour):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        raise ValueError("nowhere")


class LaterDatetime(datetime):
    pass


def holding_itself() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["itself"] = value
    return value


def lists(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def listing_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


_TEXTS = [
    *("", " ", "  ", "\t", "\n", "\r\n", "\v", "\x0b\x0c", "\u00a0", "\u2003", "\u3000", "\u200b", "\ufeff", "\u2060"),
    *(".", "..", "../x", "../../etc/passwd", "/", "a/b", "\\", "C:\\x", "con", "NUL", "%2e%2e%2f", "~", "~root", "-rf"),
    *("\x00", "a\x00", "\x00a", "a\x00b", "\x01", "\x1b[31m", "\x1f", "\x7f", "\x80", "\x85", "\x9f", "\x08"),
    *("\ud800", "\udfff", "a\ud83d", "\udc00b", "\ud83d\ude00", "\ude00\ud83d", "\U0001f600", "\U0010ffff"),
    *("\ufffe", "\uffff", "\ufffd", "\u2028", "\u2029", "\u202e", "\u202eabc\u202c", "\u2066", "\u200d", "\u200f"),
    *("שלום", "مرحبا", "﷽", "日本語", "ไทย", "क्षि", "👩‍👩‍👧", "🏳️‍🌈", "e\u0301", "\u00e9", "\u0301", "Z̸̧̛a̶l̵g̷o̴"),
    *(
        "ﬁ",
        "fi",
        "ß",
        "ss",
        "İ",
        "\u0131",
        "I",
        "i",
        "Å",
        "\u212b",
        "\uff21\uff22\uff23",
        "ǅ",
        "\u00ad",
        "\u1e9e",
        "Ω",
        "\u2126",
    ),
    *("'", '"', "''", '""', "`", "';", "' OR '1'='1", "'; DROP TABLE chatstore_items; --", "\\'", "\\';--", "$$", "$1"),
    *("$1::text", ":id", ":user_id", "::", "?", "?1", "%s", "%(id)s", "%", "%%", "_", "a%", "t_", "[a-z]", "*", "^.*$"),
    *("--", "/*", "*/", "/**/", ";", "NULL", "null", "None", "nil", "undefined", "true", "false", "True", "0", "-0"),
    *("NaN", "nan", "Infinity", "-inf", "1e309", "1.0", "01", "0x1", "1_000", "\u0661", "½", "1e5", "+1", "9" * 40),
    *(
        "\\u0000",
        "\\x00",
        "\\ud800",
        "\\n",
        "\\",
        "\\\\",
        '\\"',
        "\\u",
        "\\u00",
        "&#0;",
        "&lt;",
        "%00",
        "\\0",
        "\\U0001f600",
    ),
    *("{}", "[]", '{"a": 1}', "[1", '"', '"x"', "{", "}", "{0}", "{x}", "{{x}}", "${x}", "#{x}", "<%= x %>", "{% x %}"),
    *(
        "<script>alert(1)</script>",
        "<img src=x onerror=y>",
        "javascript:x",
        "<!--",
        "]]>",
        "<?xml?>",
        "&amp;",
        "data:,x",
    ),
    *("asc", "desc", "ASC", "desc; drop", "created", "activity", "active", "locked", "closed", "pending", "ready"),
    *(
        "text/plain",
        "text/html; charset=utf-8",
        "IMAGE/PNG",
        "image/*",
        "*/*",
        "x/y;a=\u00e9",
        "no type",
        "a/b\r\nX: y",
    ),
    *("cat.png", "a.b.c", ".hidden", "x.", "a:b", "a|b", "a;b", 'a"b.txt', "CON.txt", "file\u202egnp.exe", "a\r\nb"),
    *("__proto__", "constructor", "id", "data", "__class__", "self", "owner", "type", "position", "user_id", "key"),
    *("2024-05-17T12:00:00", "2024-05-17", "12:00", "now", "epoch", "infinity", "0000-00-00", "9999-12-31T23:59:60"),
    *("a" * 64, "a" * 65, "a" * 254, "a" * 255, "a" * 256, "é" * 127, "é" * 127 + "a", "é" * 128, "日" * 85, "日" * 86),
    *("😀" * 63, "😀" * 63 + "aaa", "😀" * 64, "e\u0301" * 85, "e\u0301" * 86, "x" * 1024, "x" * 1025, "😀" * 1024),
    *(" a", "a ", "a\n", "\na", "a\u00a0", "\u200ba", "a\u200b", "\ufeffa", "A", "a", "aa", "Aa", "a\u0300\u0301"),
]

_NUMBERS: list[Any] = [
    *(0, 1, -1, 2, 50, 999, 1000, 1001, 2**15, 2**16, 2**31 - 1, 2**31, 2**32, 2**53 - 1, 2**53, 2**53 + 1),
    *(2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, -(2**64), 10**18, 10**19, 10**40, True, False, None, Number.ONE),
    *(0.0, -0.0, 0.1, 1.0, -1.0, 1.5, 0.1 + 0.2, 1e15, 1e16, 1e17, 1e22, 1e23, 1e100, 5e-324, 1e-323, 2.225e-308),
    *(1.7976931348623157e308, 9007199254740993.0, 1e-7, 123456789.123456789, float("nan"), float("inf"), -float("inf")),
    *(Float(1.5), 1j, decimal.Decimal("1.10"), decimal.Decimal("NaN"), fractions.Fraction(1, 3)),
]

_TIMES: list[Any] = [
    datetime(2024, 5, 17, 12, 30),
    datetime(2024, 5, 17, 12, 30, 15, 1),
    datetime(2024, 5, 17, 12, 30, 15, 999999),
    datetime(2024, 5, 17, 12, 30, tzinfo=UTC),
    datetime(2024, 5, 17, 12, 30, 0, 1, tzinfo=UTC),
    datetime(2024, 5, 17, 12, 30, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    datetime(2024, 5, 17, 12, 30, tzinfo=timezone(timedelta(hours=14))),
    datetime(2024, 5, 17, 12, 30, tzinfo=timezone(-timedelta(hours=12))),
    datetime(2024, 5, 17, 12, 30, tzinfo=timezone(timedelta(hours=23, minutes=59))),
    datetime(2024, 5, 17, 12, 30, tzinfo=timezone(-timedelta(microseconds=1))),
    datetime(1890, 1, 1, 12, tzinfo=timezone(timedelta(minutes=53, seconds=28))),
    datetime(2024, 5, 17, 12, 30, tzinfo=timezone(timedelta(hours=1), "Named")),
    datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2024, 3, 31, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2024, 10, 27, 2, 30, tzinfo=RepeatedHour()),
    datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=RepeatedHour()),
    datetime(2024, 10, 27, 2, 30, fold=1),
    datetime(1, 1, 1),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    datetime(9999, 12, 31, 23, 59, 59, 999999),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone(-timedelta(hours=12))),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
    datetime(2262, 4, 12, tzinfo=UTC),
    datetime(1582, 10, 10, tzinfo=UTC),
    datetime(2024, 2, 29, tzinfo=UTC),
    datetime(2024, 1, 1, tzinfo=Nowhere()),
    LaterDatetime(2024, 1, 1, tzinfo=UTC),
    date(2024, 5, 17),
    date.min,
    time(12, 30),
    time(12, 30, tzinfo=UTC),
    timedelta(0),
    timedelta(hours=1),
    timedelta(days=8),
    timedelta(microseconds=-1),
    timedelta.max,
    timedelta.min,
]

_OBJECTS: list[Any] = [
    *(
        {},
        [],
        {"a": 1},
        {"a": {"b": [1, {"c": None}]}},
        [[]],
        [{}],
        [1, "2", None, True, 1.0],
        {"": ""},
        {" ": {"": 1}},
    ),
    *({"a": 1, "A": 2}, {"b": 1, "a": 2}, {"é": 1, "e\u0301": 2}, {"\x00": "\x00"}, {"\ud800": 1}, {"x": "\udfff"}),
    *(
        {1: 2},
        {None: 1},
        {True: 1},
        {1.5: 1},
        {(1, 2): 3},
        {b"a": 1},
        {Text("a"): 1},
        {"x": Text("y")},
        {"x": Float(1.0)},
    ),
    *({"x": (1, 2)}, {"x": {1}}, {"x": b"1"}, {"x": date(2024, 1, 1)}, {"x": datetime(2024, 1, 1)}, {"x": Number.ONE}),
    *({"x": float("nan")}, {"x": [float("inf")]}, {"x": -0.0}, {"x": [0, 0.0, -0.0, False]}, {"x": [1, 1.0, True]}),
    *(
        {"x": 2**63},
        {"x": -(2**63) - 1},
        {"x": 2**64 + 0.0},
        {"x": 5e-324},
        {"x": None},
        {"x": ...},
        {"x": Ellipsis, "y": 1},
    ),
    *({"__proto__": {}}, {"id": 1, "type": 2}, {"$ref": "#"}, {"a.b": 1}, {"a": "\\u0000"}, {"\\u0000": "\\ud800"}),
    *(Dict(a=1), OrderedDict(a=1), defaultdict(int, a=1), UserDict({"a": 1}), ("a", 1), (), {1, 2}, set(), frozenset()),
    *(
        b"",
        b"bytes",
        b"\xff\xfe",
        bytearray(b"x"),
        memoryview(b"x"),
        range(3),
        slice(1),
        object,
        int,
        Colour.RED,
        Colour,
    ),
    *(..., NotImplemented, Text("text"), Text(""), uuid.UUID(int=1), PurePosixPath("a/b"), Exception("x")),
    *(ThreadStatus(), ThreadStatus(type="locked", reason="why"), Item(type="note", data={})),
]

_NAMED: dict[str, Any] = {
    "an object": object(),
    "a function": lambda: None,
    "a generator": (number for number in range(3)),
    "an int of 400 digits": 10**400,
    "minus an int of 400 digits": -(10**400),
    "an int of 4,300 digits": 10**4300 - 1,
    "an int of 4,301 digits": 10**4300,
    "an object with an int of 4,300 digits": {"x": -(10**4300) + 1},
    "an object with an int of 4,301 digits": {"x": 10**4300},
    "63 levels": nested(63),
    "64 levels": nested(64),
    "65 levels": nested(65),
    "20,000 levels": nested(20_000),
    "64 levels of lists": {"x": lists(63)},
    "65 levels of lists": {"x": lists(64)},
    "an object that holds itself": holding_itself(),
    "a list that holds itself": listing_itself(),
    "a text of 100,000 characters": "x" * 100_000,
    "an object of 64 KiB": {"x": "y" * (64 * 1024 - 8)},
    "an object of 64 KiB and a byte": {"x": "y" * (64 * 1024 - 7)},
    "an object of 64 KiB of UTF-8": {"x": "é" * (32 * 1024 - 4)},
    "an object of 64 KiB of escapes": {"x": "\x00" * (10 * 1024)},
    "an enormous key": {"k" * 1_000_000: 1},
    "5,000 keys": {str(number): number for number in range(5_000)},
    "10,000 elements": {"x": list(range(10_000))},
    "a text of 8 MiB": "x" * (8 * MEBIBYTE),
    "an object of 8 MiB": {"x": "y" * (8 * MEBIBYTE - 8)},
    "an object of 8 MiB and a byte": {"x": "y" * (8 * MEBIBYTE - 7)},
    "an object of 8 MiB of UTF-8 and a byte": {"x": "é" * (4 * MEBIBYTE - 4), "": 1},
}


def _called(value: Any) -> str:
    return f"{type(value).__name__} {value!a}"[:400]


VALUES: dict[str, Any] = {_called(value): value for value in (*_TEXTS, *_NUMBERS, *_TIMES, *_OBJECTS)} | _NAMED
"""By name, which is different for different values."""

LARGE = {name for name in _NAMED if "MiB" in name}
"""Those that are too large to be written again and again."""
