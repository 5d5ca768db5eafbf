"""Writers and readers on one store, in a process of their own: ``python -m chatstore.testing.faults.workload``.

Each writer appends to one of a few threads, one item after another, and never tries again by itself; each value
stands in the item's data, and every other item has an id of its own. The process says ``ready`` once everybody has
begun, and ends when its input is closed, or when each writer has appended its number.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from chatstore.errors import UnavailableError
from chatstore.models import Item
from chatstore.opening import open_store
from chatstore.owners import Owner
from chatstore.protocols import Store
from chatstore.testing.faults.clocks import WrongClock
from chatstore.testing.faults.journals import Journal
from chatstore.testing.suites.reading import all_items

OWNER = Owner("writer", "faults")

Ended = Callable[[], bool]
Migrate = Literal["auto", "check", "off"]


@dataclass(frozen=True, slots=True)
class Workload:
    """Who does what: ``writers`` over ``threads`` whose ids begin with ``room``, each ``appends`` times or for ever.

    ``name`` tells this process's values from those of others. Between two appends a writer rests for ``pace`` seconds
    on average. A reader reads a whole thread, rests for ``pause`` seconds, and goes on with the next one, ``reads``
    times or until the writers are done. Where the reads are counted and the appends are not, the last read ends both.
    """

    name: str
    writers: int
    threads: int
    appends: int | None = None
    pace: float = 0.0
    readers: int = 1
    reads: int | None = None
    pause: float = 0.2
    room: str = "room"

    def thread_id(self, number: int) -> str:
        """Return the id of one of the threads."""
        return f"{self.room}-{number % self.threads}"

    async def prepare(self, store: Store) -> None:
        """Make the threads, once; another process may do the same."""
        for number in range(self.threads):
            await store.create_thread(owner=OWNER, id=self.thread_id(number))

    async def run(self, store: Store, journal: Journal, stopped: Ended = lambda: False) -> None:
        """Write and read until ``stopped`` says so, or everything is done."""
        writers: list[asyncio.Task[None]] = []
        readers: list[asyncio.Task[None]] = []

        def all_written() -> bool:
            return stopped() or all(writer.done() for writer in writers)

        def all_read() -> bool:
            return stopped() or (self.reads is not None and all(reader.done() for reader in readers))

        async with asyncio.TaskGroup() as group:
            for number in range(self.writers):
                writers.append(group.create_task(self._write(store, journal, number, all_read)))
            for number in range(self.readers):
                readers.append(group.create_task(self._read(store, journal, number, all_written)))

    async def _write(self, store: Store, journal: Journal, writer: int, done: Ended) -> None:
        thread, name = self.thread_id(writer), f"{self.name}.{writer}"
        for number in itertools.count() if self.appends is None else range(self.appends):
            if self.appends is None and done():
                return
            value = f"{name}.{number}"
            item = Item(type="note", id=value if number % 2 else None, data={"value": value})
            journal.begin(name, thread, value)
            try:
                await store.add_thread_item(thread, item, owner=OWNER)
            except UnavailableError as error:
                journal.fail(thread, value, error)
            else:
                journal.acknowledge(thread, value)
            if self.pace:
                await asyncio.sleep(random.uniform(0, 2 * self.pace))

    async def _read(self, store: Store, journal: Journal, reader: int, done: Ended) -> None:
        for number in itertools.count(reader) if self.reads is None else range(reader, reader + self.reads):
            if self.reads is None and done():
                return
            thread, begun = self.thread_id(number), time.monotonic()
            try:
                values = await thread_values(store, thread)
            except UnavailableError:
                continue
            journal.read(thread, values, begun)
            await asyncio.sleep(self.pause)


async def thread_values(store: Store, thread_id: str) -> Sequence[str]:
    """Return the values of a thread's items, in order."""
    return [item.data["value"] for item in await all_items(store, thread_id, OWNER)]


async def _main(url: str, journal_path: Path, migrate: Migrate, workload: Workload) -> None:
    told_to_stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), told_to_stop.set)
    with Journal(journal_path) as journal:
        async with open_store(url, migrate=migrate) as opened:
            await workload.prepare(opened.store)
            os.write(sys.stdout.fileno(), b"ready\n")
            await workload.run(opened.store, journal, told_to_stop.is_set)


def _arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chatstore.testing.faults.workload", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("journal", type=Path)
    parser.add_argument("--name", default="p", help="what this process's values begin with")
    parser.add_argument("--writers", type=int, default=32)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--appends", type=int, help="of each writer; without it they go on until the input is closed")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds between two appends of a writer, on average")
    parser.add_argument("--readers", type=int, default=1)
    parser.add_argument("--reads", type=int, help="of each reader; without it they go on until the writers are done")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between two reads of a reader")
    parser.add_argument("--room", default="room", help="what the threads' ids begin with")
    parser.add_argument("--migrate", choices=get_args(Migrate), default="auto", help="as in open_store")
    parser.add_argument("--clock", type=float, default=0.0, help="seconds by which this process's clock is wrong")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write and read as the arguments say, until the input is closed."""
    given = vars(_arguments(arguments))
    place = given.pop("url"), given.pop("journal"), given.pop("migrate")
    with WrongClock(given.pop("clock")):
        asyncio.run(_main(*place, Workload(**given)))


if __name__ == "__main__":
    main()
