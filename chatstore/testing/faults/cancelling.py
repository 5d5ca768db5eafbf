"""Calls that are cancelled at a random moment, in each of the ways in which programs do it."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Literal, TypeAlias, get_args

import anyio

Kind: TypeAlias = Literal["task", "timeout", "scope", "group"]
"""A task's ``cancel``, ``asyncio.timeout``, an anyio scope with a deadline, an anyio task group that is cancelled."""

KINDS: tuple[Kind, ...] = get_args(Kind)


class Canceller:
    """Cancels calls after a random time, up to twice the median of what calls have taken that were let alone."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._measured: list[float] = []

    async def measure(self, call: Callable[[], Awaitable[Any]]) -> None:
        """Make a call without cancelling it, to learn how long one takes."""
        begun = time.monotonic()
        await call()
        self._measured.append(time.monotonic() - begun)

    async def run(self, kind: Kind, call: Callable[[], Awaitable[Any]]) -> bool:
        """Make the call, cancel it, and return whether it was answered nonetheless; its own errors are raised."""
        longest = 2 * statistics.median(self._measured) if self._measured else 0.0
        return await _WAYS[kind](call, self._random.uniform(0.0, longest))


async def _task(call: Callable[[], Awaitable[Any]], seconds: float) -> bool:
    task = asyncio.ensure_future(call())
    await asyncio.wait([task], timeout=seconds)
    task.cancel()
    await asyncio.wait([task])
    if task.cancelled():
        return False
    task.result()
    return True


async def _timeout(call: Callable[[], Awaitable[Any]], seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await call()
            return True
    return False


async def _scope(call: Callable[[], Awaitable[Any]], seconds: float) -> bool:
    with anyio.move_on_after(seconds):
        await call()
        return True
    return False


async def _group(call: Callable[[], Awaitable[Any]], seconds: float) -> bool:
    answered = False

    async def called() -> None:
        nonlocal answered
        await call()
        answered = True

    async with anyio.create_task_group() as group:
        group.start_soon(called)
        await anyio.sleep(seconds)
        group.cancel_scope.cancel()
    return answered


_WAYS: dict[Kind, Callable[[Callable[[], Awaitable[Any]], float], Awaitable[bool]]] = {
    "task": _task,
    "timeout": _timeout,
    "scope": _scope,
    "group": _group,
}
