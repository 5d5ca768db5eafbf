"""Promise 7: memory does not grow with the size of a blob, neither on its way in nor on its way out."""

from __future__ import annotations

import gc
import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chatstore.protocols import BlobStore
from chatstore.streams import CHUNK_BYTES
from chatstore.testing.blob_suites.sources import MIB, TYPE, content, opened, put

SIZE = 32 * MIB

BOUND = 12 * MIB


@contextmanager
def _bounded() -> Iterator[None]:
    """Fail when more is allocated inside the block, at any one moment, than ``BOUND``."""
    traced_before = tracemalloc.is_tracing()
    if not traced_before:
        tracemalloc.start()
    try:
        gc.collect()
        tracemalloc.reset_peak()
        start, _ = tracemalloc.get_traced_memory()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not traced_before:
            tracemalloc.stop()
    assert peak - start < BOUND, f"{(peak - start) / MIB:.1f} MiB were held of a blob of {SIZE / MIB:.0f} MiB"


async def _made_on_the_way() -> AsyncIterator[bytes]:
    for number in range(SIZE // CHUNK_BYTES):
        yield number.to_bytes(8, "big") * (CHUNK_BYTES // 8)


async def _expected() -> str:
    digest = hashlib.sha256()
    async for chunk in _made_on_the_way():
        digest.update(chunk)
    return digest.hexdigest()


def _write_file(path: Path) -> None:
    with path.open("wb") as file:
        for number in range(SIZE // CHUNK_BYTES):
            file.write(content(CHUNK_BYTES, number))


class StreamingTests:
    """Thirty-two mebibytes that nobody holds at once."""

    holds_blobs_in_memory = False
    """Whether the store under test keeps its blobs in this process: then there is nothing to measure."""

    async def test_a_put_does_not_hold_the_blob(self, blobs: BlobStore) -> None:
        """A blob that is made on the way in is stored without ever being whole in memory."""
        await self._warm(blobs)
        with _bounded():
            info = await blobs.put("key", _made_on_the_way(), content_type=TYPE)
        assert (info.size, info.sha256) == (SIZE, await _expected())

    async def test_a_put_of_known_size_does_not_hold_the_blob(self, blobs: BlobStore) -> None:
        """A declared size is no reason to make room for all of it."""
        await self._warm(blobs)
        with _bounded():
            info = await blobs.put("key", _made_on_the_way(), content_type=TYPE, size=SIZE)
        assert info.size == SIZE

    async def test_a_put_by_path_does_not_hold_the_blob(self, blobs: BlobStore, tmp_path: Path) -> None:
        """A file is read piece by piece."""
        _write_file(tmp_path / "file")
        await self._warm(blobs)
        with _bounded():
            info = await blobs.put("key", tmp_path / "file", content_type=TYPE)
        assert info.size == SIZE

    async def test_a_reader_does_not_hold_the_blob(self, blobs: BlobStore) -> None:
        """A blob goes to its reader chunk by chunk, and all of it arrives."""
        await self._warm(blobs)
        await blobs.put("key", _made_on_the_way(), content_type=TYPE)
        digest = hashlib.sha256()
        with _bounded():
            async with blobs.open("key") as chunks:
                async for chunk in chunks:
                    digest.update(chunk)
        assert digest.hexdigest() == await _expected()

    async def test_a_range_does_not_hold_the_blob(self, blobs: BlobStore) -> None:
        """The last bytes of a large blob are read without those before them."""
        await self._warm(blobs)
        await blobs.put("key", _made_on_the_way(), content_type=TYPE)
        with _bounded():
            last = await opened(blobs, "key", start=SIZE - 8)
        assert last == (SIZE // CHUNK_BYTES - 1).to_bytes(8, "big")

    async def _warm(self, blobs: BlobStore) -> None:
        if self.holds_blobs_in_memory:
            pytest.skip("the store keeps its blobs in memory by nature")
        await put(blobs, "warm")
        await opened(blobs, "warm")
