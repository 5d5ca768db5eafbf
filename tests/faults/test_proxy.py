"""The proxy does to a line what it is told to, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from chatstore.testing.faults.killing import connected
from chatstore.testing.faults.proxy import Proxy, nth, share
from chatstore.testing.faults.wire import COMMAND_COMPLETE, READY_FOR_QUERY, Messages

LOST = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError)


@pytest.fixture
async def proxy(empty_postgresql_url: str) -> AsyncIterator[Proxy]:
    async with Proxy.before(empty_postgresql_url) as proxy, connected(empty_postgresql_url) as connection:
        await connection.execute("CREATE TABLE counted (n integer)")
        yield proxy


@pytest.fixture
def url(proxy: Proxy, empty_postgresql_url: str) -> str:
    return proxy.url(empty_postgresql_url)


INSERT = "INSERT INTO counted VALUES (1)"


async def stored(url: str) -> int:
    async with connected(url) as connection:
        return int(await connection.fetchval("SELECT count(*) FROM counted"))


async def test_without_a_rule_everything_goes_through(url: str) -> None:
    async with connected(url) as connection:
        assert await connection.fetchval("SELECT repeat('x', 1000000)") == "x" * 1_000_000


async def test_a_line_that_is_cut_before_the_answer_has_stored_what_it_was_asked(proxy: Proxy, url: str) -> None:
    async with connected(url) as connection:
        proxy.rule = nth(COMMAND_COMPLETE, 3, "before")
        await connection.execute(INSERT)
        await connection.execute(INSERT)
        with pytest.raises(LOST):
            await connection.execute(INSERT)
    assert proxy.cuts == 1
    assert await stored(url) == 3


async def test_a_line_that_is_cut_after_the_answer_has_given_it(proxy: Proxy, url: str) -> None:
    async with connected(url) as connection:
        proxy.rule = nth(READY_FOR_QUERY, 1, "after")
        await connection.execute(INSERT)
        with pytest.raises(LOST):
            await connection.execute(INSERT)
    assert await stored(url) == 1


async def test_a_share_of_the_answers_is_cut_and_the_same_ones_every_time(proxy: Proxy, url: str) -> None:
    proxy.rule = share(COMMAND_COMPLETE, 0.3, "before", seed=1)
    failed = []
    for number in range(20):
        async with connected(url) as connection:
            try:
                await connection.execute(INSERT)
            except LOST:
                failed.append(number)
    again = share(COMMAND_COMPLETE, 0.3, "before", seed=1)
    assert failed == [number for number in range(20) if again(COMMAND_COMPLETE)]
    assert 0 < len(failed) < 20


async def test_latency_is_added_to_every_answer(proxy: Proxy, url: str) -> None:
    async with connected(url) as connection:
        proxy.latency = 0.2
        begun = time.monotonic()
        await connection.execute(INSERT)
        assert time.monotonic() - begun >= 0.2


async def test_a_black_hole_answers_nothing_and_after_it_everything_arrives(proxy: Proxy, url: str) -> None:
    async with connected(url) as connection:
        proxy.black_hole()
        asked = asyncio.ensure_future(connection.execute(INSERT))
        await asyncio.wait([asked], timeout=0.2)
        assert not asked.done()
        with pytest.raises(TimeoutError):
            await asyncpg.connect(url, timeout=0.2)
        proxy.heal()
        assert await asked == "INSERT 0 1"


async def test_refused_is_refused_until_it_is_accepted_again(proxy: Proxy, url: str) -> None:
    async with connected(url) as connection:
        await proxy.refuse()
        with pytest.raises(LOST):
            await connection.execute(INSERT)
        with pytest.raises(ConnectionRefusedError):
            await asyncpg.connect(url)
        await proxy.accept()
    assert await stored(url) == 0


async def test_every_line_can_be_cut_at_once(proxy: Proxy, url: str) -> None:
    async with connected(url) as one, connected(url) as other:
        assert proxy.connections == 2
        proxy.cut()
        for connection in (one, other):
            with pytest.raises(LOST):
                await connection.execute(INSERT)
    assert await stored(url) == 0


async def test_a_server_that_refuses_is_refused_by_the_proxy(url: str, proxy: Proxy) -> None:
    async with Proxy("127.0.0.1", 1) as nowhere:
        with pytest.raises(LOST):
            await asyncpg.connect(nowhere.url(url), timeout=5)


def test_a_url_keeps_everything_but_its_host_and_port() -> None:
    proxy = Proxy.before("postgresql://ann:p%40ss@db.example:5433/chat?sslmode=disable")
    assert proxy.url("postgresql://ann:p%40ss@db.example:5433/chat?sslmode=disable") == (
        "postgresql://ann:p%40ss@127.0.0.1:0/chat?sslmode=disable"
    )
    with pytest.raises(ValueError, match="names no host"):
        Proxy.before("postgresql:///chat")


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize("refusal", [b"", b"N"])
def test_messages_are_whole_however_their_bytes_arrive(size: int, refusal: bytes) -> None:
    said = [b"R\0\0\0\x08\0\0\0\0", b"S\0\0\0\x0bname\0v\0", b"N\0\0\0\x04", b"C\0\0\0\x06ok", b"Z\0\0\0\x05I"]
    line = refusal + b"".join(said)
    messages = Messages()
    found = [pair for start in range(0, len(line), size) for pair in messages.feed(line[start : start + size])]
    assert [message for kind, message in found if kind] == said
    assert b"".join(message for _, message in found) == line
    assert [kind for kind, _ in found if kind] == [b"R", b"S", b"N", b"C", b"Z"]


def test_what_is_encrypted_is_passed_on_unread() -> None:
    messages = Messages()
    assert [pair for data in (b"S", b"\x16\x03\x01Z\0") for pair in messages.feed(data)] == [
        (b"", b"S"),
        (b"", b"\x16\x03\x01Z\0"),
    ]
