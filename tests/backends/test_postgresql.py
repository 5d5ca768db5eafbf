"""What is true of PostgreSQL only: one statement for each call, and what heals by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chatstore import Attachment, ConfigurationError, ConflictError, Item, UnavailableError, UserStore, open_store
from chatstore.instants import now


@pytest.fixture
async def engine(postgresql_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(postgresql_url.replace("postgresql:", "postgresql+asyncpg:"))
    yield engine
    await engine.dispose()


@pytest.fixture
async def queries(engine: AsyncEngine) -> list[str]:
    """Every query that the engine's connections send, as the driver reports them."""
    seen: list[str] = []

    @event.listens_for(engine.sync_engine, "connect")
    def listen(connection: Any, record: Any) -> None:
        connection.driver_connection.add_query_logger(lambda query: seen.append(query.query))

    return seen


@pytest.fixture
async def ann(engine: AsyncEngine, queries: list[str]) -> AsyncIterator[UserStore]:
    async with open_store(engine) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")
        await ann.add_thread_items("t", [note(id=str(n)) for n in range(5)])
        await ann.load_threads()
        yield ann


async def said(queries: list[str]) -> list[str]:
    """Return what the driver said of: it says it in the event loop's next turn."""
    await asyncio.sleep(0)
    return queries


def note(**fields: Any) -> Item:
    return Item(type="note", data={"text": "x"}, **fields)


CALLS: dict[str, Callable[[UserStore], Awaitable[object]]] = {
    "create_thread": lambda ann: ann.create_thread(title="new"),
    "load_thread": lambda ann: ann.load_thread("t"),
    "update_thread": lambda ann: ann.update_thread("t", title="new"),
    "load_threads": lambda ann: ann.load_threads(),
    "load_threads by creation": lambda ann: ann.load_threads(by="created", order="asc"),
    "add_thread_item": lambda ann: ann.add_thread_item("t", note()),
    "add_thread_item with an id": lambda ann: ann.add_thread_item("t", note(id="new")),
    "add_thread_item again": lambda ann: ann.add_thread_item("t", note(id="1")),
    "add_thread_item at its time": lambda ann: ann.add_thread_item("t", note(), at=now()),
    "add_thread_items": lambda ann: ann.add_thread_items("t", [note(id="a"), note(id="b"), note()]),
    "add_thread_items, a thousand": lambda ann: ann.add_thread_items("t", [note() for _ in range(1000)]),
    "load_item": lambda ann: ann.load_item("t", "1"),
    "save_item never stored": lambda ann: ann.save_item("t", note(id="new")),
    "load_thread_items": lambda ann: ann.load_thread_items("t"),
    "load_thread_items, newest": lambda ann: ann.load_thread_items("t", order="desc", limit=2),
    "delete_thread_item": lambda ann: ann.delete_thread_item("t", "1"),
    "delete_thread_items": lambda ann: ann.delete_thread_items("t", ["1", "2"]),
    "delete_thread_items after": lambda ann: ann.delete_thread_items("t", after="1"),
    "delete_thread": lambda ann: ann.delete_thread("t"),
    "load_thread_attachments": lambda ann: ann.load_thread_attachments("t"),
    "load_attachments": lambda ann: ann.load_attachments([]),
    "delete_attachment": lambda ann: ann.delete_attachment("a"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_a_call_is_one_statement(
    ann: UserStore, queries: list[str], call: Callable[[UserStore], Awaitable[object]]
) -> None:
    (await said(queries)).clear()
    await call(ann)
    assert len(await said(queries)) == 1, queries


async def test_saves_of_loaded_models_are_one_statement(ann: UserStore, queries: list[str]) -> None:
    thread, item = await ann.load_thread("t"), await ann.load_item("t", "1")
    (await said(queries)).clear()
    await ann.save_thread(thread.model_copy(update={"title": "saved"}))
    assert len(await said(queries)) == 1, queries
    await ann.save_item("t", item.model_copy(update={"data": {"saved": True}}))
    assert len(await said(queries)) == 2, queries


async def test_every_page_but_the_first_is_one_statement(ann: UserStore, queries: list[str]) -> None:
    page = await ann.load_thread_items("t", limit=2)
    (await said(queries)).clear()
    await ann.load_thread_items("t", limit=2, after=page.after)
    assert len(await said(queries)) == 1, queries


async def test_a_callers_engine_stays_open(engine: AsyncEngine) -> None:
    async with open_store(engine) as store:
        await store.for_user("ann").create_thread()
    async with engine.connect() as connection:
        assert (await connection.exec_driver_sql("SELECT 1")).scalar_one() == 1


async def test_a_serializable_engine_loses_nothing(postgresql_url: str) -> None:
    url = postgresql_url.replace("postgresql:", "postgresql+asyncpg:")
    engine = create_async_engine(url, isolation_level="SERIALIZABLE")
    async with open_store(engine) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")

        async def append(number: int) -> None:
            async def work(tx: UserStore) -> None:
                before = len((await tx.load_thread_items("t")).data)
                await tx.add_thread_item("t", Item(type="note", id=str(number), data={"before": before}))

            await ann.run(work)

        await asyncio.gather(*(append(number) for number in range(8)))
        items = (await ann.load_thread_items("t")).data
    await engine.dispose()
    assert [item.data["before"] for item in items] == list(range(8))


@pytest.mark.parametrize(
    "parameters",
    [
        "sslmode=disable",
        "sslmode=prefer&channel_binding=prefer",
        "connect_timeout=3&application_name=talk",
        "options=-c%20statement_timeout%3D5000",
        "target_session_attrs=read-write",
    ],
)
@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
async def test_libpq_parameters_are_understood(postgresql_url: str, scheme: str, parameters: str) -> None:
    base = postgresql_url.partition("?")[0].replace("postgresql:", f"{scheme}:")
    async with open_store(f"{base}?{parameters}") as store:
        await store.for_user("ann").create_thread()


async def test_the_application_name_reaches_the_server(postgresql_url: str) -> None:
    async with open_store(f"{postgresql_url}?application_name=talk"), connected(postgresql_url) as connection:
        names = await connection.fetch("SELECT application_name FROM pg_stat_activity")
    assert "talk" in {row[0] for row in names}


async def test_a_parameter_nobody_knows_is_a_configuration_error(postgresql_url: str) -> None:
    store = open_store(f"{postgresql_url}?no_such_parameter=1")
    with pytest.raises(ConfigurationError, match="parameter"):
        await store.for_user("ann").load_threads()
    await store.aclose()


async def test_a_missing_database_is_a_configuration_error(postgresql_url: str) -> None:
    store = open_store(postgresql_url.rpartition("/")[0] + "/no_such_database")
    with pytest.raises(ConfigurationError, match="database does not exist"):
        await store.for_user("ann").load_threads()
    await store.aclose()


async def test_killed_connections_heal_by_themselves(postgresql_url: str) -> None:
    async with open_store(postgresql_url) as store, connected(postgresql_url) as connection:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")
        for number in range(5):
            await kill_the_others(connection)
            await ann.add_thread_item("t", Item(type="note", id=str(number), data={}))
        assert [item.id for item in (await ann.load_thread_items("t")).data] == ["0", "1", "2", "3", "4"]


async def test_a_lost_connection_in_a_block_is_unavailable(postgresql_url: str) -> None:
    async with open_store(postgresql_url) as store, connected(postgresql_url) as connection:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")

        async def block() -> None:
            async with ann.transaction() as tx:
                await tx.update_thread("t", title="lost")
                await kill_the_others(connection)
                await tx.update_thread("t", title="lost too")

        with pytest.raises(UnavailableError) as caught:
            await block()
        assert caught.value.retryable
        assert (await ann.load_thread("t")).title is None


async def test_cancelled_writes_leave_no_transaction_and_no_connection(
    engine: AsyncEngine, postgresql_url: str
) -> None:
    async with open_store(engine) as store, connected(postgresql_url) as connection:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")
        for number in range(200):
            task = asyncio.ensure_future(ann.add_thread_item("t", Item(type="note", id=str(number), data={})))
            for _ in range(number % 40):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await ann.add_thread_item("t", Item(type="note", id=str(number), data={}))
        states = await connection.fetch(
            "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        count = await connection.fetchval("SELECT count(*) FROM chatstore_items")
    assert {row[0] for row in states} <= {"idle"}
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert count == 200


async def test_a_cancel_storm_makes_progress(postgresql_url: str) -> None:
    """Callers with deadlines shorter than a connect do not throw away one connection each."""
    async with open_store(postgresql_url, migrate="off") as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")
        done = 0
        for number in range(60):
            try:
                async with asyncio.timeout(0.002):
                    await ann.add_thread_item("t", Item(type="note", id=str(number), data={}))
            except TimeoutError:
                continue
            done += 1
        stored = {item.id for item in (await ann.load_thread_items("t", limit=100)).data}
        assert len(stored) >= max(done, 1)


async def test_appends_to_one_thread_from_many_connections_are_ordered(postgresql_url: str) -> None:
    async with open_store(postgresql_url) as one, open_store(postgresql_url) as two:
        ann, her = one.for_user("ann"), two.for_user("ann")
        await ann.create_thread(id="t")
        earlier: list[str] = []
        writers = [asyncio.ensure_future(append_many(user, f"{n}")) for n in range(8) for user in (ann, her)]
        while not all(writer.done() for writer in writers):
            seen = [item.id async for item in her.iter_thread_items("t")]
            assert seen[: len(earlier)] == earlier
            earlier = seen
        await asyncio.gather(*writers)
        assert len([item async for item in ann.iter_thread_items("t")]) == 160


async def append_many(user: UserStore, name: str) -> None:
    for _ in range(10):
        await user.add_thread_item("t", Item(type=name, data={}))


async def test_a_batch_that_loses_the_race_for_an_id_is_whole_or_absent(postgresql_url: str) -> None:
    """The statement's snapshot is older than its lock: what it could not see is decided in steps."""
    async with open_store(postgresql_url) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")
        moment = now()

        async def batch(number: int) -> bool:
            created = moment + timedelta(seconds=number)
            mine = [Item(type="note", id=f"{number}-{n}", data={}) for n in range(3)]
            shared = Item(type="note", id="shared", data={"number": number}, created_at=created)
            try:
                await ann.add_thread_items("t", [*mine, shared])
            except ConflictError:
                return False
            return True

        won = await asyncio.gather(*(batch(number) for number in range(12)))
        items = (await ann.load_thread_items("t", limit=1000)).data
    assert sum(won) == 1
    assert len(items) == 4
    assert items[-1].data == {"number": won.index(True)}


async def test_attachments_joining_a_thread_while_it_is_deleted_leave_no_record(postgresql_url: str) -> None:
    async with open_store(postgresql_url) as store, connected(postgresql_url) as connection:
        ann = store.for_user("ann")
        for round_number in range(10):
            await ann.create_thread(id="t")
            record = Attachment(id=str(round_number), name="x", mime_type="text/plain", thread_id="t")
            await asyncio.gather(ann.delete_thread("t"), ann.save_attachment(record), return_exceptions=True)
        assert await connection.fetchval("SELECT count(*) FROM chatstore_attachments") == 0


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


async def kill_the_others(connection: Any) -> None:
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
