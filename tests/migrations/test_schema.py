"""The schema is what the migrations make of an empty database, and nothing else."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine

from chatstore import ConfigurationError, Item, SchemaError, open_store
from chatstore.cli import main
from chatstore.sql import schema
from chatstore.sql.engines import make_engine
from chatstore.sql.tables import make_tables
from chatstore.stores.sql import SQLStore

ROOT = Path(schema.MIGRATIONS).parent


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"empty_{request.param}_url")
    return url


async def on_connection(url: str, work: Any) -> Any:
    engine = make_engine(url)
    async with engine.connect() as connection:
        result = await connection.run_sync(work)
        await connection.commit()
    await engine.dispose()
    return result


def test_the_code_works_with_the_newest_revision() -> None:
    script = ScriptDirectory(str(schema.MIGRATIONS))
    assert script.get_current_head() == schema.HEAD


@pytest.mark.parametrize("place", [{}, {"prefix": "t" * 40}], ids=["default", "longest prefix"])
async def test_the_migrated_schema_equals_the_tables(empty_url: str, place: dict[str, str]) -> None:
    async with open_store(empty_url, **place):  # type: ignore[arg-type]
        pass

    def differences(connection: sa.Connection) -> list[Any]:
        tables = make_tables(**place)
        options = {"compare_type": True, "version_table": tables.version}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), tables.metadata))

    assert await on_connection(empty_url, differences) == []


async def test_the_tables_can_live_in_a_schema_of_their_own(empty_postgresql_url: str) -> None:
    async with open_store(empty_postgresql_url, schema="Talk") as store:
        ann = store.for_user("ann")
        thread = await ann.create_thread()
        await ann.add_thread_item(thread.id, Item(type="note", data={}))

    def found(connection: sa.Connection) -> tuple[list[str], list[str]]:
        inspector = sa.inspect(connection)
        return inspector.get_table_names(schema="Talk"), inspector.get_table_names()

    in_schema, elsewhere = await on_connection(empty_postgresql_url, found)
    assert set(in_schema) == {table.name for table in make_tables().metadata.sorted_tables} | {"chatstore_version"}
    assert elsewhere == []


async def test_two_stores_and_a_host_share_a_database_untouched(empty_url: str) -> None:
    def make_host(connection: sa.Connection) -> None:
        connection.execute(sa.text("CREATE TABLE host (id integer)"))

    await on_connection(empty_url, make_host)
    async with open_store(empty_url, prefix="one_") as one, open_store(empty_url, prefix="two_") as two:
        await one.for_user("ann").create_thread(id="t", title="one")
        await two.for_user("ann").create_thread(id="t", title="two")
        assert (await one.for_user("ann").load_thread("t")).title == "one"
        assert (await two.for_user("ann").load_thread("t")).title == "two"

    def host_sees(connection: sa.Connection) -> list[Any]:
        names = schema.without_chatstore_tables("one_"), schema.without_chatstore_tables("two_")
        options = {"include_name": lambda *of: all(include(*of) for include in names)}
        metadata = sa.MetaData()
        sa.Table("host", metadata, sa.Column("id", sa.Integer))
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    loaded = await asyncio.to_thread(schema._load_script)

    def store_sees(connection: sa.Connection) -> list[Any]:
        tables = make_tables("one_")
        with EnvironmentContext(*loaded) as context:
            schema.configure(context, tables, connection=connection)
            return list(compare_metadata(context.get_context(), tables.metadata))

    assert await on_connection(empty_url, host_sees) == []
    assert await on_connection(empty_url, store_sees) == []


async def test_check_names_the_command_and_makes_nothing(empty_url: str) -> None:
    store = open_store(empty_url, migrate="check")
    with pytest.raises(SchemaError, match="run `chatstore migrate"):
        await store.for_user("ann").load_threads()
    await store.aclose()
    assert await on_connection(empty_url, lambda connection: sa.inspect(connection).get_table_names()) == []


async def test_a_store_that_cannot_be_entered_keeps_no_connection(empty_url: str) -> None:
    store = open_store(empty_url, migrate="check")
    for _ in range(2):
        with pytest.raises(SchemaError):
            async with store:
                pytest.fail("entered without tables")
    assert isinstance(store.store.wrapped, SQLStore)
    pool: Any = store.store.wrapped.database._engine.pool
    assert (pool.checkedin(), pool.checkedout()) == (0, 0)
    await store.aclose()


async def test_off_does_not_migrate(empty_url: str) -> None:
    async with open_store(empty_url):
        pass
    async with open_store(empty_url, migrate="off") as store:
        assert (await store.for_user("ann").load_threads()).data == []


async def test_off_on_an_empty_database_is_a_schema_error(empty_url: str) -> None:
    store = open_store(empty_url, migrate="off")
    with pytest.raises(SchemaError):
        await store.for_user("ann").load_threads()
    await store.aclose()


@pytest.mark.parametrize("migrate", ["auto", "check"])
async def test_a_newer_schema_is_refused_and_left_alone(empty_url: str, migrate: Any) -> None:
    async with open_store(empty_url):
        pass

    def advance(connection: sa.Connection) -> None:
        connection.execute(sa.text("UPDATE chatstore_version SET version_num = '9999'"))

    await on_connection(empty_url, advance)
    store = open_store(empty_url, migrate=migrate)
    with pytest.raises(SchemaError, match="install a newer chatstore-py"):
        await store.for_user("ann").load_threads()
    await store.aclose()


async def test_eight_processes_migrate_at_once(empty_url: str) -> None:
    command = [sys.executable, "-m", "chatstore", "migrate", empty_url]
    pipe = subprocess.PIPE
    processes = [await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe) for _ in range(8)]
    outputs = [b"".join(await process.communicate()).decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, outputs
    async with open_store(empty_url, migrate="check") as store:
        await store.for_user("ann").create_thread()


async def test_many_stores_of_one_process_migrate_at_once(empty_url: str) -> None:
    stores = [open_store(empty_url) for _ in range(4)]
    await asyncio.gather(*(store.for_user("ann").create_thread(id=str(n)) for n, store in enumerate(stores)))
    assert len((await stores[0].for_user("ann").load_threads()).data) == 4
    for store in stores:
        await store.aclose()


async def test_stores_of_different_databases_migrate_at_once(tmp_path: Path, empty_postgresql_url: str) -> None:
    """Alembic has one context in a process: two migrations at once would write into each other's database."""
    urls = [f"sqlite:///{tmp_path}/{number}.db" for number in range(8)] + [empty_postgresql_url]

    async def use(url: str) -> str | None:
        async with open_store(url) as store:
            return (await store.for_user("ann").create_thread(title=url)).title

    assert await asyncio.gather(*(use(url) for url in urls)) == urls


def test_down_and_up_again(empty_sqlite_url: str) -> None:
    alembic = [sys.executable, "-m", "alembic", "-x", f"url={empty_sqlite_url}"]
    for words in (["upgrade", "head"], ["downgrade", "base"], ["upgrade", "head"], ["check"]):
        done = subprocess.run([*alembic, *words], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


async def test_an_older_schema_is_named_and_brought_up_with_its_data(empty_sqlite_url: str) -> None:
    command = [sys.executable, "-m", "alembic", "-x", f"url={empty_sqlite_url}", "upgrade", "0001"]
    await asyncio.to_thread(subprocess.run, command, cwd=ROOT, check=True, capture_output=True)

    def fill(connection: sa.Connection) -> None:
        connection.exec_driver_sql(
            "INSERT INTO chatstore_attachments"
            " (tenant, user_id, id, name, mime_type, state, metadata, created_at, instant)"
            " VALUES ('', 'ann', 'a', 'cat.png', 'image/png', 'pending', '{}', '2026-01-01T00:00:00+00:00', 0)"
        )

    await on_connection(empty_sqlite_url, fill)
    outdated = open_store(empty_sqlite_url, migrate="check")
    with pytest.raises(SchemaError, match="at revision 0001, older"):
        await outdated.for_user("ann").load_threads()
    await outdated.aclose()
    async with open_store(empty_sqlite_url) as store:
        assert (await store.for_user("ann").load_attachment("a")).name == "cat.png"


async def test_a_failed_migration_leaves_nothing_and_can_be_run_again(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = schema._run

    def fail_at_the_end(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        raise RuntimeError("stopped before the commit")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "_run", fail_at_the_end)
        store = open_store(empty_url)
        with pytest.raises(RuntimeError):
            await store.for_user("ann").load_threads()
        await store.aclose()
    assert await on_connection(empty_url, lambda connection: sa.inspect(connection).get_table_names()) == []
    async with open_store(empty_url) as store:
        await store.for_user("ann").create_thread()


async def test_the_printed_ddl_makes_a_database_that_passes_the_check(
    empty_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await asyncio.to_thread(main, ["migrate", empty_url, "--sql"]) == 0
    ddl = capsys.readouterr().out

    def run(connection: sa.Connection) -> None:
        for statement in ddl.split(";"):
            lines = [line for line in statement.splitlines() if line.strip() and not line.startswith("--")]
            if lines and lines[0] not in ("BEGIN", "COMMIT"):
                connection.exec_driver_sql("\n".join(lines))

    await on_connection(empty_url, run)
    async with open_store(empty_url, migrate="check") as store:
        await store.for_user("ann").create_thread()


def test_the_command_checks_and_migrates(empty_sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", empty_sqlite_url, "--check"]) == 1
    assert "chatstore migrate" in capsys.readouterr().err
    assert main(["migrate", empty_sqlite_url]) == 0
    assert main(["migrate", empty_sqlite_url, "--check"]) == 0


def test_the_command_wants_a_url(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHATSTORE_URL", raising=False)
    assert main(["migrate"]) == 1
    assert "CHATSTORE_URL" in capsys.readouterr().err


@pytest.mark.parametrize("prefix", ["", "a" * 41, "a-b", "é", None, 'a"b'])
def test_a_prefix_that_no_database_takes_is_refused(prefix: Any) -> None:
    with pytest.raises(ConfigurationError, match="prefix"):
        open_store("memory://", prefix=prefix)


def test_sqlite_has_no_schemas(empty_sqlite_url: str) -> None:
    with pytest.raises(ConfigurationError, match="prefix"):
        open_store(empty_sqlite_url, schema="talk")


def test_a_wheel_carries_the_migrations(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    program = (
        "import sys, chatstore.cli, chatstore.sql.schema as schema;"
        f"assert str(schema.MIGRATIONS).startswith({str(tmp_path)!r}), schema.MIGRATIONS;"
        f"sys.exit(chatstore.cli.main(['migrate', {url!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


async def test_a_callers_engine_is_migrated_on_its_own_connections(empty_sqlite_url: str) -> None:
    engine = create_async_engine(empty_sqlite_url.replace("sqlite:", "sqlite+aiosqlite:"))
    async with open_store(engine) as store:
        await store.for_user("ann").create_thread(id="t")
    async with engine.connect() as connection:
        assert (await connection.execute(sa.text("SELECT id FROM chatstore_threads"))).scalar_one() == "t"
    await engine.dispose()
