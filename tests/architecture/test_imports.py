"""What ``import chatstore`` brings in, and what that costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = [
    "aioboto3", "aiosqlite", "alembic", "asyncpg", "chatkit", "fastapi", "httpx", "hypothesis", "opentelemetry",
    "pytest", "redis", "sqlalchemy", "sqlite3", "starlette", "typer", "uvicorn",
]  # fmt: skip


def _answer(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def _imported_by(statement: str) -> set[str]:
    return set(_answer(f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})").split())


def _cpu_seconds(statement: str) -> float:
    """Return the least CPU time of five fresh interpreters that run ``statement``."""
    program = f"import time\nstart = time.process_time()\n{statement}\nprint(time.process_time() - start)"
    return min(float(_answer(program)) for _ in range(5))


def test_importing_the_library_brings_in_no_driver_and_no_framework() -> None:
    assert _imported_by("import chatstore").isdisjoint(HEAVY)


@pytest.mark.parametrize("driver", ["sqlalchemy", "alembic", "asyncpg", "aiosqlite"])
def test_the_memory_store_needs_no_driver(driver: str) -> None:
    opened = "import asyncio, chatstore\nasync def use():\n    async with chatstore.open_store('memory://'): pass\n"
    assert driver not in _imported_by(f"{opened}asyncio.run(use())")


def test_importing_the_library_costs_little_beyond_pydantic() -> None:
    alone = _cpu_seconds("import asyncio, pydantic\nclass Model(pydantic.BaseModel):\n    name: str")
    assert _cpu_seconds("import chatstore") < 1.5 * alone
