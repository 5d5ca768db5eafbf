"""An upgrade under 64 writers is killed in the middle and run again by eight processes at once: nothing is lost."""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import uuid
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from scale import scaled, tell

from chatstore import open_store
from chatstore.sql import schema
from chatstore.sql.engines import make_engine
from chatstore.sql.tables import make_tables
from chatstore.testing.faults.crew import Crew
from chatstore.testing.faults.history import check
from chatstore.testing.faults.workload import Workload, thread_values
from chatstore.testing.processes import environment
from chatstore.testing.servers import PostgreSQLServer

NewDatabase: TypeAlias = Callable[[], Awaitable[str]]
"""Makes a database at the revision before the newest and returns its URL."""

pytestmark = pytest.mark.timeout(scaled(300, 3600))

ROUNDS = scaled(3, 30)
PROCESSES, WRITERS, THREADS = 8, 64, 8
STATEMENTS = 12
"""As many as a first migration has at the least."""
LAST_STATEMENTS = 2
"""Those of the newest revision alone."""
ROOT = schema.MIGRATIONS.parent
SURROUNDINGS = environment() | {"PYTHONPATH": str(ROOT)}


async def run(*words: str) -> str:
    """Run a program of Python to its end, which must be a good one, and return what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, cwd=ROOT, env=SURROUNDINGS, stdout=PIPE, stderr=PIPE
    )
    said = b"".join(await process.communicate()).decode()
    assert process.returncode == 0, said
    return said


async def make_older(url: str) -> None:
    await run("-m", "alembic", "-x", f"url={url}", "upgrade", "head-1")


@pytest.fixture
async def new_sqlite(tmp_path: Path) -> NewDatabase:
    await make_older(f"sqlite:///{tmp_path}/older.db")

    async def new() -> str:
        path = tmp_path / f"{uuid.uuid4().hex}.db"
        shutil.copyfile(tmp_path / "older.db", path)
        return f"sqlite:///{path}"

    return new


@pytest.fixture
async def new_postgresql(postgresql_server: PostgreSQLServer) -> AsyncIterator[NewDatabase]:
    template = f"chatstore_older_{uuid.uuid4().hex}"
    made = [template]
    await make_older(await postgresql_server.create_database(template))

    async def new() -> str:
        made.append(f"chatstore_test_{uuid.uuid4().hex}")
        return await postgresql_server.create_database(made[-1], template=template)

    yield new
    for name in made:
        await postgresql_server.drop_database(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest) -> NewDatabase:
    found: NewDatabase = request.getfixturevalue(f"new_{request.param}")
    return found


async def kill_at(url: str, statement: int) -> bool:
    """Begin the upgrade and kill its process at one of the statements; return whether it was under way."""
    program = Path(__file__).with_name("migrating.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, url, cwd=ROOT, env=SURROUNDINGS, stdout=PIPE, stderr=DEVNULL
    )
    assert process.stdout is not None
    for _ in range(statement):
        await process.stdout.readline()
    await asyncio.sleep(random.uniform(0, 0.005))
    if process.returncode is None:
        process.kill()
    return await process.wait() < 0


async def write_on(crew: Crew) -> None:
    """Wait until every writer may have written once more."""
    goal = crew.acknowledged() + WRITERS
    async with asyncio.timeout(60):
        while crew.acknowledged() < goal:  # noqa: ASYNC110  other processes
            await asyncio.sleep(0.02)


async def differences(url: str) -> list[Any]:
    """Return where the schema is not what the code declares."""

    def compare(connection: sa.Connection) -> list[Any]:
        tables = make_tables()
        options = {"compare_type": True, "version_table": tables.version}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), tables.metadata))

    engine = make_engine(url)
    async with engine.connect() as connection:
        found: list[Any] = await connection.run_sync(compare)
    await engine.dispose()
    return found


async def test_an_upgrade_under_writers_that_is_killed_and_run_by_eight_at_once_loses_nothing(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    """The writers are a release before: their code knows nothing of the newer tables, and never tries again."""
    killed = appends = 0
    for number in range(ROUNDS):
        url, folder = await new_database(), tmp_path / str(number)
        folder.mkdir()
        crew = Crew(url, folder)
        options = ["--writers", str(WRITERS // 2), "--threads", str(THREADS), "--pace", "0.05", "--migrate", "off"]
        async with crew.at_work(options, options):
            await write_on(crew)
            killed += await kill_at(url, random.randint(1, LAST_STATEMENTS))
            await write_on(crew)
            await asyncio.gather(*(run("-m", "chatstore", "migrate", url) for _ in range(PROCESSES)))
            await write_on(crew)
        assert await differences(url) == []
        async with open_store(url, migrate="check") as store:
            rooms = [Workload("", WRITERS, THREADS).thread_id(thread) for thread in range(THREADS)]
            final = {room: await thread_values(store.store, room) for room in rooms}
        seen = crew.seen()
        assert not check(seen.appends, seen.reads, final)
        assert seen.failures == []
        appends += crew.acknowledged()
    assert killed > 0
    tell(f"{ROUNDS} upgrades under {WRITERS} writers, {killed} killed: {appends} acknowledged, 0 failed, 0 lost")


async def test_a_first_migration_that_is_killed_anywhere_is_made_whole_by_the_next(
    empty_sqlite_url: str, postgresql_server: PostgreSQLServer
) -> None:
    for _ in range(ROUNDS):
        name = f"chatstore_test_{uuid.uuid4().hex}"
        path = Path(empty_sqlite_url.removeprefix("sqlite:///")).with_name(f"{name}.db")
        for url in (f"sqlite:///{path}", await postgresql_server.create_database(name)):
            assert await kill_at(url, random.randint(1, STATEMENTS))
            async with open_store(url) as store:
                await store.for_user("ann").create_thread(id="t")
            assert await differences(url) == []
        await postgresql_server.drop_database(name)
