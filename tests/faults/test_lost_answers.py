"""The line is cut after the server has committed and before it has answered: every append is there exactly once."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import pytest
from scale import scaled, tell

from chatstore import Item, UserStore, open_store
from chatstore.testing.faults.proxy import Proxy, nth
from chatstore.testing.faults.wire import COMMAND_COMPLETE, READY_FOR_QUERY

APPENDS = scaled(1_000, 10_000)
TOGETHER = 20


@pytest.fixture
async def proxy(postgresql_url: str) -> AsyncIterator[Proxy]:
    async with Proxy.before(postgresql_url) as proxy:
        yield proxy


@pytest.fixture
async def ann(proxy: Proxy, postgresql_url: str) -> AsyncIterator[UserStore]:
    async with open_store(proxy.url(postgresql_url)) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")
        yield ann


def note(number: int) -> Item:
    """Return an item whose number stands in its data; every other one has an id of its own."""
    return Item(type="note", id=str(number) if number % 2 else None, data={"number": number})


async def numbers(user: UserStore) -> Sequence[int]:
    return [item.data["number"] async for item in user.iter_thread_items("t", page_size=1000)]


@pytest.mark.parametrize("kind", [COMMAND_COMPLETE, READY_FOR_QUERY])
async def test_appends_whose_answer_is_lost_are_stored_once_and_in_order(
    proxy: Proxy, ann: UserStore, kind: bytes
) -> None:
    for number in range(APPENDS // 2):
        if number % 10 == 0:
            proxy.rule = nth(kind, 1, "before")
        added = await ann.add_thread_item("t", note(number))
        assert added.data == {"number": number}
    assert await numbers(ann) == list(range(APPENDS // 2))
    assert proxy.cuts == APPENDS // 2 / 10
    tell(f"{APPENDS // 2} appends one by one, {proxy.cuts} answers lost: 0 lost, 0 duplicated")


async def test_appends_that_went_together_are_stored_once_when_their_answer_is_lost(
    proxy: Proxy, ann: UserStore
) -> None:
    rounds = 0
    for first in range(0, APPENDS, TOGETHER):
        await ann.load_threads()
        if rounds % 10 == 0:
            proxy.rule = nth(COMMAND_COMPLETE, 1, "before")
        rounds += 1
        added = await asyncio.gather(
            *(ann.add_thread_item("t", note(number)) for number in range(first, first + TOGETHER))
        )
        assert [item.data["number"] for item in added] == list(range(first, first + TOGETHER))
    found = await numbers(ann)
    assert Counter(found) == Counter(range(APPENDS))
    assert all(number // TOGETHER <= later // TOGETHER for number, later in itertools.pairwise(found))
    assert proxy.cuts == rounds / 10
    tell(f"{APPENDS} appends, {TOGETHER} together, {proxy.cuts} answers lost: 0 lost, 0 duplicated")


async def test_an_answer_that_is_lost_again_and_again_is_still_one_append(proxy: Proxy, ann: UserStore) -> None:
    cuts = iter(["before"] * 3)
    proxy.rule = lambda kind: "before" if kind == COMMAND_COMPLETE and next(cuts, None) else None
    await ann.add_thread_item("t", note(1))
    assert await numbers(ann) == [1]


async def test_a_thread_whose_answer_is_lost_is_created_once(proxy: Proxy, ann: UserStore) -> None:
    proxy.rule = nth(COMMAND_COMPLETE, 1, "before")
    created = await ann.create_thread(title="once")
    assert (await ann.load_thread(created.id)).title == "once"
    assert len((await ann.load_threads()).data) == 2
