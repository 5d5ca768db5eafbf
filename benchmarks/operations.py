"""The operations that are timed, each as a task does it again and again; yields units of work done."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from benchmarks import scene
from benchmarks.protocol import Conversations, NotOffered
from benchmarks.scene import Scene, payload

PAGE = 100
NEWEST = 50
THREADS = 20
DELETES = 8
"""Threads to delete, or as many as there are tasks where that is more."""

Steps = AsyncGenerator[float, None]


@dataclass(frozen=True)
class Task:
    """One of the tasks that are at work at the same time."""

    number: int
    of: int


@dataclass(frozen=True)
class Operation:
    """One row of the report. ``steps`` is what one task does; a step's unit is what is counted."""

    name: str
    title: str
    steps: Callable[[Conversations, Scene, Task], Steps]


async def _append(conversations: Conversations, _: Scene, task: Task) -> Steps:
    user, thread = scene.writer(task.number)
    for number in itertools.count():
        await conversations.append(user, thread, payload(number))
        yield 1


async def _newest(conversations: Conversations, size: Scene, task: Task) -> Steps:
    thread = scene.to_read(task.number % size.threads_to_read)
    while True:
        loaded = await conversations.newest(scene.READER, thread, NEWEST)
        assert loaded >= NEWEST, loaded
        yield 1


async def _page(conversations: Conversations, size: Scene, _: Task) -> Steps:
    while True:
        total = 0
        async for loaded in conversations.pages(scene.READER, scene.TO_PAGE, PAGE):
            total += loaded
            yield loaded / PAGE
        assert total == size.items_to_page, total


async def _threads(conversations: Conversations, _: Scene, __: Task) -> Steps:
    while True:
        loaded = await conversations.threads(scene.MANY, THREADS)
        assert loaded >= THREADS, loaded
        yield 1


async def _turn(conversations: Conversations, _: Scene, task: Task) -> Steps:
    user, thread = scene.writer(task.number)
    for number in itertools.count():
        await conversations.newest(user, thread, NEWEST)
        await conversations.append(user, thread, payload(number))
        answer = await conversations.append(user, thread, payload(number))
        try:
            await conversations.update(user, thread, answer, payload(number + 1))
            await conversations.update(user, thread, answer, payload(number + 2))
        except NotOffered:
            pass
        yield 1


async def _delete(conversations: Conversations, _: Scene, task: Task) -> Steps:
    for thread in to_delete(task):
        await conversations.delete(scene.READER, thread)
        yield 1


def to_delete(task: Task) -> list[str]:
    """Return the ids of the threads that a task is to delete."""
    return [scene.thread_id(f"to delete {number}") for number in range(task.number, max(DELETES, task.of), task.of)]


async def prepare_deletes(conversations: Conversations, size: Scene, tasks: int) -> None:
    """Make the threads that so many tasks are to delete."""

    async def make(thread: str) -> None:
        await conversations.create_threads(scene.READER, [thread])
        await scene.fill(conversations, scene.READER, thread, size.items_to_read)

    threads = [thread for number in range(tasks) for thread in to_delete(Task(number, tasks))]
    await scene.in_turns(threads, make, tasks=4)


LENGTHS = (100, 1_000, 10_000, 100_000, 1_000_000)
"""Items of the threads on which growth is measured."""


def thread_of(length: int) -> str:
    """Return the id of the thread that was filled with so many items."""
    return scene.thread_id(f"of {length} items")


def _growth(kind: str, length: int) -> Operation:
    async def newest(conversations: Conversations, _: Scene, __: Task) -> Steps:
        while True:
            assert await conversations.newest(scene.READER, thread_of(length), NEWEST) >= NEWEST
            yield 1

    async def append(conversations: Conversations, _: Scene, __: Task) -> Steps:
        for number in itertools.count():
            await conversations.append(scene.READER, thread_of(length), payload(number))
            yield 1

    steps = {"newest": newest, "append": append}[kind]
    return Operation(f"{kind}@{length}", f"{kind} with {length:,} items in the thread", steps)


DELETE = "delete"

OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("append", "append, durable", _append),
        Operation("newest", "newest 50 of 1,000", _newest),
        Operation("page", "page through 10,000 by 100", _page),
        Operation("threads", "newest 20 of 5,000 threads", _threads),
        Operation("turn", "turn: newest 50, two appends, two updates", _turn),
        Operation(DELETE, "delete a thread of 1,000 items", _delete),
    )
}

GROWTH = {
    operation.name: operation
    for length in LENGTHS
    for kind in ("newest", "append")
    for operation in [_growth(kind, length)]
}
