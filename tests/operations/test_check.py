"""check(): ready where a request would be served, and else what is wrong and what to do; never a lie."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from chatstore import ChatStore, Deadlines, InvalidInputError, open_store
from chatstore.blobs.memory import MemoryBlobs
from chatstore.blobs.s3 import S3Blobs
from chatstore.readiness import Readiness
from chatstore.sql import schema
from chatstore.stores.memory import MemoryStore
from chatstore.sweeping import PROBES
from chatstore.testing.faults.disks import DiskUnavailable, small_disk
from chatstore.testing.faults.proxy import Proxy
from chatstore.testing.servers import PostgreSQLServer, S3Server

SOON = timedelta(seconds=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


async def execute(url: str, *statements: str) -> None:
    """Run statements on the database, by others than the store."""
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as other:
            for statement in statements:
                other.execute(statement)
        other.close()
        return
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def count(url: str) -> int:
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as other:
            found = int(other.execute("SELECT count(*) FROM chatstore_probes").fetchone()[0])
        other.close()
        return found
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM chatstore_probes"))
    finally:
        await connection.close()


def wrong(readiness: Readiness, name: str = "database") -> str:
    """Return what is said of the one part that is not ready."""
    assert not readiness.ok
    (part,) = [part for part in readiness.parts if not part.ok]
    assert part.name == name
    assert part.message is not None
    return part.message


@pytest.mark.parametrize("blobs", ["memory://", "file:blobs", "sql"])
async def test_a_store_that_works_is_ready_and_keeps_nothing_of_the_check(
    database: str, blobs: str, tmp_path: Path
) -> None:
    async with open_store(database, blobs=f"file:{tmp_path}/blobs" if blobs == "file:blobs" else blobs) as store:
        readiness = await store.check()
        assert readiness.ok
        assert [(part.name, part.ok, part.message) for part in readiness.parts] == [
            ("database", True, None),
            ("blobs", True, None),
        ]
        assert all(part.latency_ms > 0 for part in readiness.parts)
        assert json.loads(json.dumps(readiness.model_dump())) == json.loads(readiness.model_dump_json())
        assert store.blobs is not None
        assert [key async for key, _ in store.blobs.list()] == []
    assert await count(database) == 0


async def test_the_memory_store_is_ready() -> None:
    async with open_store("memory://") as store:
        assert [(part.name, part.ok) for part in (await store.check()).parts] == [("database", True)]


async def test_a_store_can_be_checked_before_it_is_used(database: str) -> None:
    store = open_store(database)
    assert (await store.check()).ok
    await store.aclose()


async def test_a_closed_store_is_not_ready_and_says_so(database: str) -> None:
    store = open_store(database, blobs="memory://")
    await store.aclose()
    readiness = await store.check()
    assert [part.ok for part in readiness.parts] == [False, False]
    assert all("closed" in str(part.message) for part in readiness.parts)


@pytest.mark.parametrize("table", ["threads", "items", "attachments", "usage", "deletions", "chunks", "probes"])
async def test_a_table_that_is_missing_is_noticed_although_the_store_is_open(database: str, table: str) -> None:
    async with open_store(database) as store:
        assert (await store.check()).ok
        cascade = "" if database.startswith("sqlite") else "CASCADE"
        await execute(database, f"DROP TABLE chatstore_{table} {cascade}")
        assert "run `chatstore migrate" in wrong(await store.check())


async def test_tables_that_were_never_made_are_missing(empty_sqlite_url: str, empty_postgresql_url: str) -> None:
    for url in (empty_sqlite_url, empty_postgresql_url):
        for migrate in ("check", "off"):
            store = open_store(url, migrate=migrate)
            assert "the tables are missing; run `chatstore migrate" in wrong(await store.check())
            await store.aclose()


async def test_tables_that_nobody_looks_after_are_ready_at_any_revision_that_works(database: str) -> None:
    for revision in (schema.HEAD, "0001"):
        await execute(database, f"UPDATE chatstore_version SET version_num = '{revision}'")
        async with open_store(database, migrate="off") as store:
            assert (await store.check()).ok


async def test_an_outdated_schema_is_not_ready(database: str) -> None:
    await execute(database, "UPDATE chatstore_version SET version_num = '0001'")
    store = open_store(database, migrate="check")
    assert f"revision 0001, older than the {schema.HEAD} of this code; run" in wrong(await store.check())
    await store.aclose()


async def test_a_schema_that_is_set_back_under_an_open_store_is_not_ready(database: str) -> None:
    async with open_store(database) as store:
        await execute(database, "UPDATE chatstore_version SET version_num = '0001'")
        assert "older than" in wrong(await store.check())


async def test_a_version_table_that_is_empty_is_not_ready(database: str) -> None:
    async with open_store(database) as store:
        await execute(database, "DELETE FROM chatstore_version")
        assert "the tables are missing" in wrong(await store.check())


async def test_tables_without_a_revision_are_missing_to_a_store_that_is_opened_then(database: str) -> None:
    await execute(database, "DELETE FROM chatstore_version")
    for migrate in ("check", "off"):
        store = open_store(database, migrate=migrate)
        assert "the tables are missing; run `chatstore migrate" in wrong(await store.check())
        await store.aclose()


async def test_a_row_that_was_written_and_cannot_be_read_is_not_ready(sqlite_url: str) -> None:
    lose = "CREATE TRIGGER lose AFTER INSERT ON chatstore_probes BEGIN DELETE FROM chatstore_probes; END"
    await execute(sqlite_url, lose)
    async with open_store(sqlite_url) as store:
        assert "cannot be read" in wrong(await store.check())


async def test_a_newer_schema_is_not_ready_for_a_store_that_is_opened_now(database: str) -> None:
    await execute(database, "UPDATE chatstore_version SET version_num = '9999'")
    store = open_store(database)
    assert "install a newer chatstore-py" in wrong(await store.check())
    await store.aclose()


async def test_a_store_that_is_open_serves_on_while_a_newer_version_is_rolled_out(database: str) -> None:
    async with open_store(database) as store:
        await execute(database, "UPDATE chatstore_version SET version_num = '9999'")
        readiness = await store.check()
        assert readiness.ok
        assert "revision 9999, newer than" in str(readiness.parts[0].message)


async def test_a_read_only_server_is_not_ready(postgresql_url: str) -> None:
    async with open_store(postgresql_url) as store:
        name = postgresql_url.rpartition("/")[2].partition("?")[0]
        await execute(postgresql_url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        await execute(
            postgresql_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        assert "read-only" in wrong(await store.check(within=SOON))
        await execute(
            postgresql_url,
            "SET default_transaction_read_only = off",
            f'ALTER DATABASE "{name}" RESET default_transaction_read_only',
        )
        await until_ready(store)


async def test_a_read_only_file_is_not_ready(sqlite_url: str) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    engine = create_async_engine(f"sqlite+aiosqlite:///file:{path}?mode=ro&uri=true")
    store = open_store(engine)
    assert "cannot be written to" in wrong(await store.check(within=SOON))
    await store.aclose()
    await engine.dispose()


@contextmanager
def disk() -> Iterator[Path]:
    """A small disk, where one can be mounted."""
    try:
        with small_disk(2_000_000) as folder:
            yield folder
    except DiskUnavailable as error:
        pytest.skip(f"no disk can be mounted: {error}")


def fill(folder: Path) -> None:
    with suppress(OSError), (folder / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(b"x" * 512)


async def test_a_full_disk_is_not_ready(sqlite_url: str) -> None:
    with disk() as folder:
        shutil.copyfile(sqlite_url.removeprefix("sqlite:///"), folder / "chat.db")
        async with open_store(f"sqlite:///{folder}/chat.db") as store:
            fill(folder)
            assert "full" in wrong(await store.check())
            (folder / "ballast").unlink()
            assert (await store.check()).ok


async def test_a_full_disk_of_blobs_is_not_ready() -> None:
    with disk() as folder:
        async with open_store("memory://", blobs=f"file:{folder}/blobs") as store:
            fill(folder)
            assert "free space" in wrong(await store.check(), "blobs")
            (folder / "ballast").unlink()
            assert (await store.check()).ok


async def test_a_folder_of_blobs_that_is_gone_is_not_ready(sqlite_url: str, tmp_path: Path) -> None:
    async with open_store(sqlite_url, blobs=f"file:{tmp_path}/blobs") as store:
        assert (await store.check()).ok
        folder = tmp_path / "blobs"
        os.rename(folder, tmp_path / "elsewhere")
        folder.write_bytes(b"")
        assert wrong(await store.check(), "blobs")


async def test_a_server_that_is_away_is_named_within_the_deadline_and_well_again_by_itself(
    start_server: Any,
) -> None:
    server = start_server(PostgreSQLServer())
    url = await server.create_database("checked")
    async with open_store(url) as store:
        assert (await store.check()).ok
        server.kill()
        began = time.monotonic()
        message = wrong(await store.check(within=SOON))
        assert time.monotonic() - began < 2
        assert "no answer within 1 s" in message
        assert "server" in message or "connection" in message
        await asyncio.to_thread(server.restart)
        await until_ready(store)


async def test_a_black_hole_is_bounded_by_the_deadline(postgresql_url: str) -> None:
    deadlines = Deadlines(command=2)
    async with (
        Proxy.before(postgresql_url) as proxy,
        open_store(proxy.url(postgresql_url), deadlines=deadlines) as store,
    ):
        assert (await store.check()).ok
        proxy.black_hole()
        for _ in range(3):
            began = time.monotonic()
            assert "no answer within 0.3 s" in wrong(await store.check(within=timedelta(seconds=0.3)))
            assert time.monotonic() - began < 1
        proxy.heal()
        await until_ready(store)
    assert await count(postgresql_url) == 0


async def test_a_blob_store_that_is_away_is_named(sqlite_url: str, start_server: Any, s3_credentials: None) -> None:
    server = start_server(S3Server())
    store = open_store(sqlite_url, blobs=S3Blobs("bucket", endpoint_url=server.url(), region="us-east-1"))
    assert "bucket" in wrong(await store.check(), "blobs")
    server.kill()
    assert wrong(await store.check(within=SOON), "blobs")
    await store.aclose()


async def test_a_server_that_was_never_there_is_named() -> None:
    store = open_store("postgresql://user@127.0.0.1:1/db", deadlines=Deadlines(pool=1, connect=1, command=1))
    for _ in range(2):  # the second waits for the first one's connecting
        assert "the server cannot be reached; no answer within 1 s" in wrong(await store.check(within=SOON))
    await store.aclose()


async def test_many_processes_that_check_at_once_do_not_meet(database: str) -> None:
    stores = [open_store(database, blobs="sql") for _ in range(6)]
    answers = await asyncio.gather(*(store.check(within=timedelta(seconds=20)) for store in stores for _ in range(5)))
    assert [answer for answer in answers if not answer.ok] == []
    for store in stores:
        await store.aclose()
    assert await count(database) == 0


async def test_what_a_killed_check_has_left_is_removed_by_a_later_one(database: str) -> None:
    now = time.time_ns() // 1000
    hour = 3_600_000_000
    async with open_store(database) as store:
        rows = [("old", now - 2 * hour), ("new", now)]
        await execute(database, *(f"INSERT INTO chatstore_probes VALUES ('{id}', {written})" for id, written in rows))
        assert (await store.check()).ok
        assert await count(database) == 1


async def test_the_blob_of_a_check_is_neither_an_orphan_nor_swept_while_it_is_new(sqlite_url: str) -> None:
    async with open_store(sqlite_url, blobs="memory://") as store:
        assert store.blobs is not None
        await store.blobs.put(f"{PROBES}abc", b"x", content_type="text/plain")
        await store.blobs.put("orphan/abc", b"x", content_type="text/plain")
        assert [finding.key async for finding in store.admin().verify()] == ["orphan/abc"]
        assert (await store.admin().sweep(grace=timedelta())).orphans == 1
        assert [key async for key, _ in store.blobs.list()] == [f"{PROBES}abc"]


async def test_the_blob_of_a_killed_check_is_swept_after_an_hour(sqlite_url: str, tmp_path: Path) -> None:
    async with open_store(sqlite_url, blobs=f"file:{tmp_path}") as store:
        assert store.blobs is not None
        await store.blobs.put(f"{PROBES}abc", b"x", content_type="text/plain")
        (path,) = [path for path in tmp_path.rglob("abc*") if path.is_file()]
        os.utime(path, (time.time() - 4000,) * 2)
        assert (await store.admin().sweep()).orphans == 1


class Failing(MemoryStore):
    """Says something that is a secret."""

    async def check(self) -> str | None:
        raise RuntimeError("password=hunter2")


class Forgetful(MemoryBlobs):
    """Gives other bytes than it was given."""

    async def read(self, key: str) -> bytes:
        return b"other"


async def test_what_a_third_partys_error_says_is_not_repeated() -> None:
    async with ChatStore(Failing(), MemoryBlobs()) as store:
        assert wrong(await store.check()) == "RuntimeError"


async def test_a_blob_store_that_gives_other_bytes_is_not_ready_and_left_clean() -> None:
    blobs = Forgetful()
    async with ChatStore(MemoryStore(), blobs) as store:
        assert "other bytes" in wrong(await store.check(), "blobs")
        assert [key async for key, _ in blobs.list()] == []


class Slow(MemoryStore):
    """Answers when it is told to, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.answer = asyncio.Event()

    async def check(self) -> str | None:
        self.asked += 1
        await self.answer.wait()
        return None


async def test_checks_at_the_same_time_ask_once() -> None:
    slow = Slow()
    async with ChatStore(slow) as store:
        checks = [asyncio.ensure_future(store.check()) for _ in range(10)]
        await asyncio.sleep(0)
        slow.answer.set()
        assert all(answer.ok for answer in await asyncio.gather(*checks))
        assert slow.asked < 3


async def test_a_caller_who_leaves_takes_nobody_else_along() -> None:
    slow = Slow()
    async with ChatStore(slow) as store:
        one, other = (asyncio.ensure_future(store.check()) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()
        await asyncio.wait([one])
        slow.answer.set()
        assert (await other).ok


@pytest.mark.parametrize("within", [timedelta(), timedelta(seconds=-1), 3])
async def test_a_deadline_that_is_none_is_refused(within: Any) -> None:
    async with open_store("memory://") as store:
        with pytest.raises(InvalidInputError, match="within"):
            await store.check(within=within)


async def until_ready(store: ChatStore) -> None:
    """Return once the store is ready; it becomes so by itself."""
    async with asyncio.timeout(30):
        while not (await store.check()).ok:
            pass
