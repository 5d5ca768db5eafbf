"""Work that is finished once begun, whoever cancels meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


async def finished(work: Awaitable[T]) -> T:
    """Await ``work`` to its end and return its result; a cancellation that arrives meanwhile is raised then."""
    task = asyncio.ensure_future(work)
    await ended(task)
    return task.result()


async def ended(task: asyncio.Future[Any], stays: Callable[[], bool] = lambda: True) -> None:
    """Wait until ``task`` has ended; a native cancellation that arrives meanwhile is raised then.

    A task of its own keeps that cancellation out of the work. The shielded scope keeps anyio from delivering its own
    again and again; a scope that is cancelled is not raised by this wait. ``stays`` is asked at each cancellation:
    where it says no, the wait ends at once and the work goes on by itself.
    """
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
                if not stays():
                    break
    if cancelled is not None:
        task.add_done_callback(_retrieve)
        raise cancelled


def _retrieve(task: asyncio.Future[Any]) -> None:
    """Look at an error that nobody will ask for, or asyncio complains."""
    if not task.cancelled():
        task.exception()
