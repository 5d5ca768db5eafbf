"""The page of the documentation that shows the last results: its tables and plots are written by this program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import plots, report, results
from benchmarks.operations import OPERATIONS
from benchmarks.processes import ROOT
from benchmarks.running import Outcome

PAGE = ROOT / "docs" / "benchmarks.md"
PLOTS = ROOT / "docs" / "benchmarks"
BEGIN, END = "<!-- written by python -m benchmarks --page: begin -->", "<!-- end -->"
NAMES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}


def write(files: Sequence[Path]) -> None:
    """Put the results of the files, one after the other, between the page's marks, and draw their plots."""
    PLOTS.mkdir(exist_ok=True)
    parts = [part for file in files for part in _parts(*results.load(file))]
    head, _, rest = PAGE.read_text().partition(BEGIN)
    tail = rest.partition(END)[2]
    PAGE.write_text("\n\n".join([head.rstrip(), BEGIN, *parts, END]) + tail)


def _parts(outcome: Outcome, about: dict[str, Any]) -> Iterator[str]:
    yield _machine(outcome, about)
    for database in dict.fromkeys(each.database for each in outcome.figures):
        yield from _database(outcome, database)
    if outcome.growth:
        yield from _growth(outcome)
    if outcome.figures:
        yield f"## Memory and disk\n\n{report.costs(outcome.costs)}"
    if outcome.unavailable:
        reasons = [
            f"- {report.TITLES.get(backend, backend)}: {reason}" for backend, reason in outcome.unavailable.items()
        ]
        yield "\n".join(["Not measured:", "", *reasons])


def _database(outcome: Outcome, database: str) -> Iterator[str]:
    figures = [each for each in outcome.figures if each.database == database]
    name = NAMES[database]
    yield f"## {name}\n\n" + _plot(f"ratios-{database}", plots.ratios(figures, f"{name}: ratios"))
    if any(each.operation == "append" for each in figures):
        yield _plot(f"appends-{database}", plots.rates(figures, "append", f"{name}: durable appends per second"))
    yield report.ratios(figures)
    for operation in dict.fromkeys(each.operation for each in figures):
        yield f"### {name}: {OPERATIONS[operation].title}\n\n{report.details(figures, operation)}"


def _growth(outcome: Outcome) -> Iterator[str]:
    yield "## Growth\n\nOne task; the median time of a call in milliseconds."
    for database, name in NAMES.items():
        chosen = [each for each in outcome.growth if each.backend.startswith(f"{database}/")]
        if chosen:
            yield _plot(f"growth-{database}", plots.growth(chosen, "items", f"{name}: length of the thread"))
            yield report.growth(chosen)


def _plot(name: str, drawing: object) -> str:
    path = PLOTS / f"{name}.svg"
    path.write_text(str(drawing))
    return f"![{name.replace('-', ' ')}]({path.relative_to(PAGE.parent).as_posix()})"


def _machine(outcome: Outcome, about: dict[str, Any]) -> str:
    machine, plan = about["machine"], about["plan"]
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    settings = ", ".join(f"{name} {value}" for name, value in outcome.settings.items())
    load = ", ".join(str(load) for load in machine["load_average"])
    return (
        f"Measured {machine['when'][:10]} at commit {machine['commit']} in {outcome.seconds / 60:.0f} minutes:"
        f" {machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB, {machine['system']},"
        f" Python {machine['python']}, {libraries}; {settings}. {plan['rounds']} rounds of {plan['seconds']} s;"
        f" load average at the end {load}."
    )
