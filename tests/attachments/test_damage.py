"""One byte that is altered, missing or too many is found, wherever it is: by a whole read and by verify."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import aioboto3  # type: ignore[import-untyped]
import pytest
from inspecting import BIG, blobs_of, content, findings, record, statement

from chatstore import open_store
from chatstore.assembly import ChatStore
from chatstore.blobs.sql import ROW_BYTES
from chatstore.errors import IntegrityError
from chatstore.streams import CHUNK_BYTES
from chatstore.users import UserStore

Change: TypeAlias = Callable[[bytes], bytes]
Damage: TypeAlias = Callable[[str, int, Change], Awaitable[None]]
"""Alters what is stored under a key, behind the store's back; the change is that of the bytes from a place on."""

PLACES = [
    0,
    1,
    ROW_BYTES - 1,
    ROW_BYTES,
    CHUNK_BYTES - 1,
    CHUNK_BYTES,
    2 * CHUNK_BYTES - 1,
    2 * CHUNK_BYTES,
    len(BIG) - 2,
    len(BIG) - 1,
]

CHANGES: dict[str, Change] = {
    "flipped": lambda rest: bytes([rest[0] ^ 1]) + rest[1:],
    "missing": lambda rest: rest[1:],
    "too many": lambda rest: bytes([rest[0] ^ 1]) + rest,
    "cut": lambda rest: b"",
}


@pytest.fixture(params=["sqlite-memory", "sqlite-file", "sqlite-s3", "sqlite-sql", "postgresql-sql"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Where records and bytes are: each kind of blobs once, those in a database on both."""
    store, _, kind = request.param.partition("-")
    blobs = {"memory": "memory://", "file": f"file:{tmp_path}", "sql": "sql"}.get(kind)
    return request.getfixturevalue(f"{store}_url"), blobs or request.getfixturevalue("s3_url")


@pytest.fixture
async def damaged(places: tuple[str, str]) -> AsyncIterator[tuple[ChatStore, Damage]]:
    """A chat store, and what damages its bytes from outside."""
    url, blobs = places
    async with open_store(url, blobs=blobs) as chat:

        async def damage(key: str, place: int, change: Change) -> None:
            if blobs == "memory://":
                stored: Any = blobs_of(chat)
                blob = stored._blobs[key]
                stored._blobs[key] = replace(blob, data=blob.data[:place] + change(blob.data[place:]))
            elif blobs == "sql":
                await _in_database(chat, key, place, change)
            elif blobs.startswith("file:"):
                await _in_file(Path(blobs.removeprefix("file:")), key, place, change)
            else:
                await _in_bucket(blobs, key, place, change)

        yield chat, damage


async def _in_file(root: Path, key: str, place: int, change: Change) -> None:
    (path,) = root.rglob(key.rpartition("/")[2])
    data = path.read_bytes()
    path.write_bytes(data[:place] + change(data[place:]))


async def _in_bucket(url: str, key: str, place: int, change: Change) -> None:
    parts = urlsplit(url)
    options = {name: value for name, (value,) in parse_qs(parts.query).items()}
    target = {"Bucket": parts.netloc, "Key": f"{parts.path.strip('/')}/{key}"}
    async with aioboto3.Session().client(
        "s3", endpoint_url=options["endpoint_url"], region_name=options["region"]
    ) as client:
        answer = await client.get_object(**target)
        data = await answer["Body"].read()
        body = data[:place] + change(data[place:])
        await client.put_object(**target, Body=body, Metadata=answer["Metadata"], ContentType=answer["ContentType"])


async def _in_database(chat: ChatStore, key: str, place: int, change: Change) -> None:
    """Alter the row that holds the place; a cut takes the row and those behind it away."""
    start = place // ROW_BYTES * ROW_BYTES
    values = {"key": key, "start": start}
    ((data,),) = await statement(chat, "SELECT data FROM {chunks} WHERE key = :key AND start = :start", **values)
    altered = data[: place - start] + change(data[place - start :])
    await statement(
        chat, "UPDATE {chunks} SET data = :data WHERE key = :key AND start = :start", data=altered, **values
    )
    if not change(b"xx"):
        await statement(chat, "DELETE FROM {chunks} WHERE key = :key AND start > :start", **values)


async def _assert_found(chat: ChatStore, damage: Damage, data: bytes, place: int, change: Change) -> None:
    user = chat.for_user("ann")
    added = await user.add_attachment("a.bin", data)
    await damage((await record(chat, user, added.id)).key, place, change)
    given = bytearray()
    with pytest.raises(IntegrityError):
        await _read(user, added.id, given)
    assert len(given) < len(data)
    assert [(found.kind, found.attachment_id) for found in await findings(chat)] == [("damaged", added.id)]
    await user.delete_attachment(added.id)


async def _read(user: UserStore, id: str, given: bytearray) -> None:
    async with user.open_attachment(id) as chunks:
        async for chunk in chunks:
            given += chunk


@pytest.mark.parametrize("change", CHANGES)
async def test_damage_to_one_byte_is_found_at_any_place(damaged: tuple[ChatStore, Damage], change: str) -> None:
    chat, damage = damaged
    for place in PLACES:
        await _assert_found(chat, damage, BIG, place, CHANGES[change])
    for data in (b"x", b"five!"):
        for place in {0, len(data) - 1}:
            await _assert_found(chat, damage, data, place, CHANGES[change])


async def test_a_range_beside_the_damage_is_read_and_one_that_is_cut_is_an_error(
    damaged: tuple[ChatStore, Damage],
) -> None:
    """A range cannot be held against the checksum: bytes that are missing from it are told all the same."""
    chat, damage = damaged
    user = chat.for_user("ann")
    added = await user.add_attachment("a.bin", BIG)
    await damage((await record(chat, user, added.id)).key, 2 * CHUNK_BYTES, CHANGES["cut"])
    assert await content(user, added.id, start=5, end=CHUNK_BYTES + 5) == BIG[5 : CHUNK_BYTES + 5]
    with pytest.raises(IntegrityError):
        await content(user, added.id, start=CHUNK_BYTES, end=len(BIG))


async def test_a_blob_that_is_gone_is_missing(damaged: tuple[ChatStore, Damage]) -> None:
    chat, _ = damaged
    user = chat.for_user("ann")
    added = await user.add_attachment("a.bin", BIG)
    await blobs_of(chat).delete((await record(chat, user, added.id)).key)
    with pytest.raises(IntegrityError, match="missing"):
        await content(user, added.id)
    assert [found.kind for found in await findings(chat)] == ["missing"]
