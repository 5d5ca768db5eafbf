"""BlobTests: what every blob store promises, as tests that a third party runs against theirs.

::

    from chatstore.testing.blob_suite import BlobTests

    class TestMyBlobs(BlobTests):
        @pytest.fixture
        async def blobs(self):
            async with MyBlobs() as blobs:  # opened and empty
                yield blobs

That is all it takes, with pytest-asyncio in its ``auto`` mode. A store that declares ``DURABLE`` or ``SHARED``
overrides the fixture :meth:`BlobTests.reopen` as well: only then is there a second store to look through.
"""

from __future__ import annotations

import pytest

from chatstore.testing.blob_suites.cancellation import CancellationTests
from chatstore.testing.blob_suites.concurrency import ConcurrencyTests
from chatstore.testing.blob_suites.creating import CreatingTests
from chatstore.testing.blob_suites.failing import FailingTests
from chatstore.testing.blob_suites.lifecycle import CapabilityTests, LifecycleTests, Reopen
from chatstore.testing.blob_suites.listing import ListingTests
from chatstore.testing.blob_suites.presigning import PresigningTests
from chatstore.testing.blob_suites.putting import PuttingTests
from chatstore.testing.blob_suites.reading import ReadingTests
from chatstore.testing.blob_suites.refusals import RefusalTests
from chatstore.testing.blob_suites.replacing import ReplacingTests
from chatstore.testing.blob_suites.streaming import StreamingTests


class BlobTests(
    PuttingTests,
    RefusalTests,
    FailingTests,
    ReadingTests,
    ReplacingTests,
    CreatingTests,
    ListingTests,
    ConcurrencyTests,
    CancellationTests,
    StreamingTests,
    PresigningTests,
    LifecycleTests,
    CapabilityTests,
):
    """Every promise of a blob store. Give it a fixture ``blobs``: an object of the protocol, opened and empty.

    ``holds_blobs_in_memory`` is to be set for a store that keeps its blobs in this process, and
    ``checks_presigned`` to false where the server behind the store does not check what was signed.
    """

    @pytest.fixture
    def reopen(self) -> Reopen | None:
        """Return a function that opens a second store on the blobs of ``blobs``, or ``None`` where there is no way.

        It is awaited and entered with ``async with``, after ``blobs`` was closed or beside it. A store that
        declares no such capability may give it too: then the tests prove that nothing is kept or shared.
        """
        return None
