"""The figures as tables, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.backends import Backend
from benchmarks.operations import OPERATIONS
from benchmarks.rounds import Samples
from benchmarks.summary import Figures, figures_of

HEAD = ("tasks", "backend", "ratio", "ops/s", "p50 ms", "p99 ms", "CPU ms", "server CPU ms")


def tables(samples: Samples, backends: list[Backend]) -> Iterator[str]:
    """Yield a table in Markdown for every operation on every database."""
    for database in dict.fromkeys(backend.database for backend in backends):
        chosen = [backend for backend in backends if backend.database == database]
        for operation in samples.plan.operations:
            yield f"{database}: {OPERATIONS[operation].title}\n\n" + _table(samples, operation, chosen)


def _table(samples: Samples, operation: str, backends: list[Backend]) -> str:
    rows = [
        [str(tasks), backend.title, *_cells(figures_of(samples, operation, tasks, backend.key))]
        for tasks in samples.plan.tasks
        for backend in backends
    ]
    return aligned([list(HEAD), *rows])


def _cells(figures: Figures | None) -> list[str]:
    if figures is None:
        return ["not offered"] + [""] * 5
    ratio = "" if figures.ratio is None else f"{figures.ratio:.2f}"
    rate = f"{figures.per_second:,.0f}" + (f" ({figures.failed} failed)" if figures.failed else "")
    times = (figures.p50_ms, figures.p99_ms, figures.cpu_ms, figures.server_cpu_ms)
    return [ratio, rate, *(f"{time:.3f}" if time < 10 else f"{time:.1f}" for time in times)]


def aligned(rows: list[list[str]]) -> str:
    """Return rows as a table in Markdown that can be read as it is; the first is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
