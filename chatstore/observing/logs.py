"""Records of the logger ``chatstore``: DEBUG for each call that ended, WARNING for what no caller is told.

What a call raises is its caller's to log. A record never holds content, an id, a URL or what an error says.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from chatstore.observing.outlets import Outlet

if TYPE_CHECKING:
    from chatstore.observing.calls import Call

logger = logging.getLogger("chatstore")
logger.addHandler(logging.NullHandler())


def ended(call: Call) -> None:
    """Log a call that has ended."""
    if logger.isEnabledFor(logging.DEBUG):
        took = round(call.seconds * 1000, 3)
        outcome = call.error or "ok"
        fields = {
            "operation": call.operation,
            "system": call.system,
            "outcome": outcome,
            "duration_ms": took,
            "attempts": call.attempts,
            "owner": call.owner,
        }
        message = "%s of %s: %s after %.3f ms, attempts: %d, owner: %s"
        arguments = (call.operation, call.system, outcome, took, call.attempts, call.owner or "-")
        _emit(logging.DEBUG, message, arguments, fields)


def retried(operation: str, error: str, attempt: int) -> None:
    """Log a try that failed and is followed by another one; ``error`` is a text of ours."""
    fields = {"operation": operation, "outcome": error, "attempts": attempt}
    _emit(logging.WARNING, "%s; trying again, attempts so far: %d", (error, attempt), fields)


def left_undone(operation: str, error: str) -> None:
    """Log work of the store's own that failed, which nobody waits for."""
    _emit(logging.WARNING, "%s; left for later", (error,), {"operation": operation, "outcome": error})


def lost(name: str, count: int) -> None:
    """Log how many events an outlet has lost."""
    fields = {"operation": "observe", "lost": count}
    _emit(logging.WARNING, "%s: events lost so far, for want of a handler that keeps up: %d", (name, count), fields)


def _emit(level: int, message: str, arguments: tuple[Any, ...], fields: dict[str, Any]) -> None:
    """Make a record here, where its time and task are, and hand it to the handlers in their own thread."""
    if logger.isEnabledFor(level):
        operation = fields["operation"]
        record = logger.makeRecord(
            logger.name, level, "(chatstore)", 0, message, arguments, None, func=operation, extra=fields
        )
        outlet.put(logger.handle, record)


outlet = Outlet("logs", lost)
"""Where records go: the handlers of an application are somebody else's code."""
