"""A PostgreSQL database with row security, and the application role that it holds for."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import asyncpg

from chatstore.cli import main
from chatstore.testing.servers import PostgreSQLServer


class Guarded:
    """``owner_url`` is for the role that made the tables, ``url`` for the application's."""

    def __init__(self, owner_url: str, role: str) -> None:
        self.owner_url = owner_url
        self.role = role
        parts = urlsplit(owner_url)
        self.url = parts._replace(netloc=f"{role}:{role}@{parts.netloc.rpartition('@')[2]}").geturl()

    async def execute(self, sql: str) -> None:
        """Run SQL as the role that made the tables."""
        connection = await asyncpg.connect(self.owner_url)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()


@contextmanager
def guarded_database(server: PostgreSQLServer) -> Iterator[Guarded]:
    """Yield a new database whose tables have row security; it and its role are dropped at the end."""
    name = f"chatstore_guarded_{uuid.uuid4().hex}"
    guarded = Guarded(asyncio.run(server.create_database(name)), name)
    asyncio.run(guarded.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'"))
    assert main(["migrate", guarded.owner_url, "--row-security", "--role", name]) == 0
    yield guarded
    asyncio.run(server.drop_database(name))
    asyncio.run(Guarded(server.url(), name).execute(f"DROP ROLE {name}"))
