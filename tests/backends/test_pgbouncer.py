"""Behind PgBouncer in transaction mode: all that is promised holds with the option, and without it one is told."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import pytest
from pgbouncer_server import PgBouncer, has_pgbouncer
from sqlalchemy.ext.asyncio import create_async_engine

from chatstore import ConfigurationError, Deadlines, Item, UserStore, open_store
from chatstore.cli import main
from chatstore.protocols import Store
from chatstore.testing.faults.killing import connected, terminate_backends
from chatstore.testing.servers import PostgreSQLServer, Server
from chatstore.testing.store_suite import StoreTests
from chatstore.testing.suites.lifecycle import Reopen

pytestmark = pytest.mark.skipif(not has_pgbouncer(), reason="this machine has no pgbouncer")

StartServer = Callable[[Server], Server]
CALLERS = 64
ROUNDS = 5


@pytest.fixture(scope="module")
def pgbouncer(postgresql_server: PostgreSQLServer) -> Iterator[PgBouncer]:
    with PgBouncer(postgresql_server) as pgbouncer:
        yield pgbouncer


@pytest.fixture(scope="module")
def database_url(postgresql_server: PostgreSQLServer) -> str:
    return asyncio.run(postgresql_server.create_database(f"chatstore_suite_{uuid.uuid4().hex}"))


class TestBehindPgBouncer(StoreTests):
    """One database for all, emptied for each test."""

    @pytest.fixture
    async def store(self, pgbouncer: PgBouncer, database_url: str) -> AsyncIterator[Store]:
        async with open_store(pgbouncer.url(database_url), pgbouncer=True) as store:
            async with connected(database_url) as connection:
                await connection.execute("TRUNCATE chatstore_threads, chatstore_items, chatstore_attachments")
            yield store.store

    @pytest.fixture
    async def reopen(self, pgbouncer: PgBouncer, database_url: str) -> AsyncIterator[Reopen]:
        async with AsyncExitStack() as opened:

            async def reopen() -> Store:
                store = open_store(pgbouncer.url(database_url), pgbouncer=True)
                return (await opened.enter_async_context(store)).store

            yield reopen


def note(id: str, **data: object) -> Item:
    return Item(type="note", id=id, data=data)


async def converse(user: UserStore, caller: int) -> None:
    """Use every way to the database: single statements, steps, a block with a savepoint, a run, pages."""
    own = await user.create_thread(id=f"own {caller}")
    for number in range(ROUNDS):
        await user.add_thread_item("shared", note(f"{caller}-{number}", n=number))
        async with user.transaction() as tx:
            await tx.add_thread_item(own.id, note(f"a{number}"))
            async with tx.transaction() as inner:
                await inner.update_thread(own.id, title=str(number))

        async def work(tx: UserStore, number: int = number) -> None:
            await tx.add_thread_item(own.id, note(f"b{number}"))

        await user.run(work)
        await user.load_thread_items("shared", limit=3, order="desc")
    await user.add_thread_items(own.id, [note("c0"), note("c1")])
    await user.delete_thread_item(own.id, "c0")


@pytest.mark.parametrize("coalesce", [True, False])
async def test_64_callers_lose_nothing(pgbouncer: PgBouncer, postgresql_url: str, coalesce: bool) -> None:
    url = pgbouncer.url(postgresql_url)
    async with open_store(url, pgbouncer=True, coalesce=coalesce, pool_size=CALLERS) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="shared")
        await asyncio.gather(*(converse(ann, caller) for caller in range(CALLERS)))
        shared = [item async for item in ann.iter_thread_items("shared")]
        owned = [[item.id async for item in ann.iter_thread_items(f"own {caller}")] for caller in range(CALLERS)]
    assert len(shared) == CALLERS * ROUNDS
    for caller in range(CALLERS):
        assert [item.data["n"] for item in shared if str(item.id).startswith(f"{caller}-")] == list(range(ROUNDS))
    assert owned == [[f"{kind}{number}" for number in range(ROUNDS) for kind in "ab"] + ["c1"]] * CALLERS


async def test_what_the_server_cut_off_behind_it_is_stored_once(pgbouncer: PgBouncer, postgresql_url: str) -> None:
    async with open_store(pgbouncer.url(postgresql_url), pgbouncer=True, coalesce=False) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")

        async def append(writer: int) -> None:
            for number in range(20):
                await ann.add_thread_item("t", note(f"{writer}-{number}"))

        writing = asyncio.gather(*(append(writer) for writer in range(8)))
        cut = 0
        while not writing.done():
            cut += await terminate_backends(postgresql_url)
            await asyncio.wait([writing], timeout=0.1)
        await writing
        ids = [item.id async for item in ann.iter_thread_items("t")]
    assert cut
    assert len(ids) == len(set(ids)) == 160


async def test_stores_that_start_at_once_make_the_tables(pgbouncer: PgBouncer, empty_postgresql_url: str) -> None:
    async def start(number: int) -> None:
        async with open_store(pgbouncer.url(empty_postgresql_url), pgbouncer=True) as store:
            await store.for_user("ann").create_thread(id=str(number))

    await asyncio.gather(*(start(number) for number in range(6)))
    async with open_store(empty_postgresql_url, migrate="check") as store:
        assert len((await store.for_user("ann").load_threads()).data) == 6


async def test_the_command_line_has_the_option(
    pgbouncer: PgBouncer, empty_postgresql_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = pgbouncer.url(empty_postgresql_url)
    assert await asyncio.to_thread(main, ["migrate", url]) == 1
    assert "--pgbouncer" in capsys.readouterr().err
    assert await asyncio.to_thread(main, ["migrate", url, "--pgbouncer"]) == 0
    assert await asyncio.to_thread(main, ["migrate", url, "--pgbouncer", "--check"]) == 0


async def test_without_the_option_the_error_names_it(pgbouncer: PgBouncer, postgresql_url: str) -> None:
    store = open_store(pgbouncer.url(postgresql_url))
    with pytest.raises(ConfigurationError, match=r"pgbouncer=True") as caught:
        await store.for_user("ann").load_threads()
    assert getattr(caught.value.__cause__, "sqlstate", None) == "08P01"
    await store.aclose()


async def test_an_engine_of_ones_own_goes_through_it(pgbouncer: PgBouncer, postgresql_url: str) -> None:
    engine = create_async_engine(
        pgbouncer.url(postgresql_url).replace("postgresql:", "postgresql+asyncpg:"),
        connect_args={
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: "",
        },
    )
    async with open_store(engine) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="shared")
        await asyncio.gather(*(converse(ann, caller) for caller in range(8)))
        assert len((await ann.load_thread_items("shared", limit=100)).data) == 8 * ROUNDS
    await engine.dispose()


async def test_in_session_mode_it_is_a_server_like_any_other(
    postgresql_server: PostgreSQLServer, postgresql_url: str, start_server: StartServer
) -> None:
    pgbouncer = start_server(PgBouncer(postgresql_server, connections=20, mode="session", ignored="plan_cache_mode"))
    assert isinstance(pgbouncer, PgBouncer)
    async with open_store(pgbouncer.url(postgresql_url), pool_size=8) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="shared")
        await asyncio.gather(*(converse(ann, caller) for caller in range(8)))
        assert len((await ann.load_thread_items("shared", limit=100)).data) == 8 * ROUNDS


async def test_statements_that_were_mixed_up_name_the_option(
    postgresql_server: PostgreSQLServer, postgresql_url: str, start_server: StartServer
) -> None:
    """Where PgBouncer was told to drop what it does not know, it is the prepared statements that go astray."""
    pgbouncer = start_server(PgBouncer(postgresql_server, ignored="plan_cache_mode"))
    assert isinstance(pgbouncer, PgBouncer)
    async with open_store(postgresql_url) as direct:
        await direct.for_user("ann").create_thread(id="shared")
    stores = [open_store(pgbouncer.url(postgresql_url)) for _ in range(2)]
    calls = [store.for_user("ann").load_thread_items("shared") for store in stores for _ in range(20)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    for store in stores:
        await store.aclose()
    errors = [error for error in found if isinstance(error, ConfigurationError)]
    assert errors
    assert all("pgbouncer=True" in str(error) for error in errors)


@pytest.mark.parametrize("told", [True, False])
async def test_a_server_that_is_away_behind_it_is_waited_for(start_server: StartServer, told: bool) -> None:
    server = await asyncio.to_thread(start_server, PostgreSQLServer(source="machine"))
    assert isinstance(server, PostgreSQLServer)
    pgbouncer = await asyncio.to_thread(start_server, PgBouncer(server))
    assert isinstance(pgbouncer, PgBouncer)
    async with open_store(server.url()) as direct:
        await direct.for_user("ann").create_thread(id="t")
    await asyncio.to_thread(server.kill, signal.SIGINT)
    store = open_store(pgbouncer.url(server.url()), pgbouncer=told, deadlines=Deadlines(connect=2))
    adding = asyncio.ensure_future(store.for_user("ann").add_thread_item("t", note("a")))
    await asyncio.wait([adding], timeout=1)
    assert not adding.done()
    await asyncio.to_thread(server.restart)
    if told:
        await adding
    else:
        with pytest.raises(ConfigurationError, match="pgbouncer=True"):
            await adding
    await store.aclose()
