"""Blobs in the database pass the whole suite, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from chatstore.blobs.sql import ROW_BYTES, SQLBlobs
from chatstore.errors import IntegrityError
from chatstore.protocols import BlobStore
from chatstore.sql.dialects import PostgreSQL, Values
from chatstore.sql.statements import Statement
from chatstore.stores.sql import open_sql
from chatstore.testing.blob_suite import BlobTests
from chatstore.testing.blob_suites.lifecycle import Reopen
from chatstore.testing.servers import PostgreSQLServer

At = Callable[[str], Reopen]


@pytest.fixture
async def blobs_at() -> AsyncIterator[At]:
    """Open blob stores on a URL, closed with their databases at the end of the test."""
    async with AsyncExitStack() as opened:

        def at(url: str) -> Reopen:
            async def open_blobs() -> BlobStore:
                store = open_sql(url, migrate="auto", schema=None, prefix="chatstore_", max_item_bytes=1, coalesce=True)
                await opened.enter_async_context(store)
                return await opened.enter_async_context(SQLBlobs(store.database))

            return open_blobs

        yield at


class TestSQLiteBlobs(BlobTests):
    @pytest.fixture
    async def blobs(self, sqlite_url: str, blobs_at: At) -> BlobStore:
        return await blobs_at(sqlite_url)()

    @pytest.fixture
    def reopen(self, sqlite_url: str, blobs_at: At) -> Reopen:
        return blobs_at(sqlite_url)


@pytest.fixture(scope="module")
def url(postgresql_server: PostgreSQLServer) -> str:
    return asyncio.run(postgresql_server.create_database(f"chatstore_blobs_{uuid.uuid4().hex}"))


class TestPostgreSQLBlobs(BlobTests):
    @pytest.fixture
    async def blobs(self, url: str, blobs_at: At) -> BlobStore:
        blobs = await blobs_at(url)()
        connection = await asyncpg.connect(url)
        await connection.execute("TRUNCATE chatstore_blobs, chatstore_chunks")
        await connection.close()
        return blobs

    @pytest.fixture
    def reopen(self, url: str, blobs_at: At) -> Reopen:
        return blobs_at(url)


async def test_a_blob_that_is_deleted_while_it_is_replaced_is_there_with_the_new_bytes(
    url: str, blobs_at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was in the way of the insert is gone when it is to be locked."""
    blobs = await blobs_at(url)()
    await blobs.put("ab/raced", b"old", content_type="text/plain")
    fetch = PostgreSQL.fetch

    async def fetch_after_the_delete(self: PostgreSQL, driver: Any, statement: Statement, values: Values) -> Any:
        if statement.sql.startswith("SELECT number, sha256"):
            monkeypatch.setattr(PostgreSQL, "fetch", fetch)
            await blobs.delete("ab/raced")
        return await fetch(self, driver, statement, values)

    monkeypatch.setattr(PostgreSQL, "fetch", fetch_after_the_delete)
    await blobs.put("ab/raced", b"new", content_type="text/plain")
    assert await blobs.read("ab/raced") == b"new"
    assert PostgreSQL.fetch is fetch, "it was deleted in between"


async def test_a_blob_of_which_a_row_is_missing_is_damaged_and_not_shorter(url: str, blobs_at: At) -> None:
    blobs = await blobs_at(url)()
    await blobs.put("ab/damaged", bytes(2 * ROW_BYTES), content_type="text/plain")
    connection = await asyncpg.connect(url)
    await connection.execute("DELETE FROM chatstore_chunks WHERE key = 'ab/damaged' AND start > 0")
    await connection.close()
    with pytest.raises(IntegrityError, match=r"^read: bytes of blob 'ab/damaged' are missing$"):
        await blobs.read("ab/damaged")
