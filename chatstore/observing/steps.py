"""A call's steps, watched: an awaitable, the items of a stream, the beginning and the end of a block."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from typing import Any, TypeVar, cast

from chatstore.observing.calls import Call, listens, new_call

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


async def awaited(call: Call, answer: Awaitable[T]) -> T:
    """Return the answer of a call."""
    with call.told(), call.running():
        return await answer


async def iterated(call: Call, items: AsyncIterator[T]) -> AsyncIterator[T]:
    """Yield what a call yields; it ends with its last item, or when its reader has enough."""
    with call.told():
        try:
            async for item in _each(call, items):
                yield item
        finally:
            if hasattr(items, "aclose"):
                await items.aclose()


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
    return entered(call, block, lambda chunks: _each(call, chunks))


def watched(operation: str) -> Callable[[F], F]:
    """Let a method that uses both a store and its blobs be watched as one call, of which theirs are parts."""

    def decorate(method: F) -> F:
        @wraps(method)
        def call(self: Any, *args: Any, **options: Any) -> Any:
            answer = method(self, *args, **options)
            if not listens():
                return answer
            made = new_call(operation, "files", "files", options.get("owner"))
            return opened(made, answer) if hasattr(answer, "__aenter__") else awaited(made, answer)

        return cast("F", call)

    return decorate


async def _each(call: Call, items: AsyncIterator[T]) -> AsyncIterator[T]:
    while True:
        with call.running():
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
        yield item
