"""ChatStore: a store opened, bound to users and closed as one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from chatstore.owners import Owner
from chatstore.protocols import Capability, Store
from chatstore.users import UserStore


class ChatStore:
    """What ``open_store`` returns. It connects on first use or on ``async with``, whichever comes first."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the store can do beyond the minimum."""
        return self.store.capabilities

    def for_user(self, user: str, tenant: str = "") -> UserStore:
        """Return the store of one user; raise ``InvalidInputError`` for a user that is missing, blank or too long."""
        return UserStore(self.store, Owner(user, tenant))

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """Open and close the store with an ASGI application: ``FastAPI(lifespan=store.lifespan)``."""
        async with self:
            yield

    async def aclose(self) -> None:
        """Close what was opened; a second call does nothing. Afterwards every call raises ``ClosedError``."""
        await self.store.aclose()

    async def __aenter__(self) -> Self:
        await self.store.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()
