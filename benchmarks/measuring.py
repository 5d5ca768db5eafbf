"""Time one operation: so many tasks at once, for so many seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

from benchmarks.operations import DELETE, GROWTH, OPERATIONS, Steps, Task
from benchmarks.protocol import Conversations, NotOffered
from benchmarks.scene import Scene

Summary = dict[str, float | str | bool]


@dataclass
class Measured:
    """What one slice of time showed. Latencies in seconds; CPU of this process, all its threads, in seconds."""

    units: float = 0
    seconds: float = 0
    cpu: float = 0
    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    offered: bool = True

    def summary(self) -> Summary:
        """Return rates, and times per unit, as they go into the results."""
        if not self.offered:
            return {"offered": False}
        ordered = sorted(self.latencies)
        shown: Summary = {
            "per_second": self.units / self.seconds,
            "p50_ms": percentile(ordered, 0.50) * 1e3,
            "p99_ms": percentile(ordered, 0.99) * 1e3,
            "cpu_ms": self.cpu * 1e3 / self.units if self.units else 0.0,
            "units": self.units,
            "seconds": self.seconds,
            "failed": len(self.failures),
        }
        return shown | ({"failure": self.failures[0]} if self.failures else {})


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of the ordered values do not exceed; zero of none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def measure(conversations: Conversations, scene: Scene, name: str, tasks: int, seconds: float) -> Measured:
    """Let the tasks do the operation until the time is over; what is under way then is finished and counted."""
    measured = Measured()
    steps = (OPERATIONS | GROWTH)[name].steps
    start, cpu = time.perf_counter(), time.process_time()
    deadline = start + seconds if name != DELETE else float("inf")
    async with asyncio.TaskGroup() as group:
        for number in range(tasks):
            group.create_task(_repeat(partial(steps, conversations, scene, Task(number, tasks)), measured, deadline))
    measured.cpu = time.process_time() - cpu
    measured.seconds = time.perf_counter() - start
    return measured


async def _repeat(start: Callable[[], Steps], measured: Measured, deadline: float) -> None:
    """Take steps until the deadline; one that fails is counted, and the operation begun anew."""
    while True:
        began = time.perf_counter()
        try:
            async with aclosing(start()) as steps:
                async for units in steps:
                    now = time.perf_counter()
                    measured.latencies.append(now - began)
                    measured.units += units
                    if now >= deadline:
                        return
                    began = now
            return
        except NotOffered:
            measured.offered = False
            return
        except Exception as error:
            measured.failures.append(f"{type(error).__name__}: {error}"[:200])
            if time.perf_counter() >= deadline:
                return
