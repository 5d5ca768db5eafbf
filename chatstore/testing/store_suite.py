"""StoreTests: what every store promises, as tests that a third party runs against theirs.

::

    from chatstore.testing.store_suite import StoreTests

    class TestMyStore(StoreTests):
        @pytest.fixture
        async def store(self):
            async with MyStore() as store:  # opened and empty
                yield store

That is all it takes, with pytest-asyncio in its ``auto`` mode. A store that declares ``DURABLE`` or ``SHARED``
overrides the fixture :meth:`StoreTests.reopen` as well: only then is there a second store to look through.
"""

from __future__ import annotations

import pytest

from chatstore.testing.suites.absence import AbsenceTests
from chatstore.testing.suites.attachments import AttachmentTests
from chatstore.testing.suites.cancellation import CancellationTests
from chatstore.testing.suites.copies import CopiesTests
from chatstore.testing.suites.deleting import BatchTests, DeletingTests
from chatstore.testing.suites.exactness import ExactnessTests
from chatstore.testing.suites.isolation import IsolationTests
from chatstore.testing.suites.lifecycle import CapabilityTests, LifecycleTests, Reopen
from chatstore.testing.suites.listing import ListingTests
from chatstore.testing.suites.merging import MergingTests
from chatstore.testing.suites.once import OnceTests
from chatstore.testing.suites.ordering import OrderTests
from chatstore.testing.suites.paging import PagingTests
from chatstore.testing.suites.refusals import RefusalTests
from chatstore.testing.suites.transactions import TransactionTests


class StoreTests(
    OnceTests,
    OrderTests,
    ExactnessTests,
    RefusalTests,
    IsolationTests,
    AbsenceTests,
    PagingTests,
    ListingTests,
    MergingTests,
    CopiesTests,
    BatchTests,
    DeletingTests,
    AttachmentTests,
    TransactionTests,
    CancellationTests,
    LifecycleTests,
    CapabilityTests,
):
    """Every promise of a store. Give it a fixture ``store``: an object of the protocol, opened and empty.

    ``max_item_bytes`` is to be set where the store under test was opened with another bound than the default.
    """

    @pytest.fixture
    def reopen(self) -> Reopen | None:
        """Return a function that opens a second store on the data of ``store``, or ``None`` where there is no way.

        It is awaited and entered with ``async with``, after ``store`` was closed or beside it. A store that
        declares no such capability may give it too: then the tests prove that nothing is kept or shared.
        """
        return None
