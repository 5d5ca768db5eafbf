"""One run: a process and a database for each backend, all filled alike, then timed in rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import rounds
from benchmarks.backends import BASE, OURS, Backend
from benchmarks.databases import Databases
from benchmarks.environments import Uninstallable, python_of
from benchmarks.growth import Growth, grow
from benchmarks.processes import Process, WorkerFailed
from benchmarks.rounds import Plan
from benchmarks.scene import Scene
from benchmarks.summary import Figures, Taken, summarised


@dataclass
class Outcome:
    """What a run found. ``costs`` are bytes: of memory at first and at most, on disk for each item."""

    figures: list[Figures] = field(default_factory=list)
    growth: list[Growth] = field(default_factory=list)
    costs: dict[str, dict[str, float]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class Run:
    """Measures the backends one against the other."""

    def __init__(self, scene: Scene, tell: Callable[[str], None]) -> None:
        self._scene = scene
        self._tell = tell
        self._outcome = Outcome()

    def measure(self, backends: Iterable[Backend], plan: Plan, *, grow_to: int = 0) -> Outcome:
        """Return what the run found; ``grow_to`` is the length of the longest thread, and how many threads."""
        began = time.monotonic()
        with ExitStack() as stack:
            self._stack = stack
            self._folder = Path(stack.enter_context(TemporaryDirectory(prefix="chatstore-benchmarks-")))
            self._databases = stack.enter_context(Databases(self._folder))
            workers = [worker for backend in backends for worker in self._prepared(backend)]
            self._outcome.figures = list(summarised(self._timed(workers, plan)))
            if grow_to:
                self._grow([each for each in workers if each.running], grow_to, plan.seconds)
            for worker in [each for each in workers if each.running]:
                self._outcome.costs[worker.backend.key]["memory_at_most"] = worker.do("memory")["peak_bytes"]
            self._outcome.settings = self._databases.settings()
        self._outcome.seconds = time.monotonic() - began
        return self._outcome

    def _grow(self, workers: list[Process], longest: int, seconds: float) -> None:
        chosen = [each for each in workers if each.backend.name in (BASE, OURS)]
        try:
            for found in grow(chosen, longest, seconds, self._tell):
                self._outcome.growth.append(found)
        except WorkerFailed as error:
            self._outcome.unavailable[f"growth to {longest:,}"] = str(error)

    def _timed(self, workers: list[Process], plan: Plan) -> Taken:
        if not workers or not plan.rounds:
            return {}
        return rounds.run(workers, self._databases, plan, self._tell, self._lost)

    def _prepared(self, backend: Backend) -> list[Process]:
        """Return the backend's worker, ready to be timed; none of one that cannot be had, which is noted."""
        self._tell(f"preparing {backend.key}")
        try:
            return [self._filled(backend, python_of(backend))]
        except (Uninstallable, WorkerFailed) as error:
            self._lost(backend, error)
            return []

    def _lost(self, backend: Backend, error: Exception) -> None:
        self._outcome.unavailable[backend.key] = str(error)
        self._outcome.costs.pop(backend.key, None)
        self._tell(f"cannot be measured: {backend.key}: {error}")

    def _filled(self, backend: Backend, python: Path) -> Process:
        url = self._databases.url_for(backend)
        log = self._folder / f"{backend.database}-{backend.name}.log"
        worker = self._stack.enter_context(Process(backend, url, self._scene, log, python))
        worker.started()
        costs = {"memory_at_first": worker.do("memory")["peak_bytes"]}
        worker.do("prepare")
        costs |= self._stored(worker, url)
        self._databases.settle(backend, url)
        self._outcome.costs[backend.key] = costs
        return worker

    def _stored(self, worker: Process, url: str) -> dict[str, float]:
        before = self._databases.bytes_stored(worker.backend, url)
        worker.do("weigh")
        after = self._databases.bytes_stored(worker.backend, url)
        return {f"{name}_bytes_per_item": (after[name] - before[name]) / self._scene.items_to_weigh for name in after}
