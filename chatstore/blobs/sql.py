"""Blobs as rows of chunks in the store's own database; ``blobs="sql"``.

Chunks are written a few at a time under a random number, then one row names that number: the blob is there, or
has changed, in that moment. A reader keeps the number that it began with. Chunks without such a row are those of an
upload under way or of one that was killed; nobody can read them, and by their age a sweep tells the two apart.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Self

from chatstore import instants
from chatstore.errors import ConflictError, IntegrityError, NotFoundError, NotSupportedError, UnavailableError
from chatstore.lifetime import Lifetime
from chatstore.protocols import BlobInfo, BlobSource, Capability, PresignedRequest
from chatstore.sql.connections import Unit
from chatstore.sql.databases import Database
from chatstore.sql.dialects import Row, Values
from chatstore.streams import (
    Meter,
    check_blob_key,
    check_content_type,
    check_range,
    chunks_of,
    may_begin_key,
)

ROW_BYTES = 128 * 1024
"""How much of a blob is one row; each of SQLite's threads keeps memory for a few."""

_ABANDONED = timedelta(hours=1) // timedelta(microseconds=1)
"""After how long without a new chunk an upload is taken for one that was killed."""

_LONGEST_PAUSE = _ABANDONED // 2
"""After how long without a new chunk an upload may not end: some might be going while the blob's row is written."""

_NO_NUMBER = -1

_INSERT_CHUNK = (
    "INSERT INTO {chunks} (key, number, start, written, data) VALUES (:key, :number, :start, {now}, :data)"
    " ON CONFLICT (key, number, start) DO NOTHING"
)

_DROP_CHUNKS = (
    "DELETE FROM {chunks} WHERE key = :key AND number = :number"
    " AND NOT EXISTS (SELECT 1 FROM {blobs} WHERE key = :key AND number = :number)"
)
"""After a failure, unless it was a cancellation that arrived when the blob was there already."""

_DROP_REPLACED = "DELETE FROM {chunks} WHERE key = :key AND number = :replaced AND number <> :number"

_ABANDONED_UPLOADS = (
    "SELECT c.key, c.number FROM {chunks} AS c WHERE c.start = 0"
    " AND NOT EXISTS (SELECT 1 FROM {blobs} AS b WHERE b.key = c.key AND b.number = c.number)"
    " AND NOT EXISTS (SELECT 1 FROM {chunks} AS d WHERE d.key = c.key AND d.number = c.number"
    " AND d.written > {now} - CAST(:age AS BIGINT)) LIMIT 100"
)

_LOCK = "SELECT number, sha256 FROM {blobs} WHERE key = :key {lock}"

_INSERT = (
    "INSERT INTO {blobs} (key, number, size, sha256, modified) VALUES (:key, :number, :size, :sha256, {now})"
    " ON CONFLICT (key) DO NOTHING RETURNING modified"
)

_REPLACE = (
    "UPDATE {blobs} SET number = :number, size = :size, sha256 = :sha256, modified = {now} WHERE key = :key"
    " RETURNING modified"
)

_STAT = "SELECT size, sha256, modified, number FROM {blobs} WHERE key = :key"

_CHUNK = (
    "SELECT start, data FROM {chunks} WHERE key = :key AND number = :number AND start <= :at"
    " ORDER BY start DESC LIMIT 1"
)

_READ = (
    "SELECT b.size, c.data FROM {blobs} AS b LEFT JOIN {chunks} AS c ON c.key = b.key AND c.number = b.number"
    " WHERE b.key = :key ORDER BY c.start"
)

_DELETE = "DELETE FROM {blobs} WHERE key = :key"

_PAUSES = (
    "SELECT count(*), coalesce(max(pause), 0) FROM (SELECT lead(written, 1, {now}) OVER (ORDER BY start) - written"
    " AS pause FROM {chunks} WHERE key = :key AND number = :number) AS pauses"
)

_LIST = (
    "SELECT key, size, sha256, modified FROM {blobs} WHERE key > :after AND key >= :prefix AND key < :beyond"
    " ORDER BY key LIMIT 500"
)


class SQLBlobs:
    """Blobs in a database that a store has opened; closing it leaves the database to the store."""

    system = "sql"

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lifetime = Lifetime()

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self._database.capabilities | {Capability.CONDITIONAL_CREATE, Capability.DISCARD}

    async def put(
        self,
        key: str,
        source: BlobSource,
        *,
        content_type: str,
        size: int | None = None,
        if_absent: bool = False,
    ) -> BlobInfo:
        await self._enter(key)
        check_content_type(content_type)
        meter = Meter(size)
        number = secrets.randbits(63)
        values = {"key": key, "number": number}
        try:
            start = 0
            async for chunk in _even(meter.through(chunks_of(source))):
                await self._write("put", _INSERT_CHUNK, {**values, "start": start, "data": chunk})
                start += len(chunk)
            return await self._database.units.transact(
                "put", lambda unit: _publish(unit, key, number, meter, if_absent=if_absent)
            )
        except BaseException:
            await self._write("put", _DROP_CHUNKS, values)
            raise

    @asynccontextmanager
    async def open(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        start, end = check_range(start, end)
        await self._enter(key)
        rows = await self._fetch("open", _STAT, {"key": key})
        if not rows:
            raise NotFoundError(f"open: no blob {key!r}")
        size, _, _, number = rows[0]
        yield self._pieces(key, number, start, size if end is None else min(end, size))

    async def read(self, key: str) -> bytes:
        await self._enter(key)
        rows = await self._fetch("read", _READ, {"key": key})
        if not rows:
            raise NotFoundError(f"read: no blob {key!r}")
        data = b"".join(row[1] for row in rows if row[1] is not None)
        if len(data) != rows[0][0]:
            raise IntegrityError(f"read: bytes of blob {key!r} are missing")
        return data

    async def stat(self, key: str) -> BlobInfo | None:
        await self._enter(key)
        rows = await self._fetch("stat", _STAT, {"key": key})
        return _info(*rows[0][:3]) if rows else None

    async def delete(self, key: str) -> None:
        await self._enter(key)

        async def delete(unit: Unit) -> None:
            stored = await unit.fetch(_LOCK, {"key": key})
            await unit.fetch(_DELETE, {"key": key})
            for number, _ in stored:
                await unit.fetch(_DROP_REPLACED, {"key": key, "number": _NO_NUMBER, "replaced": number})

        await self._database.units.transact("delete", delete)

    async def list(self, prefix: str = "") -> AsyncIterator[tuple[str, BlobInfo]]:
        self._lifetime.enter()
        if not may_begin_key(prefix):
            return
        await self._database.connect()
        values = {"after": "", "prefix": prefix, "beyond": prefix + "\x7f"}
        while rows := await self._fetch("list", _LIST, values):
            for key, size, sha256, modified in rows:
                yield key, _info(size, sha256, modified)
            values["after"] = rows[-1][0]

    async def discard_unfinished(self) -> int:
        self._lifetime.enter()
        await self._database.connect()
        discarded = 0
        while found := await self._fetch("discard_unfinished", _ABANDONED_UPLOADS, {"age": _ABANDONED}):
            for key, number in found:
                await self._write("discard_unfinished", _DROP_CHUNKS, {"key": key, "number": number})
            discarded += len(found)
        return discarded

    async def presign_get(
        self, key: str, *, expires_in: timedelta, download_name: str | None = None
    ) -> PresignedRequest:
        raise NotSupportedError("presign_get: blobs in the database have no URL")

    async def presign_put(self, key: str, *, size: int, content_type: str, expires_in: timedelta) -> PresignedRequest:
        raise NotSupportedError("presign_put: blobs in the database have no URL")

    async def aclose(self) -> None:
        self._lifetime.closed = True

    async def __aenter__(self) -> Self:
        self._lifetime.enter()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _enter(self, key: str) -> None:
        self._lifetime.enter()
        check_blob_key(key)
        await self._database.connect()

    async def _fetch(self, operation: str, template: str, values: Values) -> Sequence[Row]:
        return await self._database.units.read(operation, lambda unit: unit.fetch(template, values))

    async def _write(self, operation: str, template: str, values: Values) -> None:
        await self._database.units.write(operation, lambda unit: unit.fetch(template, values))

    async def _pieces(self, key: str, number: int, start: int, end: int) -> AsyncIterator[bytes]:
        while start < end:
            rows = await self._fetch("open", _CHUNK, {"key": key, "number": number, "at": start})
            first, data = rows[0] if rows else (start, b"")
            piece = bytes(data[start - first : end - first])
            if not piece:
                raise await self._missing(key, number)
            yield piece
            start += len(piece)

    async def _missing(self, key: str, number: int) -> Exception:
        rows = await self._fetch("open", _STAT, {"key": key})
        if rows and rows[0][3] == number:
            return IntegrityError(f"open: bytes of blob {key!r} are missing")
        return NotFoundError(f"open: blob {key!r} was deleted or replaced while it was read")


async def _publish(unit: Unit, key: str, number: int, meter: Meter, *, if_absent: bool) -> BlobInfo:
    values = {"key": key, "number": number, "size": meter.size, "sha256": meter.sha256}
    ((count, longest_pause),) = await unit.fetch(_PAUSES, values)
    if count != -(-meter.size // ROW_BYTES) or longest_pause > _LONGEST_PAUSE:
        raise UnavailableError(f"put: the upload of blob {key!r} paused for too long; put it again")
    stored: Sequence[Row] = ()
    while not stored:  # what was in the way of the insert may be deleted before it is locked
        inserted = await unit.fetch(_INSERT, values)
        if inserted:
            return _info(meter.size, meter.sha256, inserted[0][0])
        stored = await unit.fetch(_LOCK, values)
    replaced = stored[0][0]
    if replaced != number and if_absent:
        raise ConflictError(f"put: there is a blob under {key!r}")
    ((modified,),) = await unit.fetch(_REPLACE, values)
    await unit.fetch(_DROP_REPLACED, {**values, "replaced": replaced})
    return _info(meter.size, meter.sha256, modified)


async def _even(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Join and cut chunks of any size into even ones, so that a row is neither tiny nor huge."""
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        while len(held) >= ROW_BYTES:
            yield bytes(held[:ROW_BYTES])
            del held[:ROW_BYTES]
    if held:
        yield bytes(held)


def _info(size: int, sha256: str, modified: int) -> BlobInfo:
    return BlobInfo(size, sha256, sha256, instants.from_microseconds(modified))
