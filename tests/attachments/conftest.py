"""A chat store over every store of records and every store of bytes that go together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from chatstore import open_store
from chatstore.assembly import ChatStore

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
