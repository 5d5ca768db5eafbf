"""A TCP proxy that delays, cuts, swallows or refuses what goes between a client and a server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Literal, Self, TypeAlias
from urllib.parse import urlsplit

from chatstore.testing.faults.wire import Messages

CHUNK_BYTES = 65_536

Moment: TypeAlias = Literal["before", "after"]
Rule: TypeAlias = Callable[[bytes], Moment | None]
"""Is given the kind of a server's message, and says whether to cut the line before or after it, or not at all."""


def nth(kind: bytes, number: int, moment: Moment) -> Rule:
    """Return the rule that cuts once, at the ``number``-th message of ``kind`` from now, counted from 1."""
    seen = 0

    def rule(found: bytes) -> Moment | None:
        nonlocal seen
        seen += found == kind
        return moment if found == kind and seen == number else None

    return rule


def share(kind: bytes, part: float, moment: Moment, *, seed: int = 0) -> Rule:
    """Return the rule that cuts at a random ``part``, 0 to 1, of the messages of ``kind``."""
    chance = random.Random(seed)
    return lambda found: moment if found == kind and chance.random() < part else None


class Proxy:
    """Listens on a free loopback port and forwards to one server; a context manager.

    ``latency`` is in seconds, added to each piece of the server's answers. ``rule`` is asked about each message of a
    PostgreSQL server; without one, bytes are forwarded as they come, whatever they mean. A line is cut with a reset.
    """

    def __init__(self, host: str, port: int, *, latency: float = 0.0) -> None:
        self._server_address = (host, port)
        self.latency: float = latency
        self.rule: Rule | None = None
        self.cuts: int = 0
        """How many lines the rule has cut."""
        self._listener: asyncio.Server | None = None
        self._port = 0
        self._lines: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()

    @classmethod
    def before(cls, url: str, *, latency: float = 0.0) -> Self:
        """Return a proxy before the server that ``url`` names, which must say its host and port."""
        parts = urlsplit(url)
        if parts.hostname is None:
            raise ValueError("the URL names no host")
        return cls(parts.hostname, parts.port or 5432, latency=latency)

    def url(self, url: str) -> str:
        """Return ``url`` with this proxy in the place of its host and port."""
        parts = urlsplit(url)
        user, separator, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user}{separator}127.0.0.1:{self._port}").geturl()

    @property
    def connections(self) -> int:
        """How many lines are open."""
        return len(self._lines)

    def cut(self) -> None:
        """Cut every line that is open; new ones are taken."""
        for line in self._lines:
            line.cancel()

    async def refuse(self) -> None:
        """Cut every line and refuse new ones until :meth:`accept`."""
        await self._stop_listening()
        self.cut()

    async def accept(self) -> None:
        """Take new lines again, on the same port."""
        if self._listener is None:
            self._listener = await asyncio.start_server(self._take, "127.0.0.1", self._port)
            self._port = self._listener.sockets[0].getsockname()[1]

    def black_hole(self) -> None:
        """Forward nothing, in neither direction, until :meth:`heal`; lines stay open and new ones are taken."""
        self._flows.clear()

    def heal(self) -> None:
        """Forward again, first what was held back."""
        self._flows.set()

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.refuse()
        if self._lines:
            await asyncio.wait(self._lines)

    async def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            answers, server = await asyncio.open_connection(*self._server_address)
            ends.append(server)
            asked = asyncio.ensure_future(self._forward(_chunks(reader), server))
            answered = asyncio.ensure_future(self._forward(self._answers(answers), writer))
            await _first(asked, answered)
        except OSError:
            pass  # the server refuses: so does the proxy, by the reset below
        finally:
            for end in ends:
                end.transport.abort()

    async def _forward(self, pieces: AsyncIterator[bytes], to: asyncio.StreamWriter) -> None:
        async for piece in pieces:
            await self._flows.wait()
            to.write(piece)
            await to.drain()

    async def _answers(self, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        messages = Messages()
        async for chunk in _chunks(reader):
            if self.latency:
                await asyncio.sleep(self.latency)
            whole = bytearray()
            for kind, message in messages.feed(chunk):
                moment = self.rule(kind) if self.rule is not None else None
                whole += b"" if moment == "before" else message
                if moment is not None:
                    self.cuts += 1
                    yield bytes(whole)
                    return
            yield bytes(whole)


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    with suppress(ConnectionError):
        while chunk := await reader.read(CHUNK_BYTES):
            yield chunk


async def _first(*tasks: asyncio.Task[None]) -> None:
    """Wait until one of the tasks has ended, and end the others."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
