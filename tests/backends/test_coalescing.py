"""Writes of items that come at the same time go to the database together, and each caller has its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextvars import Context
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from chatstore import (
    ConflictError,
    InvalidInputError,
    Item,
    NotFoundError,
    StorageError,
    UnavailableError,
    UserStore,
    open_store,
)
from chatstore.assembly import ChatStore
from chatstore.sql import coalescing, reading, units
from chatstore.sql.connections import Unit
from chatstore.stores.sql import SQLStore
from chatstore.testing.factories import NOON


@pytest.fixture(params=["sqlite_url", "postgresql_url"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def store(url: str) -> AsyncIterator[ChatStore]:
    async with open_store(url) as store:
        for user in ("ann", "bob"):
            for id in ("one", "two"):
                await store.for_user(user).create_thread(id=id)
        yield store


@pytest.fixture
def ann(store: ChatStore) -> UserStore:
    return store.for_user("ann")


def note(**fields: Any) -> Item:
    return Item(type="note", data={"text": "x"}, **fields)


async def ids(user: UserStore, thread_id: str = "one") -> list[str]:
    return [item.id async for item in user.iter_thread_items(thread_id)]


def count_units(monkeypatch: pytest.MonkeyPatch, store: ChatStore) -> list[str]:
    """Return the operations of the units that begin from now on."""
    assert isinstance(store.store.wrapped, SQLStore)
    units, seen = store.store.wrapped.database.units, list[str]()
    attempt = units.attempt

    def counted(operation: str, *args: Any, **options: Any) -> Any:
        seen.append(operation)
        return attempt(operation, *args, **options)

    monkeypatch.setattr(units, "attempt", counted)
    return seen


async def test_what_comes_at_the_same_time_goes_together(
    store: ChatStore, ann: UserStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob, units = store.for_user("bob"), count_units(monkeypatch, store)
    added = await asyncio.gather(
        *(user.add_thread_item(id, note()) for user in (ann, bob) for id in ("one", "two") for _ in range(25))
    )
    assert len(units) <= 3  # the first alone, the others in two batches
    stored = await ids(ann) + await ids(ann, "two") + await ids(bob) + await ids(bob, "two")
    assert stored == [item.id for item in added]
    assert [(await ann.load_item("one", item.id)) for item in added[:25]] == added[:25]


async def test_one_writer_alone_waits_for_nobody(
    store: ChatStore, ann: UserStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = count_units(monkeypatch, store)
    for _ in range(3):
        await ann.add_thread_item("one", note())
    assert units == ["add_thread_item"] * 3


async def test_switched_off_each_goes_by_itself(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_store(url, coalesce=False) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="one")
        units = count_units(monkeypatch, store)
        await asyncio.gather(*(ann.add_thread_item("one", note()) for _ in range(5)))
        assert len(units) == 5


async def test_a_refusal_is_its_callers_alone(store: ChatStore, ann: UserStore) -> None:
    await ann.add_thread_item("one", note(id="taken", created_at=NOON))
    later = NOON + timedelta(seconds=1)
    answers = await asyncio.gather(
        ann.add_thread_item("one", note(id="a")),
        ann.add_thread_item("absent", note(id="b")),
        ann.add_thread_item("one", note(id="taken", created_at=later)),
        ann.add_thread_items("one", [note(id="c"), note(id="taken", created_at=later)]),
        ann.add_thread_item("one", note(id="taken", created_at=NOON)),
        ann.add_thread_items("one", [note(id="d"), note(id="e")]),
        store.for_user("cid").add_thread_item("one", note(id="f")),
        ann.add_thread_item("one", Item(type="note", data={"text": float("nan")})),
        ann.add_thread_item("one", note(id="g")),
        return_exceptions=True,
    )
    kinds = [type(answer) for answer in answers]
    assert kinds == [
        Item,
        NotFoundError,
        ConflictError,
        ConflictError,
        Item,
        list,
        NotFoundError,
        InvalidInputError,
        Item,
    ]
    assert sorted(await ids(ann)) == ["a", "d", "e", "g", "taken"]
    assert (await ids(ann))[0] == "taken"


async def test_the_same_item_at_once_is_one_item(ann: UserStore) -> None:
    added = await asyncio.gather(*(ann.add_thread_item("one", note(id="a", created_at=NOON)) for _ in range(20)))
    assert len({item.position for item in added}) == 1
    assert await ids(ann) == ["a"]


async def test_items_of_the_same_id_in_several_threads_are_several(store: ChatStore, ann: UserStore) -> None:
    users = [ann, store.for_user("bob")]
    await asyncio.gather(*(user.add_thread_item(id, note(id="a")) for user in users for id in ("one", "two")))
    await asyncio.gather(*(user.add_thread_item(id, note(id="a")) for user in users for id in ("one", "two")))
    assert [await ids(user, id) for user in users for id in ("one", "two")] == [["a"]] * 4


async def test_what_was_acknowledged_comes_first(ann: UserStore) -> None:
    async def write(writer: int) -> None:
        for number in range(15):
            await ann.add_thread_item("one", note(id=f"{writer} {number:02}"))

    await asyncio.gather(*(write(writer) for writer in range(8)))
    stored = await ids(ann)
    for writer in range(8):
        mine = [id for id in stored if id.startswith(f"{writer} ")]
        assert mine == [f"{writer} {number:02}" for number in range(15)]


async def test_items_placed_by_time_at_once_are_in_the_order_of_their_times(ann: UserStore) -> None:
    times = [NOON + timedelta(seconds=second) for second in (5, 1, 4, 2, 3)]
    await asyncio.gather(*(ann.add_thread_item("one", note(created_at=time), at=time) for time in times))
    page = await ann.load_thread_items("one")
    assert [item.created_at for item in page.data] == sorted(times)


async def test_saves_at_once_each_write_their_own(ann: UserStore) -> None:
    loaded = await ann.add_thread_items("one", [note(id=str(n)) for n in range(10)])
    gone = await ann.add_thread_item("two", note(id="gone"))
    await ann.delete_thread_item("two", "gone")
    saves = [ann.save_item("one", item.model_copy(update={"data": {"n": item.id}})) for item in loaded]
    *saved, refused = await asyncio.gather(*saves, ann.save_item("two", gone), return_exceptions=True)
    assert isinstance(refused, NotFoundError)
    assert saved == (await ann.load_thread_items("one")).data
    assert [item.data for item in (await ann.load_thread_items("one")).data] == [{"n": str(n)} for n in range(10)]
    assert await ids(ann, "two") == []


async def test_saves_of_items_never_stored_and_of_stored_ones_at_once(ann: UserStore) -> None:
    first = await ann.add_thread_item("one", note(id="0", created_at=NOON))
    later = NOON + timedelta(seconds=1)
    await asyncio.gather(*(ann.save_item("one", note(id=str(n), created_at=later)) for n in range(10)))
    page = await ann.load_thread_items("one")
    assert sorted(item.id for item in page.data) == [str(n) for n in range(10)]
    assert page.data[0].position == first.position
    assert {item.created_at for item in page.data} == {later}


async def test_many_are_sent_in_batches_of_a_bounded_size(
    ann: UserStore, monkeypatch: pytest.MonkeyPatch, store: ChatStore
) -> None:
    units = count_units(monkeypatch, store)
    await asyncio.gather(*(ann.add_thread_item("one", note()) for _ in range(coalescing.MAX_ITEMS * 2 + 1)))
    assert len(units) == 3
    large = Item(type="note", data={"text": "x" * (coalescing.MAX_BYTES // 4)})
    units.clear()
    await asyncio.gather(*(ann.add_thread_item("two", large) for _ in range(7)))
    assert len(units) == 3


async def reading_together(
    store: ChatStore, monkeypatch: pytest.MonkeyPatch, limits: list[int]
) -> tuple[list[asyncio.Task[Any]], list[list[int]], asyncio.Event]:
    """Return reads of pages that wait behind two others, how many rows are asked for together, and what lets go."""
    assert isinstance(store.store.wrapped, SQLStore)
    ann, database, may_go, together = store.for_user("ann"), store.store.wrapped.database, asyncio.Event(), []
    fetch, fetch_each = Unit.fetch, Unit.fetch_each

    async def held(self: Unit, *args: Any) -> Any:
        await may_go.wait()
        return await fetch(self, *args)

    async def noted(self: Unit, template: str, values: Any) -> Any:
        together.append([each["candidates"] for each in values])
        return await fetch_each(self, template, values)

    monkeypatch.setattr(Unit, "fetch", held)
    monkeypatch.setattr(Unit, "fetch_each", noted)
    reads = [asyncio.create_task(ann.load_thread_items("one", limit=limit)) for limit in (1, 1, *limits)]
    while sum(len(pages._queue) for pages in database._pages.values()) < len(limits):  # noqa: ASYNC110  tells no event
        await asyncio.sleep(0)
    return reads, together, may_go


async def test_pages_are_read_together_up_to_a_bounded_number_of_rows(
    ann: UserStore, monkeypatch: pytest.MonkeyPatch, store: ChatStore
) -> None:
    added = [await ann.add_thread_item("one", note()) for _ in range(3)]
    reads, together, may_go = await reading_together(store, monkeypatch, [900, 900, 20, 20, 900, 20])
    may_go.set()
    pages = await asyncio.gather(*reads)
    assert [page.data for page in pages[2:]] == [added] * 6
    assert sorted(size for batch in together for size in batch) == [21, 21, 21, 901, 901, 901]
    assert all(sum(batch) <= reading.MAX_ROWS for batch in together)
    assert max(map(len, together)) > 1


async def test_pages_of_callers_that_have_left_are_not_read(
    ann: UserStore, monkeypatch: pytest.MonkeyPatch, store: ChatStore
) -> None:
    added = await ann.add_thread_item("one", note())
    reads, together, may_go = await reading_together(store, monkeypatch, [10, 20, 30, 40])
    for read in reads[2:4]:
        read.cancel()
    await asyncio.wait(reads[2:4])
    may_go.set()
    assert [page.data for page in await asyncio.gather(*reads[4:])] == [[added], [added]]
    assert sorted(size for batch in together for size in batch) == [31, 41]
    await asyncio.gather(*reads[:2])


async def test_pages_that_are_refused_together_are_read_one_by_one(
    ann: UserStore, monkeypatch: pytest.MonkeyPatch, store: ChatStore
) -> None:
    added, fetch_each = await ann.add_thread_item("one", note()), Unit.fetch_each

    async def refused_together(self: Unit, template: str, values: Any) -> Any:
        if len(values) > 1:
            raise asyncpg.DataError("made up")
        return await fetch_each(self, template, values)

    monkeypatch.setattr(Unit, "fetch_each", refused_together)
    reads, together, may_go = await reading_together(store, monkeypatch, [10, 20, 30])
    may_go.set()
    assert [page.data for page in await asyncio.gather(*reads)] == [[added]] * 5
    assert sorted(batch for batch in together if len(batch) == 1) == [[11], [21], [31]]
    assert len(together) > 3


async def test_pages_that_have_waited_for_too_long_are_not_read(
    monkeypatch: pytest.MonkeyPatch, store: ChatStore
) -> None:
    reads, together, may_go = await reading_together(store, monkeypatch, [10, 20])
    assert isinstance(store.store.wrapped, SQLStore)
    monkeypatch.setattr(store.store.wrapped.database.units, "patience", 0.0)
    may_go.set()
    answers = await asyncio.gather(*reads, return_exceptions=True)
    assert [str(answer) for answer in answers[2:]] == ["load_thread_items: not sent within 0 s"] * 2
    assert {type(answer) for answer in answers[2:]} == {UnavailableError}
    assert together == []


async def test_pages_that_a_close_gives_up_while_they_are_read_say_so(
    monkeypatch: pytest.MonkeyPatch, store: ChatStore
) -> None:
    begun = asyncio.Event()

    async def never(self: Unit, template: str, values: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(units, "CLOSING", 0.1)
    monkeypatch.setattr(Unit, "fetch_each", never)
    reads, _, may_go = await reading_together(store, monkeypatch, [10, 20])
    may_go.set()
    await begun.wait()
    await store.aclose()
    answers = await asyncio.gather(*reads, return_exceptions=True)
    assert [str(answer) for answer in answers[2:]] == ["the store was closed before the call had ended"] * 2


async def test_a_caller_that_is_cancelled_takes_nobody_along(ann: UserStore) -> None:
    sent = asyncio.create_task(ann.add_thread_item("one", note(id="sent")))
    await asyncio.sleep(0)  # the write is handed over,
    await asyncio.sleep(0)  # and the lane takes it
    gathered = [asyncio.create_task(ann.add_thread_item("one", note(id=str(n)))) for n in range(30)]
    await asyncio.sleep(0)
    for task in [sent, *gathered[::3]]:
        task.cancel()
    answers = await asyncio.gather(sent, *gathered, return_exceptions=True)
    assert [isinstance(answer, asyncio.CancelledError) for answer in answers] == [True, *([True, False, False] * 10)]
    assert sorted(await ids(ann)) == sorted(["sent", *(str(n) for n in range(30) if n % 3)])


async def test_a_close_waits_for_what_was_handed_over(url: str) -> None:
    store = open_store(url)
    ann = store.for_user("ann")
    await ann.create_thread(id="one")
    tasks = [asyncio.create_task(ann.add_thread_item("one", note())) for _ in range(20)]
    await asyncio.sleep(0)
    await store.aclose()
    added = await asyncio.gather(*tasks)
    async with open_store(url) as again:
        assert await ids(again.for_user("ann")) == [item.id for item in added]


async def test_a_row_that_the_database_refuses_fails_no_other(postgresql_url: str) -> None:
    async with open_store(postgresql_url) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="one")
        connection = await asyncpg.connect(postgresql_url)
        await connection.execute(
            "ALTER TABLE chatstore_items ADD CONSTRAINT refused CHECK (type <> 'refused')",
        )
        await connection.close()
        answers = await asyncio.gather(
            *(ann.add_thread_item("one", Item(type="refused" if n == 3 else "note", data={})) for n in range(9)),
            return_exceptions=True,
        )
        assert [n for n, answer in enumerate(answers) if isinstance(answer, StorageError)] == [3]
        assert len(await ids(ann)) == 8


async def test_a_thread_that_a_block_holds_delays_no_other(postgresql_url: str) -> None:
    async with open_store(postgresql_url) as store:
        ann = store.for_user("ann")
        for id in ("held", "free"):
            await ann.create_thread(id=id)
        async with ann.transaction() as block:
            await block.add_thread_item("held", note(id="1"))

            async def outside() -> Item:
                return await store.for_user("ann").add_thread_item("held", note(id="2"))

            waiting = [asyncio.get_running_loop().create_task(outside(), context=_no_block()) for _ in range(2)]
            for _ in range(3):
                free = (ann.add_thread_item("free", note()) for _ in range(5))
                await asyncio.wait_for(
                    asyncio.get_running_loop().create_task(_all(*free), context=_no_block()), timeout=5
                )
            assert not any(task.done() for task in waiting)
        await asyncio.gather(*waiting)
        assert await ids(ann, "held") == ["1", "2"]
        assert len(await ids(ann, "free")) == 15


async def test_a_connection_that_is_cut_loses_and_doubles_nothing(postgresql_url: str) -> None:
    async with open_store(postgresql_url) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="one")
        connection = await asyncpg.connect(postgresql_url)

        async def write() -> list[str]:
            return [(await ann.add_thread_item("one", note())).id for _ in range(40)]

        async def cut() -> None:
            for _ in range(15):
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                await asyncio.sleep(0.01)

        *written, _ = await asyncio.gather(*(write() for _ in range(8)), cut())
        await connection.close()
        assert sorted(await ids(ann)) == sorted(id for of_writer in written for id in of_writer or ())


async def _all(*work: Awaitable[Any]) -> list[Any]:
    return await asyncio.gather(*work)


def _no_block() -> Context:
    """Return the context of a task that was not started inside the block."""
    return Context()
