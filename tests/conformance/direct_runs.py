"""Run every test of the suite on one store, without a pytest run for each, and say which of them failed."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest

from chatstore.protocols import Store
from chatstore.testing.store_suite import StoreTests
from chatstore.testing.suites.lifecycle import Reopen

PATIENCE = 30


def suite() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each test of ``StoreTests``: its name as pytest writes it, its method's name and its parameters."""
    for name, test in inspect.getmembers(StoreTests, inspect.isfunction):
        if name.startswith("test_"):
            marks = [mark.args for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
            for values in product(*(list(values) for _, values in marks)):
                parameters = dict(zip((names for names, _ in marks), values, strict=True))
                yield f"{name}[{'-'.join(map(_label, values))}]" if values else name, name, parameters


def failures(open_store: Callable[[], Store], reopen: Reopen | None = None) -> set[str]:
    """Return the names of the tests that fail, each on a new store of its own."""
    return {full for full, name, parameters in suite() if not _passes(open_store, reopen, name, parameters)}


def _passes(open_store: Callable[[], Store], reopen: Reopen | None, name: str, parameters: dict[str, Any]) -> bool:
    async def run() -> None:
        test = getattr(StoreTests(), name)
        fixtures = {"reopen": reopen} if "reopen" in inspect.signature(test).parameters else {}
        async with open_store() as store:
            await asyncio.wait_for(test(store=store, **fixtures, **parameters), PATIENCE)

    try:
        asyncio.run(run())
    except pytest.skip.Exception:
        return True
    except (Exception, pytest.fail.Exception):
        return False
    return True


def _label(value: object) -> str:
    return value.__name__ if isinstance(value, type) else str(value)
