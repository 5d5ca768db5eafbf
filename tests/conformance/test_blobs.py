"""Every blob store passes the whole suite."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NoReturn

import aioboto3  # type: ignore[import-untyped]
import pytest

from chatstore.blobs.local import LocalBlobs
from chatstore.blobs.memory import MemoryBlobs
from chatstore.blobs.s3 import S3Blobs, parts
from chatstore.protocols import BlobStore
from chatstore.testing.blob_suite import BlobTests
from chatstore.testing.blob_suites.lifecycle import Reopen
from chatstore.testing.servers import S3Server, ServerUnavailable


class TestMemoryBlobs(BlobTests):
    holds_blobs_in_memory = True

    @pytest.fixture
    async def blobs(self) -> AsyncIterator[BlobStore]:
        async with MemoryBlobs() as blobs:
            yield blobs

    @pytest.fixture
    def reopen(self) -> Reopen:
        async def another() -> BlobStore:
            return MemoryBlobs()

        return another


class TestLocalBlobs(BlobTests):
    @pytest.fixture
    async def blobs(self, tmp_path: Path) -> AsyncIterator[BlobStore]:
        async with LocalBlobs(tmp_path / "blobs") as blobs:
            yield blobs

    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Reopen:
        async def another() -> BlobStore:
            return LocalBlobs(tmp_path / "blobs")

        return another


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server | ServerUnavailable]:
    """One server for all, or the reason why there is none."""
    try:
        server = S3Server().start()
    except ServerUnavailable as error:
        yield error
        return
    yield server
    server.stop()


@pytest.fixture
async def open_s3(
    s3_server: S3Server | ServerUnavailable, require: Callable[[str], NoReturn], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], S3Blobs]:
    """Open blobs in a new bucket."""
    if isinstance(s3_server, ServerUnavailable):
        require(str(s3_server))
    for name in {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} - os.environ.keys():
        monkeypatch.setenv(name, "testing")
    monkeypatch.setattr(parts, "PART_BYTES", 5 * 1024 * 1024)  # so that the suite's large blobs have several
    bucket, url, region = f"chatstore-{uuid.uuid4().hex}", s3_server.url(), "us-east-1"
    async with aioboto3.Session().client("s3", endpoint_url=url, region_name=region) as client:
        await client.create_bucket(Bucket=bucket)
    return lambda: S3Blobs(bucket, prefix="blobs", endpoint_url=url, region=region)


class TestS3Blobs(BlobTests):
    checks_presigned = S3Server.variable in os.environ  # moto does not

    @pytest.mark.parametrize("large", [False, True])
    async def test_of_creates_at_once_exactly_one_wins(self, blobs: BlobStore, large: bool) -> None:
        if large and not self.checks_presigned:
            pytest.skip("moto completes several multipart uploads under If-None-Match at once: not checked")
        await super().test_of_creates_at_once_exactly_one_wins(blobs, large)

    @pytest.fixture
    async def blobs(self, open_s3: Callable[[], S3Blobs]) -> AsyncIterator[BlobStore]:
        async with open_s3() as blobs:
            yield blobs

    @pytest.fixture
    def reopen(self, open_s3: Callable[[], S3Blobs]) -> Reopen:
        async def another() -> BlobStore:
            return open_s3()

        return another
