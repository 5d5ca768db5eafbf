"""Measure chatstore against the bare drivers, the plain ORM and its peers, in interleaved rounds."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import page, report, results
from benchmarks.backends import DATABASES, OWN, PEERS, Backend
from benchmarks.operations import OPERATIONS
from benchmarks.rounds import Plan
from benchmarks.running import Run
from benchmarks.scene import SMALL, Scene

ALL = "all"
GROW_TO = 1_000_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what was asked for, print the tables and write the results."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.page:
        page.write(asked.page)
        return
    plan = Plan(
        operations=tuple(name for name in OPERATIONS if name in asked.only),
        tasks=asked.tasks,
        rounds=asked.rounds if asked.rounds is not None else (4 if asked.quick else 15),
        seconds=asked.seconds or (0.1 if asked.quick else 0.5),
    )
    chosen = _chosen(asked)
    if not chosen or not plan.operations:
        parser.error("nothing is left to measure")
    outcome = Run(SMALL if asked.small else Scene(), _tell).measure(chosen, plan, grow_to=asked.growth)
    print("\n\n".join(report.tables(outcome)))
    _tell(f"{outcome.seconds:.0f} s")
    if asked.output:
        results.save(outcome, plan, asked.output)


def _chosen(asked: argparse.Namespace) -> list[Backend]:
    own = [each for each in OWN if ALL in asked.backends or each.name in asked.backends]
    peers = [each for each in PEERS if ALL in asked.peers or each.name in asked.peers]
    return [each for each in (*own, *peers) if each.database in asked.databases]


def _tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _parser() -> argparse.ArgumentParser:
    own, peers = (",".join(dict.fromkeys(each.name for each in backends)) for backends in (OWN, PEERS))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns: under three minutes")
    parser.add_argument("--small", action="store_true", help="nearly empty databases: to see that the program works")
    parser.add_argument("--only", type=_names, default=tuple(OPERATIONS), help=",".join(OPERATIONS))
    parser.add_argument("--databases", type=_names, default=DATABASES, help=",".join(DATABASES))
    parser.add_argument("--backends", type=_names, default=(ALL,), help=f"all or of {own}")
    parser.add_argument("--peers", type=_names, default=(), help=f"all or of {peers}; installed on first use")
    parser.add_argument("--tasks", type=_numbers, default=(1, 16, 64), help="how many work at once: 1,16,64")
    parser.add_argument("--rounds", type=int, help="how often each has its turn")
    parser.add_argument("--seconds", type=float, help="how long a turn is")
    parser.add_argument(
        "--growth", type=int, nargs="?", const=GROW_TO, default=0, help=f"up to {GROW_TO:,}; takes long"
    )
    parser.add_argument("--output", type=Path, help="a file for the results, as JSON")
    parser.add_argument("--page", type=Path, nargs="+", help="measure nothing; write docs/benchmarks.md from results")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended and removed
    main()
