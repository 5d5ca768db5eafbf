"""The processes that write to a SQLite file are killed: what was acknowledged is there, and the file is whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from scale import scaled, tell

from chatstore import ConfigurationError
from chatstore.testing.faults.torture import torture

CYCLES = scaled(5, 100)


async def test_killed_writers_lose_nothing_and_leave_a_whole_file(empty_sqlite_url: str) -> None:
    report = await torture(empty_sqlite_url, kills=CYCLES, writers=16, seconds=scaled(90.0, 1800.0))
    tell("\n".join(report.lines()))
    assert report.holds, report
    assert report.faults == {"writers killed": CYCLES}
    assert report.failed == 0, report.errors
    assert report.acknowledged >= 16 * CYCLES


async def test_a_file_that_exists_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    path.write_text("precious")
    with pytest.raises(ConfigurationError, match="exists"):
        await torture(f"sqlite:///{path}", kills=1)
    assert path.read_text() == "precious"
