"""A run as a file: the figures with what they were measured on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.growth import Growth
from benchmarks.processes import ROOT
from benchmarks.rounds import Plan
from benchmarks.running import Outcome
from benchmarks.summary import Figures

FOLDER = ROOT / "benchmarks" / "results"
LIBRARIES = ("sqlalchemy", "asyncpg", "aiosqlite", "pydantic")


def save(outcome: Outcome, plan: Plan, path: Path) -> None:
    """Write a run, and the machine it ran on, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {"machine": machine(), "plan": asdict(plan), **asdict(outcome)}
    path.write_text(json.dumps(found, indent=1) + "\n")


def load(path: Path) -> tuple[Outcome, dict[str, Any]]:
    """Return the run of a file, and the machine and the plan as they were written."""
    found = json.loads(path.read_text())
    about = {name: found.pop(name) for name in ("machine", "plan")}
    found["figures"] = [Figures(**each) for each in found["figures"]]
    found["growth"] = [Growth(**each) for each in found["growth"]]
    return Outcome(**found), about


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, memory, system, versions, how busy it was."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
