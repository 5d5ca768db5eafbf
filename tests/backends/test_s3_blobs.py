"""Blobs in S3: parts and their end, presigned requests, and every way in which a server fails."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import aioboto3  # type: ignore[import-untyped]
import pytest

from chatstore import aws
from chatstore.blobs.s3 import S3Blobs, open_s3, parts
from chatstore.errors import (
    ChatStoreError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    StorageFullError,
    UnavailableError,
)
from chatstore.protocols import BlobStore, Capability
from chatstore.testing.servers import S3Server

REGION = "us-east-1"
HOUR = timedelta(hours=1)
PART_BYTES = 5 * 1024 * 1024
"""The smallest part that S3 takes: what is true of parts is true of these."""


@pytest.fixture
def endpoint(s3_server: S3Server) -> str:
    return s3_server.url()


@pytest.fixture(autouse=True)
def _credentials(s3_credentials: None) -> None:
    pass


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", PART_BYTES)


@pytest.fixture
async def client(endpoint: str) -> AsyncIterator[Any]:
    """A plain client, to look behind the store."""
    async with aioboto3.Session().client("s3", endpoint_url=endpoint, region_name=REGION) as client:
        yield client


@pytest.fixture
def bucket(s3_bucket: str) -> str:
    return s3_bucket


@pytest.fixture
async def blobs(endpoint: str, bucket: str) -> AsyncIterator[S3Blobs]:
    async with S3Blobs(bucket, prefix="some/where", endpoint_url=endpoint, region=REGION) as opened:
        yield opened


async def put(blobs: S3Blobs, key: str, data: bytes = b"bytes", **options: Any) -> str:
    return (await blobs.put(key, data, content_type="text/plain", **options)).etag


async def keys(blobs: S3Blobs, prefix: str = "") -> list[str]:
    return [key async for key, _ in blobs.list(prefix)]


async def uploads(client: Any, bucket: str) -> list[str]:
    """Return the uploads in parts that nobody has ended."""
    answer = await client.list_multipart_uploads(Bucket=bucket)
    return [upload["Key"] for upload in answer.get("Uploads", [])]


def content(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


async def pieces(data: bytes, size: int = 300_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def test_it_declares_what_it_does(blobs: S3Blobs) -> None:
    presigning = {Capability.PRESIGN_GET, Capability.PRESIGN_PUT}
    assert blobs.capabilities == {Capability.DURABLE, Capability.SHARED, Capability.CONDITIONAL_CREATE} | presigning
    assert isinstance(blobs, BlobStore)


class TestObjects:
    async def test_a_blob_is_an_object_below_the_prefix(self, blobs: S3Blobs, client: Any, bucket: str) -> None:
        info = await blobs.put("ab/cd", b"bytes", content_type="image/png")
        answer = await client.head_object(Bucket=bucket, Key="some/where/ab/cd")
        assert (answer["ContentType"], answer["ContentLength"]) == ("image/png", 5)
        assert info.sha256 == hashlib.sha256(b"bytes").hexdigest()
        assert answer["Metadata"]["chatstore-sha256"] == info.sha256

    async def test_objects_of_others_are_not_listed(self, blobs: S3Blobs, client: Any, bucket: str) -> None:
        await put(blobs, "ab/cd")
        for name in ("else/where", "some/where/", "some/where/README.md", "some/where/ab/../x", "some/wherever/a"):
            await client.put_object(Bucket=bucket, Key=name, Body=b"")
        assert await keys(blobs) == ["ab/cd"]
        assert await keys(blobs, "a") == ["ab/cd"]
        assert await keys(blobs, "../") == []

    async def test_a_listing_goes_over_more_than_one_page(self, blobs: S3Blobs, client: Any, bucket: str) -> None:
        names = [f"{number:04}" for number in range(1100)]
        for start in range(0, len(names), 100):
            some = names[start : start + 100]
            await asyncio.gather(
                *(client.put_object(Bucket=bucket, Key=f"some/where/{name}", Body=b"") for name in some)
            )
        assert await keys(blobs) == names

    async def test_stat_tells_an_absent_blob_from_an_absent_bucket(self, blobs: S3Blobs, endpoint: str) -> None:
        assert await blobs.stat("absent") is None
        async with S3Blobs("chatstore-no-such-bucket", endpoint_url=endpoint, region=REGION) as lost:
            calls = (lost.stat("a"), lost.read("a"), lost.delete("a"), put(lost, "a"), keys(lost))
            for call in calls:
                with pytest.raises(ConfigurationError, match="bucket does not exist"):
                    await call

    @pytest.mark.parametrize(
        ("start", "end"), [(0, None), (0, 3), (3, None), (2, 5), (2, 100), (5, 5), (10, None), (99, 200)]
    )
    async def test_a_range_is_asked_for_and_cut_to_the_blob(self, blobs: S3Blobs, start: int, end: int | None) -> None:
        await put(blobs, "a", b"0123456789")
        async with blobs.open("a", start=start, end=end) as chunks:
            assert b"".join([chunk async for chunk in chunks]) == b"0123456789"[start:end]
        with pytest.raises(NotFoundError):
            async with blobs.open("absent", start=start, end=end):
                pass


class TestParts:
    @pytest.mark.parametrize("size", [PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES])
    async def test_what_is_longer_than_a_part_is_sent_in_parts(
        self, blobs: S3Blobs, client: Any, bucket: str, size: int
    ) -> None:
        data = content(size)
        info = await blobs.put("a", pieces(data), content_type="text/plain")
        assert (info.size, info.sha256) == (size, hashlib.sha256(data).hexdigest())
        assert (await blobs.read("a") == data) is True
        assert info.etag.partition("-")[2] == (str(-(-size // PART_BYTES)) if size > PART_BYTES else "")
        found = await blobs.stat("a")
        assert found is not None
        assert (found.size, found.etag) == (size, info.etag)
        assert found.sha256 == (None if size > PART_BYTES else info.sha256)
        assert await uploads(client, bucket) == []

    async def test_an_error_of_the_source_leaves_no_upload(self, blobs: S3Blobs, client: Any, bucket: str) -> None:
        begun: list[str] = []

        async def broken() -> AsyncIterator[bytes]:
            yield bytes(2 * PART_BYTES)
            begun.extend(await uploads(client, bucket))
            yield bytes(PART_BYTES)
            raise KeyError("of the source")

        with pytest.raises(KeyError, match="of the source"):
            await blobs.put("a", broken(), content_type="text/plain")
        assert begun == ["some/where/a"]
        assert await uploads(client, bucket) == []
        assert await blobs.stat("a") is None

    @pytest.mark.parametrize("size", [2 * PART_BYTES, 4 * PART_BYTES])
    async def test_another_size_than_declared_leaves_no_upload(
        self, blobs: S3Blobs, client: Any, bucket: str, size: int
    ) -> None:
        with pytest.raises(InvalidInputError, match="declared"):
            await blobs.put("a", pieces(bytes(3 * PART_BYTES)), content_type="text/plain", size=size)
        assert await uploads(client, bucket) == []
        assert await blobs.stat("a") is None

    async def test_a_cancelled_upload_is_aborted(self, blobs: S3Blobs, client: Any, bucket: str) -> None:
        reached = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            yield bytes(2 * PART_BYTES)
            reached.set()
            await asyncio.Event().wait()

        upload = asyncio.create_task(blobs.put("a", endless(), content_type="text/plain"))
        await reached.wait()
        assert await uploads(client, bucket) == ["some/where/a"]
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        assert await uploads(client, bucket) == []

    async def test_cancelled_at_any_moment_a_blob_is_whole_or_absent(
        self, blobs: S3Blobs, client: Any, bucket: str
    ) -> None:
        data, moments = content(PART_BYTES + 1), random.Random(1)
        for number in range(25):
            upload = asyncio.create_task(blobs.put(f"{number}", pieces(data), content_type="text/plain"))
            await asyncio.wait([upload], timeout=moments.uniform(0, 0.2))
            upload.cancel()
            await asyncio.gather(upload, return_exceptions=True)
        assert await uploads(client, bucket) == []
        assert {info.size async for _, info in blobs.list()} <= {len(data)}

    async def test_closing_the_store_aborts_what_is_under_way(self, blobs: S3Blobs, client: Any, bucket: str) -> None:
        reached, released = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield bytes(2 * PART_BYTES)
            reached.set()
            await released.wait()
            yield b"end"

        upload = asyncio.create_task(blobs.put("a", slow(), content_type="text/plain"))
        await reached.wait()
        await blobs.aclose()
        assert await uploads(client, bucket) == []
        released.set()
        with pytest.raises(ClosedError):
            await upload

    @pytest.mark.parametrize("size", [10, PART_BYTES + 1])
    async def test_a_create_keeps_what_is_there(self, blobs: S3Blobs, client: Any, bucket: str, size: int) -> None:
        await put(blobs, "a", b"old")
        with pytest.raises(ConflictError):
            await put(blobs, "a", bytes(size), if_absent=True)
        assert await blobs.read("a") == b"old"
        assert await uploads(client, bucket) == []

    @pytest.mark.parametrize("size", [10, PART_BYTES + 1])
    async def test_a_retried_create_that_had_succeeded_is_no_conflict(
        self, blobs: S3Blobs, endpoint: str, bucket: str, size: int
    ) -> None:
        """The first answer is lost, the driver tries again, and the server says that there is a blob already."""
        creating = b"PUT " if size == 10 else b"POST "

        def loses(request: bytes) -> bool:
            return request.startswith(creating) and b"if-none-match" in request.lower()

        async with (
            forwarding(endpoint, loses) as (address, lost),
            S3Blobs(bucket, endpoint_url=address, region=REGION) as through,
        ):
            info = await through.put("a", bytes(size), content_type="text/plain", if_absent=True)
            assert len(lost) == 1
            found = await through.stat("a")
            assert found is not None
            assert (found.etag, found.size) == (info.etag, size)
            with pytest.raises(ConflictError):
                await put(through, "a", bytes(size), if_absent=True)


class TestWaiting:
    """What waits to be sent: in memory while it is little, in a temporary file else."""

    @pytest.fixture
    def places(self, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        """Whether each part that was sent lay in a file."""
        seen: list[bool] = []
        close = parts.Part.close

        async def noted(part: parts.Part) -> None:
            if not part.body.closed:
                seen.append(isinstance(part.body, aws.BodyInFile))
            await close(part)
            assert part.body.closed

        monkeypatch.setattr(parts.Part, "close", noted)
        return seen

    @pytest.mark.parametrize(
        ("size", "expected"),
        [
            (0, [False]),
            (parts.MEMORY_BYTES, [False]),
            (parts.MEMORY_BYTES + 1, [True]),
            (PART_BYTES, [True]),
            (PART_BYTES + 1, [True, False]),
            (2 * PART_BYTES + 2_000_000, [True, True, False]),
        ],
    )
    async def test_what_is_long_waits_in_a_file_that_is_closed(
        self, blobs: S3Blobs, places: list[bool], size: int, expected: list[bool]
    ) -> None:
        data = content(size)
        await blobs.put("a", pieces(data), content_type="text/plain")
        assert places == expected
        assert (await blobs.read("a") == data) is True

    async def test_the_memory_of_a_store_is_shared_and_given_back(self, blobs: S3Blobs, places: list[bool]) -> None:
        size, number = 3 * 1024 * 1024, 12
        everybody = asyncio.Barrier(number)

        async def slow() -> AsyncIterator[bytes]:
            yield bytes(size)
            await everybody.wait()

        for _ in range(3):
            places.clear()
            await asyncio.gather(*(blobs.put(f"{place}", slow(), content_type="text/plain") for place in range(number)))
            assert places.count(False) == parts.ALL_MEMORY_BYTES // size
            assert len(places) == number

    @pytest.mark.parametrize("chunk", [1, 4096, 3_000_000, 20_000_000])
    async def test_chunks_of_any_size_are_cut_into_parts(self, blobs: S3Blobs, chunk: int) -> None:
        data = content(2 * PART_BYTES + 12_345 if chunk > 1 else 3000)
        info = await blobs.put("a", pieces(data, chunk), content_type="text/plain")
        assert (info.size, info.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert (await blobs.read("a") == data) is True

    @pytest.mark.skipif(sys.platform != "linux", reason="open files are counted in /proc")
    async def test_nothing_is_left_open_when_a_put_is_cancelled_or_fails(
        self, blobs: S3Blobs, places: list[bool]
    ) -> None:
        async def failing() -> AsyncIterator[bytes]:
            yield bytes(parts.MEMORY_BYTES + 1)
            raise KeyError("of the source")

        before, moments = files_without_a_name(), random.Random(3)
        for number in range(10):
            with pytest.raises(KeyError):
                await blobs.put("a", failing(), content_type="text/plain")
            upload = asyncio.create_task(put(blobs, f"{number}", bytes(2 * PART_BYTES + 1)))
            await asyncio.wait([upload], timeout=moments.uniform(0, 0.1))
            upload.cancel()
            await asyncio.gather(upload, return_exceptions=True)
        assert places.count(True) >= 10
        assert files_without_a_name() == before

    async def test_a_full_disk_for_temporary_files_is_named_and_stores_nothing(self, blobs: S3Blobs) -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, before[1]))
        try:
            with pytest.raises(StorageFullError, match="TMPDIR") as caught:
                await put(blobs, "a", bytes(parts.MEMORY_BYTES + 1))
            await put(blobs, "b", bytes(parts.MEMORY_BYTES))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert isinstance(caught.value.__cause__, OSError)
        assert await keys(blobs) == ["b"]

    async def test_a_temporary_file_that_cannot_be_made_is_told_and_stores_nothing(
        self, blobs: S3Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
        with pytest.raises(UnavailableError, match="a temporary file cannot be written: No such file") as caught:
            await put(blobs, "a", bytes(parts.MEMORY_BYTES + 1))
        assert isinstance(caught.value.__cause__, FileNotFoundError)
        assert await keys(blobs) == []

    async def test_sixteen_slow_clients_do_not_hold_up_another(self, blobs: S3Blobs) -> None:
        reached = [asyncio.Event() for _ in range(16)]

        async def slow(number: int) -> AsyncIterator[bytes]:
            yield bytes(PART_BYTES - 1)
            reached[number].set()
            await asyncio.Event().wait()

        waiting = [
            asyncio.create_task(blobs.put(f"{number}", slow(number), content_type="text/plain")) for number in range(16)
        ]
        await asyncio.gather(*(event.wait() for event in reached))
        async with asyncio.timeout(10):
            await put(blobs, "other", bytes(2 * PART_BYTES))
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await keys(blobs) == ["other"]


def files_without_a_name() -> int:
    """Return how many files this process has open that were deleted, as temporary files are."""
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the listing's own is gone
            found += os.readlink(f"/proc/self/fd/{descriptor}").endswith("(deleted)")
    return found


class TestPresigned:
    async def test_a_get_is_saved_as_a_file_under_its_name(self, blobs: S3Blobs) -> None:
        plain = await blobs.presign_get("a", expires_in=HOUR)
        named = await blobs.presign_get("a", expires_in=HOUR, download_name='n\u00e4me "1"\r\n.txt')
        (shown,) = parse_qs(urlsplit(plain.url).query)["response-content-disposition"]
        (shown_named,) = parse_qs(urlsplit(named.url).query)["response-content-disposition"]
        assert shown == "attachment"
        assert shown_named.startswith('attachment; filename="')
        assert "filename*=UTF-8''n%C3%A4me" in shown_named
        assert "\r" not in shown_named
        assert (plain.method, plain.headers) == ("GET", {})

    async def test_a_put_signs_its_length_and_its_type(self, blobs: S3Blobs) -> None:
        request = await blobs.presign_put("a", size=5, content_type="image/png", expires_in=HOUR)
        query = parse_qs(urlsplit(request.url).query)
        assert query["X-Amz-SignedHeaders"] == ["content-length;content-type;host"]
        assert query["X-Amz-Expires"] == ["3600"]
        assert (request.method, request.headers) == ("PUT", {"Content-Type": "image/png", "Content-Length": "5"})

    @pytest.mark.parametrize("seconds", [0, -1, 7 * 86400 + 1])
    async def test_no_time_and_more_than_a_week_are_refused(self, blobs: S3Blobs, seconds: int) -> None:
        for call in (
            blobs.presign_get("a", expires_in=timedelta(seconds=seconds)),
            blobs.presign_put("a", size=1, content_type="text/plain", expires_in=timedelta(seconds=seconds)),
        ):
            with pytest.raises(InvalidInputError, match="expires_in"):
                await call


class TestOpening:
    async def test_a_url_says_it_all(self, endpoint: str, bucket: str, client: Any) -> None:
        url = f"s3://{bucket}/a/b?endpoint_url={endpoint}&region={REGION}&checksums=when_required"
        async with open_s3(url) as blobs:
            await put(blobs, "small")
            await put(blobs, "large", bytes(PART_BYTES + 1))
            assert await blobs.read("small") == b"bytes"
        answer = await client.head_object(Bucket=bucket, Key="a/b/small", ChecksumMode="ENABLED")
        assert "ChecksumCRC32" not in answer

    @pytest.mark.parametrize(
        "url",
        [
            "s3://",
            "s3://bucket?unknown=1",
            "s3://bucket?region=a&region=b",
            "s3://bucket?checksums=never",
            "s3://bucket?endpoint_url=localhost:9000",
            "s3://bucket?endpoint_url=http://key:secret@localhost",
            "s3://key:secret@bucket/prefix",
            "s3://bucket#fragment",
            "http://bucket",
            f"s3://bucket/{'p' * 512}",
            f"s3://bucket/{'%C3%A9' * 256}",
        ],
    )
    def test_a_url_that_cannot_work_is_refused_without_repeating_it(self, url: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            open_s3(url)
        assert "secret" not in str(caught.value)

    async def test_a_callers_client_is_used_and_stays_open(self, client: Any, bucket: str) -> None:
        async with S3Blobs(bucket, client=client) as blobs:
            await put(blobs, "a")
        assert (await client.head_object(Bucket=bucket, Key="a"))["ContentLength"] == 5

    async def test_a_callers_factory_is_opened_once_and_closed(self, client: Any, bucket: str) -> None:
        steps: list[str] = []

        @asynccontextmanager
        async def factory() -> AsyncIterator[Any]:
            steps.append("opened")
            yield client
            steps.append("closed")

        blobs = S3Blobs(bucket, client=factory)
        assert steps == []
        await asyncio.gather(*(put(blobs, f"{number}") for number in range(5)))
        assert steps == ["opened"]
        await blobs.aclose()
        await blobs.aclose()
        assert steps == ["opened", "closed"]
        for call in (put(blobs, "a"), blobs.read("a"), blobs.stat("a"), blobs.delete("a"), keys(blobs)):
            with pytest.raises(ClosedError):
                await call

    async def test_missing_credentials_are_a_matter_of_configuration(
        self, endpoint: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            monkeypatch.setenv(name, "/absent")
        async with S3Blobs("bucket", endpoint_url=endpoint, region=REGION) as blobs:
            for call in (put(blobs, "a"), blobs.presign_get("a", expires_in=HOUR)):
                with pytest.raises(ConfigurationError, match="no usable credentials"):
                    await call

    def test_a_missing_driver_is_named_with_the_command_that_installs_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "aioboto3", None)
        monkeypatch.delitem(sys.modules, "chatstore.aws")
        with pytest.raises(ConfigurationError, match=r'pip install "chatstore-py\[s3\]"'):
            __import__("chatstore.aws")


Handler: TypeAlias = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handle: Handler) -> AsyncIterator[str]:
    """Serve raw HTTP: ``handle`` gets the head of each request and both ends of its connection."""
    connections: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await handle(head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for writer in connections:
        writer.transport.abort()
    await server.wait_closed()


def length_of(head: bytes) -> int:
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    return int(lines.get(b"content-length", b"0"))


async def rest_of(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Return the body of a request, after the go-ahead that the sender of a body waits for."""
    if b"100-continue" in head:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return await reader.readexactly(length_of(head))


async def forwarded(endpoint: str, head: bytes, body: bytes) -> bytes:
    target = urlsplit(endpoint)
    answers, requests = await asyncio.open_connection(target.hostname, target.port)
    lines = [line for line in head.rstrip().split(b"\r\n") if not line.lower().startswith((b"expect:", b"connection:"))]
    requests.write(b"\r\n".join([*lines, b"Connection: close", b"", b""]) + body)
    found = await answers.read()
    requests.close()
    await requests.wait_closed()
    return found


@asynccontextmanager
async def forwarding(endpoint: str, loses: Callable[[bytes], bool]) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Forward to a server and lose the first answer to a request that ``loses``."""
    lost: list[bytes] = []

    async def handle(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found = await forwarded(endpoint, head, await rest_of(head, reader, writer))
        if loses(head) and not lost:
            lost.append(head)
        else:
            writer.write(found)
            await writer.drain()
        raise ConnectionResetError  # either way it ends here

    async with serving(handle) as address:
        yield address, lost


def answer(status: str, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "\r\n"]).encode() + body


def error(code: str) -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>m</Message></Error>'.encode()


def refusing(status: str, code: str) -> Handler:
    async def handle(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await rest_of(head, reader, writer)
        is_head = head.startswith(b"HEAD ")
        writer.write(answer(status, b"" if is_head else error(code), length=0 if is_head else None))

    return handle


async def hanging(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def resetting(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    raise ConnectionResetError


async def babbling(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await rest_of(head, reader, writer)
    is_head = head.startswith(b"HEAD ")
    writer.write(answer("200 OK", b"" if is_head else b"<html>Log in", "Content-Type: text/html"))


def sending(body: bytes, *headers: str, length: int | None = None, reset: bool = False) -> Handler:
    """Answer with an object whose body may be cut."""

    async def handle(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer("200 OK", body, 'ETag: "e"', *headers, length=length))
        await writer.drain()
        if length is not None:
            if reset:
                writer.transport.abort()
            raise ConnectionResetError

    return handle


EVERY: dict[str, Callable[[S3Blobs], Awaitable[Any]]] = {
    "put": lambda blobs: put(blobs, "a"),
    "create": lambda blobs: put(blobs, "a", if_absent=True),
    "put in parts": lambda blobs: put(blobs, "a", bytes(PART_BYTES + 1)),
    "read": lambda blobs: blobs.read("a"),
    "stat": lambda blobs: blobs.stat("a"),
    "delete": lambda blobs: blobs.delete("a"),
    "list": keys,
}


async def failures(handle: Handler) -> dict[str, tuple[ChatStoreError, float]]:
    """Make every call against a server that fails, all at once; return the errors and after how long they came."""

    async def timed(call: Awaitable[Any]) -> tuple[ChatStoreError, float]:
        start = time.monotonic()
        failed = (await asyncio.gather(call, return_exceptions=True))[0]
        assert isinstance(failed, ChatStoreError), failed
        return failed, time.monotonic() - start

    async with serving(handle) as address, S3Blobs("bucket", endpoint_url=address, region=REGION) as blobs:
        answers = await asyncio.gather(*(timed(call(blobs)) for call in EVERY.values()))
    return dict(zip(EVERY, answers, strict=True))


class TestFaults:
    @pytest.mark.parametrize(
        "handle",
        [
            pytest.param(refusing("500 Internal Server Error", "InternalError"), id="500"),
            pytest.param(refusing("503 Slow Down", "SlowDown"), id="503"),
            pytest.param(refusing("429 Too Many Requests", "TooManyRequests"), id="429"),
            pytest.param(resetting, id="reset"),
            pytest.param(hanging, id="hanging"),
        ],
    )
    async def test_a_server_that_fails_is_unavailable_within_ten_seconds(self, handle: Handler) -> None:
        for name, (found, seconds) in (await failures(handle)).items():
            assert type(found) is UnavailableError, name
            assert found.retryable
            assert found.__cause__ is not None
            assert seconds < 10, name

    async def test_an_error_in_an_answer_of_200_is_an_error(self) -> None:
        found = await failures(refusing("200 OK", "InternalError"))
        found.pop("delete")  # its answer has no body to look at
        for name, (failure, seconds) in found.items():
            assert type(failure) is UnavailableError, name
            assert seconds < 10, name

    async def test_a_blob_that_is_made_between_the_two_looks_is_there(self) -> None:
        async def handle(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            is_head = head.startswith(b"HEAD ")
            writer.write(answer("404 Not Found") if is_head else answer("200 OK", b"bytes", 'ETag: "e"'))

        async with serving(handle) as address, S3Blobs("bucket", endpoint_url=address, region=REGION) as blobs:
            found = await blobs.stat("a")
        assert found is not None
        assert (found.etag, found.size) == ("e", 5)

    async def test_a_create_is_a_conflict_also_where_the_other_blob_is_gone_since(self) -> None:
        async def handle(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await rest_of(head, reader, writer)
            is_head = head.startswith(b"HEAD ")
            refused = answer("412 Precondition Failed", error("PreconditionFailed"))
            writer.write(answer("404 Not Found") if is_head else refused)

        async with serving(handle) as address, S3Blobs("bucket", endpoint_url=address, region=REGION) as blobs:
            with pytest.raises(ConflictError, match=r"^put 'a': "):
                await put(blobs, "a", if_absent=True)

    async def test_a_page_of_somebody_else_is_no_answer(self) -> None:
        async with serving(babbling) as address, S3Blobs("bucket", endpoint_url=address, region=REGION) as blobs:
            for name in ("put", "put in parts", "read", "stat", "list"):
                start = time.monotonic()
                with pytest.raises(UnavailableError):
                    await EVERY[name](blobs)
                assert time.monotonic() - start < 10, name

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            ("403 Forbidden", "AccessDenied"),
            ("403 Forbidden", "InvalidAccessKeyId"),
            ("403 Forbidden", "SignatureDoesNotMatch"),
            ("403 Forbidden", "RequestTimeTooSkewed"),
            ("400 Bad Request", "ExpiredToken"),
            ("404 Not Found", "NoSuchBucket"),
            ("501 Not Implemented", "NotImplemented"),
            ("400 Bad Request", "SomethingNew"),
        ],
    )
    async def test_what_waiting_does_not_mend_is_said_at_once(self, status: str, code: str) -> None:
        for name, (found, seconds) in (await failures(refusing(status, code))).items():
            assert type(found) is ConfigurationError, name
            assert not found.retryable
            assert seconds < 2, name

    async def test_a_full_server_is_full(self) -> None:
        found = await failures(refusing("507 Insufficient Storage", "XMinioStorageFull"))
        assert {type(failure) for failure, _ in found.values()} == {StorageFullError}

    async def test_nobody_listening_is_unavailable(self) -> None:
        async with serving(hanging) as address:
            pass
        async with S3Blobs("bucket", endpoint_url=address, region=REGION) as blobs:
            with pytest.raises(UnavailableError):
                await put(blobs, "a")

    @pytest.mark.parametrize("reset", [False, True])
    async def test_a_body_cut_on_its_way_is_never_a_blob(self, reset: bool) -> None:
        cut = sending(bytes(300_000), length=1_000_000, reset=reset)
        start = time.monotonic()
        async with serving(cut) as address, S3Blobs("bucket", endpoint_url=address, region=REGION) as blobs:
            with pytest.raises(UnavailableError) as caught:
                await blobs.read("a")
        assert caught.value.retryable
        assert time.monotonic() - start < 10

    async def test_a_body_that_stops_is_given_up_within_ten_seconds(self) -> None:
        async def stopping(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(answer("200 OK", bytes(300_000), 'ETag: "e"', length=1_000_000))
            await asyncio.Event().wait()

        start = time.monotonic()
        async with serving(stopping) as address, S3Blobs("bucket", endpoint_url=address, region=REGION) as blobs:
            with pytest.raises(UnavailableError, match="in time"):
                await blobs.read("a")
        assert time.monotonic() - start < 10

    async def test_a_body_with_another_checksum_is_damaged(self) -> None:
        damaged = sending(b"damaged", "x-amz-checksum-crc32: AAAAAA==")
        async with serving(damaged) as address, S3Blobs("bucket", endpoint_url=address, region=REGION) as blobs:
            with pytest.raises(IntegrityError, match="checksum"):
                await blobs.read("a")

    async def test_a_server_that_ignores_ranges_is_named(self) -> None:
        async with (
            serving(sending(b"0123456789")) as address,
            S3Blobs("bucket", endpoint_url=address, region=REGION) as blobs,
        ):
            with pytest.raises(ConfigurationError, match="ranges"):
                async with blobs.open("a", start=2):
                    pass

    async def test_an_upload_that_goes_on_slowly_is_not_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def slow(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            left = length_of(head)
            while left > 0:
                left -= len(await reader.read(64 * 1024))
                await asyncio.sleep(0.005)  # a slow line
            writer.write(answer("200 OK", b"", 'ETag: "e"'))

        monkeypatch.setattr(parts, "PART_BYTES", 32 * 1024 * 1024)  # much more than lies in the buffers of a connection
        async with serving(slow) as address, S3Blobs("bucket", endpoint_url=address, region=REGION) as blobs:
            monkeypatch.setattr(aws, "DEADLINE", 1.0)
            start = time.monotonic()
            assert await put(blobs, "a", bytes(28 * 1024 * 1024)) == "e"
        assert time.monotonic() - start > 2 * aws.DEADLINE

    async def test_a_server_is_given_time_for_a_large_body(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def busy(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await rest_of(head, reader, writer)
            await asyncio.sleep(1.2)  # as one that writes to a slow disk
            writer.write(answer("200 OK", b"", 'ETag: "e"'))

        async with serving(busy) as address, S3Blobs("bucket", endpoint_url=address, region=REGION) as blobs:
            monkeypatch.setattr(aws, "DEADLINE", 0.6)
            assert await put(blobs, "large", bytes(4 * 1024 * 1024)) == "e"
            with pytest.raises(UnavailableError, match="in time"):
                await put(blobs, "small")

    async def test_a_put_that_the_server_has_is_not_left_to_land_later(self, endpoint: str, bucket: str) -> None:
        """Cancelled while the server is busy with it, it is waited for: it would replace what is put after it."""
        has_it, busy = asyncio.Event(), asyncio.Event()

        async def handle(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            body = await rest_of(head, reader, writer)
            if not has_it.is_set():
                has_it.set()
                await busy.wait()
            writer.write(await forwarded(endpoint, head, body))
            await writer.drain()
            raise ConnectionResetError

        async with serving(handle) as address, S3Blobs(bucket, endpoint_url=address, region=REGION) as blobs:
            first = asyncio.create_task(put(blobs, "a", b"first"))
            await has_it.wait()
            first.cancel()
            done, _ = await asyncio.wait([first], timeout=0.2)
            assert not done
            busy.set()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert await blobs.read("a") == b"first"
            await put(blobs, "a", b"second")
            assert await blobs.read("a") == b"second"

    async def test_a_put_that_the_server_has_not_is_given_up_at_once(self) -> None:
        begun = asyncio.Event()

        async def taking_little(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await reader.read(1)
            begun.set()
            await asyncio.Event().wait()

        async with serving(taking_little) as address, S3Blobs("bucket", endpoint_url=address, region=REGION) as blobs:
            upload = asyncio.create_task(put(blobs, "a", bytes(PART_BYTES)))
            await begun.wait()
            start = time.monotonic()
            upload.cancel()
            with pytest.raises(asyncio.CancelledError):
                await upload
            assert time.monotonic() - start < 2

    async def test_a_server_that_recovers_is_asked_again(self, endpoint: str, bucket: str) -> None:
        async with (
            forwarding(endpoint, lambda head: True) as (address, lost),
            S3Blobs(bucket, endpoint_url=address, region=REGION) as blobs,
        ):
            await put(blobs, "a")
            assert len(lost) == 1
            assert await blobs.read("a") == b"bytes"

    async def test_a_part_that_fails_aborts_the_upload(self, endpoint: str, bucket: str, client: Any) -> None:
        async def handle(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if b"partNumber=2" in head:
                await refusing("403 Forbidden", "AccessDenied")(head, reader, writer)
                return
            writer.write(await forwarded(endpoint, head, await rest_of(head, reader, writer)))
            await writer.drain()
            raise ConnectionResetError

        async with serving(handle) as address, S3Blobs(bucket, endpoint_url=address, region=REGION) as blobs:
            with pytest.raises(ConfigurationError):
                await blobs.put("a", pieces(bytes(3 * PART_BYTES)), content_type="text/plain")
            assert await blobs.stat("a") is None
        assert await uploads(client, bucket) == []

    async def test_messages_hold_neither_credentials_nor_addresses(self) -> None:
        found = await failures(refusing("403 Forbidden", "SignatureDoesNotMatch"))
        for failure, _ in found.values():
            assert "testing" not in str(failure)
            assert "127.0.0.1" not in str(failure)


MEMORY = """
import asyncio, re, sys
from pathlib import Path
from chatstore.blobs.s3 import open_s3

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

async def there_and_back(blobs, megabytes):
    async def chunks():
        for _ in range(megabytes * 16):
            yield bytes(65536)
    await blobs.put("a", chunks(), content_type="text/plain")
    async with blobs.open("a") as found:
        assert sum([len(chunk) async for chunk in found]) == megabytes << 20

async def main():
    async with open_s3(sys.argv[1]) as blobs:
        await there_and_back(blobs, 1)
        before = peak()
        await there_and_back(blobs, 50)
        print(peak() - before)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
async def test_fifty_megabytes_up_and_down_add_at_most_sixteen_to_the_process(endpoint: str, bucket: str) -> None:
    url = f"s3://{bucket}?endpoint_url={endpoint}&region={REGION}"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", MEMORY, url, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert int(output) <= 16 << 20
