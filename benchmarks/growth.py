"""How the costs grow with the length of a thread and the number of threads: one task, interleaved rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Any

from benchmarks.operations import LENGTHS
from benchmarks.processes import Process

ROUNDS = 7
CROWD = ("append", "newest", "threads")


@dataclass(frozen=True)
class Growth:
    """The median times of one operation at one size: ``of`` is the items of the thread, or the threads there are."""

    backend: str
    operation: str
    of: str
    size: int
    p50_ms: float
    p99_ms: float


def grow(workers: Sequence[Process], longest: int, seconds: float, tell: Callable[[str], None]) -> Iterator[Growth]:
    """Yield the figures for threads of up to ``longest`` items, then for as many threads."""
    lengths = [length for length in LENGTHS if length <= longest]
    for worker, length in product(workers, lengths):
        tell(f"growth: {worker.backend.key}: a thread of {length:,} items")
        worker.do("grow", length=length)
    timed = [(f"{kind}@{length}", kind, length) for kind in ("newest", "append") for length in lengths]
    yield from _timed(workers, timed, "items", seconds, tell)
    yield from _timed(workers, [(name, name, 0) for name in CROWD], "threads", seconds, tell)
    for worker in workers:
        tell(f"growth: {worker.backend.key}: {longest:,} threads")
        worker.do("crowd", start=0, end=longest)
    yield from _timed(workers, [(name, name, longest) for name in CROWD], "threads", seconds, tell)


def _timed(
    workers: Sequence[Process],
    operations: Sequence[tuple[str, str, int]],
    of: str,
    seconds: float,
    tell: Callable[[str], None],
) -> list[Growth]:
    taken: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for number in range(ROUNDS + 1):
        tell(f"growth: round {number} of {ROUNDS}")
        for (name, kind, size), worker in product(operations, workers):
            sample = worker.do("measure", operation=name, tasks=1, seconds=seconds)
            if number:
                taken.setdefault((worker.backend.key, kind, size), []).append(sample)
    return [
        Growth(backend, kind, of, size, *(median(each[name] for each in samples) for name in ("p50_ms", "p99_ms")))
        for (backend, kind, size), samples in taken.items()
    ]
