"""What is sent to S3, gathered part by part before it is sent.

What is long, or more than the memory that all uploads share, waits in a temporary file: so any number of uploads, from
clients of any speed, take little memory and never wait for each other, and a request that fails can be sent again.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import zlib
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from chatstore.aws import Body, BodyInFile, BodyInMemory
from chatstore.errors import StorageFullError, UnavailableError
from chatstore.shielding import finished
from chatstore.streams import batches_of

PART_BYTES = 64 * 1024 * 1024
"""How long a part is, and up to where a blob is one request."""

MEMORY_BYTES = 4 * 1024 * 1024
"""How long a part may be that waits in memory."""

ALL_MEMORY_BYTES = 16 * 1024 * 1024
"""How much of all parts of one store waits in memory."""

BATCH_BYTES = 512 * 1024
"""How much is written to a file at once, at the least."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class _CRC32:
    """The interface of a hash for a checksum."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4)


class Memory:
    """What all parts of one store share; who gets none of it does not wait."""

    def __init__(self, size: int) -> None:
        self._free = size

    def take(self, size: int) -> bool:
        """Take ``size`` bytes and return ``True``, or none where so many are not free."""
        if size > self._free:
            return False
        self._free -= size
        return True

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        self._free += size


class Part:
    """Up to ``most`` bytes of one request, with a checksum that the server holds them against.

    That is CRC-32 where the client sends checksums, as ``checksummed`` says; else MD5, which every server knows.
    """

    def __init__(self, most: int, memory: Memory, *, checksummed: bool) -> None:
        self.body: Body = BodyInMemory()
        self.is_last = False
        self._most = most
        self._size = 0
        self._memory = memory
        self._held = 0
        self._name = "ChecksumCRC32" if checksummed else "ContentMD5"
        self._hash: Any = _CRC32() if checksummed else hashlib.md5(usedforsecurity=False)

    async def take(self, what: str, chunks: list[memoryview]) -> list[memoryview]:
        """Write the chunks as far as there is room, and return what is left of them."""
        if self._may_stay_in_memory(sum(map(len, chunks))):
            return self._write(chunks)
        try:
            # to its end: it must not be writing when the file is closed
            return await finished(asyncio.to_thread(self._write_to_file, chunks))
        except OSError as error:
            message = f"{what}: a temporary file cannot be written: {error.strerror}"
            if error.errno in _FULL:
                raise StorageFullError(f"{message}; free space, or let TMPDIR name another folder") from error
            raise UnavailableError(message) from error
        finally:
            self._release()

    @property
    def checksum(self) -> dict[str, str]:
        """The checksum as an argument of the request that sends the bytes."""
        return {self._name: b64encode(self._hash.digest()).decode()}

    async def close(self) -> None:
        """Let the bytes go; a second call does nothing."""
        if isinstance(self.body, BodyInMemory):
            self.body.close()
            self._release()
        else:
            await finished(asyncio.to_thread(self.body.close))

    def _may_stay_in_memory(self, further: int) -> bool:
        if isinstance(self.body, BodyInFile) or self._size + further > MEMORY_BYTES or not self._memory.take(further):
            return False
        self._held += further
        return True

    def _release(self) -> None:
        self._memory.give_back(self._held)
        self._held = 0

    def _write_to_file(self, chunks: list[memoryview]) -> list[memoryview]:
        if isinstance(self.body, BodyInMemory):
            held, self.body = self.body, BodyInFile()
            self.body.write(held.getbuffer())
        rest = self._write(chunks)
        self.body.flush()
        return rest

    def _write(self, chunks: list[memoryview]) -> list[memoryview]:
        for place, chunk in enumerate(chunks):
            fits = chunk[: self._most - self._size]
            self.body.write(fits)
            self._hash.update(fits)
            self._size = self.body.size = self._size + len(fits)
            if len(fits) < len(chunk):
                return [chunk[len(fits) :], *chunks[place + 1 :]]
        return []


async def parts_of(what: str, chunks: AsyncGenerator[bytes], new: Callable[[], Part]) -> AsyncGenerator[Part]:
    """Yield all bytes in parts that are full but for the last; no bytes are one empty part.

    Whoever takes a part closes it; one that was yielded before this is closed early is closed with it.
    """
    part = new()
    try:
        async with aclosing(batches_of(chunks, BATCH_BYTES)) as batches:
            async for batch in batches:
                rest = await part.take(what, [memoryview(chunk) for chunk in batch])
                while rest:
                    yield part
                    part = new()
                    rest = await part.take(what, rest)
        part.is_last = True
        yield part
    except BaseException:
        await part.close()
        raise
