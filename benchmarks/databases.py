"""The databases that are measured: a PostgreSQL cluster of the program's own with its default durability, and files."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from benchmarks.backends import Backend
from chatstore.testing.servers import PostgreSQLServer, ServerUnavailable

_SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_connections")

CONNECTIONS = 300
"""Room for the pools of all that is measured; everything else is as PostgreSQL comes."""


class Databases:
    """Makes a database for each backend, in ``folder`` or in a cluster that ends with this context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: PostgreSQLServer | None = None

    def url_for(self, backend: Backend) -> str:
        """Return the URL of a new, empty database."""
        if backend.database == "sqlite":
            return f"sqlite:///{self._folder / backend.name}.db"
        return asyncio.run(self._postgresql().create_database(backend.name))

    def settle(self, backend: Backend, url: str) -> None:
        """Let the database's housekeeping end before anything is timed, as it would have on a server."""
        if backend.database == "postgresql":
            asyncio.run(_execute(url, "VACUUM ANALYZE"))
            asyncio.run(_execute(url, "CHECKPOINT"))

    def bytes_stored(self, backend: Backend, url: str) -> dict[str, int]:
        """Return the bytes on disk of all tables with their indexes, and of the indexes alone."""
        if backend.database == "sqlite":
            return _sqlite_bytes(url.removeprefix("sqlite:///"))
        return asyncio.run(_postgresql_bytes(url))

    def cpu_seconds(self) -> float:
        """Return the CPU time of all processes of the PostgreSQL cluster so far; zero without one."""
        if self._server is None:
            return 0.0
        total = 0.0
        for process in psutil.Process().children(recursive=True):
            try:
                if process.name() == "postgres":
                    times = process.cpu_times()
                    total += times.user + times.system
            except psutil.NoSuchProcess:
                continue
        return total

    def settings(self) -> dict[str, str]:
        """Return the cluster's settings that matter for the figures, and SQLite's version."""
        found = {"sqlite_version": sqlite3.sqlite_version}
        if self._server is not None:
            found |= asyncio.run(_settings(self._server.url()))
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.stop()

    def _postgresql(self) -> PostgreSQLServer:
        if self._server is None:
            self._server = _own_server()
            asyncio.run(_execute(self._server.url(), f"ALTER SYSTEM SET max_connections = {CONNECTIONS}"))
            self._server.kill(signal.SIGINT)
            self._server.restart()
        return self._server


def _own_server() -> PostgreSQLServer:
    """Start a cluster, never one that a URL in the environment names: others may be at work there."""
    try:
        return PostgreSQLServer(source="machine").start()
    except ServerUnavailable:
        return PostgreSQLServer(source="wheel").start()


async def _execute(url: str, statement: str) -> list[Any]:
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        rows: list[Any] = await connection.fetch(statement, timeout=600)
        return rows
    finally:
        await connection.close()


async def _settings(url: str) -> dict[str, str]:
    return {name: (await _execute(url, f"SHOW {name}"))[0][0] for name in _SETTINGS}


async def _postgresql_bytes(url: str) -> dict[str, int]:
    rows = await _execute(
        url,
        "SELECT sum(pg_total_relation_size(relid))::bigint, sum(pg_indexes_size(relid))::bigint"
        " FROM pg_stat_user_tables",
    )
    return {"all": rows[0][0] or 0, "indexes": rows[0][1] or 0}


def _sqlite_bytes(path: str) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT sum(s.pgsize), sum(CASE WHEN m.type = 'index' THEN s.pgsize ELSE 0 END)"
            " FROM dbstat AS s LEFT JOIN sqlite_schema AS m ON m.name = s.name"
        ).fetchall()
    return {"all": rows[0][0] or 0, "indexes": rows[0][1] or 0}
