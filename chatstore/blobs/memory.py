"""The reference blob store: a dictionary in this process; ``blobs="memory://"``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from chatstore import instants
from chatstore.errors import ConflictError, NotFoundError, NotSupportedError
from chatstore.lifetime import Lifetime
from chatstore.protocols import BlobInfo, BlobSource, Capability, PresignedRequest
from chatstore.streams import (
    CHUNK_BYTES,
    Meter,
    check_blob_key,
    check_content_type,
    check_range,
    chunks_of,
    may_begin_key,
)


@dataclass(frozen=True, slots=True)
class _Blob:
    data: bytes
    info: BlobInfo


class MemoryBlobs:
    """Blobs that live as long as this object."""

    system = "memory"

    def __init__(self) -> None:
        self._blobs: dict[str, _Blob] = {}
        self._lifetime = Lifetime()

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.CONDITIONAL_CREATE})

    async def put(
        self,
        key: str,
        source: BlobSource,
        *,
        content_type: str,
        size: int | None = None,
        if_absent: bool = False,
    ) -> BlobInfo:
        self._enter(key)
        check_content_type(content_type)
        meter = Meter(size)
        data = b"".join([chunk async for chunk in meter.through(chunks_of(source))])
        if if_absent and key in self._blobs:
            raise ConflictError(f"put: there is a blob under {key!r}")
        info = BlobInfo(meter.size, meter.sha256, meter.sha256, instants.now())
        self._blobs[key] = _Blob(data, info)
        return info

    @asynccontextmanager
    async def open(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        self._enter(key)
        start, end = check_range(start, end)
        yield _pieces(self._found(key, "open").data[start:end])

    async def read(self, key: str) -> bytes:
        self._enter(key)
        return self._found(key, "read").data

    async def stat(self, key: str) -> BlobInfo | None:
        self._enter(key)
        blob = self._blobs.get(key)
        return None if blob is None else blob.info

    async def delete(self, key: str) -> None:
        self._enter(key)
        self._blobs.pop(key, None)

    async def list(self, prefix: str = "") -> AsyncIterator[tuple[str, BlobInfo]]:
        self._lifetime.enter()
        if not may_begin_key(prefix):
            return
        for key in sorted(key for key in self._blobs if key.startswith(prefix)):
            if key in self._blobs:
                yield key, self._blobs[key].info

    async def presign_get(
        self, key: str, *, expires_in: timedelta, download_name: str | None = None
    ) -> PresignedRequest:
        raise NotSupportedError("presign_get: blobs in memory have no URL")

    async def presign_put(self, key: str, *, size: int, content_type: str, expires_in: timedelta) -> PresignedRequest:
        raise NotSupportedError("presign_put: blobs in memory have no URL")

    async def aclose(self) -> None:
        self._lifetime.closed = True

    async def __aenter__(self) -> Self:
        self._lifetime.enter()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _enter(self, key: str) -> None:
        self._lifetime.enter()
        check_blob_key(key)

    def _found(self, key: str, operation: str) -> _Blob:
        blob = self._blobs.get(key)
        if blob is None:
            raise NotFoundError(f"{operation}: no blob {key!r}")
        return blob


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]


def open_memory(url: str) -> MemoryBlobs:
    """Return a new, empty blob store for ``memory://``."""
    return MemoryBlobs()
