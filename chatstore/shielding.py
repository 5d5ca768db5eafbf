"""Work that is finished once begun, whoever cancels meanwhile."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, cast

import anyio

T = TypeVar("T")


class Answer(Generic[T]):
    """A result or an error for one task that waits for it, and that may leave before it is there."""

    def __init__(self) -> None:
        self._result: T | None = None
        self._error: BaseException | None = None
        self._wait: asyncio.Future[None] | None = None
        self.is_wanted: bool = True
        """Whether nobody has answered yet, and the waiting task has not left."""

    def give(self, result: T) -> None:
        """Answer, unless somebody has, or the waiting task has left."""
        if self.is_wanted:
            self._result = result
            self._end()

    def fail(self, error: BaseException) -> None:
        """Answer with an error, unless somebody has, or the waiting task has left."""
        if self.is_wanted:
            self._error = error
            self._end()

    async def arrive(self) -> T:
        """Return the result; a cancellation ends the wait at once."""
        if self.is_wanted:
            self._wait = asyncio.get_running_loop().create_future()
            try:
                await self._wait
            except asyncio.CancelledError:
                self.is_wanted = False
                raise
        return self._taken()

    async def arrive_in_any_case(self, leaves: Callable[[], bool] = lambda: False) -> T:
        """Return the result; a native cancellation is raised when it is there, one of anyio's scopes is not.

        At each native cancellation ``leaves`` is asked: where it agrees, the wait ends at once.
        """
        if self.is_wanted and await self._is_cancelled():
            is_native = anyio.current_effective_deadline() > -math.inf
            with anyio.CancelScope(shield=True):  # or anyio would cancel again and again
                while self.is_wanted:
                    if is_native and leaves():
                        self.is_wanted = False
                        break
                    is_native = await self._is_cancelled() or is_native
            if is_native:
                raise asyncio.CancelledError
        return self._taken()

    async def _is_cancelled(self) -> bool:
        self._wait = wait = _Wait()
        await wait
        return wait.is_cancelled

    def _end(self) -> None:
        self.is_wanted = False
        if self._wait is not None and not self._wait.done():
            self._wait.set_result(None)

    def _taken(self) -> T:
        if self._error is not None:
            raise self._error
        return cast("T", self._result)


class _Wait(asyncio.Future[None]):
    """Ends with the answer, or at the first cancellation: its task then goes on, and decides what that means."""

    is_cancelled: bool = False

    def cancel(self, msg: Any | None = None) -> bool:
        if self.done():
            return False
        self.is_cancelled = True
        self.set_result(None)
        return True


async def finished(work: Awaitable[T]) -> T:
    """Await ``work`` to its end and return its result; a cancellation that arrives meanwhile is raised then."""
    task = asyncio.ensure_future(work)
    await ended(task)
    return task.result()


async def ended(task: asyncio.Future[Any], leaves: Callable[[], bool] = lambda: False) -> None:
    """Wait until ``task`` has ended; a native cancellation that arrives meanwhile is raised then.

    ``leaves`` is asked at each cancellation: where it says yes, the wait ends at once and the work goes on by itself.
    """
    answer: Answer[None] = Answer()

    def end(task: asyncio.Future[Any]) -> None:
        if not task.cancelled():
            task.exception()  # looked at, or asyncio complains of an error that nobody asks for
        answer.give(None)

    task.add_done_callback(end)
    await answer.arrive_in_any_case(leaves)
