"""A soak: many users on one store for a while, and what came of its memory and of the times of its calls.

``python -m chatstore.testing.faults.soak sqlite:////tmp/new.db --users 200 --seconds 1800``
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import itertools
import json
import math
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chatstore.errors import ChatStoreError
from chatstore.ids import new_id
from chatstore.models import Item
from chatstore.opening import open_store
from chatstore.owners import Owner
from chatstore.protocols import Store

MEBIBYTE = 1024 * 1024
_SAMPLES = 200
"""Measurements of memory in a run."""
_KEPT_ITEMS = 50
"""Items after which a user begins another thread and deletes the old one."""


@dataclass(frozen=True, slots=True)
class SoakReport:
    """What a soak has measured; times in seconds, memory in bytes."""

    users: int
    seconds: float
    calls: int
    failed: int
    median: float
    p99: float
    slowest: float
    memory: int
    """What the process held at the end."""
    growth: float
    """By how much it grew in ten minutes, along a straight line through the second half of the run."""
    errors: tuple[str, ...] = ()
    """The first of the errors that calls ended with, each once."""

    def lines(self) -> Sequence[str]:
        """Return the figures as text."""
        return [
            f"users    {self.users}, {self.seconds:.0f} s",
            f"calls    {self.calls}, {self.failed} failed",
            f"times    median {self.median * 1e3:.1f} ms, p99 {self.p99 * 1e3:.1f} ms, slowest {self.slowest:.2f} s",
            f"memory   {self.memory / MEBIBYTE:.1f} MiB, {self.growth / MEBIBYTE:+.2f} MiB in 10 minutes",
            *(f"error    {error}" for error in self.errors),
        ]


class Times:
    """How long calls took, to a twentieth, in room that does not grow with their number."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.slowest: float = 0.0

    def add(self, seconds: float) -> None:
        """Count a call."""
        self._counts[math.ceil(math.log(max(seconds, 1e-6), 1.05))] += 1
        self.slowest = max(self.slowest, seconds)

    @property
    def count(self) -> int:
        """How many calls there were."""
        return self._counts.total()

    def quantile(self, share: float) -> float:
        """Return the time in seconds that this share of the calls took at the most."""
        left = share * self.count
        for step in sorted(self._counts):
            left -= self._counts[step]
            if left <= 0:
                return float(min(1.05**step, self.slowest))
        return self.slowest


@dataclass
class _Soak:
    store: Store
    pause: float
    until: float
    times: Times = field(default_factory=Times)
    failed: int = 0
    errors: dict[str, None] = field(default_factory=dict)

    async def user(self, owner: Owner) -> None:
        """Talk as a user does: mostly write and read the last items, now and then look around, or begin anew."""
        await asyncio.sleep(random.uniform(0, self.pause))
        for number in itertools.count():
            thread = new_id("thr")
            await self._timed(self.store.create_thread(owner=owner, id=thread, title=f"thread {number}"))
            for _ in range(_KEPT_ITEMS):
                if time.monotonic() > self.until:
                    return
                await self._turn(thread, owner)
                await asyncio.sleep(random.uniform(0, 2 * self.pause))
            await self._timed(self.store.delete_thread(thread, owner=owner))

    async def _turn(self, thread: str, owner: Owner) -> None:
        message = Item(type="user_message", data={"text": "x" * random.randint(20, 2_000)})
        await self._timed(self.store.load_thread_items(thread, owner=owner, limit=20, order="desc"))
        await self._timed(self.store.add_thread_item(thread, message, owner=owner))
        if random.random() < 0.1:
            await self._timed(self.store.load_threads(owner=owner))
            await self._timed(self.store.update_thread(thread, owner=owner, title=f"{random.random()}"))

    async def _timed(self, call: Awaitable[object]) -> None:
        begun = time.monotonic()
        try:
            await call
        except ChatStoreError as error:
            self.failed += 1
            if len(self.errors) < 5:
                self.errors[f"{type(error).__name__}: {error}"] = None
        self.times.add(time.monotonic() - begun)


async def soak(url: str, *, users: int = 200, seconds: float = 1800.0, pause: float = 0.5) -> SoakReport:
    """Let ``users`` talk through one store for a while, and return how long calls took and how memory grew.

    Each rests for ``pause`` seconds on average between two turns: a read of the newest items and an append. Their
    threads are deleted as they grow long, under a tenant of this run's own, which keeps what is left at the end.
    Measured is the process that this runs in, so nothing else should. Raises what opening the store raises.
    """
    tenant = new_id("soak")
    async with open_store(url) as opened:
        begun = time.monotonic()
        run = _Soak(opened.store, pause, begun + seconds)
        async with asyncio.TaskGroup() as group:
            measuring = group.create_task(_measure(begun, seconds))
            for number in range(users):
                group.create_task(run.user(Owner(f"user {number}", tenant)))
        measured = measuring.result()
    return SoakReport(
        users=users,
        seconds=time.monotonic() - begun,
        calls=run.times.count,
        failed=run.failed,
        median=run.times.quantile(0.5),
        p99=run.times.quantile(0.99),
        slowest=run.times.slowest,
        memory=measured[-1][1],
        growth=growth(measured),
        errors=tuple(run.errors),
    )


async def _measure(begun: float, seconds: float) -> list[tuple[float, int]]:
    measured = []
    for number in range(1, _SAMPLES + 1):
        await asyncio.sleep(max(0.0, begun + number * seconds / _SAMPLES - time.monotonic()))
        measured.append((time.monotonic(), resident_memory()))
    return measured


def growth(measured: Sequence[tuple[float, int]]) -> float:
    """Return the bytes that memory grew by in ten minutes, by (second, bytes) of the second half of a run."""
    later = measured[len(measured) // 2 :]
    slope = statistics.linear_regression([when for when, _ in later], [size for _, size in later]).slope
    return slope * 600


def resident_memory() -> int:
    """Return the bytes of memory that this process holds, as Linux tells it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print the figures; return 0, and 2 where it could not run."""
    parser = argparse.ArgumentParser(prog="python -m chatstore.testing.faults.soak", description=soak.__doc__)
    parser.add_argument("url")
    parser.add_argument("--users", type=int, default=200, help="tasks that talk (200)")
    parser.add_argument("--seconds", type=float, default=1800.0, help="how long (1800)")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two turns of a user (0.5)")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    given = vars(parser.parse_args(arguments))
    as_json = given.pop("json")
    try:
        report = asyncio.run(soak(**given))
    except (ChatStoreError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    lines = [json.dumps(dataclasses.asdict(report))] if as_json else report.lines()
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
