"""A call's steps, watched: an awaitable, the items of a stream, the beginning and the end of a block."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast

from chatstore.observing.calls import Call, listens, new_call

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


async def awaited(call: Call, ask: Callable[[], Awaitable[T]]) -> T:
    """Return the answer of a call, which is made here: a task that is cancelled before it runs makes none."""
    with call.told(), call.running():
        return await ask()


async def iterated(call: Call, items: AsyncIterator[T]) -> AsyncIterator[T]:
    """Yield what a call yields; it ends with its last item, or when its reader has enough."""
    with call.told():
        async with aclosing(_Steps(call, items)) as steps:
            async for item in steps:
                yield item


@asynccontextmanager
async def entered(
    call: Call, block: AbstractAsyncContextManager[T], inner: Callable[[T], T] = lambda entered: entered
) -> AsyncIterator[T]:
    """Enter a block and yield ``inner`` of what it yields; the call ends when it was left."""
    with call.told():
        with call.running():
            found = await block.__aenter__()
        try:
            yield inner(found)
        except BaseException as error:
            with call.running():
                if await block.__aexit__(type(error), error, error.__traceback__):
                    return
            raise
        with call.running():
            await block.__aexit__(None, None, None)


def opened(
    call: Call, block: AbstractAsyncContextManager[AsyncIterator[T]]
) -> AbstractAsyncContextManager[AsyncIterator[T]]:
    """Enter a block in which a stream is read; reading is part of the call."""
    return entered(call, block, lambda chunks: _Steps(call, chunks))


def watched(operation: str) -> Callable[[F], F]:
    """Let a method that uses both a store and its blobs be watched as one call, of which theirs are parts."""

    def decorate(method: F) -> F:
        is_coroutine = iscoroutinefunction(method)

        @wraps(method)
        def call(self: Any, *args: Any, **options: Any) -> Any:
            if not listens():
                return method(self, *args, **options)
            made = new_call(operation, "files", "files", options.get("owner"))
            if is_coroutine:
                return awaited(made, partial(method, self, *args, **options))
            return opened(made, method(self, *args, **options))

        return cast("F", call)

    return decorate


class _Steps(AsyncIterator[T]):
    """A stream of which each step is counted as the call's."""

    def __init__(self, call: Call, items: AsyncIterator[T]) -> None:
        self._call = call
        self._items = items

    async def __anext__(self) -> T:
        with self._call.running():
            return await anext(self._items)

    async def aclose(self) -> None:
        """Close the stream, where it is one that can be closed."""
        if hasattr(self._items, "aclose"):
            await self._items.aclose()
