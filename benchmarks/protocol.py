"""What is measured: one way to keep conversations, behind the few calls that every chat server makes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

Payload = dict[str, Any]


class Conversations(Protocol):
    """One way to keep conversations in one database; used by many tasks at once.

    Every call names the user. A write is durable when it returns; reads return how many entries they loaded, as
    the library hands them to its user.
    """

    async def open(self, url: str) -> None:
        """Connect, and make the tables of an empty database."""
        ...

    async def close(self) -> None:
        """Give back every connection."""
        ...

    async def create_threads(self, user: str, thread_ids: Sequence[str]) -> None:
        """Make empty threads; not timed."""
        ...

    async def fill(self, user: str, thread_id: str, payloads: Sequence[Payload]) -> None:
        """Append many items by the fastest way there is; not timed."""
        ...

    async def append(self, user: str, thread_id: str, payload: Payload) -> Any:
        """Append an item to a thread of the user and mark the thread as used; return what :meth:`update` takes."""
        ...

    async def update(self, user: str, thread_id: str, item: Any, payload: Payload) -> None:
        """Replace what an appended item holds."""
        ...

    async def newest(self, user: str, thread_id: str, limit: int) -> int:
        """Load the newest items of a thread."""
        ...

    def pages(self, user: str, thread_id: str, limit: int) -> AsyncIterator[int]:
        """Load a whole thread from its beginning, page by page where the library has pages."""
        ...

    async def threads(self, user: str, limit: int) -> int:
        """Load the user's threads that were used last."""
        ...

    async def delete(self, user: str, thread_id: str) -> None:
        """Delete a thread with its items."""
        ...


class NotOffered(Exception):
    """A call that the library has not; said in the report."""
