"""A unit is tried again inside one deadline, and says how often it was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chatstore.errors import ConfigurationError, UnavailableError
from chatstore.sql.failures import NotConnected
from chatstore.sql.retries import Retries

SECONDS = 0.2
LONGER = 0.4


def after(*errors: Exception) -> Callable[[], Awaitable[str]]:
    """Return a unit that fails with each of the errors, and is done then."""
    left = list(errors)

    async def once() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return once


def slow_after(*errors: Exception) -> Callable[[], Awaitable[str]]:
    once = after(*errors)

    async def slow() -> str:
        answer = await once()
        await asyncio.sleep(LONGER)
        return answer

    return slow


async def test_what_is_refused_for_now_is_tried_again() -> None:
    once = after(ConnectionRefusedError(), NotConnected())
    assert await Retries(5, cuts=True)("read", once) == "done"


async def test_what_never_succeeds_is_given_up_with_the_last_reason() -> None:
    begun = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        await Retries(SECONDS, cuts=True)("read", after(*[NotConnected()] * 99))
    assert time.monotonic() - begun < LONGER
    assert str(caught.value).startswith("read: no connection was made in time; gave up after ")
    assert isinstance(caught.value.__cause__, NotConnected)


async def test_a_later_try_ends_with_the_deadline_and_names_the_reason_of_the_one_before() -> None:
    with pytest.raises(UnavailableError, match=r"^read: the server cannot be reached; gave up after 2 tries$"):
        await Retries(SECONDS, cuts=True)("read", slow_after(ConnectionRefusedError()))


@pytest.mark.parametrize(
    ("cuts", "options", "errors"),
    [
        (True, {}, []),
        (True, {"whole": True}, [ConnectionRefusedError()]),
        (False, {}, [ConnectionRefusedError()]),
        (False, {"in_steps": True}, []),
    ],
    ids=["the first of a statement", "a whole", "where nothing can be cut", "steps where nothing can be cut"],
)
async def test_a_try_that_has_its_own_bounds_is_not_cut(
    cuts: bool, options: dict[str, Any], errors: list[Exception]
) -> None:
    assert await Retries(SECONDS, cuts=cuts)("read", slow_after(*errors), **options) == "done"


async def test_the_first_try_of_several_statements_ends_with_the_deadline() -> None:
    with pytest.raises(UnavailableError, match=r"^save: no answer in time$") as caught:
        await Retries(SECONDS, cuts=True)("save", slow_after(), in_steps=True)
    assert isinstance(caught.value.__cause__, TimeoutError)


async def test_a_time_limit_of_the_unit_itself_is_not_the_deadline() -> None:
    with pytest.raises(UnavailableError, match=r"^save: no answer in time$") as caught:
        await Retries(5, cuts=True)("save", after(TimeoutError("of the driver")), in_steps=True)
    assert str(caught.value.__cause__) == "of the driver"


async def test_the_time_counts_from_when_the_caller_came() -> None:
    came = time.monotonic() - SECONDS
    with pytest.raises(UnavailableError, match=r"gave up after 1 try$"):
        await Retries(SECONDS, cuts=True)("add", after(ConnectionRefusedError()), since=came)


async def test_what_will_not_change_is_raised_at_once() -> None:
    refused = after(ConfigurationError("pgbouncer: ..."), ConnectionRefusedError())
    with pytest.raises(ConfigurationError, match=r"^pgbouncer: \.\.\.$"):
        await Retries(5, cuts=True)("read", refused)
