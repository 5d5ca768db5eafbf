"""Somebody else's code that raises, hangs or cannot keep up delays no call and ends no thread."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from chatstore import open_store
from chatstore.observing import logs, outlets
from chatstore.observing.outlets import Outlet


def nothing(name: str, count: int) -> None:
    pass


class Bad(logging.Handler):
    """Does with each record what it is told to."""

    def __init__(self, what: Callable[[], object]) -> None:
        super().__init__()
        self._what = what

    def handle(self, record: logging.LogRecord) -> bool:
        return bool(self._what())


@pytest.fixture
def listening() -> Iterator[Callable[[Callable[[], object]], None]]:
    added: list[logging.Handler] = []

    def listen(what: Callable[[], object]) -> None:
        added.append(Bad(what))
        logs.logger.addHandler(added[-1])
        logs.logger.setLevel(logging.DEBUG)

    yield listen
    logs.logger.setLevel(logging.NOTSET)
    for handler in added:
        logs.logger.removeHandler(handler)


async def test_a_handler_that_raises_fails_no_call_and_is_counted(
    listening: Callable[[Callable[[], object]], None],
) -> None:
    def fail() -> None:
        raise SystemExit("of the handler")

    before = logs.outlet.lost
    listening(fail)
    async with open_store("memory://") as store:
        for _ in range(50):
            await store.for_user("ann").create_thread()
        assert len((await store.for_user("ann").load_threads(limit=100)).data) == 50
    assert logs.outlet.lost - before >= 51


async def test_a_handler_that_hangs_holds_up_no_call_and_the_close_for_a_second_at_most(
    listening: Callable[[Callable[[], object]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    fresh = Outlet("logs", nothing)
    monkeypatch.setattr(logs, "outlet", fresh)
    monkeypatch.setattr(outlets, "MOST", 20)
    listening(released.wait)
    began = time.monotonic()
    async with open_store("memory://") as store:
        for _ in range(50):
            await store.for_user("ann").create_thread()
        assert time.monotonic() - began < 0.9
    assert time.monotonic() - began < 2.5
    assert fresh.lost >= 29
    released.set()


async def test_events_are_handed_over_in_order_and_in_the_context_that_they_come_from() -> None:
    request: contextvars.ContextVar[int] = contextvars.ContextVar("request")
    seen: list[tuple[int, int]] = []
    outlet = Outlet("test", nothing)

    async def asked(number: int) -> None:
        request.set(number)
        outlet.put(lambda: seen.append((number, request.get())))

    for number in range(100):
        await asyncio.create_task(asked(number))
    await outlet.flush()
    assert seen == [(number, number) for number in range(100)]


async def test_what_is_lost_is_told_ever_more_rarely() -> None:
    told: list[int] = []
    outlet = Outlet("test", lambda name, count: told.append(count))
    for _ in range(100):
        outlet.put(lambda: 1 / 0)
    await outlet.flush()
    assert outlet.lost == 100
    assert told[0] == 1
    assert len(told) < 8


async def test_a_forked_process_has_a_thread_of_its_own() -> None:
    program = (
        "import os, sys, threading, time\n"
        "from chatstore.observing.outlets import Outlet\n"
        "outlet = Outlet('test', print)\n"
        "done = threading.Event(); outlet.put(done.set); assert done.wait(5)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    done = threading.Event(); outlet.put(done.set); os._exit(0 if done.wait(5) else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", program]
    assert (await asyncio.to_thread(subprocess.run, command, timeout=30, env=dict(os.environ))).returncode == 0


async def test_records_that_wait_at_the_end_of_a_process_are_written() -> None:
    program = (
        "import asyncio, logging\n"
        "from chatstore import open_store\n"
        "logging.basicConfig(level=logging.DEBUG)\n"
        "async def main():\n"
        "    await open_store('memory://').for_user('ann').create_thread()\n"
        "asyncio.run(main())\n"
    )
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], timeout=30, capture_output=True, text=True
    )
    assert "create_thread of memory: ok" in ended.stderr


async def test_a_record_factory_that_raises_fails_no_call(
    listening: Callable[[Callable[[], object]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> logging.LogRecord:
        raise RuntimeError("of the factory")

    before = logs.outlet.lost
    listening(lambda: None)
    monkeypatch.setattr(logging, "_logRecordFactory", fail)
    async with open_store("memory://") as store:
        await store.for_user("ann").create_thread()
    assert logs.outlet.lost > before
