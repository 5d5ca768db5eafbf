"""A server that restarts, fails over, is full or resolves a deadlock: healed by itself, or a typed error in time."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from chatstore import Deadlines, Item, UnavailableError, UserStore, open_store
from chatstore.testing.faults.killing import connected, terminate_backends
from chatstore.testing.faults.proxy import Proxy, nth
from chatstore.testing.faults.wire import COMMAND_COMPLETE
from chatstore.testing.servers import PostgreSQLServer

SHORT = Deadlines(pool=0.5, connect=0.5, command=1)
"""Two seconds in all."""
LEAVING = 0.7
"""What it may take to leave a connection that does not answer."""


def note(id: str) -> Item:
    return Item(type="note", id=id, data={})


async def block(user: UserStore) -> None:
    async with user.transaction() as tx:
        await tx.add_thread_item("t", note("a"))


CALLS: dict[str, Callable[[UserStore], Awaitable[object]]] = {
    "read": lambda ann: ann.load_thread_items("t"),
    "append": lambda ann: ann.add_thread_item("t", note("a")),
    "delete": lambda ann: ann.delete_thread_item("t", "absent"),
    "block": block,
}

each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@pytest.fixture
async def ann(postgresql_url: str) -> AsyncIterator[UserStore]:
    async with open_store(postgresql_url) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")
        yield ann


async def read_only(url: str, *, since: str) -> None:
    """Let a database take writes or not, as a standby does not, and end what was connected before."""
    name = urlsplit(url).path[1:]
    async with connected(url) as connection:
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {since}')


@asynccontextmanager
async def in_the_way(url: str, sql: str) -> AsyncIterator[Any]:
    """Keep a transaction open that has run ``sql``."""
    async with connected(url) as connection:
        await connection.execute(f"BEGIN; {sql}")
        yield connection


LOCKED_THREAD = "SELECT 1 FROM chatstore_threads FOR UPDATE"


@each_call
async def test_a_connect_that_is_not_answered_is_tried_again(
    postgresql_url: str, ann: UserStore, call: Callable[[UserStore], Awaitable[object]]
) -> None:
    async with Proxy.before(postgresql_url) as proxy:
        proxy.black_hole()
        store = open_store(proxy.url(postgresql_url), deadlines=Deadlines(connect=0.3))
        asked = asyncio.ensure_future(call(store.for_user("ann")))
        await asyncio.wait([asked], timeout=0.8)
        assert not asked.done()
        proxy.heal()
        await asked
        await store.aclose()


@each_call
async def test_a_server_that_never_answers_a_connect_is_given_up_in_time(
    postgresql_url: str, ann: UserStore, call: Callable[[UserStore], Awaitable[object]]
) -> None:
    async with Proxy.before(postgresql_url) as proxy:
        proxy.black_hole()
        store = open_store(proxy.url(postgresql_url), deadlines=SHORT)
        begun = time.monotonic()
        with pytest.raises(UnavailableError, match=r"no connection was made in time; gave up after . tries") as caught:
            await call(store.for_user("ann"))
        assert SHORT.of_a_call / 2 < time.monotonic() - begun < SHORT.of_a_call + LEAVING
        assert not caught.value.may_have_committed
        await store.aclose()


async def test_no_try_outlasts_the_total(postgresql_url: str, ann: UserStore) -> None:
    """The lock is refused after 0.9 s and again after 1.8; the third try has no time for a refusal."""
    deadlines = Deadlines(pool=0.5, connect=0.5, command=1, lock=0.9)
    async with open_store(postgresql_url, deadlines=deadlines) as store, in_the_way(postgresql_url, LOCKED_THREAD):
        begun = time.monotonic()
        with pytest.raises(UnavailableError, match="gave up after 3 tries"):
            await store.for_user("ann").update_thread("t", title="new")
        assert time.monotonic() - begun < deadlines.of_a_call + LEAVING
    assert (await ann.load_thread("t")).title is None


async def test_a_lock_that_is_not_granted_is_asked_for_again(postgresql_url: str, ann: UserStore) -> None:
    deadlines = Deadlines(lock=0.2)
    async with (
        open_store(postgresql_url, deadlines=deadlines) as store,
        in_the_way(postgresql_url, LOCKED_THREAD) as other,
    ):
        updating = asyncio.ensure_future(store.for_user("ann").update_thread("t", title="new"))
        await asyncio.wait([updating], timeout=0.6)
        assert not updating.done()
        await other.execute("COMMIT")
        assert (await updating).title == "new"


async def test_the_server_ends_a_statement_at_its_deadline(postgresql_url: str, ann: UserStore) -> None:
    async with open_store(postgresql_url, deadlines=Deadlines(statement=0.3)) as store:
        async with in_the_way(postgresql_url, LOCKED_THREAD):
            begun = time.monotonic()
            with pytest.raises(UnavailableError, match="statement_timeout") as caught:
                await store.for_user("ann").update_thread("t", title="new")
        assert 0.2 < time.monotonic() - begun < 2
        assert getattr(caught.value.__cause__, "sqlstate", None) == "57014"
        assert (await store.for_user("ann").load_thread("t")).title is None


async def test_an_exhausted_pool_says_its_size_and_who_waits(postgresql_url: str, ann: UserStore) -> None:
    both_hold_one, asked = asyncio.Barrier(3), asyncio.Event()

    async def hold(user: UserStore) -> None:
        async with user.transaction():
            await both_hold_one.wait()
            await asked.wait()

    async with open_store(postgresql_url, pool_size=2, deadlines=Deadlines(pool=0.3)) as store:
        user = store.for_user("ann")
        holding = asyncio.gather(hold(user), hold(user))
        await both_hold_one.wait()
        found = await asyncio.gather(*(user.load_thread("none") for _ in range(3)), return_exceptions=True)
        asked.set()
        await holding
        assert {type(error) for error in found} == {UnavailableError}
        assert str(found[0]) == (
            "none of the pool's 2 connections was free within 0.3 s, for which 3 calls wait;"
            " raise pool_size, or keep transaction() blocks short"
        )
        await asyncio.gather(*(user.load_threads() for _ in range(20)))


async def test_a_failover_is_waited_for_and_the_old_primary_is_left(postgresql_url: str, ann: UserStore) -> None:
    pids = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    await read_only(postgresql_url, since="on")
    await terminate_backends(postgresql_url)
    adding = asyncio.ensure_future(ann.add_thread_item("t", note("a")))
    await asyncio.wait([adding], timeout=0.5)
    assert not adding.done()
    async with connected(postgresql_url) as connection:
        standby = {row[0] for row in await connection.fetch(pids)}
        await read_only(postgresql_url, since="off")
        await adding
        primary = {row[0] for row in await connection.fetch(pids)}
    assert primary
    assert not primary & standby
    assert [item.id for item in (await ann.load_thread_items("t")).data] == ["a"]


async def test_a_standby_that_stays_one_is_an_error_in_time(postgresql_url: str, ann: UserStore) -> None:
    await read_only(postgresql_url, since="on")
    async with open_store(postgresql_url, deadlines=SHORT) as store:
        user = store.for_user("ann")
        begun = time.monotonic()
        with pytest.raises(UnavailableError, match=r"read-only.*gave up after . tries"):
            await user.add_thread_item("t", note("a"))
        assert time.monotonic() - begun < SHORT.of_a_call + LEAVING
        assert (await user.load_thread_items("t")).data == []


async def test_a_block_on_a_standby_is_not_run_again(postgresql_url: str, ann: UserStore) -> None:
    runs = 0

    async def write() -> None:
        nonlocal runs
        async with ann.transaction() as tx:
            runs += 1
            await tx.add_thread_item("t", note("a"))

    await read_only(postgresql_url, since="on")
    await terminate_backends(postgresql_url)
    with pytest.raises(UnavailableError, match="read-only") as caught:
        await write()
    assert runs == 1
    assert not caught.value.may_have_committed
    await read_only(postgresql_url, since="off")
    await write()
    assert [item.id for item in (await ann.load_thread_items("t")).data] == ["a"]


async def test_a_block_whose_commit_was_not_answered_may_have_committed(postgresql_url: str, ann: UserStore) -> None:
    async with Proxy.before(postgresql_url) as proxy, open_store(proxy.url(postgresql_url)) as store:

        async def cut() -> None:
            async with store.for_user("ann").transaction() as tx:
                await tx.add_thread_item("t", note("a"))
                proxy.rule = nth(COMMAND_COMPLETE, 1, "before")

        with pytest.raises(UnavailableError, match="it may have committed") as caught:
            await cut()
        assert caught.value.may_have_committed
        assert [item.id for item in (await store.for_user("ann").load_thread_items("t")).data] == ["a"]


async def test_a_block_that_the_server_found_idle_is_unavailable(postgresql_url: str, ann: UserStore) -> None:
    """The DBA's deadline for idle transactions ends the block's connection while the caller does something else."""
    name = urlsplit(postgresql_url).path[1:]
    open_blocks = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND state LIKE 'idle in transaction%'"
    async with connected(postgresql_url) as connection:
        await connection.execute(f"ALTER DATABASE \"{name}\" SET idle_in_transaction_session_timeout = '100ms'")

        async def dawdle(user: UserStore) -> None:
            async with user.transaction() as tx:
                await tx.add_thread_item("t", note("a"))
                async with asyncio.timeout(10):
                    while await connection.fetchval(open_blocks, name):
                        pass
                await tx.add_thread_item("t", note("b"))

        async with open_store(postgresql_url) as store:
            with pytest.raises(UnavailableError) as caught:
                await dawdle(store.for_user("ann"))
    assert not caught.value.may_have_committed
    assert (await ann.load_thread_items("t")).data == []


@pytest.fixture
async def crowded_url(postgresql_url: str) -> AsyncIterator[str]:
    """The URL for a role that may have two connections."""
    role = f"few_{urlsplit(postgresql_url).path[-12:]}"
    async with connected(postgresql_url) as connection:
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'few' CONNECTION LIMIT 2")
        await connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        parts = urlsplit(postgresql_url)
        yield parts._replace(netloc=f"{role}:few@{parts.netloc.rpartition('@')[2]}").geturl()
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_more_callers_than_the_server_has_connections_are_all_served(crowded_url: str, ann: UserStore) -> None:
    async with open_store(crowded_url, coalesce=False) as store:
        user = store.for_user("ann")
        await asyncio.gather(*(user.add_thread_item("t", note(str(number))) for number in range(64)))
    assert len((await ann.load_thread_items("t", limit=100)).data) == 64


async def test_a_server_without_a_connection_left_is_an_error_in_time(crowded_url: str, ann: UserStore) -> None:
    async with connected(crowded_url), connected(crowded_url):
        store = open_store(crowded_url, deadlines=SHORT)
        begun = time.monotonic()
        with pytest.raises(UnavailableError, match=r"no connection left.*gave up after . tries"):
            await store.for_user("ann").add_thread_item("t", note("a"))
        assert time.monotonic() - begun < SHORT.of_a_call + LEAVING
    await store.for_user("ann").add_thread_item("t", note("a"))
    await store.aclose()


async def test_a_deadlock_is_resolved_and_both_are_done(postgresql_url: str, ann: UserStore) -> None:
    await ann.create_thread(id="u")
    both_hold_one = asyncio.Barrier(2)
    runs = 0

    async def retitle(first: str, second: str) -> None:
        async def work(tx: UserStore) -> None:
            nonlocal runs
            runs += 1
            await tx.update_thread(first, title=f"{first} {second}")
            if runs <= 2:
                await both_hold_one.wait()
            await tx.update_thread(second, title=f"{first} {second}")

        await ann.run(work)

    await asyncio.gather(retitle("t", "u"), retitle("u", "t"))
    assert runs == 3
    assert (await ann.load_thread("t")).title == (await ann.load_thread("u")).title


async def test_a_restart_of_the_server_is_waited_for(start_server: Callable[..., PostgreSQLServer]) -> None:
    server = await asyncio.to_thread(start_server, PostgreSQLServer(source="machine"))
    async with open_store(server.url()) as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")

        async def append(writer: int) -> None:
            for number in range(20):
                await ann.add_thread_item("t", note(f"{writer}-{number}"))

        writing = asyncio.gather(*(append(writer) for writer in range(8)))
        await ann.add_thread_item("t", note("first"))
        await asyncio.to_thread(server.kill, signal.SIGINT)
        await asyncio.to_thread(server.restart)
        await writing
        ids = [item.id async for item in ann.iter_thread_items("t")]
    assert len(ids) == len(set(ids)) == 161


async def test_callers_of_a_store_that_finds_no_server_wait_together_not_one_after_another(postgresql_url: str) -> None:
    async with Proxy.before(postgresql_url) as proxy:
        await proxy.refuse()
        store = open_store(proxy.url(postgresql_url), deadlines=SHORT)
        calls = [store.for_user("ann").load_threads() for _ in range(8)]
        begun = time.monotonic()
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - begun < SHORT.of_a_call + LEAVING
        assert {type(error) for error in found} == {UnavailableError}
        assert len({id(error) for error in found}) == len(found)
        await proxy.accept()
        assert (await store.for_user("ann").load_threads()).data == []
        await store.aclose()


async def test_a_caller_that_leaves_while_the_store_connects_takes_nobody_along(postgresql_url: str) -> None:
    async with Proxy.before(postgresql_url) as proxy:
        proxy.black_hole()
        store = open_store(proxy.url(postgresql_url))
        first, second = (asyncio.ensure_future(store.for_user("ann").load_threads()) for _ in range(2))
        await asyncio.wait([first, second], timeout=0.1)
        first.cancel()
        await asyncio.wait([first])
        proxy.heal()
        assert (await second).data == []
        await store.aclose()


async def test_appends_that_wait_for_others_end_within_their_own_total(postgresql_url: str, ann: UserStore) -> None:
    """One sends, and tries again until its time is over; those who came later waited for it all the while."""
    async with Proxy.before(postgresql_url) as proxy:
        async with open_store(proxy.url(postgresql_url), deadlines=SHORT) as store:
            await proxy.refuse()

            async def append_after(delay: float) -> float:
                await asyncio.sleep(delay)
                begun = time.monotonic()
                with pytest.raises(UnavailableError):
                    await store.for_user("ann").add_thread_item("t", note(str(delay)))
                return time.monotonic() - begun

            lasted = await asyncio.gather(*map(append_after, (0.0, 0.5, 0.9, 1.1, 1.5, 1.9)))
        assert max(lasted) < SHORT.of_a_call + LEAVING
    assert (await ann.load_thread_items("t")).data == []


async def test_a_migration_waits_for_another_process_longer_than_a_command_lasts(empty_postgresql_url: str) -> None:
    store = open_store(empty_postgresql_url, deadlines=Deadlines(command=0.6))
    lock = "SELECT pg_advisory_xact_lock(hashtext('chatstore migrations'))"
    async with in_the_way(empty_postgresql_url, lock) as other:
        using = asyncio.ensure_future(store.for_user("ann").create_thread(id="t"))
        await asyncio.wait([using], timeout=1.5)
        assert not using.done()
        await other.execute("COMMIT")
        assert (await using).id == "t"
    await store.aclose()
