"""The tools themselves: they fail and cancel what they are told to, and find a store that breaks a promise."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chatstore import Item, UnavailableError
from chatstore.stores.memory import MemoryStore
from chatstore.testing.faults.cancelling import KINDS, Canceller, Kind
from chatstore.testing.faults.crew import Crew
from chatstore.testing.faults.failing import hooked
from chatstore.testing.faults.history import Findings, check
from chatstore.testing.faults.journals import Journal, Journals
from chatstore.testing.faults.killing import ServerKiller
from chatstore.testing.faults.workload import Workload, thread_values
from chatstore.testing.servers import PostgreSQLServer, ServerUnavailable


class Driver:
    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, text: str) -> str:
        self.sent.append(text)
        return text


async def outcome(driver: Driver, text: str) -> str:
    try:
        return await driver.send(text)
    except ConnectionResetError:
        return "reset"


async def test_the_nth_call_fails_before_it_is_made_or_after_and_no_other() -> None:
    driver = Driver()
    with hooked([(Driver, "send")]) as hook:
        hook.fail(2, ConnectionResetError)
        assert [await outcome(driver, text) for text in "abc"] == ["a", "reset", "c"]
        assert (driver.sent, hook.calls, hook.reached) == (["a", "c"], 3, True)
        hook.fail(1, ConnectionResetError, "after", times=2)
        assert [await outcome(driver, text) for text in "def"] == ["reset", "reset", "f"]
        assert driver.sent == ["a", "c", "d", "e", "f"]
        hook.fail(9, ConnectionResetError)
        assert (await outcome(driver, "g"), hook.reached) == ("g", False)
        hook.fail(1, ConnectionResetError)
        hook.rest()
        assert await outcome(driver, "h") == "h"
    assert await outcome(driver, "i") == "i"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_is_cancelled_in_each_way_or_answered_or_fails_by_itself(kind: Kind) -> None:
    canceller = Canceller()
    never = asyncio.Event()
    cancelled = 0

    async def forever() -> None:
        nonlocal cancelled
        try:
            await never.wait()
        except asyncio.CancelledError:
            cancelled += 1
            raise

    async def fails() -> None:
        raise UnavailableError("by itself")

    await canceller.measure(lambda: asyncio.sleep(0.005))
    assert not any([await canceller.run(kind, forever) for _ in range(10)])
    assert cancelled >= 5
    assert sum([await canceller.run(kind, lambda: asyncio.sleep(0)) for _ in range(20)]) >= 5
    error = await _error(lambda: _run_until_it_began(canceller, kind, fails))
    assert isinstance(error, UnavailableError)


async def _run_until_it_began(canceller: Canceller, kind: Kind, call: Callable[[], Awaitable[None]]) -> None:
    for _ in range(20):
        await canceller.run(kind, call)


async def _error(call: Callable[[], Awaitable[None]]) -> BaseException | None:
    try:
        await call()
    except BaseExceptionGroup as group:
        return group.exceptions[0]
    except UnavailableError as error:
        return error
    return None


class ForgetsSome(MemoryStore):
    async def add_thread_item(self, thread_id: str, item: Item, **options: Any) -> Item:
        if item.data["value"].endswith("7"):
            return item
        return await super().add_thread_item(thread_id, item, **options)


class DoublesSome(MemoryStore):
    async def add_thread_item(self, thread_id: str, item: Item, **options: Any) -> Item:
        if item.data["value"].endswith("6"):
            await super().add_thread_item(thread_id, item, **options)
        return await super().add_thread_item(thread_id, item, **options)


class PutsSomeFirst(MemoryStore):
    async def add_thread_item(self, thread_id: str, item: Item, **options: Any) -> Item:
        if item.data["value"].endswith("5"):
            items = (await self.load_thread_items(thread_id, limit=1, **options)).data
            if items and items[0].created_at:
                return await super().add_thread_item(thread_id, item, at=items[0].created_at, **options)
        return await super().add_thread_item(thread_id, item, **options)


async def judged(store: MemoryStore, folder: Path) -> Findings:
    """Let ten writers and a reader work on a store, and judge what came of it."""
    workload = Workload("p", writers=10, threads=2, appends=30, pause=0.001)
    with Journal(folder / "journal") as journal:
        await workload.prepare(store)
        await workload.run(store, journal)
    seen = Journals([folder / "journal"])
    assert len(seen.appends) == 300
    rooms = [workload.thread_id(number) for number in range(2)]
    return check(seen.appends, seen.reads, {room: await thread_values(store, room) for room in rooms})


@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        (MemoryStore, set()),
        (ForgetsSome, {"lost"}),
        (DoublesSome, {"duplicated"}),
        (PutsSomeFirst, {"reordered"}),
    ],
)
async def test_a_store_that_breaks_a_promise_is_found(
    kind: type[MemoryStore], broken: set[str], tmp_path: Path
) -> None:
    found = await judged(kind(), tmp_path)
    by_chance = {"unextended"}  # a reader may have come too early to notice
    assert {name for name, count in found.counts().items() if count} - by_chance == broken


async def test_failures_are_noted_and_are_no_losses(tmp_path: Path) -> None:
    class IsAway(MemoryStore):
        numbers = itertools.count()

        async def add_thread_item(self, thread_id: str, item: Item, **options: Any) -> Item:
            if next(self.numbers) % 3 == 0:
                raise UnavailableError("add_thread_item: away")
            return await super().add_thread_item(thread_id, item, **options)

    assert not await judged(IsAway(), tmp_path)
    assert Journals([tmp_path / "journal"]).failures == ["UnavailableError: add_thread_item: away"] * 100


async def test_a_workload_that_cannot_start_is_an_error(tmp_path: Path) -> None:
    crew = Crew("nothing://here", tmp_path)
    with pytest.raises(RuntimeError, match="at its start"):
        async with crew.at_work([]):
            pass
    assert crew.acknowledged() == 0


async def test_a_server_that_was_found_by_url_is_not_killed(
    postgresql_server: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PostgreSQLServer.variable, postgresql_server.url())
    with PostgreSQLServer(source="url") as found, pytest.raises(ServerUnavailable, match="no process of its own"):
        ServerKiller(found, "postgres")
