"""What writers and readers saw of a store, and whether one order of appends explains all of it.

The checks are those of Jepsen's list-append workload, for threads to which values are only ever appended: every
acknowledged append is there exactly once, an append acknowledged before another one began comes before it, and a
read is a prefix of every later read.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Append:
    """One append of ``value``, which no other append has, to a thread.

    ``begun`` and ``acknowledged`` are seconds of one monotonic clock. An append that was never answered, or
    answered with an error, has no ``acknowledged``: it may be stored or not.
    """

    writer: str
    thread: str
    value: str
    begun: float
    acknowledged: float | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """All values of a thread, in order, as one reader saw them between two moments."""

    thread: str
    values: Sequence[str]
    begun: float
    ended: float


@dataclass(frozen=True, slots=True)
class Findings:
    """What contradicts the promises, each a short text; empty where they hold."""

    lost: tuple[str, ...] = ()
    """Acknowledged, and not there."""
    duplicated: tuple[str, ...] = ()
    """There more than once."""
    unknown: tuple[str, ...] = ()
    """There, and nobody appended them."""
    reordered: tuple[str, ...] = ()
    """Behind an append that began after their acknowledgement."""
    unextended: tuple[str, ...] = ()
    """Reads that are no extension of a read which had ended before they began."""

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))

    def counts(self) -> dict[str, int]:
        """Return how many there are of each kind."""
        return {field.name: len(getattr(self, field.name)) for field in fields(self)}


def check(
    appends: Iterable[Append], reads: Iterable[Read], final: Mapping[str, Sequence[str]], *, one_clock: bool = True
) -> Findings:
    """Compare a history with the threads' values at its end.

    Where the writers' monotonic clocks cannot be compared, as on several machines, ``one_clock=False`` compares
    the order of each writer's own appends alone, and each read with the end alone.
    """
    appends = list(appends)
    stored = Counter((thread, value) for thread, values in final.items() for value in values)
    begun = {(append.thread, append.value) for append in appends}
    return Findings(
        lost=tuple(
            f"{append.value} in {append.thread}"
            for append in appends
            if append.acknowledged is not None and not stored[append.thread, append.value]
        ),
        duplicated=tuple(
            f"{value} in {thread}, {count} times" for (thread, value), count in stored.items() if count > 1
        ),
        unknown=tuple(f"{value} in {thread}" for thread, value in stored if (thread, value) not in begun),
        reordered=tuple(_reordered(appends, final, one_clock)),
        unextended=tuple(_unextended(list(reads), final, one_clock)),
    )


def _reordered(appends: Sequence[Append], final: Mapping[str, Sequence[str]], one_clock: bool) -> Iterator[str]:
    known = {(append.thread, append.value): append for append in appends}
    for thread, values in final.items():
        latest: dict[str, Append] = {}
        for append in (known[thread, value] for value in dict.fromkeys(values) if (thread, value) in known):
            group = "" if one_clock else append.writer
            before = latest.setdefault(group, append)
            if append.acknowledged is not None and append.acknowledged < before.begun:
                yield f"{append.value} stands behind {before.value} in {thread}"
            if append.begun > before.begun:
                latest[group] = append


def _unextended(reads: Sequence[Read], final: Mapping[str, Sequence[str]], one_clock: bool) -> Iterator[str]:
    """Every read must be a beginning of what is there at the end, and no shorter than one that ended before it."""
    for thread, found in groupby(sorted(reads, key=lambda read: (read.thread, read.begun)), lambda read: read.thread):
        by_begin = list(found)
        by_end = deque(sorted(by_begin, key=lambda read: read.ended))
        end = list(final.get(thread, ()))
        longest = 0
        for read in by_begin:
            while one_clock and by_end[0].ended < read.begun:
                longest = max(longest, len(by_end.popleft().values))
            if list(read.values) != end[: len(read.values)]:
                yield f"a read of {len(read.values)} values of {thread} is no beginning of the thread"
            elif len(read.values) < longest:
                yield f"a read of {len(read.values)} values of {thread} follows one of {longest}"
