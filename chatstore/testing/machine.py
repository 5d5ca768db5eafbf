"""StoreMachine: random histories on a store, compared step by step with the reference in memory.

::

    class MyMachine(StoreMachine):
        def open_store(self):
            return MyStore("path/to/data")

        reopen_store = open_store  # where the data is kept

    TestMyStoreAtRandom = MyMachine.TestCase

Hypothesis draws calls, blocks, cancellations and reopenings of two users, performs each on both stores, and finds
the shortest history after which an answer or the content differs. How long it looks is set as for any other state
machine: ``TestMyStoreAtRandom.settings = settings(max_examples=200, stateful_step_count=50)``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeAlias

import anyio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chatstore.ids import new_id
from chatstore.protocols import Store
from chatstore.stores.memory import MemoryStore
from chatstore.testing.factories import NOON, message
from chatstore.testing.operations import (
    ITEMS,
    READS,
    THREADS,
    USERS,
    Operation,
    Side,
    observe,
    operations,
    perform,
    writes,
)

_PLACINGS = 8
"""Items that a history places in one thread: a spot takes at least as many before its numbers are used up."""

_REOPENINGS = 2
"""How often a history closes its store and opens it again: that takes as long as many calls."""

Way: TypeAlias = Literal["task", "scope"]
"""A task's own ``cancel``, or an anyio scope around the call."""

_turns = st.sampled_from([0, 1, 2, 4, 8, 16, 64])
_ways = st.sampled_from(["task", "scope"])


class _RollBack(Exception):
    pass


class StoreMachine(RuleBasedStateMachine):
    """A store beside the reference. Override :meth:`open_store`; run ``TestCase``.

    Every history has owners of its own, so the store need not be empty. It is opened and closed with each
    history, in an event loop of that history.
    """

    def open_store(self) -> Store:
        """Return the store under test; it is entered with ``async with``."""
        raise NotImplementedError

    def reopen_store(self) -> Store | None:
        """Return a store on the data of the one that was closed, or ``None`` where nothing is kept, as by default."""
        return None

    def __init__(self) -> None:
        super().__init__()
        self._written = True
        self._reopenings = _REOPENINGS if type(self).reopen_store is StoreMachine.reopen_store else 0
        self._runner = asyncio.Runner()
        self._placings: Counter[tuple[str, str]] = Counter()
        tenant = new_id("tenant")
        self._reference, self._tested = self._run(self._open(tenant))

    def teardown(self) -> None:
        """Close both stores and the event loop."""
        self._run(self._tested.store.aclose())
        self._runner.close()

    @initialize(count=st.integers(0, 3))
    def begin(self, count: int) -> None:
        """Make threads of one time to begin with, and some items in one of them."""
        for user in USERS:
            for id in THREADS:
                self.do(Operation("save_thread", user, {"id": id, "created_at": NOON}))
        items = [message(id=id, created_at=NOON) for id in ITEMS[:count]]
        self.do(Operation("add_items", USERS[0], {"thread_id": THREADS[0], "items": items}))

    @rule(operation=operations)
    def do(self, operation: Operation) -> None:
        """Make one call."""
        self._written = self._written or operation.verb not in READS
        self._run(self._compare([self._bounded(operation)], self._reference, self._tested))

    @rule(done=st.lists(operations, min_size=1, max_size=4), commits=st.booleans())
    def transact(self, done: list[Operation], commits: bool) -> None:
        """Make some calls in a block that commits or rolls back."""
        self._written = True
        self._run(self._in_blocks([self._bounded(one) for one in done], commits, self._reference, self._tested))

    @rule(
        before=st.lists(operations, max_size=2),
        nested=st.lists(operations, min_size=1, max_size=3),
        after=st.lists(operations, max_size=2),
        commits=st.tuples(st.booleans(), st.booleans()),
    )
    def nest(
        self, before: list[Operation], nested: list[Operation], after: list[Operation], commits: tuple[bool, bool]
    ) -> None:
        """Make some calls in a block within a block; each of the two commits or rolls back."""
        self._written = True
        before, nested, after = ([self._bounded(one) for one in part] for part in (before, nested, after))
        self._run(self._nested(before, nested, after, commits))

    @rule(done=st.lists(operations, min_size=1, max_size=4))
    def run(self, done: list[Operation]) -> None:
        """Make some calls by ``run``, which the store may repeat."""
        self._written = True
        done = [self._bounded(one) for one in done]
        assert self._run(_by_run(done, self._tested)) == self._run(_by_run(done, self._reference))

    @rule(operation=writes, turns=_turns, way=_ways)
    def cancel(self, operation: Operation, turns: int, way: Way) -> None:
        """Cancel a write after some turns of the event loop: it happened or it did not."""
        self._written = True
        self._run(self._cancelled(partial(perform, operation), turns, way))

    @rule(done=st.lists(writes, min_size=1, max_size=3), turns=_turns, way=_ways)
    def cancel_block(self, done: list[Operation], turns: int, way: Way) -> None:
        """Cancel a block of writes: all of it happened, or nothing."""
        self._written = True
        self._run(self._cancelled(partial(_in_block, done), turns, way))

    @precondition(lambda self: self._reopenings < _REOPENINGS)
    @rule()
    def reopen(self) -> None:
        """Close the store under test and go on with another one on the same data, cursors and loaded models too."""
        self._written = True
        self._reopenings += 1
        self._run(self._reopened())

    @invariant()
    def everything_is_equal(self) -> None:
        """Both hold the same threads, items and attachments in the same order."""

        async def compare() -> None:
            assert (await observe(self._tested)).seen == (await observe(self._reference)).seen

        if self._written:
            self._run(compare())
        self._written = False

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    async def _open(self, tenant: str) -> tuple[Side, Side]:
        store = self.open_store()
        return Side(MemoryStore(), tenant), Side(await store.__aenter__(), tenant)

    def _bounded(self, operation: Operation) -> Operation:
        if "at" not in operation.given:
            return operation
        thread = (operation.user, operation.given["thread_id"])
        self._placings[thread] += 1
        if self._placings[thread] <= _PLACINGS:
            return operation
        return replace(operation, given={name: value for name, value in operation.given.items() if name != "at"})

    async def _compare(self, done: list[Operation], reference: Side, tested: Side) -> None:
        for operation in done:
            expected = await perform(operation, reference)
            assert await perform(operation, tested) == expected, operation.verb

    async def _in_blocks(self, done: list[Operation], commits: bool, reference: Side, tested: Side) -> None:
        try:
            async with reference.store.transaction() as inner_reference, tested.store.transaction() as inner_tested:
                await self._compare(done, reference.within(inner_reference), tested.within(inner_tested))
                if not commits:
                    raise _RollBack
        except _RollBack:
            pass

    async def _nested(
        self, before: list[Operation], nested: list[Operation], after: list[Operation], commits: tuple[bool, bool]
    ) -> None:
        try:
            async with (
                self._reference.store.transaction() as inner_reference,
                self._tested.store.transaction() as inner_tested,
            ):
                reference, tested = self._reference.within(inner_reference), self._tested.within(inner_tested)
                await self._compare(before, reference, tested)
                await self._in_blocks(nested, commits[1], reference, tested)
                await self._compare(after, reference, tested)
                if not commits[0]:
                    raise _RollBack
        except _RollBack:
            pass

    async def _reopened(self) -> None:
        await self._tested.store.aclose()
        store = self.reopen_store()
        assert store is not None, "reopen_store() returned nothing"
        self._tested.store = await store.__aenter__()

    async def _cancelled(self, work: Callable[[Side], Awaitable[Any]], turns: int, way: Way) -> None:
        before = await observe(self._tested)
        answers = await _cut_off(partial(work, self._tested), turns, way)
        if answers:
            assert answers == [await work(self._reference)]
        elif await observe(self._tested) != before:
            await work(self._reference)


async def _in_block(done: list[Operation], side: Side) -> list[Any]:
    async with side.store.transaction() as inner:
        return [await perform(operation, side.within(inner)) for operation in done]


async def _by_run(done: list[Operation], side: Side) -> list[Any]:
    async def work(inner: Store) -> list[Any]:
        return [await perform(operation, side.within(inner)) for operation in done]

    return await side.store.run(work)


async def _cut_off(work: Callable[[], Awaitable[Any]], turns: int, way: Way) -> list[Any]:
    """Cancel ``work`` after some turns of the event loop, and return its answer in a list, if there was one."""
    scope = anyio.CancelScope()
    answers: list[Any] = []

    async def within() -> None:
        with scope:
            answers.append(await work())

    task = asyncio.ensure_future(within())
    for _ in range(turns):
        await asyncio.sleep(0)
    if way == "task":
        task.cancel()
    else:
        scope.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
    return answers
