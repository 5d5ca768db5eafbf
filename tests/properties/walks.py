"""Listings at random, walked through page by page while others write: what was missed, and what was met twice."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

from chatstore import Attachment, Item, UserStore
from chatstore.models import Order, Page
from chatstore.testing.factories import NOON

MOST = 30
"""Entries of a listing at the beginning of a walk."""
MOMENTS = [NOON + timedelta(seconds=second) for second in range(3)]
"""So few that most entries share theirs with others."""


class Walk(ABC):
    """One listing of one user: ``ids`` were there at the beginning, ``gone`` and ``moved`` meanwhile."""

    kind = "items"

    def __init__(self, user: UserStore, chance: random.Random) -> None:
        self.user = user
        self.chance = chance
        self.order: Order = chance.choice(["asc", "desc"])
        self.ids: list[str] = []
        self.gone: set[str] = set()
        self.moved: set[str] = set()
        self.made = 0

    @abstractmethod
    async def prepare(self) -> None: ...

    @abstractmethod
    async def add(self, count: int) -> Sequence[str]: ...

    @abstractmethod
    async def remove(self, id: str) -> None: ...

    @abstractmethod
    async def load(self, limit: int, after: Any) -> Page[Any]: ...

    @abstractmethod
    def place(self, entry: Any) -> Any:
        """Return what the listing is sorted by, ``None`` where writing moves an entry."""

    async def disturb(self) -> None:
        """Add and delete, as others do between two pages."""
        if self.chance.random() < 0.3:
            await self.add(self.chance.randint(1, 3))
        if self.ids and self.chance.random() < 0.4:
            await self.delete(self.chance.choice(self.ids))

    async def delete(self, id: str) -> None:
        self.gone.add(id)
        await self.remove(id)

    async def faults(self) -> list[str]:
        """Fill the listing, walk through it, and return what is wrong with what was met."""
        await self.prepare()
        self.ids += await self.add(self.chance.randint(0, MOST))
        for id in self.chance.sample(self.ids, len(self.ids) // 5):
            await self.delete(id)
        met = await self._walk()
        ids = [entry.id for entry in met]
        missing = set(self.ids) - self.gone - self.moved - set(ids)
        repeated = [id for id, count in Counter(ids).items() if count > 1]
        places = [place for place in map(self.place, met) if place is not None]
        misplaced = sum(one >= next for one, next in pairwise(places if self.order == "asc" else places[::-1]))
        found = {"missing": len(missing), "repeated": len(repeated), "misplaced": misplaced}
        return [f"{self.kind} {self.order}: {count} {what}" for what, count in found.items() if count]

    async def _walk(self) -> list[Any]:
        met: list[Any] = []
        after: Any = None
        while True:
            limit = self.chance.choice([1, 2, 3, 5, 8, MOST])
            page = await self.load(limit, after)
            assert len(page.data) <= limit
            met += page.data
            if not page.has_more:
                assert page.after is None
                return met
            assert page.data
            after = page.after
            await self.disturb()

    def _new_ids(self, count: int) -> list[str]:
        first, self.made = self.made, self.made + count
        return [f"{self.chance.randrange(10)}-{number}" for number in range(first, self.made)]


class ItemWalk(Walk):
    """The items of a thread, appended in batches and alone, or placed by time."""

    async def prepare(self) -> None:
        await self.user.create_thread(id="walked")

    async def add(self, count: int) -> Sequence[str]:
        ids = self._new_ids(count)
        items = [Item(type="note", id=id, data={}, created_at=self.chance.choice(MOMENTS)) for id in ids]
        placed = [item for item in items if self.chance.random() < 0.2]
        await self.user.add_thread_items("walked", [item for item in items if item not in placed])
        for item in placed:
            await self.user.add_thread_item("walked", item, at=self.chance.choice([None, item.created_at]))
        return ids

    async def remove(self, id: str) -> None:
        await self.user.delete_thread_item("walked", id)

    async def load(self, limit: int, after: Any) -> Page[Any]:
        return await self.user.load_thread_items("walked", limit=limit, after=after, order=self.order)

    def place(self, entry: Item) -> Any:
        return entry.position


class ThreadWalk(Walk):
    """The threads of a user by creation."""

    kind = "threads"

    async def prepare(self) -> None:
        pass

    async def add(self, count: int) -> Sequence[str]:
        ids = self._new_ids(count)
        for id in ids:
            await self.user.create_thread(id=id, created_at=self.chance.choice(MOMENTS))
        return ids

    async def remove(self, id: str) -> None:
        await self.user.delete_thread(id)

    async def load(self, limit: int, after: Any) -> Page[Any]:
        return await self.user.load_threads(limit=limit, after=after, order=self.order, by="created")

    def place(self, entry: Any) -> Any:
        return entry.created_at, entry.id


class ActiveThreadWalk(ThreadWalk):
    """The same by last activity, while some of them are active."""

    kind = "threads by activity"

    async def load(self, limit: int, after: Any) -> Page[Any]:
        return await self.user.load_threads(limit=limit, after=after, order=self.order, by="activity")

    def place(self, entry: Any) -> Any:
        return None if entry.id in self.moved else (entry.updated_at, entry.id)

    async def disturb(self) -> None:
        await super().disturb()
        left = sorted(set(self.ids) - self.gone)
        if left and self.chance.random() < 0.5:
            moved = self.chance.choice(left)
            self.moved.add(moved)
            await self.user.add_thread_item(moved, Item(type="note", data={}))


class AttachmentWalk(Walk):
    """The records of a thread's attachments, which are listed in one order alone."""

    kind = "attachments"

    async def prepare(self) -> None:
        self.order = "asc"
        await self.user.create_thread(id="walked")

    async def add(self, count: int) -> Sequence[str]:
        ids = self._new_ids(count)
        for id in ids:
            file = Attachment(id=id, name="a", mime_type="text/plain", thread_id="walked")
            await self.user.save_attachment(file.model_copy(update={"created_at": self.chance.choice(MOMENTS)}))
        return ids

    async def remove(self, id: str) -> None:
        await self.user.delete_attachment(id)

    async def load(self, limit: int, after: Any) -> Page[Any]:
        return await self.user.load_thread_attachments("walked", limit=limit, after=after)

    def place(self, entry: Attachment) -> Any:
        return entry.created_at, entry.id


WALKS: list[Callable[[UserStore, random.Random], Walk]] = [ItemWalk, ThreadWalk, ActiveThreadWalk, AttachmentWalk]
