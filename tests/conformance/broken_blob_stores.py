"""Blob stores that each break one promise on purpose, as stores in the wild were seen to."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from chatstore.blobs.memory import MemoryBlobs
from chatstore.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    NotSupportedError,
    StorageFullError,
    UnavailableError,
)
from chatstore.protocols import BlobInfo, Capability, PresignedRequest
from chatstore.streams import CHUNK_BYTES, MAX_KEY, chunks_of, may_begin_key
from chatstore.testing.blob_suites.sources import TYPE


class LeavesHalfPuts(MemoryBlobs):
    """Shows a blob from its first piece on."""

    async def put(self, key: str, source: Any, **options: Any) -> BlobInfo:
        async def shown() -> AsyncIterator[bytes]:
            begun = options.get("if_absent", False)
            async for chunk in chunks:
                if not begun:
                    await super_put(key, chunk, content_type=TYPE)
                    begun = True
                yield chunk

        super_put = super().put
        self._enter(key)
        chunks = chunks_of(source)
        return await super().put(key, shown(), **options)


class EmptiesBeforeReplacing(MemoryBlobs):
    """Makes room for the new blob before it has it."""

    async def put(self, key: str, source: Any, **options: Any) -> BlobInfo:
        self._enter(key)
        if not options.get("if_absent"):
            await self.delete(key)
        return await super().put(key, source, **options)


class IgnoresSize(MemoryBlobs):
    """Takes a declared size for a hint."""

    async def put(self, key: str, source: Any, *, size: Any = None, **options: Any) -> BlobInfo:
        bad = type(size) is not int or size < 0
        return await super().put(key, source, size=size if bad else None, **options)


class HashesOnePiece(MemoryBlobs):
    """Gives the checksum of the first piece."""

    async def put(self, key: str, source: Any, **options: Any) -> BlobInfo:
        info = await super().put(key, source, **options)
        other = MemoryBlobs()
        first = await other.put("first", (await self.read(key))[:CHUNK_BYTES], content_type=TYPE)
        return replace(info, sha256=first.sha256)


class TagsBySize(MemoryBlobs):
    """Takes blobs of one size for the same."""

    async def put(self, key: str, source: Any, **options: Any) -> BlobInfo:
        await super().put(key, source, **options)
        blob = self._blobs[key]
        self._blobs[key] = replace(blob, info=replace(blob.info, etag=str(blob.info.size)))
        return self._blobs[key].info


class IncludesTheEnd(MemoryBlobs):
    """Takes the end of a range as HTTP does."""

    @asynccontextmanager
    async def open(self, key: str, *, start: Any = 0, end: Any = None) -> AsyncIterator[AsyncIterator[bytes]]:
        further = end + 1 if type(end) is int and end >= 0 and (type(start) is not int or end >= start) else end
        async with super().open(key, start=start, end=further) as chunks:
            yield chunks


class RefusesWhatLiesBeyond(MemoryBlobs):
    """Takes a range that begins behind the blob for bad input."""

    @asynccontextmanager
    async def open(self, key: str, *, start: Any = 0, end: Any = None) -> AsyncIterator[AsyncIterator[bytes]]:
        async with super().open(key, start=start, end=end) as chunks:
            if start > self._blobs[key].info.size:
                raise InvalidInputError("start: beyond the blob")
            yield chunks


class YieldsAllAtOnce(MemoryBlobs):
    """Reads a blob whole and yields that."""

    @asynccontextmanager
    async def open(self, key: str, **bounds: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        async with super().open(key, **bounds) as chunks:
            yield _once(b"".join([chunk async for chunk in chunks]))


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


class LosesFullPieces(MemoryBlobs):
    """Forgets the last byte where a blob ends with a part of 8 MiB."""

    async def put(self, key: str, source: Any, **options: Any) -> BlobInfo:
        info = await super().put(key, source, **options)
        blob = self._blobs[key]
        if info.size and info.size % (8 * 1024 * 1024) == 0:
            self._blobs[key] = replace(blob, data=blob.data[:-1])
        return info


class SwallowsAbsence(MemoryBlobs):
    """Reads an absent blob as an empty one."""

    async def read(self, key: str) -> bytes:
        try:
            return await super().read(key)
        except NotFoundError:
            return b""


class TellsOfAbsenceLate(MemoryBlobs):
    """Looks for a blob when its first chunk is asked for."""

    @asynccontextmanager
    async def open(self, key: str, *, start: Any = 0, end: Any = None) -> AsyncIterator[AsyncIterator[bytes]]:
        with suppress(NotFoundError):
            async with super().open(key, start=start, end=end) as chunks:
                yield chunks
                return
        yield self._late(key)

    async def _late(self, key: str) -> AsyncIterator[bytes]:
        raise NotFoundError(f"open: no blob {key!r}")
        yield b""


class RaisesOnStat(MemoryBlobs):
    """Takes the question for a blob for a claim that it is there."""

    async def stat(self, key: str) -> BlobInfo | None:
        self._enter(key)
        return self._found(key, "stat").info


class WalksUp(MemoryBlobs):
    """Takes a key for a path, and resolves it."""

    def _enter(self, key: Any) -> None:
        if isinstance(key, str) and ".." in key.split("/"):
            key = posixpath.normpath(f"/{key}").strip("/") or "a"
        super()._enter(key)


class TakesUpperCase(MemoryBlobs):
    """Takes letters of either case, which not every place can tell apart."""

    def _enter(self, key: Any) -> None:
        super()._enter(key.lower() if type(key) is str and key.isascii() else key)


class TakesLongKeys(MemoryBlobs):
    """Looks only at as much of a key as it expects."""

    def _enter(self, key: Any) -> None:
        super()._enter(key[:MAX_KEY] if type(key) is str else key)


class TakesAnyType(MemoryBlobs):
    """Does not look at what a content is said to be."""

    async def put(self, key: str, source: Any, *, content_type: str, **options: Any) -> BlobInfo:
        return await super().put(key, source, content_type=TYPE, **options)


class ForgetsIfAbsent(MemoryBlobs):
    """Replaces what it was asked to keep."""

    async def put(self, key: str, source: Any, *, if_absent: bool = False, **options: Any) -> BlobInfo:
        return await super().put(key, source, **options)


class LooksBeforeItLeaps(MemoryBlobs):
    """Looks whether a key is free when the source begins."""

    async def put(self, key: str, source: Any, *, if_absent: bool = False, **options: Any) -> BlobInfo:
        if if_absent and await self.stat(key) is not None:
            raise ConflictError(f"put: there is a blob under {key!r}")
        return await super().put(key, source, **options)


class ReservesItsKey(MemoryBlobs):
    """Marks a key as taken when a create begins, and forgets to take the mark back when it fails."""

    async def put(self, key: str, source: Any, **options: Any) -> BlobInfo:
        self._enter(key)
        if options.get("if_absent"):
            taken = self.__dict__.setdefault("taken", set())
            if key in taken and key not in self._blobs:
                raise ConflictError(f"put: there is a blob under {key!r}")
            taken.add(key)
        info = await super().put(key, source, **options)
        self.__dict__.get("taken", set()).discard(key)
        return info


class ListsAsStored(MemoryBlobs):
    """Lists the oldest blob first."""

    async def list(self, prefix: str = "") -> AsyncIterator[tuple[str, BlobInfo]]:
        self._lifetime.enter()
        may_begin_key(prefix)
        for key in [key for key in self._blobs if key.startswith(prefix)]:
            if key in self._blobs:
                yield key, self._blobs[key].info


class ListsFolders(MemoryBlobs):
    """Takes a prefix for a folder, or a whole key."""

    async def list(self, prefix: str = "") -> AsyncIterator[tuple[str, BlobInfo]]:
        async for key, info in super().list(prefix):
            if not prefix or key == prefix or key.startswith(prefix.rstrip("/") + "/"):
                yield key, info


class ListsAnything(MemoryBlobs):
    """Takes what is no prefix for none."""

    async def list(self, prefix: Any = "") -> AsyncIterator[tuple[str, BlobInfo]]:
        async for key, info in super().list(prefix if type(prefix) is str else ""):
            yield key, info


class ListsPatterns(MemoryBlobs):
    """Takes a prefix for a pattern in which ``_`` is any character."""

    async def list(self, prefix: str = "") -> AsyncIterator[tuple[str, BlobInfo]]:
        may_begin_key(prefix)
        async for key, info in super().list():
            if fnmatchcase(key, prefix.replace("_", "?") + "*"):
                yield key, info


class ListsOnePage(MemoryBlobs):
    """Takes the first thousand keys for all."""

    async def list(self, prefix: str = "") -> AsyncIterator[tuple[str, BlobInfo]]:
        count = 0
        async for key, info in super().list(prefix):
            if count < 1000:
                yield key, info
            count += 1


class ListsByNumber(MemoryBlobs):
    """Goes on behind the number of keys it has listed, and so skips some when others are deleted."""

    async def list(self, prefix: str = "") -> AsyncIterator[tuple[str, BlobInfo]]:
        number, super_list = 0, super().list
        while page := [entry async for entry in super_list(prefix)][number : number + 50]:
            for key, info in page:
                yield key, info
            number += len(page)


class ListsHalfPuts(MemoryBlobs):
    """Lists a blob that is on its way in, although it cannot be read yet."""

    async def put(self, key: str, source: Any, **options: Any) -> BlobInfo:
        half = self.__dict__.setdefault("half", set())
        self._enter(key)
        half.add(key)
        try:
            return await super().put(key, source, **options)
        finally:
            half.discard(key)

    async def list(self, prefix: str = "") -> AsyncIterator[tuple[str, BlobInfo]]:
        for key in self.__dict__.get("half", set()) - self._blobs.keys():
            if key.startswith(prefix):
                yield key, BlobInfo(0, "half")
        async for key, info in super().list(prefix):
            yield key, info


class SharesWhatItIsGiven(MemoryBlobs):
    """Keeps the caller's own bytearray."""

    async def put(self, key: str, source: Any, **options: Any) -> BlobInfo:
        info = await super().put(key, source, **options)
        if isinstance(source, bytearray):
            self.__dict__.setdefault("given", {})[key] = source
        else:
            self.__dict__.get("given", {}).pop(key, None)
        return info

    async def read(self, key: str) -> bytes:
        data = await super().read(key)
        return bytes(self.__dict__.get("given", {}).get(key, data))


class KeepsWhatCame(MemoryBlobs):
    """Takes a source that raises for one that has ended."""

    async def put(self, key: str, source: Any, **options: Any) -> BlobInfo:
        async def quiet() -> AsyncIterator[bytes]:
            with suppress(OSError, LookupError, ValueError, RuntimeError):
                async for chunk in chunks:
                    yield chunk

        self._enter(key)
        chunks = chunks_of(source)
        return await super().put(key, quiet(), **options)


class BlamesItself(MemoryBlobs):
    """Takes a source's error for one of its own place."""

    async def put(self, key: str, source: Any, **options: Any) -> BlobInfo:
        try:
            return await super().put(key, source, **options)
        except OSError as error:
            raise StorageFullError("put: no space left") from error


class KeepsWhatWasCancelled(MemoryBlobs):
    """Stores what has come so far when it is cancelled."""

    async def put(self, key: str, source: Any, **options: Any) -> BlobInfo:
        so_far: list[bytes] = []

        async def noted() -> AsyncIterator[bytes]:
            async for chunk in chunks:
                so_far.append(chunk)
                yield chunk

        self._enter(key)
        chunks = chunks_of(source)
        try:
            return await super().put(key, noted(), **options)
        except asyncio.CancelledError:
            await super().put(key, so_far, content_type=TYPE)
            raise


class ReadsWhatIsThereNow(MemoryBlobs):
    """Looks the blob up for each chunk, so that a reader goes on in another version."""

    @asynccontextmanager
    async def open(self, key: str, *, start: Any = 0, end: Any = None) -> AsyncIterator[AsyncIterator[bytes]]:
        async with super().open(key, start=start, end=end):
            yield self._now(key, start, end)

    async def _now(self, key: str, start: int, end: int | None) -> AsyncIterator[bytes]:
        while chunk := self._found(key, "open").data[start:end][:CHUNK_BYTES]:
            start += len(chunk)
            yield chunk
            if end is not None and start >= end:
                return


class EndsQuietly(MemoryBlobs):
    """Ends a reader's stream where the blob is deleted meanwhile."""

    @asynccontextmanager
    async def open(self, key: str, **bounds: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        async with super().open(key, **bounds) as chunks:
            yield self._while_there(key, chunks)

    async def _while_there(self, key: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if key not in self._blobs:
                return
            yield chunk


class EndsWithTheStore(MemoryBlobs):
    """Ends a reader's stream where the store is closed meanwhile."""

    @asynccontextmanager
    async def open(self, key: str, **bounds: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        async with super().open(key, **bounds) as chunks:
            yield self._while_open(chunks)

    async def _while_open(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if self._lifetime.closed:
                return
            yield chunk


class DeletesBelow(MemoryBlobs):
    """Takes a key for a folder when it is deleted."""

    async def delete(self, key: str) -> None:
        await super().delete(key)
        for other in [other for other in self._blobs if other.startswith(f"{key}/")]:
            await super().delete(other)


class TakesText(MemoryBlobs):
    """Encodes what it is given as text."""

    async def put(self, key: str, source: Any, **options: Any) -> BlobInfo:
        if isinstance(source, list):
            source = [chunk.encode() if isinstance(chunk, str) else chunk for chunk in source]
        return await super().put(key, source, **options)


class ReadsBeforeItLooks(MemoryBlobs):
    """Takes all of a source before it looks at the key."""

    async def put(self, key: str, source: Any, **options: Any) -> BlobInfo:
        if isinstance(source, Iterator):
            source = [chunk for chunk in source]  # noqa: C416
        return await super().put(key, source, **options)


class LosesItsPlaces(MemoryBlobs):
    """Has twenty places for puts, and loses that of each one which fails."""

    async def put(self, key: str, source: Any, **options: Any) -> BlobInfo:
        self._enter(key)
        lost = self.__dict__.get("lost", 0)
        if lost == 20:
            raise UnavailableError("put: no place left")
        try:
            return await super().put(key, source, **options)
        except (InvalidInputError, ConflictError):
            raise
        except BaseException:
            self.__dict__["lost"] = lost + 1
            raise


class LosesItsReaders(MemoryBlobs):
    """Has twenty places for readers, and loses that of each one which leaves early."""

    @asynccontextmanager
    async def open(self, key: str, **bounds: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        if self.__dict__.setdefault("lost", 0) >= 20:
            raise UnavailableError("open: no place left")
        async with super().open(key, **bounds) as chunks:
            yield self._counted(chunks)

    async def _counted(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self.__dict__["lost"] += 1
        async for chunk in chunks:
            yield chunk
        self.__dict__["lost"] -= 1


class OneAtATime(MemoryBlobs):
    """Lets nobody write while a source is waited for."""

    async def put(self, key: str, source: Any, **options: Any) -> BlobInfo:
        self._enter(key)
        async with self.__dict__.setdefault("turn", asyncio.Lock()):
            return await super().put(key, source, **options)


class AnswersAfterTheClose(MemoryBlobs):
    """Forgets that it was closed."""

    async def aclose(self) -> None:
        pass


class AnswersEverywhere(MemoryBlobs):
    """Does not mind which event loop it is called from."""

    async def stat(self, key: str) -> BlobInfo | None:
        self._lifetime._loop = None
        return await super().stat(key)


class ClaimsToBeDurable(MemoryBlobs):
    """Declares what it does not do."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities | {Capability.DURABLE, Capability.SHARED}


class ClaimsToPresign(MemoryBlobs):
    """Declares what it cannot do."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities | {Capability.PRESIGN_GET, Capability.PRESIGN_PUT}


class DiscardsWhatIsThere(MemoryBlobs):
    """Takes every blob for what a killed process has left."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities | {Capability.DISCARD}

    async def discard_unfinished(self) -> int:
        self._lifetime.enter()
        discarded = len(self._blobs)
        self._blobs.clear()
        return discarded


class PresignsUndeclared(MemoryBlobs):
    """Gives a request that leads nowhere, where it should say that it gives none."""

    async def presign_get(self, key: str, *, expires_in: timedelta, **options: Any) -> PresignedRequest:
        self._enter(key)
        return PresignedRequest("http://127.0.0.1/", "GET", {}, next(iter(self._blobs.values())).info.modified_at)  # type: ignore[arg-type]


class CannotCreate(MemoryBlobs):
    """Declares honestly that it cannot create conditionally: nothing is broken here."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset()

    async def put(self, key: str, source: Any, *, if_absent: bool = False, **options: Any) -> BlobInfo:
        self._enter(key)
        if if_absent:
            raise NotSupportedError("put: if_absent")
        return await super().put(key, source, **options)
