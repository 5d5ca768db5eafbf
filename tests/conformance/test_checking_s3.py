"""Blobs in S3 on a server that checks signatures, their expiry, lengths, checksums and conditions."""

from __future__ import annotations

import io
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from checking_s3 import REGION, CheckingS3Server

from chatstore.blobs.s3 import S3Blobs, parts
from chatstore.errors import ConfigurationError, UnavailableError
from chatstore.protocols import BlobStore
from chatstore.testing.blob_suites.creating import CreatingTests
from chatstore.testing.blob_suites.lifecycle import Reopen
from chatstore.testing.blob_suites.presigning import PresigningTests
from chatstore.testing.blob_suites.sources import TYPE, content
from chatstore.testing.servers import ServerUnavailable

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def found_server() -> Iterator[CheckingS3Server | str]:
    try:
        server = CheckingS3Server().start()
    except ServerUnavailable as error:
        yield str(error)
        return
    yield server
    server.stop()


@pytest.fixture
def server(found_server: CheckingS3Server | str) -> CheckingS3Server:
    if isinstance(found_server, str):
        pytest.skip(found_server)
    return found_server


@pytest.fixture
async def credentials(server: CheckingS3Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    made = await server.make_user()
    for name, value in made.items():
        monkeypatch.setenv(name.upper(), value)
    return made


@pytest.fixture
async def bucket(server: CheckingS3Server, credentials: dict[str, str]) -> str:
    name = f"chatstore-{uuid.uuid4().hex}"
    async with server.client(credentials) as client:
        await client.create_bucket(Bucket=name)
    return name


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 5 * MIB)


class TestS3Blobs(PresigningTests, CreatingTests):
    """What a server has to check; the rest of the suite runs against moto."""

    @pytest.fixture
    def open_blobs(self, server: CheckingS3Server, bucket: str) -> Callable[[], S3Blobs]:
        return lambda: S3Blobs(bucket, prefix="blobs", endpoint_url=server.url(), region=REGION)

    @pytest.fixture
    async def blobs(self, open_blobs: Callable[[], S3Blobs]) -> AsyncIterator[BlobStore]:
        async with open_blobs() as blobs:
            yield blobs

    @pytest.fixture
    def reopen(self, open_blobs: Callable[[], S3Blobs]) -> Reopen:
        async def another() -> BlobStore:
            return open_blobs()

        return another


def alter(request: Any, **_: Any) -> None:
    """Send other bytes than those that were signed, as many of them."""
    if request.method == "PUT":
        request.body = io.BytesIO(bytes(int(request.headers["Content-Length"])))


@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
@pytest.mark.parametrize("size", [1000, 2 * MIB, 11 * MIB])
async def test_bytes_altered_on_their_way_are_not_stored(
    server: CheckingS3Server, credentials: dict[str, str], bucket: str, size: int, checksums: str
) -> None:
    options = {"request_checksum_calculation": checksums, "s3": {"payload_signing_enabled": False}}
    async with server.client(credentials, **options) as client, S3Blobs(bucket, client=client) as blobs:
        await blobs.put("sound", content(size), content_type=TYPE)
        client.meta.events.register("before-send.s3", alter)
        with pytest.raises(UnavailableError, match="altered on their way"):
            await blobs.put("altered", content(size), content_type=TYPE)
        client.meta.events.unregister("before-send.s3", alter)
        assert [key async for key, _ in blobs.list()] == ["sound"]
        assert (await blobs.read("sound") == content(size)) is True
        assert (await client.list_multipart_uploads(Bucket=bucket)).get("Uploads", []) == []


async def test_a_wrong_secret_is_a_matter_of_configuration(
    server: CheckingS3Server, credentials: dict[str, str], bucket: str
) -> None:
    wrong = credentials | {"aws_secret_access_key": "wrong"}
    async with server.client(wrong) as client, S3Blobs(bucket, client=client) as blobs:
        with pytest.raises(ConfigurationError, match="secret key or the region"):
            await blobs.put("a", b"bytes", content_type=TYPE)
