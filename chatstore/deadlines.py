"""Deadlines: how long each wait of a call on a database may last."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from chatstore.errors import ConfigurationError

POOL_SIZE = 10
"""Connections that a store makes at most, where nothing else is said."""
LONGEST = 86_400.0
"""Seconds of a day: nobody waits longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Say how long each wait of a call may last, in seconds: ``open_store(url, deadlines=Deadlines(command=5))``.

    ``pool`` bounds the wait for a free connection, ``connect`` the making of a new one (a ``connect_timeout`` in the
    URL counts instead), ``command`` the wait for the server's answer to one statement. ``total`` bounds a call with
    all its tries; where none is given, it is the sum of these three, which is what a first try may take.

    ``statement`` and ``lock`` are for the server itself: its ``statement_timeout`` and ``lock_timeout``, which are
    left as they are where none is given. On SQLite ``lock`` is the wait for a lock that another process holds, 5 s
    where none is given, and ``connect``, ``command`` and ``statement`` mean nothing: there is no server.

    Raises ``ConfigurationError`` for what is no number of seconds above zero, at most a day, and for a ``lock`` or
    ``statement`` that would never come before the wait around it.
    """

    pool: float = 10.0
    connect: float = 5.0
    command: float = 15.0
    statement: float | None = None
    lock: float | None = None
    total: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_seconds(field.name, getattr(self, field.name), optional=field.default is None)
        self._check_within("lock", "statement")
        self._check_within("lock", "command")
        self._check_within("statement", "command")

    @property
    def one_try(self) -> float:
        """The seconds that a try of one statement may take: to get a connection, to make it, to hear the answer."""
        return self.pool + self.connect + self.command

    @property
    def of_a_call(self) -> float:
        """The seconds that a call may take with all its tries."""
        return self.one_try if self.total is None else self.total

    def check_total(self) -> None:
        """Raise ``ConfigurationError`` for a ``total`` that a single try may outlast."""
        if self.of_a_call < self.one_try and not math.isclose(self.of_a_call, self.one_try):
            raise ConfigurationError(
                f"deadlines: total={self.of_a_call:g} is less than pool + connect + command, {self.one_try:g} s, which"
                " one try may take; raise total, or lower these"
            )

    def _check_within(self, inner: str, outer: str) -> None:
        within, around = getattr(self, inner), getattr(self, outer)
        if within is not None and around is not None and within >= around:
            raise ConfigurationError(
                f"deadlines: {inner}={within:g} never comes before {outer}={around:g}; lower {inner}, or raise {outer}"
            )


def _check_seconds(name: str, seconds: object, *, optional: bool) -> None:
    if seconds is None and optional:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= LONGEST:
        raise ConfigurationError(f"deadlines: {name} must be a number of seconds above 0, at most {LONGEST:g}")


USUAL = Deadlines()
"""What counts where nothing is said."""
