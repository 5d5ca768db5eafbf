"""A chat store over every store of records and every store of bytes that go together."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NoReturn

import aioboto3  # type: ignore[import-untyped]
import pytest

from chatstore import open_store
from chatstore.assembly import ChatStore
from chatstore.testing.servers import S3Server, ServerUnavailable

Open = Callable[..., ChatStore]
KEYS = [b"k" * 32]

COMBINATIONS = [
    (store, blobs)
    for store in ("memory", "sqlite", "postgresql")
    for blobs in ("memory", "file", "sql")
    if (store, blobs) != ("memory", "sql")
]


@pytest.fixture(params=COMBINATIONS, ids="-".join)
def places(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Where records and bytes are: two URLs."""
    store, blobs = request.param
    url = "memory://" if store == "memory" else request.getfixturevalue(f"{store}_url")
    return url, {"memory": "memory://", "file": f"file:{tmp_path}/blobs", "sql": "sql"}[blobs]


@pytest.fixture
async def open_chat(places: tuple[str, str]) -> AsyncIterator[Open]:
    """Open a chat store on the places, with options; it is closed at the end of the test."""
    async with AsyncExitStack() as opened:

        def open_here(**options: Any) -> ChatStore:
            url, blobs = places
            options = {"blobs": blobs, "signing_keys": KEYS, "public_url": "https://chat.example/files", **options}
            chat = open_store(url, **options)
            opened.push_async_callback(chat.aclose)
            return chat

        yield open_here


@pytest.fixture
def chat(open_chat: Open) -> ChatStore:
    return open_chat()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server | str]:
    """One server for the session, or why there is none."""
    try:
        server = S3Server().start()
    except ServerUnavailable as error:
        yield str(error)
        return
    yield server
    server.stop()


@pytest.fixture
def s3_url(s3_server: S3Server | str, require: Callable[[str], NoReturn], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a bucket of this test's own."""
    endpoint = s3_server.url() if isinstance(s3_server, S3Server) else require(s3_server)
    for name in {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} - os.environ.keys():
        monkeypatch.setenv(name, "testing")
    bucket = f"chatstore-{uuid.uuid4().hex}"

    async def create() -> None:
        async with aioboto3.Session().client("s3", endpoint_url=endpoint, region_name="us-east-1") as client:
            await client.create_bucket(Bucket=bucket)

    asyncio.run(create())
    return f"s3://{bucket}/files?endpoint_url={endpoint}&region=us-east-1"
