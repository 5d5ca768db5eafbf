"""Who talks, and what is in the database before anything is timed: the same for every backend."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.protocol import Conversations, NotOffered, Payload

T = TypeVar("T")

MANY = "user_of_many_threads"
READER = "user_who_reads"
FILL_TASKS = 16
FILL_ITEMS = 1_000


@dataclass(frozen=True)
class Scene:
    """How much there is. Every task that writes has a user and a thread of its own, as on a server."""

    writers: int = 64
    writer_items: int = 60
    others: int = 2_000
    threads_of_one_user: int = 5_000
    threads_to_read: int = 64
    items_to_read: int = 1_000
    items_to_page: int = 10_000
    items_to_weigh: int = 10_000

    async def prepare(self, conversations: Conversations) -> None:
        """Fill an empty database."""
        await in_turns(self._others(), lambda each: _create(conversations, *each))
        many = [thread_id(f"many {number}") for number in range(self.threads_of_one_user)]
        await in_turns(_parts(many, 250), lambda ids: _create(conversations, MANY, ids))
        await in_turns(self._filled(), lambda each: _fill(conversations, *each))

    def _others(self) -> list[tuple[str, Sequence[str]]]:
        ids = [thread_id(f"other {number}") for number in range(self.others)]
        return [(f"another_user_{number}", part) for number, part in enumerate(_parts(ids, 10))]

    def _filled(self) -> list[tuple[str, str, int]]:
        writers = [(*writer(number), self.writer_items) for number in range(self.writers)]
        readers = [(READER, to_read(number), self.items_to_read) for number in range(self.threads_to_read)]
        return [*writers, *readers, (READER, TO_PAGE, self.items_to_page)]


SMALL = Scene(
    writers=4,
    others=20,
    threads_of_one_user=40,
    threads_to_read=2,
    items_to_read=100,
    items_to_page=200,
    items_to_weigh=500,
)


def payload(number: int = 0) -> Payload:
    """Return the content of one item: about 500 bytes of JSON, no two alike."""
    text = f"Message {number}. " + "The quick brown fox jumps over the lazy dog, again and again. " * 7
    return {"role": "user", "content": [{"type": "input_text", "text": text}], "number": number}


def thread_id(name: str) -> str:
    """Return the id of the thread of that name, as long as a real one."""
    return f"thr_{hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()}"


def writer(task: int) -> tuple[str, str]:
    """Return the user and the thread of a task that writes."""
    return f"user_{task}", thread_id(f"written by {task}")


def to_read(number: int) -> str:
    """Return the id of one of the reader's threads."""
    return thread_id(f"to read {number}")


TO_PAGE = thread_id("to page through")
TO_WEIGH = thread_id("to weigh")


async def in_turns(inputs: Iterable[T], work: Callable[[T], Awaitable[None]], tasks: int = FILL_TASKS) -> None:
    """Do the work for every input, a few at a time."""
    waiting = iter(inputs)

    async def one_after_another() -> None:
        for each in waiting:
            await work(each)

    async with asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(one_after_another())


async def fill(conversations: Conversations, user: str, thread: str, count: int) -> None:
    """Append so many items to a thread that is there."""
    for start in range(0, count, FILL_ITEMS):
        numbers = range(start, min(start + FILL_ITEMS, count))
        await conversations.fill(user, thread, [payload(number) for number in numbers])


async def crowd(conversations: Conversations, start: int, end: int) -> None:
    """Make the other users' threads from the one number to the other, a thousand to each user."""
    numbers = range(start, end, FILL_ITEMS)

    async def make(first: int) -> None:
        ids = [thread_id(f"in the crowd {number}") for number in range(first, min(first + FILL_ITEMS, end))]
        await conversations.create_threads(f"user_in_the_crowd_{first}", ids)

    await in_turns(numbers, make, tasks=4)


async def _create(conversations: Conversations, user: str, ids: Sequence[str]) -> None:
    try:
        await conversations.create_threads(user, ids)
    except NotOffered:
        for id in ids:
            await conversations.fill(user, id, [payload()])


async def _fill(conversations: Conversations, user: str, thread: str, count: int) -> None:
    await conversations.create_threads(user, [thread])
    await fill(conversations, user, thread, count)


def _parts(ids: Sequence[str], size: int) -> list[Sequence[str]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]
