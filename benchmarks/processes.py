"""The processes that hold a backend each, as the measuring program sees them."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from select import select
from types import TracebackType
from typing import Any, Self

from benchmarks.backends import Backend
from benchmarks.scene import Scene

ROOT = Path(__file__).parents[1]

SECONDS_TO_ANSWER = 3_600
"""A million threads take their time."""


class WorkerFailed(Exception):
    """A worker that ended instead of answering; the message is the end of what it printed."""


class Process:
    """One worker; a context manager that ends it."""

    def __init__(self, backend: Backend, url: str, scene: Scene, log: Path, python: Path | None = None) -> None:
        self.backend = backend
        self._log = log
        command = [str(python or sys.executable), "-m", "benchmarks.worker", backend.place, url]
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [*command, json.dumps(asdict(scene))],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def started(self) -> None:
        """Return once the backend is open; raise ``WorkerFailed`` where it cannot be."""
        self._answer()

    def do(self, what: str, **values: Any) -> dict[str, Any]:
        """Send a command and return its answer; blocks until then."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": what, **values}) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(BrokenPipeError, subprocess.TimeoutExpired):
            self._process.communicate(timeout=20)
        if self.running:
            self.end()

    def end(self) -> None:
        """Kill the worker."""
        self._process.kill()
        self._process.wait()

    @property
    def running(self) -> bool:
        """Whether the worker still answers."""
        return self._process.poll() is None

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        if not select([self._process.stdout], [], [], SECONDS_TO_ANSWER)[0]:
            self.end()
            raise WorkerFailed(f"no answer within {SECONDS_TO_ANSWER} s")
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise WorkerFailed(" / ".join(self._log.read_text().strip().splitlines()[-3:]))
        answer: dict[str, Any] = json.loads(line)
        return answer
