"""From samples to figures: medians of the rounds, and the ratio to the bare driver in the same round."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median, quantiles
from typing import Any

from benchmarks.backends import BASE

Sample = dict[str, Any]
Taken = dict[tuple[str, int, str], list[Sample]]
"""Operation, tasks and backend to one sample for each round."""

MEDIANS = ("per_second", "p50_ms", "p99_ms", "cpu_ms", "server_cpu_ms")


@dataclass(frozen=True)
class Figures:
    """The medians of one backend in one cell of the report; times in milliseconds for each unit of work.

    ``ratio`` is the rate over that of the bare driver in the same round; half of the rounds lie between
    ``ratio_low`` and ``ratio_high``.
    """

    operation: str
    tasks: int
    backend: str
    per_second: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    cpu_ms: float = 0.0
    server_cpu_ms: float = 0.0
    failed: int = 0
    rounds: int = 0
    offered: bool = True
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None

    @property
    def database(self) -> str:
        """The database that the backend is on."""
        return self.backend.partition("/")[0]

    @property
    def name(self) -> str:
        """The backend's name, which it has on every database."""
        return self.backend.partition("/")[2]


def summarised(taken: Taken) -> Iterator[Figures]:
    """Yield the figures of every cell."""
    for (operation, tasks, backend), samples in taken.items():
        if not all(sample.get("offered", True) for sample in samples):
            yield Figures(operation, tasks, backend, offered=False)
            continue
        figures = Figures(
            operation,
            tasks,
            backend,
            **{name: median(sample.get(name, 0.0) for sample in samples) for name in MEDIANS},
            failed=sum(sample["failed"] for sample in samples),
            rounds=len(samples),
        )
        yield _with_ratio(figures, samples, taken.get((operation, tasks, f"{figures.database}/{BASE}"), []))


def cell(figures: Iterable[Figures], operation: str, tasks: int, backend: str) -> Figures | None:
    """Return the figures of one cell, if it was measured."""
    wanted = (operation, tasks, backend)
    return next((each for each in figures if (each.operation, each.tasks, each.backend) == wanted), None)


def _with_ratio(figures: Figures, samples: Sequence[Sample], base: Sequence[Sample]) -> Figures:
    ratios = [mine["per_second"] / raw["per_second"] for mine, raw in zip(samples, base, strict=False)]
    if not ratios:
        return figures
    low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return replace(figures, ratio=median(ratios), ratio_low=low, ratio_high=high)
