"""ChatStore: a store and its blobs, opened, bound to users and closed as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Self

from chatstore.attachments import Attachments
from chatstore.errors import ConfigurationError
from chatstore.links import Links
from chatstore.observing import logs, telemetry
from chatstore.owners import Owner
from chatstore.protocols import BlobStore, Capability, Limits, Store
from chatstore.readiness import PATIENCE, Ask, Checks, Readiness, probe_blobs
from chatstore.signing import UrlSigner
from chatstore.sweeping import Sweeper
from chatstore.users import UserStore
from chatstore.wrappers.observed import ObservedBlobs, ObservedStore


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
        self.store: ObservedStore = ObservedStore(store)
        self.blobs: ObservedBlobs | None = None
        self.signer: UrlSigner | None = signer
        self.attachments: Attachments | None = None
        parts: dict[str, Ask] = {"database": self.store.check}
        if blobs is not None:
            self.blobs = ObservedBlobs(blobs)
            links = Links(self.blobs, signer, public_url)
            self.attachments = Attachments(self.store, self.blobs, links, limits or Limits())
            parts["blobs"] = partial(probe_blobs, self.blobs)
        self._checks = Checks(parts)

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

    async def check(self, *, within: timedelta = PATIENCE) -> Readiness:
        """Return whether the store could serve a request now, and what is wrong with which part, if anything is.

        The database is asked for its tables and their revision; it and the blob store must keep a small thing and
        give it back. Nothing is raised, not even after the close: what does not answer ``within`` this time is not
        ready. Raises ``InvalidInputError`` for another ``within`` than one above zero.
        """
        return await self._checks.check(within)

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
        await asyncio.gather(logs.outlet.flush(), telemetry.outlet.flush())

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
