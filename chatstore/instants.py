"""Times as text that brings them back as given, and as microseconds that can be compared."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

from chatstore.errors import InvalidInputError

_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LONGEST_IN_UTC = len("2026-01-01T00:00:00.000000+00:00")


def now_microseconds() -> int:
    """Return the process clock's microseconds since 1970, UTC."""
    return time.time_ns() // 1000


def now() -> datetime:
    """Return the process clock's time, aware, in UTC."""
    return from_microseconds(now_microseconds())


def plain(moment: object, what: str = "created_at") -> datetime:
    """Return the same wall time as a plain ``datetime``, naive or with its offset of this moment, fold kept.

    Raises ``InvalidInputError`` for anything but a ``datetime``, and for a zone that does not say its offset.
    """
    if not isinstance(moment, datetime):
        raise InvalidInputError(f"{what}: must be a datetime, not {type(moment).__name__}")
    try:
        offset = moment.utcoffset()
        zone = None if offset is None else timezone(offset)
    except Exception:
        raise InvalidInputError(f"{what}: its time zone does not say its offset") from None
    day = (moment.year, moment.month, moment.day)
    return datetime(*day, moment.hour, moment.minute, moment.second, moment.microsecond, tzinfo=zone, fold=moment.fold)


def to_text(moment: datetime) -> str:
    """Return the ISO text of a plain time: wall time and offset as given."""
    return moment.isoformat()


def from_text(text: str, instant: int) -> datetime:
    """Return the time that :func:`to_text` wrote, naive or aware as it was.

    The text of a naive time in the hour that is repeated in autumn does not say which of the two it is, and Python
    reads an offset below a second as none: the ``instant`` stored beside it tells.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return _in_its_hour(moment, instant)
    if moment.tzinfo is UTC and len(text) > _LONGEST_IN_UTC:
        return moment.replace(tzinfo=timezone(to_microseconds(moment) * _MICROSECOND - instant * _MICROSECOND))
    return moment


def to_microseconds(moment: datetime) -> int:
    """Return the instant of ``moment`` in microseconds since 1970, UTC; a naive one is local time, fold included.

    Plain integers, so that years 1 and 9999 have an instant in every zone. Where the platform cannot tell the
    local offset of so distant a naive time, it is taken as UTC.
    """
    if moment.tzinfo is UTC:
        return _whole(moment - _EPOCH_UTC)
    offset = moment.utcoffset()
    if offset is None:
        offset = _local_offset(moment)
    return _whole(moment.replace(tzinfo=None) - _EPOCH) - _whole(offset)


def from_microseconds(microseconds: int) -> datetime:
    """Return the instant as an aware time in UTC."""
    return _EPOCH_UTC + microseconds * _MICROSECOND


def _in_its_hour(naive: datetime, instant: int) -> datetime:
    if to_microseconds(naive) == instant:
        return naive
    second = naive.replace(fold=1)
    return second if to_microseconds(second) == instant else naive


def _whole(span: timedelta) -> int:
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds


def _local_offset(moment: datetime) -> timedelta:
    try:
        return moment.astimezone().utcoffset() or timedelta()
    except (OverflowError, ValueError, OSError):
        return timedelta()
