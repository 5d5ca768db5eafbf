"""Pages at random, through ties, deletes and inserts, in both orders: no entry is missed, none is met twice."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from scale import scaled, tell
from walks import WALKS

from chatstore import Item, open_store
from chatstore.assembly import ChatStore
from chatstore.models import Page
from chatstore.stores.memory import MemoryStore

LAYOUTS = {"memory": scaled(160, 3_200), "sqlite": scaled(170, 3_400), "postgresql": scaled(170, 3_400)}
"""500 together, 10,000 in the long form."""
AT_ONCE = 16


async def faults(store: ChatStore, layouts: int) -> list[str]:
    """Walk through layouts of every listing and return what is wrong, with the number that brings it back."""
    found: list[str] = []
    left = iter(range(layouts))

    async def some() -> None:
        for layout in left:
            walk = WALKS[layout % len(WALKS)](store.for_user(f"walker {layout}"), random.Random(layout))
            found.extend(f"layout {layout}: {fault}" for fault in await walk.faults())

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return found


@pytest.fixture(params=list(LAYOUTS))
def backend(request: pytest.FixtureRequest) -> tuple[str, str]:
    name: str = request.param
    return name, "memory://" if name == "memory" else request.getfixturevalue(f"{name}_url")


async def test_pages_hold_every_entry_once_whatever_happens_between_them(backend: tuple[str, str]) -> None:
    name, url = backend
    async with open_store(url) as store:
        assert await faults(store, LAYOUTS[name]) == []
    tell(f"{LAYOUTS[name]} layouts on {name}: 0 missing, 0 repeated")


class LosesTheLast(MemoryStore):
    async def load_thread_items(self, thread_id: str, **options: Any) -> Page[Item]:
        page = await super().load_thread_items(thread_id, **options)
        return page.model_copy(update={"data": page.data[:-1]}) if page.has_more and len(page.data) > 1 else page


class ShowsTheFirstAgain(MemoryStore):
    async def load_thread_items(self, thread_id: str, **options: Any) -> Page[Item]:
        first = (await super().load_thread_items(thread_id, **(options | {"limit": 1, "after": None}))).data
        page = await super().load_thread_items(thread_id, **options)
        return page if page.data == first else page.model_copy(update={"data": [*first, *page.data[1:]]})


@pytest.mark.parametrize(("broken", "what"), [(LosesTheLast, "missing"), (ShowsTheFirstAgain, "repeated")])
async def test_a_listing_that_is_broken_is_found(broken: type[MemoryStore], what: str) -> None:
    found = await faults(ChatStore(broken()), 80)
    assert [fault for fault in found if what in fault]
    assert all("items" in fault for fault in found)
