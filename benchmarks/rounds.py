"""Interleaved rounds: every backend in turn, again and again, so that a noisy minute falls on all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import inf
from random import Random

from benchmarks.backends import Backend
from benchmarks.databases import Databases
from benchmarks.operations import DELETE
from benchmarks.processes import Process, WorkerFailed
from benchmarks.summary import Sample, Taken

DELETES_IN = 6
"""One of so many rounds has deletes: what is deleted takes long to make."""
WARM_UP = 0.1
PATIENCE = 10.0
"""Seconds after which a slice is the last of its kind: a backend so slow is not timed again, nor with more tasks."""

Slow = dict[tuple[str, str], int]
"""Operation and backend to the number of tasks at which patience was lost."""


@dataclass(frozen=True)
class Plan:
    """What is timed, how often and how long."""

    operations: tuple[str, ...]
    tasks: tuple[int, ...]
    rounds: int
    seconds: float

    def in_round(self, number: int) -> tuple[str, ...]:
        """Return the operations of a round; they are counted from 1."""
        return tuple(name for name in self.operations if name != DELETE or not number or number % DELETES_IN == 1)

    def tasks_of(self, operation: str, number: int) -> tuple[int, ...]:
        """Return how many tasks are at work, one after the other; the first round, 0, only opens connections."""
        if number:
            return self.tasks
        return (1,) if operation in (DELETE, "page") else (min(16, max(self.tasks)),)


def run(
    workers: Sequence[Process],
    databases: Databases,
    plan: Plan,
    tell: Callable[[str], None],
    lost: Callable[[Backend, Exception], None],
) -> Taken:
    """Time every operation on every backend under every number of tasks, a round after the other.

    A backend whose worker fails is ``lost`` and takes no further part; what it showed before is not kept.
    """
    taken: Taken = {}
    slow: Slow = {}
    for worker, operation, tasks, number in _slices(workers, plan, slow, tell):
        try:
            sample = _sample(worker, databases, operation, tasks, plan.seconds if number else WARM_UP)
        except WorkerFailed as error:
            lost(worker.backend, error)
            taken = {cell: samples for cell, samples in taken.items() if cell[2] != worker.backend.key}
            continue
        if number:
            taken.setdefault((operation, tasks, worker.backend.key), []).append(sample)
        if sample.get("seconds", 0.0) > PATIENCE:
            slow[operation, worker.backend.key] = tasks
    return taken


def _slices(
    workers: Sequence[Process], plan: Plan, slow: Slow, tell: Callable[[str], None]
) -> Iterator[tuple[Process, str, int, int]]:
    """Yield whose turn it is, with what, how many tasks, and in which round; round 0 is not counted."""
    databases = sorted({worker.backend.database for worker in workers})
    for number, database in product(range(plan.rounds + 1), databases):
        for operation in plan.in_round(number):
            tell(f"round {number} of {plan.rounds}: {database}: {operation}")
            yield from (
                (worker, operation, tasks, number)
                for tasks in plan.tasks_of(operation, number)
                for worker in _shuffled(workers, database, Random(f"{number} {operation} {tasks}"))
                if worker.running and tasks < slow.get((operation, worker.backend.key), inf)
            )


def _sample(worker: Process, databases: Databases, operation: str, tasks: int, seconds: float) -> Sample:
    if operation == DELETE:
        worker.do("prepare_deletes", tasks=tasks)
    before = databases.cpu_seconds()
    sample = worker.do("measure", operation=operation, tasks=tasks, seconds=seconds)
    if units := sample.get("units"):
        sample["server_cpu_ms"] = max(databases.cpu_seconds() - before, 0.0) * 1e3 / units
    return sample


def _shuffled(workers: Sequence[Process], database: str, random: Random) -> list[Process]:
    """Return the workers of one database in any order.

    What one leaves for the disk to do falls on the next, and must not always fall on the same one.
    """
    chosen = [worker for worker in workers if worker.backend.database == database]
    return random.sample(chosen, len(chosen))
