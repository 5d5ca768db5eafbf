"""The measuring program measures what it says, and says what it could not measure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import page, report, results, rounds
from benchmarks.__main__ import main
from benchmarks.adapters.chatstore import Chatstore
from benchmarks.backends import OWN, Backend
from benchmarks.measuring import measure
from benchmarks.operations import OPERATIONS, Steps
from benchmarks.processes import Process
from benchmarks.rounds import Plan
from benchmarks.running import Outcome, Run
from benchmarks.scene import SMALL
from benchmarks.summary import cell, summarised

TINY = ["--small", "--rounds", "1", "--seconds", "0.01", "--tasks", "2", "--growth", "1000"]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    if request.param == "postgresql":
        request.getfixturevalue("postgresql_server")
    return str(request.param)


def test_a_tiny_run_measures_every_operation_on_every_backend(database: str, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    main([*TINY, "--databases", database, "--output", str(file)])
    outcome, about = results.load(file)
    backends = [each.key for each in OWN if each.database == database]
    cells = {(each.operation, each.tasks, each.backend) for each in outcome.figures if each.per_second > 0}
    assert cells == {(name, 2, key) for name in OPERATIONS for key in backends}
    assert [each for each in outcome.figures if each.failed or not each.ratio] == []
    assert {each.operation for each in outcome.growth} == {"append", "newest", "threads"}
    assert all(each["all_bytes_per_item"] > each["indexes_bytes_per_item"] > 0 for each in outcome.costs.values())
    assert all(each["memory_at_most"] >= each["memory_at_first"] > 2**20 for each in outcome.costs.values())
    assert about["machine"]["cores"] >= 1
    if database == "postgresql":
        assert (outcome.settings["fsync"], outcome.settings["synchronous_commit"]) == ("on", "on")


def test_a_backend_that_cannot_be_had_is_named_with_the_reason() -> None:
    missing = Backend("chainlit", "sqlite", "benchmarks.adapters.of_nobody:Nothing", "of nobody")
    raw = next(each for each in OWN if each.key == "sqlite/raw")
    told: list[str] = []
    outcome = Run(SMALL, told.append).measure([missing, raw], Plan(("append",), (1,), 1, 0.01))
    assert "of_nobody" in outcome.unavailable["sqlite/chainlit"]
    assert any("of_nobody" in line for line in told)
    assert [each.backend for each in outcome.figures] == ["sqlite/raw"]


def test_a_backend_that_dies_while_it_is_timed_takes_no_further_part(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, dying = [each for each in OWN if each.key in ("sqlite/raw", "sqlite/aiosqlite")]
    ask = Process.do

    def die(process: Process, what: str, **values: Any) -> dict[str, Any]:
        if process.backend is dying and what == "measure" and values["seconds"] == 0.01:
            process.end()
        return ask(process, what, **values)

    monkeypatch.setattr(Process, "do", die)
    outcome = Run(SMALL, lambda _: None).measure([raw, dying], Plan(("append", "newest"), (1,), 2, 0.01))
    assert set(outcome.unavailable) == {"sqlite/aiosqlite"}
    assert {each.backend for each in outcome.figures} == {"sqlite/raw"}
    assert set(outcome.costs) == {"sqlite/raw"}


def test_what_is_too_slow_is_timed_once_and_not_with_more_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "PATIENCE", 0.0)
    raw = next(each for each in OWN if each.key == "sqlite/raw")
    outcome = Run(SMALL, lambda _: None).measure([raw], Plan(("append",), (1, 2), 2, 0.01))
    assert [(each.tasks, each.rounds) for each in outcome.figures] == [(1, 1)]


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    rates = {"sqlite/raw": (100.0, 1000.0, 10.0), "sqlite/chatstore": (50.0, 700.0, 9.0)}
    samples = {
        ("append", 1, backend): [{"per_second": rate, "failed": 0} for rate in found]
        for backend, found in rates.items()
    }
    figures = cell(summarised(samples), "append", 1, "sqlite/chatstore")
    assert figures is not None
    assert (figures.per_second, figures.ratio) == (50.0, 0.7)
    assert (figures.ratio_low, figures.ratio_high) == pytest.approx((0.6, 0.8))


async def test_a_failing_step_is_counted_and_never_as_work_done(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(*_: object) -> Steps:
        yield 1
        raise RuntimeError("of the backend")

    monkeypatch.setitem(OPERATIONS, "append", replace(OPERATIONS["append"], steps=steps))
    measured = await measure(Chatstore(), SMALL, "append", 2, 0.0)
    assert measured.units == 2
    measured = await measure(Chatstore(), SMALL, "append", 2, 0.01)
    assert len(measured.failures) >= 2
    assert measured.failures[0] == "RuntimeError: of the backend"


def test_the_page_shows_the_tables_and_plots_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = tmp_path / "benchmarks.md"
    written.write_text(f"# Before\n\n{page.BEGIN}\nof the last time\n{page.END}\n\nAfter\n")
    monkeypatch.setattr(page, "PAGE", written)
    monkeypatch.setattr(page, "PLOTS", tmp_path / "plots")
    figures = summarised({("append", 1, "sqlite/raw"): [{"per_second": 2.0, "failed": 0}]})
    results.save(Outcome(figures=list(figures)), Plan(("append",), (1,), 1, 0.1), tmp_path / "one.json")
    page.write([tmp_path / "one.json"])
    page.write([tmp_path / "one.json"])
    text = written.read_text()
    assert text.startswith("# Before\n")
    assert text.endswith("\n\nAfter\n")
    assert "of the last time" not in text
    assert text.count("raw sqlite3 in threads") == 2
    assert (tmp_path / "plots" / "ratios-sqlite.svg").read_text().startswith("<svg ")


def test_a_table_can_be_read_as_it_is() -> None:
    assert report.aligned([["a", "long"], ["1", "2"]]) == "| a | long |\n|---|------|\n| 1 | 2    |"
