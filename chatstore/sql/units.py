"""Units of work: one connection each, finished once begun, retried as a whole inside one deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from chatstore.errors import ClosedError, UnavailableError
from chatstore.observing.calls import Call, run_for, running
from chatstore.shielding import Answer
from chatstore.sql.connections import Connections, Unit, Work
from chatstore.sql.dialects import Dialect
from chatstore.sql.failures import Failure, failure_of
from chatstore.sql.retries import Retries
from chatstore.transactions import Turn

T = TypeVar("T")

CLOSING = 10.0
"""Seconds that a close waits for units under way."""


@dataclass(slots=True)
class Start:
    """How far a write, ``in_steps`` of several statements or in one, has come.

    It is handed to a connection, left by its caller before that, cut off in a try.
    """

    in_steps: bool = False
    begun: bool = False
    abandoned: bool = False
    cut_off: bool = False
    calls: tuple[Call, ...] = field(default_factory=running)
    """Whose tries these are; those of several callers, where their writes were gathered."""


class Open:
    """A context around what a close waits for; entering it afterwards raises ``ClosedError``."""

    def __init__(self) -> None:
        self._count = 0
        self._closing = False
        self._ended = asyncio.Event()

    def __enter__(self) -> None:
        if self._closing:
            raise closed()
        self._count += 1

    def __exit__(self, *exc_info: object) -> None:
        self._count -= 1
        if self._closing and not self._count:
            self._ended.set()

    async def close(self, seconds: float) -> None:
        """Refuse what comes from now on, and wait so long for what is open."""
        self._closing = True
        if self._count:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), seconds)


def in_transaction(work: Work[T]) -> Work[T]:
    """Return ``work``, several statements and nothing else, as one transaction."""

    async def committed(unit: Unit) -> T:
        await unit.begin()
        try:
            result = await work(unit)
            await unit.commit()
        except BaseException:
            await unit.roll_back()
            raise
        return result

    return lambda unit: unit.together(committed)


class Units:
    """Runs units of work on the connections of an engine; a call takes at most ``seconds``, ``patience`` in waiting."""

    def __init__(
        self, connections: Connections, dialect: Dialect, *, in_memory: bool, seconds: float, patience: float
    ) -> None:
        self._connections = connections
        self._dialect = dialect
        self.exclusive: bool = in_memory
        """Whether a read waits for the end of a block: there is one connection."""
        cuts = dialect.can_be_cut_off
        self._retried = Retries(seconds if cuts else patience, cuts=cuts)
        self.patience: float = patience
        """Seconds that a unit may wait for its turn, and yet be done within those of a call."""
        self._writing = nullcontext() if dialect.one_statement else Turn(self.patience)
        self._reading = self._writing if in_memory else nullcontext()
        self._under_way: set[asyncio.Task[Any]] = set()
        self.open: Open = Open()

    async def read(self, operation: str, work: Work[T]) -> T:
        """Return what ``work`` reads, in autocommit; a cancellation ends it at once.

        Where a connection must be made first, the cancelled read goes on by itself: callers whose deadlines are
        shorter than a connect and a read together would throw away one connection each, and none would get there.
        """
        with self.open:
            return await self.look(operation, work)

    async def look(self, operation: str, work: Work[T], *, since: float | None = None) -> T:
        """Return what ``work`` reads, as a read that is counted already; ``since`` as in an attempt."""
        start = Start()

        async def once() -> T:
            _check_awaited(start)
            async with self._reading, self._connections.unit() as unit:
                if not unit.fresh:
                    _check_awaited(start)
                return await work(unit)

        if self._connections.has_idle:
            return await self._retried(operation, once, since=since)
        return await self.finish(self._retried(operation, once, since=since), start)

    async def write(self, operation: str, work: Work[T], *, repeatable: bool = False, start: Start | None = None) -> T:
        """Return the result of ``work``, one statement that commits by itself.

        A try that was cut off may have committed. Where that makes no difference to anybody's later write, the
        work is ``repeatable`` and tried again; else it is ``UnavailableError``, and the caller decides.
        SQLite's driver may begin a transaction of its own before a statement, and leave that open: there it is
        a unit of several.
        """
        if self._dialect.one_statement:
            return await self._finished(operation, work, repeatable, start or Start())
        return await self.transact(operation, work, repeatable=repeatable, start=start)

    async def transact(
        self, operation: str, work: Work[T], *, repeatable: bool = False, start: Start | None = None
    ) -> T:
        """Return the result of ``work``, several statements that commit together; ``repeatable`` as in a write."""
        start = start or Start()
        start.in_steps = True
        return await self._finished(operation, in_transaction(work), repeatable, start)

    @asynccontextmanager
    async def block(self, operation: str) -> AsyncIterator[BoundUnits]:
        """Yield units of work that commit when the block is left, and roll back on any exception; never retried."""
        start = Start()
        opened = AsyncExitStack()
        units: list[Unit] = []

        async def begin() -> None:
            _check_awaited(start)
            async with AsyncExitStack() as stack:
                unit = await stack.enter_async_context(self._connections.session())
                _check_awaited(start)
                start.begun = True
                await unit.begin()
                units.append(unit)
                opened.push_async_exit(stack.pop_all())

        with self.open:
            async with self._writing:
                try:
                    await self.finish(self._retried(operation, begin), start)
                    yield BoundUnits(units[0], self)
                    await self.finish(_commit(operation, units[0]))
                except BaseException:
                    # A cancellation may arrive with the begin or the commit itself, which have ended nonetheless.
                    for unit in units:
                        await self.finish(unit.roll_back())
                    raise
                finally:
                    await self.finish(opened.aclose())

    async def rerun(self, operation: str, block: Callable[[], Awaitable[T]]) -> T:
        """Return the result of a whole block, run again where the database failed it and may not the next time."""
        may_have_committed = False

        async def once() -> T:
            nonlocal may_have_committed
            try:
                return await block()
            except UnavailableError as error:
                may_have_committed = may_have_committed or error.may_have_committed
                raise

        try:
            return await self._retried(operation, once, _failure_of_block, whole=True)
        except UnavailableError as error:
            error.may_have_committed = may_have_committed
            raise

    async def migrate(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run a migration to its end, tried again as any other unit."""
        async with self._writing:
            await self.finish(self._retried("migrate", work, whole=True))

    async def close(self) -> None:
        """Refuse what has not begun, wait a while for what is open, then end it."""
        await self.open.close(CLOSING)
        while self._under_way:
            for task in self._under_way:
                task.cancel()
            await asyncio.wait(self._under_way)

    def watch(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task with the units under way that a close does not wait for any longer."""
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def attempt(
        self, operation: str, work: Work[T], *, repeatable: bool, start: Start, since: float | None = None
    ) -> T:
        """Return the result of a write, tried again inside the deadline; it ends where its caller is cancelled.

        The deadline counts from the moment that the caller came, ``since`` on the monotonic clock, or from now.
        """

        async def once() -> T:
            _check_awaited(start)
            async with self._writing, self._connections.unit(repeated=start.cut_off) as unit:
                _check_awaited(start)
                start.begun = True
                try:
                    return await work(unit)
                finally:
                    start.cut_off = start.cut_off or unit.broken

        def failure(error: BaseException, operation: str) -> Failure | None:
            found = failure_of(error, operation)
            if found is None or repeatable or not start.cut_off:
                return found
            return replace(found, again=False)

        run_for(start.calls)
        try:
            return await self._retried(operation, once, failure, since=since, in_steps=start.in_steps)
        except UnavailableError as error:
            error.may_have_committed = start.cut_off
            raise

    async def _finished(self, operation: str, work: Work[T], repeatable: bool, start: Start) -> T:
        with self.open:
            return await self.finish(self.attempt(operation, work, repeatable=repeatable, start=start), start)

    async def finish(self, unit: Coroutine[Any, Any, T], start: Start | None = None) -> T:
        """Await a unit to its end once it has begun, whoever cancels meanwhile; before that, leave it at once.

        A unit that was left early still gets its connection, so that callers with short deadlines do not throw
        away one connection each, and then does nothing.
        """

        def leaves() -> bool:
            if start is None or start.begun:
                return False
            start.abandoned = True
            return True

        async def answered() -> None:
            try:
                answer.give(await unit)
            except Exception as error:
                answer.fail(error)

        def cut_short(task: asyncio.Task[None]) -> None:
            if answer.is_wanted:
                unit.close()
                answer.fail(closed())

        answer: Answer[T] = Answer()
        task = asyncio.ensure_future(answered())
        task.add_done_callback(cut_short)
        self.watch(task)
        return await answer.arrive_in_any_case(leaves)


class BoundUnits:
    """Runs units of work inside an open block: one after another on its connection, none retried."""

    exclusive = True

    def __init__(self, unit: Unit, outer: Units, depth: int = 1) -> None:
        self._unit = unit
        self._outer = outer
        self._depth = depth
        self._turn = Turn(outer.patience)

    async def read(self, operation: str, work: Work[T]) -> T:
        """Return what ``work`` reads in the block, finished once begun: a statement cut off would end the block."""
        return await self.transact(operation, work)

    async def write(self, operation: str, work: Work[T], *, repeatable: bool = False, start: Start | None = None) -> T:
        """Return the result of ``work`` in the block, finished once begun."""
        return await self.transact(operation, work)

    async def transact(
        self, operation: str, work: Work[T], *, repeatable: bool = False, start: Start | None = None
    ) -> T:
        """Return the result of ``work`` in the block, finished once begun."""
        async with self._turn:
            check_whole(self._unit, operation)
            return await self._finished(operation, work(self._unit))

    async def rerun(self, operation: str, block: Callable[[], Awaitable[T]]) -> T:
        """Return the result of a block; only the outermost can be run again."""
        return await block()

    @asynccontextmanager
    async def block(self, operation: str) -> AsyncIterator[BoundUnits]:
        """Yield the units of a savepoint, released when the block is left, undone on any exception."""
        name = f"chatstore_{self._depth}"
        async with self._turn:
            check_whole(self._unit, operation)
            await self._finished(operation, self._unit.control(f"SAVEPOINT {name}"))
            try:
                yield BoundUnits(self._unit, self._outer, self._depth + 1)
                check_whole(self._unit, operation)
                await self._finished(operation, self._unit.control(f"RELEASE {name}"))
            except BaseException:
                if not self._unit.broken:
                    await self._finished(operation, self._unit.control(f"ROLLBACK TO {name}"))
                    self._unit.failed = False
                raise

    async def _finished(self, operation: str, call: Awaitable[T]) -> T:
        return await self._outer.finish(_translated(operation, call))


def check_whole(unit: Unit, operation: str) -> None:
    """Raise ``UnavailableError`` in a block of which a statement failed: the database has given it up."""
    if unit.failed:
        raise UnavailableError(f"{operation}: an earlier call of this transaction failed; nothing of it is stored")


def closed() -> ClosedError:
    """Return the error of a call that a close came before."""
    return ClosedError("the store was closed before the call had ended")


def _check_awaited(start: Start) -> None:
    if start.abandoned:
        raise asyncio.CancelledError


def _failure_of_block(error: BaseException, operation: str) -> Failure | None:
    """A caller's own errors inside a block are the caller's; the store's name the driver's as their cause."""
    if not isinstance(error, UnavailableError) or error.__cause__ is None:
        return None
    return failure_of(error.__cause__, operation)


async def _translated(operation: str, call: Awaitable[T]) -> T:
    try:
        return await call
    except Exception as error:
        failure = failure_of(error, operation)
        if failure is None:
            raise
        raise failure.error from error


async def _commit(operation: str, unit: Unit) -> None:
    check_whole(unit, operation)
    try:
        await _translated(operation, unit.commit())
    except UnavailableError as error:
        if unit.broken:
            raise UnavailableError(f"{error}; it may have committed", may_have_committed=True) from error.__cause__
        raise
