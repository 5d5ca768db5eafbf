"""Tries of a unit: again as a whole, with pauses, inside one deadline."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from chatstore.errors import UnavailableError
from chatstore.observing.calls import retried
from chatstore.sql.failures import Failure, failure_of

T = TypeVar("T")


class Retries:
    """Tries units again for ``seconds``; where it ``cuts``, a later try ends with them.

    The first try of a single statement needs no clock of its own: its waits are bounded one by one.
    """

    def __init__(self, seconds: float, *, cuts: bool) -> None:
        self._seconds = seconds
        self._cuts = cuts

    async def __call__(
        self,
        operation: str,
        once: Callable[[], Awaitable[T]],
        failure_of: Callable[[BaseException, str], Failure | None] = failure_of,
        *,
        whole: bool = False,
        in_steps: bool = False,
        since: float | None = None,
    ) -> T:
        """Return the result of ``once``.

        A ``whole`` of several units or of a caller's code is never cut, a unit ``in_steps`` in its first try too.
        ``since`` is the moment from which the time counts, on the monotonic clock: now, unless it is given.
        """
        deadline = (time.monotonic() if since is None else since) + self._seconds
        failure: Failure | None = None
        attempt = 0
        while True:
            attempt += 1
            try:
                if not self._cuts or whole or (attempt == 1 and not in_steps):
                    return await once()
                return await _until(deadline, once)
            except Exception as error:
                if failure is None or not isinstance(error, _OutOfTime):
                    failure = failure_of(error, operation)
                if failure is None:
                    raise
                pause = min(0.02 * 2**attempt, 1.0) * random.uniform(0.5, 1.0)
                if not failure.again or isinstance(error, _OutOfTime) or time.monotonic() + pause > deadline:
                    raise _last(failure, attempt) from error
                retried(operation, error, failure.error, attempt)
            await asyncio.sleep(pause)


class _OutOfTime(TimeoutError):
    """The deadline came in the middle of a try."""


async def _until(deadline: float, once: Callable[[], Awaitable[T]]) -> T:
    limit = asyncio.timeout(deadline - time.monotonic())
    try:
        async with limit:
            return await once()
    except TimeoutError as error:
        if limit.expired():
            raise _OutOfTime from error
        raise


def _last(failure: Failure, attempt: int) -> Exception:
    """Return the error of the last try, which says how many there were."""
    if isinstance(failure.error, UnavailableError) and (failure.again or attempt > 1):
        return UnavailableError(f"{failure.error}; gave up after {attempt} {'tries' if attempt > 1 else 'try'}")
    return failure.error
