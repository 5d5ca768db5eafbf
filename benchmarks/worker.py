"""A process that holds one backend and times it on request: ``python -m benchmarks.worker MODULE:CLASS URL SCENE``.

Commands come in as lines of JSON, answers go out as such. Every backend has a process of its own, so that CPU
time and memory are its own, and a library of another environment can be measured beside this one.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

from benchmarks.measuring import measure
from benchmarks.operations import prepare_deletes, thread_of
from benchmarks.protocol import Conversations
from benchmarks.scene import READER, TO_WEIGH, Scene, crowd, fill


class Worker:
    """Carries out commands on one backend."""

    def __init__(self, conversations: Conversations, scene: Scene) -> None:
        self._conversations = conversations
        self._scene = scene

    async def prepare(self) -> dict[str, Any]:
        await self._scene.prepare(self._conversations)
        return {}

    async def weigh(self) -> dict[str, Any]:
        return await self._fill(TO_WEIGH, self._scene.items_to_weigh)

    async def grow(self, length: int) -> dict[str, Any]:
        return await self._fill(thread_of(length), length)

    async def _fill(self, thread: str, length: int) -> dict[str, Any]:
        await self._conversations.create_threads(READER, [thread])
        await fill(self._conversations, READER, thread, length)
        return {}

    async def crowd(self, start: int, end: int) -> dict[str, Any]:
        await crowd(self._conversations, start, end)
        return {}

    async def prepare_deletes(self, tasks: int) -> dict[str, Any]:
        await prepare_deletes(self._conversations, self._scene, tasks)
        return {}

    async def measure(self, operation: str, tasks: int, seconds: float) -> dict[str, Any]:
        return (await measure(self._conversations, self._scene, operation, tasks, seconds)).summary()

    async def memory(self) -> dict[str, Any]:
        return {"peak_bytes": peak_memory()}


def peak_memory() -> int:
    """Return the most memory this process ever had resident, in bytes."""
    try:
        # What getrusage says on Linux begins with the peak of the process that started this one.
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


async def serve(place: str, url: str, scene: Scene, answers: TextIO) -> None:
    """Open the backend, answer every line of standard input, close."""
    module, _, name = place.partition(":")
    conversations: Conversations = getattr(import_module(module), name)()
    await conversations.open(url)
    worker = Worker(conversations, scene)
    try:
        print(json.dumps({}), file=answers, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            command = json.loads(line)
            answer = await getattr(worker, command.pop("do"))(**command)
            print(json.dumps(answer), file=answers, flush=True)
    finally:
        await conversations.close()


def main() -> None:
    """Serve; whatever a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    place, url, scene = sys.argv[1:]
    asyncio.run(serve(place, url, Scene(**json.loads(scene)), answers))


if __name__ == "__main__":
    main()
