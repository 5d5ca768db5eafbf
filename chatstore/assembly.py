"""ChatStore: a store and its blobs, opened, bound to users and closed as one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from chatstore.attachments import Attachments
from chatstore.errors import ConfigurationError
from chatstore.links import Links
from chatstore.owners import Owner
from chatstore.protocols import BlobStore, Capability, Limits, Store
from chatstore.signing import UrlSigner
from chatstore.sweeping import Sweeper
from chatstore.users import UserStore


class ChatStore:
    """What ``open_store`` returns. It connects on first use or on ``async with``, whichever comes first."""

    def __init__(
        self,
        store: Store,
        blobs: BlobStore | None = None,
        *,
        limits: Limits | None = None,
        signer: UrlSigner | None = None,
        public_url: str | None = None,
    ) -> None:
        self.store: Store = store
        self.blobs: BlobStore | None = blobs
        self.signer: UrlSigner | None = signer
        self.attachments: Attachments | None = None
        if blobs is not None:
            self.attachments = Attachments(store, blobs, Links(blobs, signer, public_url), limits or Limits())

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the store can do beyond the minimum."""
        return self.store.capabilities

    def for_user(self, user: str, tenant: str = "") -> UserStore:
        """Return the store of one user; raise ``InvalidInputError`` for a user that is missing, blank or too long."""
        return UserStore(self.store, Owner(user, tenant), self.attachments)

    def admin(self) -> Sweeper:
        """Return what concerns all owners: ``sweep`` and ``verify``. No store of a user reaches it."""
        if self.blobs is None:
            raise ConfigurationError("admin: there are no blobs to look after; open_store(blobs=...)")
        return Sweeper(self.store, self.blobs)

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """Open and close the store with an ASGI application: ``FastAPI(lifespan=store.lifespan)``."""
        async with self:
            yield

    async def aclose(self) -> None:
        """Close what was opened; a second call does nothing. Afterwards every call raises ``ClosedError``."""
        if self.blobs is not None:
            await self.blobs.aclose()
        await self.store.aclose()

    async def __aenter__(self) -> Self:
        await self.store.__aenter__()
        try:
            if self.blobs is not None:
                await self.blobs.__aenter__()
        except BaseException:
            await self.store.aclose()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()
