"""``python -m chatstore.testing.faults``: its verdict as text and as JSON, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from chatstore.testing.faults.__main__ import main
from chatstore.testing.faults.history import Findings
from chatstore.testing.faults.report import Report
from chatstore.testing.servers import PostgreSQLServer

REPORT = Report(
    target="a SQLite file",
    faults={"writers killed": 2},
    writers=4,
    seconds=3.2,
    acknowledged=100,
    failed=1,
    reads=7,
    slowest_resumption=0.25,
    findings=Findings(),
    errors=("UnavailableError: the disk failed",),
)


def test_a_sqlite_file_is_tormented_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"sqlite:///{tmp_path}/chat.db", "--kills", "1", "--writers", "4", "--seconds", "60"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "holds: lost 0, duplicated 0, unknown 0, reordered 0, unextended 0"
    assert "writers killed 1" in said[2]
    assert list(tmp_path.iterdir()) == []


def test_a_named_server_gets_a_database_that_is_gone_afterwards(
    postgresql_server: PostgreSQLServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([postgresql_server.url(), "--kills", "2", "--writers", "4", "--seconds", "60", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["holds"] is True
    assert said["faults"] == {"lines cut": 1, "backends ended": 1}
    assert said["acknowledged"] > 0
    assert said["failed"] == 0
    assert said["counts"] == {"lost": 0, "duplicated": 0, "unknown": 0, "reordered": 0, "unextended": 0}


@pytest.mark.parametrize("url", ["mysql://host/db", "memory://", "chat.db"])
def test_a_url_that_nothing_can_be_done_with_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([url]) == 2
    assert "postgresql://" in capsys.readouterr().err


def test_a_count_below_zero_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--kills", "-1"])
    assert caught.value.code == 2
    assert "0 or more" in capsys.readouterr().err


def test_a_broken_promise_is_the_first_thing_that_is_said() -> None:
    broken = replace(REPORT, findings=Findings(lost=("w.3 in room-1",)))
    lines = list(broken.lines())
    assert (REPORT.holds, broken.holds) == (True, False)
    assert lines[0] == "BROKEN: lost 1, duplicated 0, unknown 0, reordered 0, unextended 0"
    assert "lost          w.3 in room-1" in lines
    assert "error         UnavailableError: the disk failed" in lines
    assert broken.to_dict()["findings"]["lost"] == ("w.3 in room-1",)


def test_a_database_that_fails_its_own_check_does_not_hold() -> None:
    assert not replace(REPORT, broken=("row 3 missing from index",)).holds
