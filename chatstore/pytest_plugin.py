"""What pytest finds by itself once chatstore is installed: the fixture ``chat_store``, and asserts that explain."""

from __future__ import annotations

import pytest

from chatstore.assembly import ChatStore
from chatstore.opening import open_store

pytest.register_assert_rewrite("chatstore.testing")


@pytest.fixture
def chat_store() -> ChatStore:
    """Return a new, empty store in memory; it opens on first use, and there is nothing to close."""
    return open_store("memory://")
