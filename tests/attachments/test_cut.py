"""The store's own connection to S3 is cut at any byte: a file is stored whole or the error says so, in time."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from inspecting import content, findings, keys, sweep, usage

from chatstore import open_store
from chatstore.blobs.s3 import parts
from chatstore.errors import UnavailableError
from chatstore.models import Attachment
from chatstore.users import UserStore

ROUNDS = int(os.environ.get("CHATSTORE_CUT_ROUNDS", "8"))
"""How many files are uploaded and read through connections that are cut."""

PART_BYTES = 5 * 1024 * 1024
"""The smallest part that S3 takes: what is true of parts is true of these."""

SIZES = [0, 10, 100_000, 700_000, PART_BYTES + 1, 2 * PART_BYTES + 700_000]


@asynccontextmanager
async def _cutting(endpoint: str, chance: random.Random) -> AsyncIterator[tuple[str, list[int]]]:
    """Forward to a server and cut most connections after a random number of bytes; count how many were."""
    parts = urlsplit(endpoint)
    cut: list[int] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int) -> None:
        while data := await reader.read(min(left, 65536)):
            writer.write(data)
            await writer.drain()
            left -= len(data)
            if not left:
                cut.append(1)
                return

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(parts.hostname, parts.port)
        far = 2**60
        sent, received = chance.choice(
            [(far, far), (chance.randrange(1, 2 ** chance.randrange(1, 23)), far), (far, 200)]
        )
        pumps = [
            asyncio.create_task(pump(reader, up_writer, sent)),
            asyncio.create_task(pump(up_reader, writer, received)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for side in (writer, up_writer):
            side.transport.abort()

    async with await asyncio.start_server(forward, "127.0.0.1", 0) as server:
        yield "http://{}:{}".format(*server.sockets[0].getsockname()), cut


async def _round(user: UserStore, chance: random.Random) -> tuple[Attachment, bytes] | None:
    """Upload a file, and read it back, unless that was refused."""
    data = chance.randbytes(chance.choice(SIZES))
    begun = time.monotonic()
    try:
        added = await user.add_attachment("a.bin", data, size=chance.choice([None, len(data)]))
    except UnavailableError:
        assert time.monotonic() - begun < 10
        return None
    with suppress(UnavailableError):
        assert (await content(user, added.id) == data) is True
    return added, data


@pytest.mark.timeout(60 + 5 * ROUNDS)
async def test_a_file_is_whole_or_not_there_when_the_connection_to_s3_is_cut(
    sqlite_url: str, s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", PART_BYTES)
    endpoint = parse_qs(urlsplit(s3_url).query)["endpoint_url"][0]
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    done: list[tuple[Attachment, bytes] | None] = []
    async with (
        _cutting(endpoint, chance) as (address, cut),
        open_store(sqlite_url, blobs=s3_url.replace(endpoint, address)) as chat,
    ):
        for start in range(0, ROUNDS, 4):
            rounds = [_round(chat.for_user("ann"), chance) for _ in range(start, min(start + 4, ROUNDS))]
            done += await asyncio.gather(*rounds)
    assert cut, seed
    stored = [one for one in done if one is not None]
    async with open_store(sqlite_url, blobs=s3_url) as chat:
        user = chat.for_user("ann")
        assert {finding.kind for finding in await findings(chat)} <= {"orphan"}, seed
        await sweep(chat)
        assert await findings(chat) == [], seed
        assert len(await keys(chat)) == len(stored), seed
        assert await usage(chat, user.owner) == (len(stored), sum(len(data) for _, data in stored)), seed
        for added, data in stored:
            assert (await content(user, added.id) == data) is True, seed
    assert stored, seed
