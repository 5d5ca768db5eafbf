"""From samples to figures: medians of the rounds, and the ratio to the bare driver in the same round."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from benchmarks.backends import BASE
from benchmarks.rounds import Sample, Samples


@dataclass(frozen=True)
class Figures:
    """The medians of one backend in one cell of the report."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    server_cpu_ms: float
    failed: int
    ratio: float | None


def figures_of(samples: Samples, operation: str, tasks: int, backend: str) -> Figures | None:
    """Return the medians; ``None`` where the backend does not offer the operation."""
    taken = samples.taken.get((operation, tasks, backend), [])
    if not taken or not all(sample.get("offered", True) for sample in taken):
        return None
    base = samples.taken.get((operation, tasks, f"{backend.partition('/')[0]}/{BASE}"), [])
    return Figures(
        *(median(sample.get(name, 0.0) for sample in taken) for name in _NAMES),
        failed=sum(sample["failed"] for sample in taken),
        ratio=_ratio(taken, base),
    )


_NAMES = ("per_second", "p50_ms", "p99_ms", "cpu_ms", "server_cpu_ms")


def _ratio(taken: list[Sample], base: list[Sample]) -> float | None:
    pairs = list(zip(taken, base, strict=False))
    return median(mine["per_second"] / raw["per_second"] for mine, raw in pairs) if pairs else None
