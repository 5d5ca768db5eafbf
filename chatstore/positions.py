"""Where an item stands in its thread: a signed 64-bit number, drawn under the thread's lock.

An append takes ``max(the clock, last + 1)``, a hybrid logical clock: time-like, never backwards. One
microsecond is 1,024 positions, so that items appended in one statement leave room for others to be placed
between them.
"""

from __future__ import annotations

from collections.abc import Sequence

STEP = 1024
"""Positions in a microsecond, and between two items appended together."""

WINDOW = 1000
"""How many of a thread's newest items a placing looks at."""

_FRONT = 2**41
"""Positions that are free before a thread's first item, for those that turn out to be older."""


def appended(now: int, last: int) -> int:
    """Return the position after ``last`` for an append at ``now`` microseconds."""
    return max(now * STEP, last + STEP)


def placed(newest: Sequence[tuple[int, int]], instant: int) -> int | None:
    """Return a free position directly before the first item whose instant is later than ``instant``.

    ``newest`` are (position, instant) of the newest ``WINDOW + 1`` items in ascending order; one more than the
    window, for the neighbour before it. ``None`` means that no item is later: append. Where no number is left
    between the two neighbours (a microsecond holds ten placings at the worst), the next gap after them is taken.
    """
    window_start = max(0, len(newest) - WINDOW)
    spot = next((i for i in range(window_start, len(newest)) if newest[i][1] > instant), None)
    if spot is None:
        return None
    for i in range(spot, len(newest)):
        after = newest[i][0]
        before = newest[i - 1][0] if i else after - _FRONT
        position = _between(before, after, instant)
        if position is not None:
            return position
    return None


def _between(before: int, after: int, instant: int) -> int | None:
    if before < instant * STEP < after:
        return instant * STEP
    room = after - before
    return before + min(STEP, room // 2) if room > 1 else None
