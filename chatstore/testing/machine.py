"""StoreMachine: random histories on a store, compared step by step with the reference in memory.

::

    class MyMachine(StoreMachine):
        def open_store(self):
            return MyStore()

    TestMyStoreAtRandom = MyMachine.TestCase

Hypothesis draws calls, blocks and cancellations of two users, performs each on both stores, and finds the
shortest history after which an answer or the content differs. How long it looks is set as for any other state
machine: ``TestMyStoreAtRandom.settings = settings(max_examples=200, stateful_step_count=50)``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from chatstore.ids import new_id
from chatstore.protocols import Store
from chatstore.stores.memory import MemoryStore
from chatstore.testing.factories import NOON, message
from chatstore.testing.operations import ITEMS, THREADS, USERS, Operation, Side, additions, observe, operations, perform

_PLACINGS = 8
"""Items that a history places in one thread: a spot takes at least as many before its numbers are used up."""


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

    def __init__(self) -> None:
        super().__init__()
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
        self._run(self._compare([self._bounded(operation)], self._reference, self._tested))

    @rule(done=st.lists(operations, min_size=1, max_size=4), commits=st.booleans())
    def transact(self, done: list[Operation], commits: bool) -> None:
        """Make some calls in a block that commits or rolls back."""
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
        before, nested, after = ([self._bounded(one) for one in part] for part in (before, nested, after))
        self._run(self._nested(before, nested, after, commits))

    @rule(operation=additions, turns=st.sampled_from([0, 1, 2, 4, 8, 16, 64]))
    def cancel(self, operation: Operation, turns: int) -> None:
        """Cancel a write after some turns of the event loop: it happened or it did not."""
        self._run(self._cancelled(operation, turns))

    @invariant()
    def everything_is_equal(self) -> None:
        """Both hold the same threads, items and attachments in the same order."""

        async def compare() -> None:
            assert await observe(self._tested) == await observe(self._reference)

        self._run(compare())

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

    async def _cancelled(self, operation: Operation, turns: int) -> None:
        task = asyncio.ensure_future(perform(operation, self._tested))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            assert task.result() == await perform(operation, self._reference), operation.verb
        elif await observe(self._tested) != await observe(self._reference):
            await perform(operation, self._reference)
