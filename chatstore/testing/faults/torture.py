"""A run: writers in two processes while their database is killed, cut or refused again and again; then the verdict."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from chatstore.opening import open_store
from chatstore.testing.faults.crew import Crew
from chatstore.testing.faults.history import check
from chatstore.testing.faults.report import Report
from chatstore.testing.faults.targets import Target, target_of
from chatstore.testing.faults.workload import Workload, thread_values

PROCESSES = 2
THREADS = 8
_QUIET_SECONDS = (0.2, 0.8)
"""How long the writers are left alone between two faults, at random."""


async def torture(
    url: str | None = None, *, kills: int = 40, writers: int = 64, appends: int = 0, seconds: float = 600.0
) -> Report:
    """Write with ``writers`` in two processes through ``kills`` faults, and say what was lost, doubled or reordered.

    It goes on until ``appends`` were acknowledged as well, and ends in any case after ``seconds``. Without a URL it
    starts a PostgreSQL server, and kills that and its backends in turn. On the server of a ``postgresql://`` URL it
    makes a database of its own, and only cuts its own lines and ends its own backends. ``sqlite:///file`` must not
    exist: its writers are killed. Nothing is left behind.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chatstore-") as folder:
        async with target_of(url) as target:
            crew = Crew(target.url, Path(folder))
            run = _Run(target, crew, writers)
            async with asyncio.timeout(seconds + 120):
                await run.play(kills, appends, begun + seconds)
                return await run.report(writers, begun)


class _Run:
    def __init__(self, target: Target, crew: Crew, writers: int) -> None:
        self._target = target
        self._crew = crew
        self._options = ["--writers", str(max(1, writers // PROCESSES)), "--threads", str(THREADS)]
        self._faults: Counter[str] = Counter()
        self._accepting: list[float] = []
        """When the database accepted connections again after a fault."""

    async def play(self, kills: int, appends: int, until: float) -> None:
        while self._unfinished(kills, appends, until):
            async with self._crew.at_work(*[self._options] * PROCESSES) as writers:
                await self._harm(writers, kills, appends, until)

    async def _harm(self, writers: Sequence[Process], kills: int, appends: int, until: float) -> None:
        while self._unfinished(kills, appends, until):
            await self._written()
            await asyncio.sleep(random.uniform(*_QUIET_SECONDS))
            if self._faults.total() < kills:
                self._faults[await self._target.fault(self._faults.total(), writers)] += 1
                self._accepting.append(time.monotonic())
                if self._target.kills_writers:
                    return
                await self._written()

    async def _written(self) -> None:
        """Wait until something more was acknowledged, at the most as long as a call may take."""
        before, deadline = self._crew.acknowledged(), time.monotonic() + 30
        while self._crew.acknowledged() == before and time.monotonic() < deadline:  # noqa: ASYNC110  other processes
            await asyncio.sleep(0.02)

    def _unfinished(self, kills: int, appends: int, until: float) -> bool:
        more = self._faults.total() < kills or self._crew.acknowledged() < appends
        return more and time.monotonic() < until

    async def report(self, writers: int, begun: float) -> Report:
        seen = self._crew.seen()
        workload = Workload("", writers, THREADS)
        async with AsyncExitStack() as stack:
            store = (await stack.enter_async_context(open_store(self._target.url))).store
            threads = [workload.thread_id(number) for number in range(THREADS)]
            final = {thread: await thread_values(store, thread) for thread in threads}
        acknowledged = sorted(append.acknowledged for append in seen.appends if append.acknowledged is not None)
        return Report(
            target=self._target.name,
            faults=dict(self._faults),
            writers=writers,
            seconds=time.monotonic() - begun,
            acknowledged=len(acknowledged),
            failed=len(seen.failures),
            reads=len(seen.reads),
            slowest_resumption=max((_resumed(acknowledged, moment) for moment in self._accepting), default=0.0),
            findings=check(seen.appends, seen.reads, final),
            broken=tuple(await self._target.broken()),
            errors=tuple(dict.fromkeys(seen.failures))[:5],
        )


def _resumed(acknowledged: Sequence[float], moment: float) -> float:
    """Return the seconds from ``moment`` to the next acknowledgement; none where it was the end of the run."""
    return next((when - moment for when in acknowledged if when > moment), 0.0)
