"""The figures as tables in Markdown, which a terminal shows as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.backends import OURS, OWN, PEERS
from benchmarks.growth import Growth
from benchmarks.operations import OPERATIONS
from benchmarks.running import Outcome
from benchmarks.summary import Figures, cell

TITLES = {backend.key: backend.title for backend in (*OWN, *PEERS)}
HEAD = ["tasks", "", "ratio", "half of the rounds", "per second", "p50 ms", "p99 ms", "CPU ms", "server CPU ms"]


def tables(outcome: Outcome) -> Iterator[str]:
    """Yield every table of a run: the ratios, each operation, growth and costs."""
    for database in dict.fromkeys(each.database for each in outcome.figures):
        figures = [each for each in outcome.figures if each.database == database]
        yield f"{database}: ratios to the bare driver\n\n{ratios(figures)}"
        for operation in dict.fromkeys(each.operation for each in figures):
            yield f"{database}: {OPERATIONS[operation].title}\n\n{details(figures, operation)}"
    if outcome.growth:
        yield f"growth, one task, p50 in ms\n\n{growth(outcome.growth)}"
    if outcome.costs:
        yield f"memory and disk\n\n{costs(outcome.costs)}"
    for backend, reason in outcome.unavailable.items():
        yield f"not measured: {TITLES.get(backend, backend)}: {reason}"


def ratios(figures: Sequence[Figures]) -> str:
    """Return the ratios of one database: a row for each backend and number of tasks, a column for each operation."""
    operations = list(dict.fromkeys(each.operation for each in figures))
    keys = list(dict.fromkeys((each.backend, each.tasks) for each in sorted(figures, key=_place)))
    rows = [
        [TITLES[backend], f"x{tasks}", *(_ratio(cell(figures, operation, tasks, backend)) for operation in operations)]
        for backend, tasks in keys
    ]
    return aligned([["", "tasks", *operations], *rows])


def details(figures: Sequence[Figures], operation: str) -> str:
    """Return all figures of one operation on one database."""
    rows = [
        [str(each.tasks), TITLES[each.backend], *_cells(each)]
        for each in sorted(figures, key=lambda each: each.tasks)
        if each.operation == operation
    ]
    return aligned([HEAD, *rows])


def growth(figures: Sequence[Growth]) -> str:
    """Return how times grow: a row for each backend and operation, a column for each size."""
    tables = []
    for of in dict.fromkeys(each.of for each in figures):
        chosen = [each for each in figures if each.of == of]
        sizes = sorted({each.size for each in chosen})
        keys = dict.fromkeys((each.backend, each.operation) for each in chosen)
        times = {(each.backend, each.operation, each.size): each.p50_ms for each in chosen}
        rows = [
            [_named(backend), operation, *(f"{times[backend, operation, size]:.3f}" for size in sizes)]
            for backend, operation in keys
        ]
        tables.append(
            aligned([["", "operation", *(f"{size:,} {of}" if size else f"few {of}" for size in sizes)], *rows])
        )
    return "\n\n".join(tables)


def costs(found: dict[str, dict[str, float]]) -> str:
    """Return the bytes of memory and disk of every backend."""
    rows = [
        [
            _named(backend),
            *(f"{each[name] / 2**20:.0f} MiB" for name in ("memory_at_first", "memory_at_most")),
            *(f"{each[name]:,.0f}" for name in ("all_bytes_per_item", "indexes_bytes_per_item")),
        ]
        for backend, each in found.items()
    ]
    return aligned([["", "memory at first", "memory at most", "bytes on disk per item", "of these, indexes"], *rows])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a table in Markdown that can be read as it is; the first is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _named(backend: str) -> str:
    return f"{TITLES[backend]}, {'PostgreSQL' if backend.startswith('postgresql') else 'SQLite'}"


def _place(figures: Figures) -> tuple[bool, str, int]:
    return (figures.name != OURS, figures.backend, figures.tasks)


def _ratio(figures: Figures | None) -> str:
    if figures is None or not figures.offered or figures.ratio is None:
        return "-"
    return f"{figures.ratio:.2f}" + ("*" if figures.failed else "")


def _cells(figures: Figures) -> list[str]:
    if not figures.offered:
        return ["not offered", *[""] * 6]
    between = "" if figures.ratio_low is None else f"{figures.ratio_low:.2f} to {figures.ratio_high:.2f}"
    rate = f"{figures.per_second:,.0f}" + (f" ({figures.failed} failed)" if figures.failed else "")
    times = (figures.p50_ms, figures.p99_ms, figures.cpu_ms, figures.server_cpu_ms)
    return [_ratio(figures), between, rate, *(f"{time:.3f}" if time < 10 else f"{time:.1f}" for time in times)]
