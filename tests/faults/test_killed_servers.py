"""PostgreSQL is killed under 64 writers in two processes, which never try again: nothing is lost or reordered."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from scale import scaled, tell

from chatstore.testing.faults.torture import torture
from chatstore.testing.servers import ServerUnavailable

KILLS = scaled(4, 40)
APPENDS = scaled(200, 50_000)


async def test_a_killed_server_loses_doubles_and_reorders_nothing(require: Callable[[str], NoReturn]) -> None:
    try:
        report = await torture(kills=KILLS, writers=64, appends=APPENDS, seconds=scaled(90.0, 1800.0))
    except ServerUnavailable as error:
        require(str(error))
    tell("\n".join(report.lines()))
    assert report.holds, report
    assert report.faults == {"server killed": KILLS - KILLS // 2, "backend killed": KILLS // 2}
    assert report.failed == 0, report.errors
    assert report.acknowledged >= APPENDS
    assert report.slowest_resumption <= 10
