"""PostgreSQL with row security passes the whole suite, and no role or table is taken that would undo it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import asyncpg
import pytest
from guarded import Guarded, guarded_database

from chatstore import open_store
from chatstore.cli import main
from chatstore.errors import ConfigurationError, NotFoundError, SchemaError
from chatstore.protocols import Capability, Store
from chatstore.sql.engines import make_engine
from chatstore.testing.factories import message
from chatstore.testing.servers import PostgreSQLServer
from chatstore.testing.store_suite import StoreTests
from chatstore.testing.suites.lifecycle import Reopen


@pytest.fixture(scope="module")
def guarded(postgresql_server: PostgreSQLServer) -> Iterator[Guarded]:
    with guarded_database(postgresql_server) as guarded:
        yield guarded


class TestPostgreSQLWithRowSecurity(StoreTests):
    @pytest.fixture
    async def store(self, guarded: Guarded) -> AsyncIterator[Store]:
        async with open_store(guarded.url, row_security=True) as store:
            await guarded.execute("TRUNCATE chatstore_threads, chatstore_items, chatstore_attachments")
            yield store.store

    @pytest.fixture
    async def reopen(self, guarded: Guarded) -> AsyncIterator[Reopen]:
        async with AsyncExitStack() as opened:

            async def reopen() -> Store:
                return (await opened.enter_async_context(open_store(guarded.url, row_security=True))).store

            yield reopen

    async def test_row_security_is_declared(self, store: Store) -> None:
        assert Capability.ROW_SECURITY in store.capabilities


async def _opened(url: str, *, row_security: bool = False) -> None:
    store = open_store(url, row_security=row_security)
    try:
        await store.for_user("ann").load_threads()
    finally:
        await store.aclose()


async def _migrated(guarded: Guarded) -> None:
    command = ["migrate", guarded.owner_url, "--row-security", "--role", guarded.role]
    assert await asyncio.to_thread(main, command) == 0


async def test_a_role_above_the_policies_is_refused(guarded: Guarded) -> None:
    with pytest.raises(ConfigurationError, match="is a superuser or has BYPASSRLS"):
        await _opened(guarded.owner_url, row_security=True)
    await guarded.execute(f"ALTER ROLE {guarded.role} BYPASSRLS")
    try:
        with pytest.raises(ConfigurationError, match="--row-security --role app"):
            await _opened(guarded.url, row_security=True)
    finally:
        await guarded.execute(f"ALTER ROLE {guarded.role} NOBYPASSRLS")


async def test_a_role_that_owns_a_table_is_refused(guarded: Guarded) -> None:
    await guarded.execute(f"ALTER TABLE chatstore_usage OWNER TO {guarded.role}")
    try:
        with pytest.raises(ConfigurationError, match="owns the tables"):
            await _opened(guarded.url, row_security=True)
    finally:
        await guarded.execute("ALTER TABLE chatstore_usage OWNER TO CURRENT_USER")
        await _migrated(guarded)


@pytest.mark.parametrize(
    "away",
    [
        "DROP POLICY chatstore_owner ON chatstore_items",
        "ALTER TABLE chatstore_usage NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE chatstore_threads DISABLE ROW LEVEL SECURITY",
    ],
)
async def test_a_table_without_its_policies_is_refused(guarded: Guarded, away: str) -> None:
    await guarded.execute(away)
    try:
        with pytest.raises(SchemaError, match="chatstore migrate URL --row-security"):
            await _opened(guarded.url, row_security=True)
    finally:
        await _migrated(guarded)
    await _opened(guarded.url, row_security=True)


async def test_a_store_that_would_find_nothing_is_refused(guarded: Guarded) -> None:
    """Policies hold for the role, and the store does not say whose rows it asks for."""
    with pytest.raises(ConfigurationError, match=r"open_store\(\.\.\., row_security=True\)"):
        await _opened(guarded.url)


@pytest.mark.parametrize("url", ["memory://", "sqlite://"])
def test_only_postgresql_has_row_security(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"row_security: .* PostgreSQL has"):
        open_store(url, row_security=True)
    assert main(["migrate", url, "--row-security"]) == 1


async def test_nothing_is_set_where_a_transaction_has_ended(guarded: Guarded) -> None:
    """A connection of the pool sees no rows between two calls, whoever's they were."""
    engine = make_engine(guarded.url)
    async with open_store(engine, row_security=True) as store:
        user = store.for_user("ann")
        thread = await user.create_thread(title="kept")
        with pytest.raises(NotFoundError):
            await user.load_item(thread.id, "absent")
        async with user.transaction() as inner:
            await inner.load_thread(thread.id)
        async with engine.connect() as connection:
            rows = await connection.exec_driver_sql(
                "SELECT count(*), max(current_setting('chatstore.user_id', true)) FROM chatstore_threads"
            )
            assert rows.first() == (0, None)
            rows = await connection.exec_driver_sql("SELECT current_setting('chatstore.user_id', true)")
            assert rows.scalar() == ""
    await engine.dispose()


async def test_many_owners_who_write_at_once_each_see_their_own(guarded: Guarded) -> None:
    async with open_store(guarded.url, row_security=True) as store:
        users = [store.for_user(f"user {number}'\\") for number in range(8)]
        for user in users:
            await user.create_thread(id="t")
        writes = [user.add_thread_item("t", message(f"{n}", id=f"i{n}")) for n in range(20) for user in users]
        await asyncio.gather(*writes)
        for user in users:
            assert len((await user.load_thread_items("t")).data) == 20


async def test_what_was_cut_off_in_a_statement_is_stored_once(guarded: Guarded) -> None:
    """The owner was set in the transaction that went with the connection, and is set again."""
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = $1"
    other = await asyncpg.connect(guarded.owner_url)
    async with open_store(guarded.url, row_security=True) as store:
        ann = store.for_user("ann")
        thread = await ann.create_thread()
        async with other.transaction():
            await other.execute("SELECT 1 FROM chatstore_threads FOR UPDATE")
            adding = asyncio.create_task(ann.add_thread_item(thread.id, message("once", id="once")))
            while not await other.fetch(cut, guarded.role):  # noqa: ASYNC110  the server says nothing when it waits
                await asyncio.sleep(0.01)
        await adding
        assert [item.id for item in (await ann.load_thread_items(thread.id)).data] == ["once"]
    await other.close()


async def test_a_statement_that_is_refused_leaves_no_transaction_open(guarded: Guarded) -> None:
    async with open_store(guarded.url, row_security=True) as store:
        ann = store.for_user("ann")
        thread = await ann.create_thread()
        await guarded.execute("ALTER TABLE chatstore_items RENAME TO chatstore_away")
        try:
            with pytest.raises(SchemaError, match="a table is missing"):
                await ann.load_thread_items(thread.id)
        finally:
            await guarded.execute("ALTER TABLE chatstore_away RENAME TO chatstore_items")
        assert (await ann.load_thread_items(thread.id)).data == []


async def test_maintenance_reaches_all_owners(guarded: Guarded) -> None:
    """Sweep and verify do their work as the application's role."""
    async with open_store(guarded.url, blobs="sql", row_security=True) as store:
        for name in ("ann", "bob"):
            user = store.for_user(name)
            kept = await user.add_attachment("kept.txt", b"kept")
            gone = await user.add_attachment("gone.txt", b"gone")
            await user.delete_attachment(gone.id)
            async with user.open_attachment(kept.id) as chunks:
                assert b"".join([bytes(chunk) async for chunk in chunks]) == b"kept"
        assert (await store.admin().sweep()).deleted_blobs == 2
        assert [finding async for finding in store.admin().verify()] == []
    command = ["verify", guarded.url, "--blobs", "sql", "--row-security"]
    assert await asyncio.to_thread(main, command) == 0


def test_options_that_do_not_go_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", "postgresql://host/db", "--role", "app"]) == 1
    assert "--role: goes with --row-security" in capsys.readouterr().err
    assert main(["migrate", "postgresql://host/db", "--check", "--row-security"]) == 1
    assert "choose one" in capsys.readouterr().err


def test_an_unknown_role_is_named(guarded: Guarded, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", guarded.owner_url, "--row-security", "--role", 'no "such"']) == 1
    assert "there is no role" in capsys.readouterr().err


def test_the_statements_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """For people who may not run them: every table of owners is guarded, and the role gets what it needs."""
    command = ["migrate", "postgresql://host/db", "--sql", "--row-security", "--role", "app", "--schema", "chat"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    for table in ("threads", "items", "attachments", "usage", "deletions"):
        assert f"ALTER TABLE chat.chatstore_{table} FORCE ROW LEVEL SECURITY;" in printed
        assert f'GRANT SELECT, INSERT, UPDATE, DELETE ON chat.chatstore_{table} TO "app";' in printed
    assert 'GRANT USAGE ON SCHEMA chat TO "app";' in printed


async def test_without_a_role_the_rights_stay_as_they_are(guarded: Guarded, capsys: pytest.CaptureFixture[str]) -> None:
    """Where somebody else grants them: the tables are guarded all the same."""
    await guarded.execute("ALTER TABLE chatstore_items DISABLE ROW LEVEL SECURITY")
    assert await asyncio.to_thread(main, ["migrate", guarded.owner_url, "--row-security"]) == 0
    await _opened(guarded.url, row_security=True)
    capsys.readouterr()
    assert await asyncio.to_thread(main, ["migrate", "postgresql://host/db", "--sql", "--row-security"]) == 0
    printed = capsys.readouterr().out
    assert "ALTER TABLE chatstore_items FORCE ROW LEVEL SECURITY;" in printed
    assert "GRANT" not in printed
