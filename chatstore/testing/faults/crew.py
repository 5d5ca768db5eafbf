"""Processes that run a workload each, and what they have seen together."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import chatstore
from chatstore.testing.faults.journals import Journals
from chatstore.testing.processes import environment

_END_SECONDS = 60.0


class Crew:
    """Workload processes on one URL, with their journals in ``folder``."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._journals: list[Path] = []
        self._counted: Counter[Path] = Counter()
        self._read_to: Counter[Path] = Counter()

    @asynccontextmanager
    async def at_work(self, *options: Sequence[str]) -> AsyncIterator[list[Process]]:
        """Start one process for each of the lists of options and yield them once all have begun.

        At the end of the block their input is closed: they finish what is under way. What is left of them after a
        minute, or after an error in the block, is killed. A process that ended with an error is a ``RuntimeError``.
        """
        processes: list[Process] = []
        try:
            for given in options:
                processes.append(await self._start(given))
            for process in processes:
                assert process.stdout is not None
                if await process.stdout.readline() != b"ready\n":
                    raise RuntimeError(f"a workload ended at its start with {await process.wait()}")
            yield processes
            for process in processes:
                await _finish(process)
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    def seen(self) -> Journals:
        """Return what all processes have seen up to now."""
        return Journals(path for path in self._journals if path.exists())

    def acknowledged(self) -> int:
        """Return how many appends were acknowledged up to now, having read what is new in the journals."""
        for path in filter(Path.exists, self._journals):
            with path.open("rb") as journal:
                journal.seek(self._read_to[path])
                new = journal.read().rpartition(b"\n")[0]
            self._read_to[path] += len(new)
            self._counted[path] += new.count(b'["acknowledge"')
        return self._counted.total()

    async def _start(self, options: Sequence[str]) -> Process:
        name = f"p{len(self._journals)}"
        journal = self._folder / f"{name}.jsonl"
        self._journals.append(journal)
        module = "chatstore.testing.faults.workload"
        command = [sys.executable, "-m", module, self._url, str(journal), "--name", name, *options]
        return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=_environment())


async def _finish(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    async with asyncio.timeout(_END_SECONDS):
        status = await process.wait()
    if status > 0:
        raise RuntimeError(f"a workload ended with {status}")


def _environment() -> dict[str, str]:
    """Return an environment in which the process imports the same chatstore as this one."""
    paths = [str(Path(chatstore.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return environment() | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
