"""Each backend once, for tests of what is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from everything import SECRET

from chatstore import BlobStore
from chatstore.blobs.s3 import S3Blobs
from chatstore.testing.servers import S3Server


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store."""
    if request.param == "memory":
        return "memory://"
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def blobs(url: str, tmp_path: Path, request: pytest.FixtureRequest) -> str | BlobStore:
    """An empty blob store to go with it."""
    if url == "memory://":
        return "memory://"
    if url.startswith("sqlite"):
        return f"file:{tmp_path}/{SECRET}blobs"
    server: S3Server = request.getfixturevalue("s3_server")
    bucket: str = request.getfixturevalue("s3_bucket")
    return S3Blobs(bucket, prefix=f"{SECRET}prefix", endpoint_url=server.url(), region="us-east-1")
