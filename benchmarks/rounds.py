"""Interleaved rounds: every backend in turn, again and again, so that a noisy minute falls on all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.databases import Databases
from benchmarks.operations import DELETE
from benchmarks.processes import Process
from benchmarks.summary import Sample, Taken

DELETES_IN = 6
"""Every sixth round has deletes: what is deleted takes long to make."""


@dataclass(frozen=True)
class Plan:
    """What is timed, how often and how long."""

    operations: tuple[str, ...]
    tasks: tuple[int, ...]
    rounds: int
    seconds: float

    def in_round(self, number: int) -> tuple[str, ...]:
        """Return the operations of a round."""
        return tuple(name for name in self.operations if name != DELETE or number % DELETES_IN == 0)


def run(workers: Sequence[Process], databases: Databases, plan: Plan, tell: Callable[[str], None]) -> Taken:
    """Time every operation on every backend under every number of tasks, a round after the other."""
    taken: Taken = {}
    _warm_up(workers, plan)
    for number in range(plan.rounds):
        for operation in plan.in_round(number):
            tell(f"round {number + 1} of {plan.rounds}: {operation}")
            for tasks in plan.tasks:
                for worker in _turned(workers, number):
                    sample = _sample(worker, databases, operation, tasks, plan.seconds)
                    taken.setdefault((operation, tasks, worker.backend.key), []).append(sample)
    return taken


def _sample(worker: Process, databases: Databases, operation: str, tasks: int, seconds: float) -> Sample:
    before = databases.cpu_seconds()
    sample = worker.do("measure", operation=operation, tasks=tasks, seconds=seconds)
    if units := sample.get("units"):
        sample["server_cpu_ms"] = (databases.cpu_seconds() - before) * 1e3 / units
    return sample


def _warm_up(workers: Sequence[Process], plan: Plan) -> None:
    """Open connections and have statements prepared before the first round."""
    for operation in plan.operations:
        for worker in workers:
            tasks = 1 if operation == DELETE else max(plan.tasks)
            worker.do("measure", operation=operation, tasks=tasks, seconds=0.1)


def _turned(workers: Sequence[Process], number: int) -> list[Process]:
    """Begin each round with the next backend, so that none always follows the same one."""
    start = number % len(workers)
    return [*workers[start:], *workers[:start]]
