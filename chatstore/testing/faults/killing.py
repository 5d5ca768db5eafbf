"""Kill and freeze a PostgreSQL server, or one of its backends; only a server that this process started."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from chatstore.testing.servers import PostgreSQLServer

_SECONDS = 60
"""How long a server may take to recover."""

_CLIENTS = (
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    " AND datname = $1"
)


class ServerKiller:
    """Ends or stops the processes of a server as a crash or an overload would, while clients of ``database`` use it.

    Raises ``ServerUnavailable`` for a server that was found by URL: that is somebody's.
    """

    def __init__(self, server: PostgreSQLServer, database: str) -> None:
        assert server.process_id  # or it raises
        self._server = server
        self._database = database

    async def kill_server(self) -> None:
        """SIGKILL the whole server, then start it again on its data; return once it accepts connections."""
        await asyncio.to_thread(self._server.kill, signal.SIGKILL)
        await asyncio.to_thread(self._server.restart)

    async def kill_backend(self) -> bool:
        """SIGKILL one backend, at random; return whether there was one.

        The server takes that for a corruption: it ends all the others and recovers, as it would from a crash. Returns
        once it accepts connections again.
        """
        ended = asyncio.Event()
        async with connected(self._server.url(self._database)) as connection:
            backends = [row[0] for row in await connection.fetch(_CLIENTS, self._database)]
            connection.add_termination_listener(lambda _: ended.set())
            if not backends or not _signal(random.choice(backends), signal.SIGKILL):
                return False
            async with asyncio.timeout(_SECONDS):
                await ended.wait()
        async with asyncio.timeout(_SECONDS), accepting(self._server.url(self._database)):
            return True

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        """SIGSTOP every process of the server, and let them go on at the end: connections stay, nothing answers."""
        async with connected(self._server.url(self._database)) as connection:
            processes = [row[0] for row in await connection.fetch("SELECT pid FROM pg_stat_activity")]
        processes = [self._server.process_id, *processes]
        for process in processes:
            _signal(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                _signal(process, signal.SIGCONT)


async def terminate_backends(url: str) -> int:
    """End the other connections to the database of ``url`` with ``pg_terminate_backend``; return how many."""
    async with connected(url) as connection:
        ended = await connection.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    return len(ended)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    """Yield a plain connection of the driver, with short deadlines."""
    import asyncpg

    connection = await asyncpg.connect(url, timeout=10, command_timeout=30)
    try:
        yield connection
    finally:
        connection.terminate()


@asynccontextmanager
async def accepting(url: str) -> AsyncIterator[Any]:
    """Yield a connection as soon as the server of ``url`` gives one."""
    import asyncpg

    while True:
        try:
            connection = await asyncpg.connect(url, timeout=10, command_timeout=30)
            break
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await asyncio.sleep(0.02)
    try:
        yield connection
    finally:
        connection.terminate()


def _signal(process: int, how: signal.Signals) -> bool:
    """Send a signal; return whether the process was there."""
    try:
        os.kill(process, how)
    except ProcessLookupError:
        return False
    return True
