"""Bytes on their way in: taken from any source, counted and hashed; and which keys and ranges there are."""

from __future__ import annotations

import array
import asyncio
import hashlib
import io
import string
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatstore.errors import InvalidInputError
from chatstore.streams import CHUNK_BYTES, MAX_KEY, Meter, batches_of, check_blob_key, check_range, chunks_of
from chatstore.testing.blob_suites.refusals import DISTINCT_KEYS, REFUSED_KEYS
from chatstore.testing.blob_suites.sources import SOURCES, content

PARTS = st.text("abcxyz019-_", min_size=1, max_size=128)
PIECES = st.lists(st.binary(max_size=50), max_size=20)


async def _all(source: Any) -> list[bytes]:
    return [chunk async for chunk in chunks_of(source)]


async def _metered(meter: Meter, source: Any) -> bytes:
    return b"".join([chunk async for chunk in meter.through(chunks_of(source))])


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES - 1])
async def test_every_kind_of_source_gives_its_bytes(tmp_path: Path, kind: str, size: int) -> None:
    data = content(size)
    chunks = await _all(SOURCES[kind](data, tmp_path))
    assert b"".join(chunks) == data
    assert all(type(chunk) is bytes and chunk for chunk in chunks)


@given(PIECES)
def test_no_chunk_is_empty_and_none_is_lost(pieces: list[bytes]) -> None:
    async def pieces_async() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    for source in (pieces, iter(pieces), tuple(pieces), pieces_async(), io.BytesIO(b"".join(pieces))):
        chunks = asyncio.run(_all(source))
        assert b"".join(chunks) == b"".join(pieces)
        assert b"" not in chunks


async def test_bytes_and_files_are_cut_into_chunks(tmp_path: Path) -> None:
    data = content(2 * CHUNK_BYTES + 5)
    (tmp_path / "file").write_bytes(data)
    for source in (data, bytearray(data), memoryview(data), tmp_path / "file", io.BytesIO(data)):
        assert list(map(len, await _all(source))) == [CHUNK_BYTES, CHUNK_BYTES, 5]


async def test_a_view_of_wider_items_is_its_bytes() -> None:
    numbers = array.array("I", range(CHUNK_BYTES))
    assert b"".join(await _all(memoryview(numbers))) == numbers.tobytes()


async def test_files_and_iterators_are_asked_in_a_thread() -> None:
    asked: list[int] = []

    class File(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(threading.get_ident())
            return super().read(size)

    def pieces() -> Iterator[bytes]:
        asked.append(threading.get_ident())
        yield b"x"

    await _all(File(b"x"))
    await _all(pieces())
    assert len(asked) == 3
    assert threading.get_ident() not in asked


@pytest.mark.parametrize("source", [None, 5, 1.5, True, object(), len])
def test_what_holds_no_bytes_is_refused_before_any_is_asked_for(source: Any) -> None:
    with pytest.raises(InvalidInputError, match=type(source).__name__):
        chunks_of(source)


@pytest.mark.parametrize("chunk", ["text", 5, ["x"], (b"x",), {"x": 1}, object(), 1.5, True])
async def test_a_chunk_that_is_no_bytes_is_refused(chunk: Any) -> None:
    async def source() -> AsyncIterator[Any]:
        yield chunk

    for chunks in ([b"x", chunk], iter([chunk]), source()):
        with pytest.raises(InvalidInputError, match=type(chunk).__name__):
            await _all(chunks)


@pytest.mark.parametrize("chunk", ["", 0, None, False, [], (), {}])
async def test_a_chunk_that_is_nothing_is_no_empty_chunk(chunk: Any) -> None:
    async def source() -> AsyncIterator[Any]:
        yield chunk

    for chunks in ([b"x", chunk], iter([chunk]), source()):
        with pytest.raises(InvalidInputError, match=type(chunk).__name__):
            await _all(chunks)


async def test_a_file_that_has_nothing_yet_is_not_at_its_end() -> None:
    class NotReady(io.BytesIO):
        def read(self, size: int | None = -1) -> Any:
            return super().read(size) or None

    with pytest.raises(InvalidInputError, match="NoneType"):
        await _all(NotReady(b"the beginning"))


async def test_text_is_refused_and_a_message_holds_none_of_it() -> None:
    with pytest.raises(InvalidInputError, match="binary mode") as error:
        await _all(io.StringIO("secret words"))
    assert "secret" not in str(error.value)


async def test_an_error_of_the_source_is_raised_as_it_is() -> None:
    class Mine(Exception):
        pass

    error = Mine()

    def pieces() -> Iterator[bytes]:
        yield b"x"
        raise error

    with pytest.raises(Mine) as raised:
        await _all(pieces())
    assert raised.value is error


async def test_a_file_given_by_its_path_is_closed_whatever_happens(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content(3 * CHUNK_BYTES))
    with pytest.raises(InvalidInputError):
        await _metered(Meter(1), path)
    assert [file.path for file in psutil.Process().open_files() if file.path == str(path)] == []
    assert len(await _metered(Meter(None), path)) == 3 * CHUNK_BYTES
    assert [file.path for file in psutil.Process().open_files() if file.path == str(path)] == []


@given(PIECES)
def test_a_meter_counts_and_hashes_what_passes(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    for size in (None, len(data)):
        meter = Meter(size)
        assert (meter.size, meter.sha256) == (0, hashlib.sha256().hexdigest())
        assert asyncio.run(_metered(meter, pieces)) == data
        assert (meter.size, meter.sha256) == (len(data), hashlib.sha256(data).hexdigest())


@given(PIECES, st.integers(0, 1000))
def test_a_meter_refuses_every_other_size(pieces: list[bytes], size: int) -> None:
    length = sum(map(len, pieces))
    if size == length:
        size += 1
    with pytest.raises(InvalidInputError, match="more than" if size < length else "fewer than"):
        asyncio.run(_metered(Meter(size), pieces))


async def test_a_meter_lets_no_byte_too_many_through() -> None:
    drawn, passed = [], []

    def pieces() -> Iterator[bytes]:
        for number in range(1000):
            drawn.append(number)
            yield b"xx"

    async def take() -> None:
        async for chunk in Meter(5).through(chunks_of(pieces())):
            passed.append(chunk)

    with pytest.raises(InvalidInputError, match="more than the 5 bytes"):
        await take()
    assert b"".join(passed) == b"xxxx"
    assert len(drawn) == 3


async def test_a_meter_hashes_in_a_thread_and_never_two_chunks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed_by, hashing = [], threading.Lock()
    update = Meter._update

    def noted(meter: Meter, chunks: list[bytes]) -> None:
        assert hashing.acquire(blocking=False)
        hashed_by.append((threading.get_ident(), sum(map(len, chunks))))
        update(meter, chunks)
        hashing.release()

    monkeypatch.setattr(Meter, "_update", noted)
    data, meter = content(6 * CHUNK_BYTES + 5), Meter(None)
    pieces = [data[start : start + 100_000] for start in range(0, len(data), 100_000)]
    assert await _metered(meter, pieces) == data
    assert meter.sha256 == hashlib.sha256(data).hexdigest()
    assert sum(size for _, size in hashed_by) == len(data)
    here = [size for thread, size in hashed_by if thread == threading.get_ident()]
    assert max(here, default=0) < 2 * CHUNK_BYTES
    assert len(hashed_by) > len(here)


@given(PIECES, st.integers(1, 100))
def test_batches_hold_all_chunks_in_their_order_and_enough_of_them(pieces: list[bytes], least: int) -> None:
    async def batches() -> list[list[bytes]]:
        return [batch async for batch in batches_of(chunks_of(pieces), least)]

    found = asyncio.run(batches())
    assert [chunk for batch in found for chunk in batch] == [piece for piece in pieces if piece]
    assert all(sum(map(len, batch)) >= least > sum(map(len, batch[:-1])) for batch in found[:-1])
    assert all(found)


@pytest.mark.parametrize("size", [-1, True, False, 5.0, "5", b"5", [5], float("nan")])
def test_a_meter_takes_a_size_or_none(size: Any) -> None:
    with pytest.raises(InvalidInputError, match="size"):
        Meter(size)


@given(st.lists(PARTS, min_size=1, max_size=8).map("/".join))
def test_up_to_eight_plain_parts_are_a_key(key: str) -> None:
    try:
        assert check_blob_key(key) == key
    except InvalidInputError:
        assert len(key) > MAX_KEY


@given(st.text(max_size=40))
def test_whatever_is_let_through_is_plain(key: str) -> None:
    try:
        check_blob_key(key)
    except InvalidInputError:
        return
    assert set(key) <= set(string.ascii_lowercase + string.digits + "-_/")
    assert "" not in key.split("/")


@pytest.mark.parametrize("key", DISTINCT_KEYS)
def test_a_plain_key_is_let_through(key: str) -> None:
    assert check_blob_key(key) == key


@pytest.mark.parametrize("key", REFUSED_KEYS, ids=lambda key: repr(key).partition(" at 0x")[0][:30])
def test_any_other_key_is_refused(key: Any) -> None:
    with pytest.raises(InvalidInputError, match="key") as error:
        check_blob_key(key)
    assert len(str(error.value)) < 500


@given(st.binary(max_size=30), st.integers(0, 50), st.none() | st.integers(0, 50))
def test_a_range_is_that_of_a_slice(data: bytes, start: int, end: int | None) -> None:
    if end is not None and end < start:
        with pytest.raises(InvalidInputError, match="end"):
            check_range(start, end)
        return
    assert check_range(start, end) == (start, end)
    assert len(data[start:end]) == max(0, min(len(data), len(data) if end is None else end) - start)


@pytest.mark.parametrize("bad", [-1, -(10**30), True, False, 1.0, "1", b"1", [1], float("nan")])
def test_a_bound_is_an_int_that_is_not_negative(bad: Any) -> None:
    with pytest.raises(InvalidInputError, match="start"):
        check_range(bad, None)
    with pytest.raises(InvalidInputError, match="end"):
        check_range(0, bad)


def test_a_range_has_a_start() -> None:
    with pytest.raises(InvalidInputError, match="start"):
        check_range(None, 5)
