"""Whose call it is: the owner found in a context, errors as the SDK knows them, writes that go on to their end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import chatkit.store

from chatstore.errors import NotFoundError, UnavailableError
from chatstore.owners import Owner, OwnerOf, resolve_owner

OWNER_SECONDS = 30.0
"""How long an asynchronous ``owner_of`` may take; a write waits for it even when its client is gone."""


class Callers:
    """Finds the owners of calls in their contexts."""

    def __init__(self, owner_of: OwnerOf) -> None:
        self._owner_of = owner_of

    async def owner(self, context: Any) -> Owner:
        """Return whose call it is; raise ``InvalidInputError`` where it is nobody's."""
        with anyio.move_on_after(OWNER_SECONDS):
            return await resolve_owner(context, self._owner_of)
        raise UnavailableError(f"owner_of did not answer within {OWNER_SECONDS:g} s")

    @asynccontextmanager
    async def writing(self, context: Any) -> AsyncIterator[Owner]:
        """Find the owner of a write and shield both.

        A native cancellation is left to the store, which finishes the unit that it is in. Where a write has more
        than one, the last is what it was called for, and the ones before it are met again by a retry.
        """
        with anyio.CancelScope(shield=True), sdk_errors():
            yield await self.owner(context)


@contextmanager
def sdk_errors() -> Iterator[None]:
    """Raise what is not found as the SDK's own error."""
    try:
        yield
    except NotFoundError as error:
        raise chatkit.store.NotFoundError(str(error)) from error
