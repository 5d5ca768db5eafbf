"""Each backend once, for tests of what is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from everything import SECRET


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store."""
    if request.param == "memory":
        return "memory://"
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def blobs(url: str, tmp_path: Path) -> str:
    """The URL of an empty blob store to go with it."""
    return "memory://" if url == "memory://" else f"file:{tmp_path}/{SECRET}blobs"
