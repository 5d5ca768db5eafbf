"""Work that is finished once begun: under native cancellations, anyio's scopes, both, and when it fails itself."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import anyio
import pytest

from chatstore.shielding import Answer, _Wait, ended, finished


class Work:
    """Waits until it is released; tells that it has begun, and how often somebody cancelled it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun: asyncio.Event = asyncio.Event()
        self.released: asyncio.Event = asyncio.Event()
        self.cancelled: int = 0
        self.done: bool = False
        self._error = error

    async def __call__(self) -> str:
        self.begun.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.done = True
        if self._error is not None:
            raise self._error
        return "result"


async def turns(number: int = 10) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_without_a_cancellation_it_is_an_await() -> None:
    work, failing = Work(), Work(KeyError("of the work"))
    work.released.set()
    failing.released.set()
    assert await finished(work()) == "result"
    with pytest.raises(KeyError, match="of the work"):
        await finished(failing())


@pytest.mark.parametrize("times", [1, 5])
async def test_a_native_cancellation_is_raised_when_the_work_has_ended(times: int) -> None:
    work = Work()
    caller = asyncio.create_task(finished(work()))
    await work.begun.wait()
    for _ in range(times):
        caller.cancel()
        await turns()
        assert not caller.done()
    work.released.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert (work.done, work.cancelled) == (True, 0)


async def test_a_cancelled_scope_is_neither_delivered_to_the_work_nor_raised_by_it() -> None:
    work, results = Work(), []

    async def twice() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            results.append(await finished(work()))
            results.append(await finished(work()))
            await anyio.sleep(0.001)
            results.append("after the scope ended")

    caller = asyncio.create_task(twice())
    await work.begun.wait()
    await turns(100)
    work.released.set()
    await caller
    assert results == ["result", "result"]
    assert work.cancelled == 0


async def test_a_scope_and_a_task_cancelled_at_once_both_wait() -> None:
    work = Work()

    async def scoped() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await finished(work())

    caller = asyncio.create_task(scoped())
    await work.begun.wait()
    caller.cancel()
    await turns(100)
    assert not caller.done()
    work.released.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert work.done


async def test_waiting_in_a_cancelled_scope_does_not_keep_the_loop_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    work, cancels, cancel = Work(), [], _Wait.cancel

    def counted(wait: _Wait, msg: Any = None) -> bool:
        cancels.append(wait)
        return cancel(wait, msg)

    monkeypatch.setattr(_Wait, "cancel", counted)

    async def scoped() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await finished(work())

    caller = asyncio.create_task(scoped())
    await turns(1000)
    work.released.set()
    await caller
    assert len(cancels) == 1


async def test_an_error_that_comes_after_a_cancellation_gives_way_to_it_without_a_complaint() -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    work = Work(KeyError("nobody waits for it"))
    caller = asyncio.create_task(finished(work()))
    await work.begun.wait()
    caller.cancel()
    work.released.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    del caller
    await turns()
    gc.collect()
    assert complaints == []


async def test_work_that_is_itself_cancelled_ends_the_wait() -> None:
    task = asyncio.create_task(Work()())
    caller = asyncio.create_task(ended(task))
    await turns()
    task.cancel()
    await caller
    assert task.cancelled()
    with pytest.raises(asyncio.CancelledError):
        await finished(task)


async def test_who_does_not_stay_is_let_go_and_the_work_goes_on() -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    work = Work(KeyError("nobody waits for it"))
    task = asyncio.create_task(work())
    answers = iter([False, True])
    caller = asyncio.create_task(ended(task, lambda: next(answers)))
    await work.begun.wait()
    caller.cancel()
    await turns()
    assert not caller.done()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not work.done
    work.released.set()
    await turns()
    assert work.done
    del task
    gc.collect()
    assert complaints == []


async def test_who_does_not_stay_may_end_the_work_as_well() -> None:
    work = Work()
    task = asyncio.create_task(work())

    def stays() -> bool:
        task.cancel()
        return True

    caller = asyncio.create_task(ended(task, stays))
    await work.begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert (work.cancelled, task.cancelled()) == (1, True)


async def test_a_cancellation_and_the_answer_in_one_turn_of_the_loop() -> None:
    """The answer comes first, or the cancellation does: it is raised either way, and once."""
    for answers_first in (True, False):
        answer: Answer[str] = Answer()
        caller = asyncio.create_task(answer.arrive_in_any_case())
        await turns(1)
        steps = [lambda answer=answer: answer.give("result"), caller.cancel]
        for step in steps if answers_first else reversed(steps):
            step()
        with pytest.raises(asyncio.CancelledError):
            await caller


async def test_an_answer_that_is_there_is_not_waited_for() -> None:
    answer: Answer[str] = Answer()
    answer.give("first")
    answer.give("second")
    answer.fail(KeyError("third"))
    assert (await answer.arrive(), await answer.arrive_in_any_case()) == ("first", "first")


async def test_a_caller_that_has_left_is_not_answered() -> None:
    answer: Answer[str] = Answer()
    caller = asyncio.create_task(answer.arrive())
    await turns(1)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not answer.is_wanted


async def test_in_a_scope_a_native_cancellation_lets_a_caller_leave_and_the_scopes_own_does_not() -> None:
    answer: Answer[str] = Answer()

    async def scoped(scope: anyio.CancelScope) -> str:
        with scope:
            return await answer.arrive_in_any_case(lambda: True)
        return "the scope ended"

    scope = anyio.CancelScope()
    caller = asyncio.create_task(scoped(scope))
    await turns(2)
    scope.cancel()
    await turns(20)
    assert not caller.done()
    answer.give("result")
    assert await caller == "result"
    answer, scope = Answer(), anyio.CancelScope()
    caller = asyncio.create_task(scoped(scope))
    await turns(2)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
