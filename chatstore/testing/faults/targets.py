"""What a run torments: a database of its own, on a server that is started or named by a URL, or in a SQLite file."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import uuid
from asyncio.subprocess import Process
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from chatstore.errors import ConfigurationError
from chatstore.testing.faults.killing import ServerKiller, connected, terminate_backends
from chatstore.testing.faults.proxy import Proxy
from chatstore.testing.servers import PostgreSQLServer, ServerUnavailable

_REFUSED_SECONDS = 0.5


class Target(Protocol):
    """A database of its own, which is gone when the ``async with`` block is left."""

    name: str
    """What a report calls it."""
    kills_writers: bool
    """Whether a fault ends the processes that write, which are then started anew."""

    @property
    def url(self) -> str:
        """Where the writers find it."""
        ...

    async def fault(self, number: int, writers: Sequence[Process]) -> str:
        """Do the next harm, return its name once the database accepts connections again."""
        ...

    async def broken(self) -> list[str]:
        """Return what the database itself finds to be wrong."""
        ...

    async def __aenter__(self) -> Self:
        """Make it."""
        ...

    async def __aexit__(self, *exc_info: object) -> None:
        """Remove it."""
        ...


class OwnServer:
    """A PostgreSQL server that is started for the run: the whole server and single backends are killed in turn."""

    name = "a PostgreSQL server of its own"
    kills_writers = False

    def __init__(self) -> None:
        self._server = PostgreSQLServer()

    @property
    def url(self) -> str:
        """The URL of the database."""
        return self._server.url("torture")

    async def fault(self, number: int, writers: Sequence[Process]) -> str:
        """Kill the server, or one of its backends, with SIGKILL."""
        killer = ServerKiller(self._server, "torture")
        if number % 2 and await killer.kill_backend():
            return "backend killed"
        await killer.kill_server()
        return "server killed"

    async def broken(self) -> list[str]:
        """Return nothing: PostgreSQL has no check of its own."""
        return []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.to_thread(_started)
        await self._server.create_database("torture")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.to_thread(self._server.stop)


class NamedServer:
    """A database of its own on somebody's server, through a proxy: lines are cut and backends of its own ended."""

    kills_writers = False

    def __init__(self, url: str) -> None:
        self._given = url
        self._database = f"chatstore_torture_{uuid.uuid4().hex}"
        self._direct = urlsplit(url)._replace(path=f"/{self._database}").geturl()
        self._proxy = Proxy.before(self._direct)
        self.name: str = f"a database of its own at {urlsplit(url).hostname}"

    @property
    def url(self) -> str:
        """The URL of the database, through the proxy."""
        return self._proxy.url(self._direct)

    async def fault(self, number: int, writers: Sequence[Process]) -> str:
        """Cut every line and refuse new ones for a while, or let the server end the backends of this database."""
        if number % 2:
            await terminate_backends(self._direct)
            return "backends ended"
        await self._proxy.refuse()
        await asyncio.sleep(_REFUSED_SECONDS)
        await self._proxy.accept()
        return "lines cut"

    async def broken(self) -> list[str]:
        """Return nothing: PostgreSQL has no check of its own."""
        return []

    async def __aenter__(self) -> Self:
        await self._execute(f'CREATE DATABASE "{self._database}"')
        await self._proxy.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._proxy.__aexit__()
        await self._execute(f'DROP DATABASE IF EXISTS "{self._database}" WITH (FORCE)')

    async def _execute(self, statement: str) -> None:
        async with connected(self._given) as connection:
            await connection.execute(statement)


class OwnFile:
    """A SQLite file that does not exist yet: the processes that write to it are killed."""

    kills_writers = True

    def __init__(self, url: str) -> None:
        self._path = Path(url.removeprefix("sqlite:///"))
        self.name: str = "a SQLite file"
        self.url: str = url

    async def fault(self, number: int, writers: Sequence[Process]) -> str:
        """Kill every writer with SIGKILL."""
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            await writer.wait()
        return "writers killed"

    async def broken(self) -> list[str]:
        """Return what SQLite's own check says, unless it is ``ok``."""
        return await asyncio.to_thread(self._check)

    def _check(self) -> list[str]:
        connection = sqlite3.connect(self._path)
        rows: list[Any] = connection.execute("PRAGMA integrity_check").fetchall()
        rows += connection.execute("PRAGMA foreign_key_check").fetchall()
        connection.close()
        return [str(row) for row in rows if row != ("ok",)]

    async def __aenter__(self) -> Self:
        if self._path.exists():
            raise ConfigurationError(f"{self._path} exists; name a file that does not, it is removed at the end")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


def _started() -> PostgreSQLServer:
    """Start a server, and never take the one that the environment names: that is somebody's."""
    try:
        return PostgreSQLServer(source="machine").start()
    except ServerUnavailable:
        return PostgreSQLServer(source="wheel").start()


def target_of(url: str | None) -> Target:
    """Return the target for a URL, or a server of its own without one; ``ConfigurationError`` for another scheme."""
    if url is None:
        return OwnServer()
    scheme = urlsplit(url).scheme.partition("+")[0]
    kinds: dict[str, type[NamedServer] | type[OwnFile]] = {
        "postgresql": NamedServer,
        "postgres": NamedServer,
        "sqlite": OwnFile,
    }
    if scheme not in kinds:
        raise ConfigurationError("url: must begin with postgresql:// or sqlite:///, or be left out")
    return kinds[scheme](url)
