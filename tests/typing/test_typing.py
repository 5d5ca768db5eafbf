"""What users write type-checks against the installed package, and misuse does not."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".mypy_cache" / "users"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder outside the checkout: there the checker knows only the package that is installed."""
    for name in ("usage.py", "misuse.py"):
        shutil.copy(HERE / name, tmp_path)
    return tmp_path


def _mypy(folder: Path, *names: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={CACHE}", *names]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout + ran.stderr


def test_what_users_write_passes_mypy_strict_and_misuse_is_found(elsewhere: Path) -> None:
    assert _mypy(elsewhere, "usage.py", "misuse.py") == (0, "Success: no issues found in 2 source files\n")


def test_each_misuse_is_an_error_of_its_own(elsewhere: Path) -> None:
    text = (elsewhere / "misuse.py").read_text()
    expected = [number for number, line in enumerate(text.splitlines(), 1) if "# type: ignore" in line]
    (elsewhere / "misuse.py").write_text(re.sub(r"# type: ignore.*", "", text))
    found = re.findall(r"^misuse\.py:(\d+): error: ", _mypy(elsewhere, "misuse.py")[1], re.MULTILINE)
    assert sorted({int(number) for number in found}) == expected
    assert len(expected) > 15
