"""Work that is finished once begun, whoever cancels meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


class Answer(asyncio.Future[T]):
    """A result whose one awaiter cannot leave before it is there, unless ``leaves``, asked at a cancellation, agrees.

    A task's cancellation that its awaited future refuses is raised by asyncio as soon as that future is done.
    """

    def __init__(self, leaves: Callable[[], bool]) -> None:
        super().__init__()
        self._leaves = leaves

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the wait where the awaiter may leave; else refuse."""
        return not self.done() and self._leaves() and super().cancel(msg)

    def give(self, result: T) -> None:
        """Answer, unless the awaiter has left."""
        if not self.done():
            self.set_result(result)

    def fail(self, error: Exception) -> None:
        """Answer with an error, unless the awaiter has left."""
        if not self.done():
            self.set_exception(error)


async def finished(work: Awaitable[T]) -> T:
    """Await ``work`` to its end and return its result; a cancellation that arrives meanwhile is raised then."""
    task = asyncio.ensure_future(work)
    await ended(task)
    return task.result()


async def ended(task: asyncio.Future[Any], leaves: Callable[[], bool] = lambda: False) -> None:
    """Wait until ``task`` has ended; a native cancellation that arrives meanwhile is raised then.

    ``leaves`` is asked at each cancellation: where it says yes, the wait ends at once and the work goes on by itself.
    """
    answer: Answer[None] = Answer(leaves)

    def end(task: asyncio.Future[Any]) -> None:
        if not task.cancelled():
            task.exception()  # looked at, or asyncio complains of an error that nobody asks for
        answer.give(None)

    task.add_done_callback(end)
    await unscoped(answer)


async def unscoped(answer: Answer[T]) -> T:
    """Return the answer; a scope of anyio's that is cancelled is neither delivered to this wait nor raised by it."""
    with anyio.CancelScope(shield=True):
        await answer
    return answer.result()
