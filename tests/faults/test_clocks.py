"""A process clock that is wrong, or steps back while it runs, changes no order; and it is right again afterwards."""

from __future__ import annotations

import time

import pytest

from chatstore import Item, open_store
from chatstore.testing.faults.clocks import WrongClock


@pytest.fixture(params=["sqlite_url", "postgresql_url"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


async def test_items_are_in_the_order_of_their_appends_whatever_the_clock_does(url: str) -> None:
    async with open_store(url) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")
        with WrongClock() as clock:
            for number in range(20):
                clock.step(-1000 if number % 3 else 500)
                await ann.add_thread_item("t", Item(type="note", id=str(number), data={}))
        items = (await ann.load_thread_items("t")).data
    assert [item.id for item in items] == [str(number) for number in range(20)]
    times = [item.created_at for item in items]
    assert times != sorted(times, key=lambda moment: moment.timestamp() if moment else 0)


def test_a_clock_is_wrong_inside_its_block_alone() -> None:
    with WrongClock(seconds=3600) as clock:
        ahead = time.time() - time.monotonic()
        assert abs(time.time_ns() / 1e9 - time.time()) < 1
        clock.step(-7200)
        assert time.time() - time.monotonic() == pytest.approx(ahead - 7200, abs=1)
    assert time.time() - time.monotonic() == pytest.approx(ahead - 3600, abs=1)
