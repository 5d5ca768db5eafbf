"""A process clock that is wrong: fast or slow, or stepping while it runs."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self


class WrongClock:
    """Shifts ``time.time`` and ``time.time_ns`` of this process by ``seconds`` inside a ``with`` block.

    :meth:`step` moves the clock while it runs, as a correction by NTP does. Monotonic clocks are left alone, and so is
    code that took the functions from the module before, or that asks ``datetime.now``, which reads the system's clock
    by itself.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds: float = seconds
        self._time, self._time_ns = time.time, time.time_ns

    def step(self, seconds: float) -> None:
        """Move the clock by ``seconds``, back where they are negative."""
        self.seconds += seconds

    def __enter__(self) -> Self:
        self._time, self._time_ns = time.time, time.time_ns
        time.time = lambda: self._time() + self.seconds
        time.time_ns = lambda: self._time_ns() + int(self.seconds * 1_000_000_000)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        time.time, time.time_ns = self._time, self._time_ns
