"""One call of a store, watched from its beginning to its end where somebody listens, and else not at all."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, TypeAlias

from chatstore.errors import ChatStoreError, ConflictError, InvalidInputError, NotFoundError, NotSupportedError
from chatstore.observing import logs, telemetry
from chatstore.owners import Owner

Kind: TypeAlias = Literal["database", "blobs", "files"]
"""Whether a call is one of a store, one of a blob store, or one that uses both."""

SHORT = 16
"""Characters of an owner's digest that are told: enough to tell owners apart, and not to be mistaken for a name."""

_ANSWERS = (NotFoundError, ConflictError, InvalidInputError, NotSupportedError)
"""Errors that tell a caller about the call; the store has not failed."""


class Call:
    """A call under way: what it is, whose, what it is part of, and what has come of it so far.

    ``seconds`` counts the time inside the store alone: not what the reader of a stream, or the code in a
    transaction's block, does between two steps. ``error`` is the class of what was raised, ``failed`` whether that
    is the store's fault, ``problem`` what the last try failed of. ``span`` and ``outer`` belong to the telemetry.
    """

    def __init__(
        self, operation: str, kind: Kind, system: str, owner: str | None = None, parent: Call | None = None
    ) -> None:
        self.operation: str = operation
        self.kind: Kind = kind
        self.system: str = system
        self.owner: str | None = owner
        self.parent: Call | None = parent
        self.began_at: int = time.time_ns()
        self.seconds: float = 0.0
        self.attempts: int = 1
        self.error: str | None = None
        self.failed: bool = False
        self.problem: str | None = None
        self.waited_for_by: list[Call] = []
        self.span: Any = None
        self.outer: Any = None

    def fail_of(self, problem: str) -> None:
        """Note what a try failed of, also for the calls that this one is part of."""
        call: Call | None = self
        while call is not None:
            call.problem = problem
            call = call.parent

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time inside, and be the call that tries, waits and inner calls inside belong to."""
        outer = _running.get()
        _running.set((self,))
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began
            _running.set(outer)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell of the beginning and of the end."""
        listener = telemetry.current()
        if listener is not None:
            telemetry.outlet.put(listener.began, self)
        try:
            yield
        except GeneratorExit:  # a reader who has enough
            raise
        except BaseException as error:
            self.error = type(error).__qualname__
            self.failed = isinstance(error, Exception) and not isinstance(error, _ANSWERS)
            raise
        finally:
            logs.ended(self)
            if listener is not None:
                telemetry.outlet.put(listener.ended, self, time.time_ns())


_running: ContextVar[tuple[Call, ...]] = ContextVar("chatstore_calls", default=())


def new_call(operation: str, kind: Kind, system: str, owner: object, parent: Call | None = None) -> Call:
    """Return a call that begins now, part of ``parent`` or of the call under way; whose that is, it is too."""
    if parent is None:
        parent = next(iter(running()), None)
    whose = parent.owner if parent is not None else None
    if isinstance(owner, Owner):
        whose = owner.digest[:SHORT]
    return Call(operation, kind, system, whose, parent)


def running() -> tuple[Call, ...]:
    """Return the call that the code is part of; several, where their writes were gathered."""
    return _running.get()


def run_for(calls: tuple[Call, ...]) -> None:
    """Let what follows in this task belong to these calls."""
    _running.set(calls)


def listens() -> bool:
    """Return whether anybody wants to be told of calls."""
    return logs.logger.isEnabledFor(logging.DEBUG) or telemetry.current() is not None


def retried(operation: str, error: BaseException, meaning: ChatStoreError, attempt: int) -> None:
    """Tell of a try that failed and is followed by another one."""
    for call in running():
        for one in (call, *call.waited_for_by):
            one.attempts += 1
            one.fail_of(str(meaning))
    logs.retried(operation, str(meaning), attempt)
    listener = telemetry.current()
    if listener is not None:
        telemetry.outlet.put(listener.retried, operation, type(error).__qualname__)


def wait_for(other: Call) -> None:
    """Let the tries of ``other`` from now on be those of the calls that the code is part of, too."""
    for call in running():
        other.waited_for_by.append(call)
        if other.problem is not None:
            call.fail_of(other.problem)


def waited(seconds: float) -> None:
    """Tell of a wait for a free connection."""
    listener = telemetry.current()
    if listener is not None:
        telemetry.outlet.put(listener.waited, seconds)
