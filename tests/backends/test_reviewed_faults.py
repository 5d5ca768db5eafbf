"""Faults that were found once and must not come back, on real servers; each test is named after its fault."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest

from chatstore import (
    Attachment,
    ClosedError,
    ConfigurationError,
    ConflictError,
    InvalidInputError,
    Item,
    NotFoundError,
    Owner,
    Thread,
    UnavailableError,
    UserStore,
    open_store,
)
from chatstore.sql import units
from chatstore.sql.engines import hide_password
from chatstore.stores.sql import SQLStore


@pytest.fixture(params=["sqlite_url", "postgresql_url"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def ann(url: str) -> AsyncIterator[UserStore]:
    async with open_store(url) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")
        yield ann


def note(**fields: Any) -> Item:
    return Item(type="note", data={}, **fields)


async def test_a_block_goes_on_after_a_read_that_was_cancelled_and_commits_whole(ann: UserStore) -> None:
    await ann.add_thread_items("t", [Item(type="note", data={"text": "x" * 2000}) for _ in range(1000)])
    for number in range(10):
        async with ann.transaction() as tx:
            await tx.create_thread(id=f"p{number}")
            with suppress(TimeoutError):
                async with asyncio.timeout(0.0005 * number):
                    await tx.load_thread_items("t", limit=1000)
        assert (await ann.load_thread(f"p{number}")).id == f"p{number}"


async def test_a_nested_block_that_was_cancelled_is_undone(ann: UserStore) -> None:
    for number in range(20):
        async with ann.transaction() as tx:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.0003 * number), tx.transaction() as inner:
                    await inner.add_thread_item("t", note(id=f"{number}"))
                    await inner.load_thread_items("t")
                    await asyncio.sleep(1)
    assert (await ann.load_thread_items("t")).data == []


async def test_a_block_of_which_a_statement_failed_stores_nothing_and_says_so(postgresql_url: str) -> None:
    async with open_store(postgresql_url) as store, connected(postgresql_url) as other:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")
        await other.execute("BEGIN")
        await other.execute("SELECT 1 FROM chatstore_threads FOR UPDATE")

        async def block() -> None:
            async with ann.transaction() as tx:
                await tx.create_thread(id="new")
                with suppress(UnavailableError):
                    await asyncio.gather(tx.update_thread("t", title="x"), cancel_the_waiting(postgresql_url))

        with pytest.raises(UnavailableError, match="an earlier call of this transaction failed"):
            await block()
        await other.execute("ROLLBACK")
        with pytest.raises(NotFoundError):
            await ann.load_thread("new")


async def test_two_saves_at_once_do_not_move_an_attachment(ann: UserStore) -> None:
    await ann.create_thread(id="u")
    for number in range(20):
        record: dict[str, Any] = {"id": str(number), "name": "x", "mime_type": "text/plain"}
        saves = [ann.save_attachment(Attachment(**record, thread_id=thread)) for thread in ("t", "u")]
        answers = await asyncio.gather(*saves, return_exceptions=True)
        won = [answer for answer in answers if isinstance(answer, Attachment)]
        assert [type(answer) for answer in answers if answer not in won] == [ConflictError]
        assert (await ann.load_attachment(str(number))).thread_id == won[0].thread_id


async def test_creates_and_saves_racing_a_delete_end_well(ann: UserStore) -> None:
    async def work(number: int) -> None:
        await ann.create_thread(id="raced", title="same")
        await ann.save_thread(Thread(id="raced", title="same"))
        await ann.delete_thread("raced")

    await asyncio.gather(*(work(number) for number in range(30)))
    with pytest.raises(NotFoundError):
        await ann.load_thread("raced")


@pytest.mark.parametrize(
    "make",
    [lambda ann: ann.create_thread(id="t"), lambda ann: ann.save_thread(Thread(id="t"))],
    ids=["created", "saved"],
)
async def test_a_thread_that_is_deleted_while_it_is_made_again_is_there(
    ann: UserStore, make: Callable[[UserStore], Awaitable[Thread]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was in the way of the insert is gone when it is looked at."""
    insert = SQLStore._insert_thread

    async def insert_before_the_delete(self: SQLStore, *args: Any) -> Thread | None:
        inserted = await insert(self, *args)
        if inserted is None:
            await ann.delete_thread("t")
        return inserted

    monkeypatch.setattr(SQLStore, "_insert_thread", insert_before_the_delete)
    assert await make(ann) == await ann.load_thread("t")


async def test_an_update_racing_a_delete_is_not_a_conflict(ann: UserStore) -> None:
    for _ in range(15):
        await ann.create_thread(id="raced")
        updates = [ann.update_thread("raced", title=str(number)) for number in range(4)]
        answers = await asyncio.gather(*updates, ann.delete_thread("raced"), return_exceptions=True)
        assert not [answer for answer in answers if isinstance(answer, ConflictError)]


async def test_deletes_and_saves_of_one_attachment_never_deadlock(postgresql_url: str) -> None:
    async with open_store(postgresql_url) as store, connected(postgresql_url) as other:
        ann = store.for_user("ann")
        for number in range(15):
            await ann.create_thread(id="t")
            await ann.save_attachment(Attachment(id=str(number), name="x", mime_type="y/z", thread_id="t"))
            loaded = await ann.load_attachment(str(number))
            renamed = ann.save_attachment(loaded.model_copy(update={"name": "new", "thread_id": "t"}))
            await asyncio.gather(renamed, ann.delete_thread("t"), return_exceptions=True)
        found = await other.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert found == 0


async def test_a_close_ends_what_is_under_way_with_its_own_error(url: str) -> None:
    store = open_store(url)
    ann = store.for_user("ann")
    await ann.create_thread(id="t")

    async def write() -> None:
        while True:
            await ann.run(lambda tx: tx.add_thread_item("t", note()))

    writers = [asyncio.ensure_future(write()) for _ in range(8)]
    for _ in range(50):
        await asyncio.sleep(0)
    await store.aclose()
    answers = await asyncio.gather(*writers, return_exceptions=True)
    assert {type(answer) for answer in answers} == {ClosedError}


async def test_a_call_of_two_units_between_which_the_store_is_closed_says_so(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(url)
    await store.for_user("ann").create_thread(id="t")
    insert = SQLStore._insert_thread

    async def insert_before_the_close(self: SQLStore, *args: Any) -> Thread | None:
        inserted = await insert(self, *args)
        await store.aclose()
        return inserted

    monkeypatch.setattr(SQLStore, "_insert_thread", insert_before_the_close)
    with pytest.raises(ClosedError, match="the store was closed before the call had ended"):
        await store.for_user("ann").create_thread(id="t")


async def test_a_close_gives_up_what_takes_too_long_and_says_so(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "CLOSING", 0.1)
    store = open_store(postgresql_url)
    ann = store.for_user("ann")
    await ann.create_thread(id="t")
    async with connected(postgresql_url) as other, other.transaction():
        await other.execute("SELECT 1 FROM chatstore_threads FOR UPDATE")
        writing = asyncio.ensure_future(ann.update_thread("t", title="new"))
        await waiting_for_a_lock(other)
        await store.aclose()
        with pytest.raises(ClosedError, match="the store was closed before the call had ended"):
            await writing


async def load_in_a_block(user: UserStore, thread_id: str) -> Thread:
    async with user.transaction() as tx:
        return await tx.load_thread(thread_id)


@pytest.mark.parametrize("load", [UserStore.load_thread, load_in_a_block])
async def test_a_connection_that_ended_while_nobody_used_it_is_replaced_before_a_try(
    load: Callable[[UserStore, str], Awaitable[Thread]], postgresql_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store(postgresql_url) as store, connected(postgresql_url) as other:
        await store.for_user("ann").create_thread(id="t")
        assert isinstance(store.store.wrapped, SQLStore)
        (idle,) = store.store.wrapped.database._connections._idle
        driver: Any = idle.driver_connection
        ended = asyncio.Event()
        driver.add_termination_listener(lambda connection: ended.set())
        await other.execute("SELECT pg_terminate_backend($1)", driver.get_server_pid())
        async with asyncio.timeout(5):
            await ended.wait()
        assert (await load(store.for_user("ann"), "t")).id == "t"
    assert "trying again" not in caplog.text


async def test_a_close_waits_for_an_open_block(url: str) -> None:
    store = open_store(url)
    ann = store.for_user("ann")
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def block() -> None:
        async with ann.transaction() as tx:
            await tx.create_thread(id="t")
            inside.set()
            await go_on.wait()

    writing = asyncio.ensure_future(block())
    await inside.wait()
    closing = asyncio.ensure_future(store.aclose())
    await asyncio.sleep(0)
    assert not closing.done()
    go_on.set()
    await asyncio.gather(writing, closing)
    async with open_store(url) as again:
        assert (await again.for_user("ann").load_thread("t")).id == "t"


async def test_a_close_of_the_store_of_a_block_ends_that_store_alone(url: str) -> None:
    owner = Owner("ann")
    async with open_store(url) as store:
        async with store.store.transaction() as inner:
            await inner.create_thread(owner=owner, id="kept")
            await inner.aclose()
            with pytest.raises(ClosedError):
                await inner.load_thread("kept", owner=owner)
        assert (await store.for_user("ann").load_thread("kept")).id == "kept"


async def test_a_close_that_was_cancelled_is_made_good_by_the_next(postgresql_url: str) -> None:
    async with connected(postgresql_url) as other:
        store = open_store(postgresql_url)
        await store.for_user("ann").create_thread()
        closing = asyncio.ensure_future(store.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with suppress(asyncio.CancelledError):
            await closing
        await store.aclose()
        left = await other.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert left == 0


async def test_reads_with_deadlines_shorter_than_a_connect_get_there(postgresql_url: str) -> None:
    async with open_store(postgresql_url) as store:
        ann = store.for_user("ann")
        await ann.create_thread()
        for _ in range(500):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await asyncio.gather(*(ann.load_threads() for _ in range(4)))
                    break
        else:
            pytest.fail("no read was answered in 500 tries")


async def test_a_page_reads_the_payloads_that_it_shows_and_no_others(sqlite_url: str) -> None:
    async with open_store(sqlite_url) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")
        for _ in range(30):
            await ann.add_thread_item("t", Item(type="note", data={"text": "x" * 4_000_000}))
        tracemalloc.start()
        page = await ann.load_thread_items("t", limit=1000)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len(page.data) == 5
    assert page.has_more
    assert peak < 60_000_000


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://postgres:se/cret@host/db",
        "postgresql:postgres:secret@host/db",
        "postgresql://a:b@secret@host/db",
        "postgresql://host/db?password=secret&x=1",
    ],
)
def test_no_form_of_a_url_tells_its_password(url: str) -> None:
    assert "cret" not in hide_password(url)
    with suppress(ConfigurationError):
        assert "cret" not in repr(open_store(url))


@pytest.mark.parametrize("path", ["ann?1.db", "ann?mode=memory", "a\0b.db", "a\ud800.db"])
def test_a_path_that_sqlite_would_read_otherwise_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match="path alone"):
        open_store(f"sqlite:///{path}")


@pytest.mark.parametrize("schema", ["a:b", "\0", "a" * 64, "pg_x", "", "a{b}", 5])
def test_a_schema_that_postgresql_does_not_take_is_refused(schema: Any) -> None:
    with pytest.raises(ConfigurationError, match="schema"):
        open_store("postgresql://host/db", schema=schema)


@pytest.mark.parametrize("option", ["sslmode=bogus", "target_session_attrs=bogus"])
async def test_an_option_that_cannot_work_is_named_at_once(postgresql_url: str, option: str) -> None:
    store = open_store(f"{postgresql_url.partition('?')[0]}?{option}")
    with pytest.raises(ConfigurationError):
        await asyncio.wait_for(store.for_user("ann").load_threads(), 5)
    await store.aclose()


async def test_a_page_of_threads_is_bounded_by_bytes_and_the_next_goes_on(ann: UserStore) -> None:
    for number in range(280):
        await ann.create_thread(id=f"{number:03}", metadata={"text": "x" * 65_000})
    pages = [await ann.load_threads(limit=1000, by="created")]
    while pages[-1].after is not None:
        pages.append(await ann.load_threads(limit=1000, by="created", after=pages[-1].after))
    assert [len(page.data) for page in pages] == [259, 22]
    assert len({thread.id for page in pages for thread in page.data}) == 281


@pytest.mark.parametrize("value", [b"abc", 5, True])
def test_a_text_of_a_model_is_a_str_and_nothing_like_it(value: Any) -> None:
    for make in (lambda: Thread(id=value), lambda: Item(type=value, data={}), lambda: note(id=value)):
        with pytest.raises(InvalidInputError):
            make()


async def test_models_made_without_their_fields_are_refused(ann: UserStore) -> None:
    for item in (Item.model_construct(), Item.model_construct(type="x"), Item.of_payload(type="x", payload="\ud800")):
        with pytest.raises(InvalidInputError):
            await ann.add_thread_item("t", item)
    with pytest.raises(InvalidInputError):
        await ann.save_thread(Thread.model_construct())
    with pytest.raises(InvalidInputError):
        await ann.save_attachment(Attachment.model_construct())


async def test_values_that_python_takes_for_equal_are_not_the_same_metadata(ann: UserStore) -> None:
    await ann.create_thread(id="u", metadata={"a": 1, "b": 2})
    await ann.create_thread(id="u", metadata={"b": 2, "a": 1})
    for other in ({"a": True, "b": 2}, {"a": 1.0, "b": 2}):
        with pytest.raises(ConflictError):
            await ann.create_thread(id="u", metadata=other)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


async def waiting_for_a_lock(connection: Any) -> int:
    """Return the process of the first statement that waits for a lock, once there is one."""
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    while not (found := await connection.fetch(waiting)):  # noqa: ASYNC110  the server tells no event
        await asyncio.sleep(0.01)
    return int(found[0][0])


async def cancel_the_waiting(url: str) -> None:
    async with connected(url) as connection:
        await connection.execute("SELECT pg_cancel_backend($1)", await waiting_for_a_lock(connection))
