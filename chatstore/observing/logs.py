"""Records of the logger ``chatstore``: DEBUG for each call that ended, WARNING for what no caller is told.

What a call raises is its caller's to log. A record never holds content, an id, a URL, or what somebody else's error
says.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from chatstore.observing.outlets import Outlet

if TYPE_CHECKING:
    from chatstore.observing.calls import Call

logger: logging.Logger = logging.getLogger("chatstore")
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
    if logger.isEnabledFor(level):
        outlet.put(_hand_over, level, message, arguments, fields, _here())


def _here() -> dict[str, Any]:
    """Return what a record says of the place where it is made."""
    now = time.time()
    return {
        "created": now,
        "msecs": int(now % 1 * 1000) + 0.0,
        "thread": threading.get_ident(),
        "threadName": threading.current_thread().name,
        "taskName": _task_name(),
    }


def _task_name() -> str | None:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop: an outlet's own thread
        return None
    return None if task is None else task.get_name()


def _hand_over(
    level: int, message: str, arguments: tuple[Any, ...], fields: dict[str, Any], here: dict[str, Any]
) -> None:
    """Make a record, with whatever factory the application has set, as if where the call was; give it to handlers."""
    record = logger.makeRecord(
        logger.name, level, "(chatstore)", 0, message, arguments, None, func=fields["operation"], extra=fields
    )
    vars(record).update(here)
    logger.handle(record)


outlet: Outlet = Outlet("logs", lost)
"""Where records go: the handlers of an application are somebody else's code."""
