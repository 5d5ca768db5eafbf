"""A client that stops in the middle of its body, at any byte, leaves nothing and takes nothing of its owner's room."""

from __future__ import annotations

import os
import random
import socket
import sqlite3
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chatstore import Limits

if TYPE_CHECKING:
    from tests.integrations.fastapi.conftest import Serve, Served

ROUNDS = int(os.environ.get("CHATSTORE_CUT_ROUNDS", "12"))
"""How many connections are cut in each test."""

DATA = random.Random(5).randbytes(600_000)
FORM = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n%b\r\n--cut--\r\n'
RESET = struct.pack("ii", 1, 0)


def _raw(data: bytes) -> tuple[str, bytes]:
    return f"Content-Type: text/plain\nContent-Length: {len(data)}", data


def _chunked(data: bytes) -> tuple[str, bytes]:
    pieces = [data[start : start + 50_000] for start in range(0, len(data), 50_000)]
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return "Content-Type: text/plain\nTransfer-Encoding: chunked", body + b"0\r\n\r\n"


def _form(data: bytes) -> tuple[str, bytes]:
    body = FORM % data
    return f"Content-Type: multipart/form-data; boundary=cut\nContent-Length: {len(body)}", body


def _cut(served: Served, way: Callable[[bytes], tuple[str, bytes]], chance: random.Random) -> None:
    """Send a part of an upload and go, with or without a word."""
    headers, body = way(DATA[: chance.choice([10, 5_000, 300_000, len(DATA)])])
    with served.connect(f"POST /files?name=half.txt HTTP/1.1\nHost: localhost\nX-User: ann\n{headers}") as connection:
        connection.sendall(body[: chance.randrange(len(body))])
        if chance.random() < 0.5:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def _rows(url: str, statement: str) -> list[tuple[int, ...]]:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


@pytest.mark.timeout(60 + 2 * ROUNDS)
@pytest.mark.parametrize("way", [_raw, _chunked, _form])
def test_a_connection_cut_at_any_byte_leaves_nothing(
    serve: Serve, blobs_url: str, sqlite_url: str, tmp_path: Path, way: Callable[[bytes], tuple[str, bytes]]
) -> None:
    served = serve(blobs_url, limits=Limits(owner_files=ROUNDS + 1, owner_bytes=(ROUNDS + 1) * len(DATA)))
    kept = served.upload(DATA)
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        _cut(served, way, chance)
    assert served.client(**{"X-User": "ann"}).get(f"/{kept}").status_code == 200  # those before it were accepted
    until = time.monotonic() + 30
    while served.requests():
        assert time.monotonic() < until, seed
        time.sleep(0.02)
    assert _rows(sqlite_url, "SELECT count(*) FROM chatstore_attachments") == [(1,)], seed
    swept = served.call(served.store.admin().sweep())
    assert swept.deleted_blobs > 0, seed
    assert (swept.expired_uploads, swept.orphans, swept.unfinished_uploads, swept.failed_deletions) == (0, 0, 0, 0), (
        seed
    )
    assert served.keys() == [served.key_of(kept)], seed
    assert _rows(sqlite_url, "SELECT files, bytes FROM chatstore_usage") == [(1, len(DATA))], seed
    chunks = _rows(sqlite_url, "SELECT coalesce(sum(length(data)), 0) FROM chatstore_chunks")
    assert chunks == [(len(DATA) if blobs_url == "sql" else 0,)], seed
    assert list((tmp_path / "blobs").glob(".tmp/*")) == [], seed
    assert served.ann.get(f"/{kept}/content").content == DATA
