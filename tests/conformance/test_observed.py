"""The suites, run through the wrapper that tells of every call, while somebody listens."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from chatstore import BlobStore, Store
from chatstore.blobs.memory import MemoryBlobs
from chatstore.observing import logs
from chatstore.stores.memory import MemoryStore
from chatstore.testing.blob_suite import BlobTests
from chatstore.testing.store_suite import StoreTests
from chatstore.wrappers.observed import ObservedBlobs, ObservedStore


@pytest.fixture(autouse=True)
def _somebody_listens() -> Iterator[None]:
    logs.logger.setLevel(logging.DEBUG)
    yield
    logs.logger.setLevel(logging.NOTSET)


class TestObservedStore(StoreTests):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        async with ObservedStore(MemoryStore()) as store:
            yield store


class TestObservedBlobs(BlobTests):
    holds_blobs_in_memory = True

    @pytest.fixture
    async def blobs(self) -> AsyncIterator[BlobStore]:
        async with ObservedBlobs(MemoryBlobs()) as blobs:
            yield blobs
