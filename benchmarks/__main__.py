"""Measure chatstore against the bare drivers and against its peers: ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import report, rounds
from benchmarks.backends import DATABASES, OWN, Backend
from benchmarks.databases import Databases
from benchmarks.operations import OPERATIONS
from benchmarks.processes import ROOT, Process
from benchmarks.rounds import Plan
from benchmarks.scene import Scene

RESULTS = ROOT / "benchmarks" / "results"
TASKS = (1, 16, 64)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what was asked for, print the tables and write the results."""
    asked = _parser().parse_args(arguments)
    plan = Plan(
        operations=tuple(name for name in OPERATIONS if name in asked.only),
        tasks=asked.tasks,
        rounds=asked.rounds or (7 if asked.quick else 15),
        seconds=asked.seconds or (0.1 if asked.quick else 0.5),
    )
    backends = [each for each in OWN if each.database in asked.databases and each.name in asked.backends]
    results = _measure(backends, plan, Scene())
    if asked.output:
        asked.output.write_text(json.dumps(results, indent=1))


def _measure(backends: list[Backend], plan: Plan, scene: Scene) -> dict[str, Any]:
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chatstore-benchmarks-")))
        databases = stack.enter_context(Databases(folder))
        workers = []
        for backend in backends:
            _tell(f"preparing {backend.key}")
            url = databases.url_for(backend)
            worker = stack.enter_context(Process(backend, url, scene, folder / f"{backend.database}-{backend.name}"))
            worker.started()
            worker.do("prepare")
            databases.settle(backend, url)
            workers.append(worker)
        samples = rounds.run(workers, databases, plan, _tell)
        for table in report.tables(samples, backends):
            print(table, end="\n\n")
        _tell(f"{time.monotonic() - began:.0f} s")
        return {"settings": databases.settings(), "samples": samples.as_json()}


def _tell(text: str) -> None:
    print(f"{time.process_time():6.1f} {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run, under three minutes")
    parser.add_argument("--only", type=_names, default=tuple(OPERATIONS), help="operations, by comma")
    parser.add_argument("--databases", type=_names, default=DATABASES, help="postgresql,sqlite")
    parser.add_argument("--backends", type=_names, default=tuple(each.name for each in OWN), help="by comma")
    parser.add_argument("--tasks", type=_numbers, default=TASKS, help="numbers of tasks at once, by comma")
    parser.add_argument("--rounds", type=int, help="how often each backend has its turn")
    parser.add_argument("--seconds", type=float, help="how long a turn is")
    parser.add_argument("--output", type=Path, help="a file for the results")
    return parser


if __name__ == "__main__":
    main()
