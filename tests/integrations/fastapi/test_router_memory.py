"""A server's memory does not grow with the files that pass through it, nor much with how many do so at once."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import aioboto3  # type: ignore[import-untyped]
import httpx
import psutil
import pytest

from chatstore.testing.servers import S3Server, ServerUnavailable

MIB = 1024 * 1024
SIZE = 50 * MIB
ALLOWED = {1: 16 * MIB, 16: 64 * MIB}
"""How much more than idle a server may hold, by the number of files on their way at once."""

PROGRAM = Path(__file__).with_name("server_program.py")
BOUNDARY = b"--cut\r\nContent-Disposition: form-data; name=file; filename=big.bin\r\n\r\n"
BLOCK = bytes(range(256)) * 256
DIGEST = hashlib.sha256(BLOCK * (SIZE // len(BLOCK))).hexdigest()

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="needs /proc to see the peak of a process"
)


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server | ServerUnavailable]:
    try:
        server = S3Server().start()
    except ServerUnavailable as error:
        yield error
        return
    yield server
    server.stop()


@pytest.fixture
def s3_url(
    s3_server: S3Server | ServerUnavailable, require: Callable[[str], NoReturn], monkeypatch: pytest.MonkeyPatch
) -> str:
    """The URL of a new bucket on a server in a process of its own."""
    if isinstance(s3_server, ServerUnavailable):
        require(str(s3_server))
    for name in {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} - os.environ.keys():
        monkeypatch.setenv(name, "testing")
    bucket, endpoint = f"chatstore-{uuid.uuid4().hex}", s3_server.url()

    async def create() -> None:
        async with aioboto3.Session().client("s3", endpoint_url=endpoint, region_name="us-east-1") as client:
            await client.create_bucket(Bucket=bucket)

    asyncio.run(create())
    return f"s3://{bucket}?endpoint_url={endpoint}&region=us-east-1"


@pytest.fixture(params=["file", "s3", "sql on SQLite", "sql on PostgreSQL"])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """The database and the blobs of each kind that does not keep them in memory."""
    sqlite = f"sqlite:///{tmp_path / 'chat.db'}"
    match request.param:
        case "s3":
            return sqlite, request.getfixturevalue("s3_url")
        case "sql on SQLite":
            return sqlite, "sql"
        case "sql on PostgreSQL":
            return request.getfixturevalue("postgresql_url"), "sql"
        case _:
            return sqlite, f"file:{tmp_path / 'blobs'}"


@dataclass(frozen=True)
class Server:
    """A server in a process of its own, and a client of it."""

    process: psutil.Process
    client: httpx.Client
    form: bool

    def upload(self, size: int = SIZE) -> str:
        """Upload bytes that are made as they are sent; return the id."""
        kind = "multipart/form-data; boundary=cut" if self.form else "application/octet-stream"
        answer = self.client.post(
            "/files", params={"name": "big.bin"}, content=_body(size, self.form), headers={"Content-Type": kind}
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def download(self, attachment_id: str) -> str:
        """Return the checksum of what comes back."""
        digest = hashlib.sha256()
        with self.client.stream("GET", f"/files/{attachment_id}/content") as content:
            for chunk in content.iter_bytes():
                digest.update(chunk)
        return digest.hexdigest()

    def forget_peak(self) -> None:
        """Begin to look for the peak anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak(self) -> int:
        """Return the most memory that the process held since."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _body(size: int, form: bool) -> Iterator[bytes]:
    if form:
        yield BOUNDARY
    for _ in range(size // len(BLOCK)):
        yield BLOCK
    if form:
        yield b"\r\n--cut--\r\n"


@pytest.fixture(params=["raw", "form"])
def server(request: pytest.FixtureRequest, urls: tuple[str, str]) -> Iterator[Server]:
    if request.param == "form" and not urls[1].startswith("file:"):
        pytest.skip("a form is taken apart before the bytes reach a blob store: tried with one of them")
    command = [sys.executable, str(PROGRAM), *urls]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = f"http://127.0.0.1:{int(process.stdout.readline())}"
            with httpx.Client(base_url=url, headers={"X-User": "ann"}, timeout=60) as client:
                yield Server(psutil.Process(process.pid), client, form=request.param == "form")
        finally:
            process.terminate()


@pytest.mark.parametrize("at_once", ALLOWED)
def test_large_files_up_and_down_take_little_more_memory_than_none(server: Server, at_once: int) -> None:
    server.download(server.upload(len(BLOCK)))
    idle = server.process.memory_info().rss
    grown = {}
    with ThreadPoolExecutor(at_once) as pool:
        server.forget_peak()
        ids = list(pool.map(lambda _: server.upload(), range(at_once)))
        grown["up"] = server.peak() - idle
        server.forget_peak()
        assert set(pool.map(server.download, ids)) == {DIGEST}
        grown["down"] = server.peak() - idle
    assert max(grown.values()) <= ALLOWED[at_once], {way: f"{more / MIB:.1f} MiB more" for way, more in grown.items()}
