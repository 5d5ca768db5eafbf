"""An environment for each peer, so that none decides over another's versions, or ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.backends import Backend
from benchmarks.processes import ROOT

FOLDER = ROOT / ".venv-benchmarks"
SECONDS_TO_INSTALL = 900


class Uninstallable(Exception):
    """A peer that cannot be installed here; the message is the installer's last line."""


def python_of(backend: Backend) -> Path:
    """Return the interpreter that has the backend's requirements; install them where they are not yet there."""
    if not backend.requirements:
        return Path(sys.executable)
    folder = FOLDER / backend.name
    python, installed = folder / "bin" / "python", folder / "installed.txt"
    wanted = "\n".join(backend.requirements)
    if not installed.exists() or installed.read_text() != wanted:
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *backend.requirements])
        installed.write_text(wanted)
    return python


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_INSTALL, check=False)
    except subprocess.TimeoutExpired:
        raise Uninstallable(f"not installed within {SECONDS_TO_INSTALL} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise Uninstallable(lines[-1] if lines else "the installer failed")
