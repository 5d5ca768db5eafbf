"""The n-th call of a driver fails, for every n: before it is made, or after it was made and before it is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, Literal, TypeAlias
from unittest.mock import patch

Place: TypeAlias = tuple[Any, str]
"""A class, object or module, and the name of a coroutine function of it: ``(asyncpg.Connection, "fetch")``."""


class Hook:
    """Counts the calls of a driver and fails one of them; made by :func:`hooked`."""

    def __init__(self) -> None:
        self.calls: int = 0
        """How many there were since the last :meth:`fail` or :meth:`rest`."""
        self._number = 0
        self._times = 0
        self._error: Callable[[], BaseException] = RuntimeError
        self._moment: Literal["before", "after"] = "before"

    def fail(
        self,
        number: int,
        error: Callable[[], BaseException],
        moment: Literal["before", "after"] = "before",
        *,
        times: int = 1,
    ) -> None:
        """Raise ``error()`` in the ``number``-th call from now, counted from 1, and in the ones that follow it.

        ``times`` says in how many altogether. With ``after`` the call is made first, and its answer is lost.
        """
        self.calls, self._number, self._times = 0, number, times
        self._error, self._moment = error, moment

    def rest(self) -> None:
        """Fail nothing any more, and count from zero."""
        self.calls, self._times = 0, 0

    @property
    def reached(self) -> bool:
        """Whether the call that was to fail has been made."""
        return self.calls >= self._number

    def _around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        async def called(*args: Any, **options: Any) -> Any:
            self.calls += 1
            fails = self._number <= self.calls < self._number + self._times
            if fails and self._moment == "before":
                raise self._error()
            answer = await function(*args, **options)
            if fails:
                raise self._error()
            return answer

        return called


@contextmanager
def hooked(places: Iterable[Place]) -> Iterator[Hook]:
    """Put a hook around the coroutine functions at ``places`` and yield it; they are as before at the end.

    An operation fails at every one of its steps like this::

        with hooked([(asyncpg.Connection, "fetch"), (asyncpg, "connect")]) as hook:
            for number in itertools.count(1):
                hook.fail(number, ConnectionResetError)
                ...  # the operation: it succeeds, or raises what it promises to raise
                if not hook.reached:
                    break
    """
    hook = Hook()
    with ExitStack() as stack:
        for owner, name in places:
            stack.enter_context(patch.object(owner, name, hook._around(getattr(owner, name))))
        yield hook
