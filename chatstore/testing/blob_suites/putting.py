"""Bytes come back exactly as they went in, from whatever they were taken, with size, tag and checksum."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chatstore.protocols import BlobStore
from chatstore.streams import CHUNK_BYTES
from chatstore.testing.blob_suites.sources import (
    LARGE,
    MIB,
    SOURCES,
    TYPE,
    async_pieces,
    content,
    opened,
    put,
    written,
)

BORDERS = [
    1,
    CHUNK_BYTES - 1,
    CHUNK_BYTES,
    CHUNK_BYTES + 1,
    MIB - 1,
    MIB,
    MIB + 1,
    5 * MIB,
    8 * MIB - 1,
    8 * MIB,
    8 * MIB + 1,
    16 * MIB,
]
"""Sizes on which an error of one byte, or an empty last piece, would show."""


class PuttingTests:
    """Sources, sizes and what is said of them."""

    @pytest.mark.parametrize("kind", SOURCES)
    async def test_every_kind_of_source_comes_back_exactly(self, blobs: BlobStore, tmp_path: Path, kind: str) -> None:
        """Bytes, paths, files and pieces, synchronous or not, are stored alike, and so is their reused buffer."""
        data = content(CHUNK_BYTES * 2 + 12_345)
        info = await blobs.put("key", SOURCES[kind](data, tmp_path), content_type=TYPE)
        assert (info.size, info.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert await blobs.read("key") == data
        assert await opened(blobs, "key") == data

    @pytest.mark.parametrize("kind", SOURCES)
    async def test_every_kind_of_source_may_be_empty(self, blobs: BlobStore, tmp_path: Path, kind: str) -> None:
        """No bytes are a blob of size 0, which is not an absent one."""
        info = await blobs.put("key", SOURCES[kind](b"", tmp_path), content_type=TYPE)
        assert (info.size, info.sha256) == (0, hashlib.sha256(b"").hexdigest())
        assert await blobs.read("key") == b""
        assert await opened(blobs, "key") == b""
        stat = await blobs.stat("key")
        assert stat is not None
        assert (stat.size, stat.etag) == (0, info.etag)

    @pytest.mark.parametrize("kind", SOURCES)
    async def test_every_kind_of_source_may_have_its_size_declared(
        self, blobs: BlobStore, tmp_path: Path, kind: str
    ) -> None:
        """A size that is right changes nothing, whatever the bytes are taken from."""
        data = content(CHUNK_BYTES + 1)
        info = await blobs.put("key", SOURCES[kind](data, tmp_path), content_type=TYPE, size=len(data))
        assert info.size == len(data)
        assert await blobs.read("key") == data

    @pytest.mark.parametrize("size", BORDERS)
    async def test_sizes_at_the_borders_of_pieces_come_back_exactly(self, blobs: BlobStore, size: int) -> None:
        """No byte is lost, doubled or padded where one piece ends and the next begins."""
        data = content(size)
        info = await blobs.put("key", async_pieces(data), content_type=TYPE)
        assert (info.size, info.sha256) == (size, hashlib.sha256(data).hexdigest())
        assert await opened(blobs, "key") == data
        assert len(await opened(blobs, "key", start=size - 1)) == 1

    async def test_twenty_mebibytes_come_back_exactly(self, blobs: BlobStore) -> None:
        """A large blob in uneven pieces is stored whole, with the checksum of all of it."""
        data = content(20 * MIB + 7)
        info = await blobs.put("key", async_pieces(data, 333_333), content_type=TYPE, size=len(data))
        assert (info.size, info.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert await opened(blobs, "key") == data

    async def test_a_large_file_is_stored_by_its_path(self, blobs: BlobStore, tmp_path: Path) -> None:
        """A file on disk is stored whole and stays as it is."""
        data = content(LARGE)
        path = written(tmp_path / "large", data)
        info = await blobs.put("key", path, content_type=TYPE)
        assert info.sha256 == hashlib.sha256(data).hexdigest()
        assert await opened(blobs, "key") == data == path.read_bytes()

    async def test_an_open_file_is_read_from_where_it_stands_and_left_open(
        self, blobs: BlobStore, tmp_path: Path
    ) -> None:
        """A file that the caller opened is the caller's: read to its end, and not closed."""
        data = content(CHUNK_BYTES + 100)
        with written(tmp_path / "file", data).open("rb") as file:
            file.seek(50)
            info = await blobs.put("key", file, content_type=TYPE)
            assert not file.closed
        assert info.size == len(data) - 50
        assert await blobs.read("key") == data[50:]

    async def test_every_byte_value_comes_back(self, blobs: BlobStore) -> None:
        """Bytes are bytes: no encoding, no line ends, no NUL that ends anything."""
        data = bytes(range(256)) * 3 + b"\r\n\n\r\x00\x1a\xff\xfe\xef\xbb\xbf"
        await put(blobs, "key", data)
        assert await blobs.read("key") == data

    async def test_stat_says_what_put_said(self, blobs: BlobStore) -> None:
        """Size and tag are the same in both, the checksum too where the store keeps it; asking changes nothing."""
        info = await put(blobs, "key", content(5000))
        first, second = await blobs.stat("key"), await blobs.stat("key")
        assert first is not None
        assert first == second
        assert (first.size, first.etag) == (5000, info.etag)
        assert first.sha256 in (None, info.sha256)

    async def test_the_tag_changes_with_the_content(self, blobs: BlobStore) -> None:
        """Other bytes under the same key have another tag, also where there are as many."""
        tags = [(await put(blobs, "key", data)).etag for data in (b"", b"a", b"b", b"ab", b"ba", content(LARGE))]
        tags.append((await put(blobs, "key", content(LARGE, 1))).etag)
        assert len(set(tags)) == len(tags)
        stat = await blobs.stat("key")
        assert stat is not None
        assert stat.etag == tags[-1]

    async def test_a_tag_can_be_sent_in_a_header(self, blobs: BlobStore) -> None:
        """The tag is printable ASCII without spaces, and not empty."""
        for data in (b"", b"a", content(LARGE)):
            etag = (await put(blobs, "key", data)).etag
            assert etag
            assert all("!" <= character <= "~" for character in etag)

    async def test_the_time_of_storing_is_about_now(self, blobs: BlobStore) -> None:
        """Where a store keeps the time, it is an aware one, of the last put."""
        infos = [await put(blobs, "key"), await blobs.stat("key")]
        infos += [info async for _, info in blobs.list()]
        for moment in (info.modified_at for info in infos if info is not None):
            assert moment is None or abs(moment - datetime.now(UTC)) < timedelta(minutes=5)

    async def test_what_is_yielded_is_bytes_in_bounded_chunks(self, blobs: BlobStore) -> None:
        """A reader gets plain bytes, never an empty chunk and never a large one, however they were put."""
        data = content(9 * MIB)
        await blobs.put("key", [data], content_type=TYPE)
        async with blobs.open("key") as chunks:
            got = [chunk async for chunk in chunks]
        assert {type(chunk) for chunk in got} == {bytes}
        assert 0 < min(map(len, got)) <= max(map(len, got)) <= CHUNK_BYTES
        assert b"".join(got) == data
        assert type(await blobs.read("key")) is bytes

    @pytest.mark.parametrize(
        "content_type", ["image/png", "text/plain; charset=utf-8", "x/y", 'a/b; c="~ !"', "x", "x/" + "y" * 253]
    )
    async def test_the_bytes_do_not_depend_on_their_type(self, blobs: BlobStore, content_type: str) -> None:
        """Any type that a header can hold is taken, known or not: it never changes or loses the bytes."""
        await blobs.put("key", b"<html>\r\n", content_type=content_type)
        assert await blobs.read("key") == b"<html>\r\n"
