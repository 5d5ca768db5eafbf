"""Disks that fill: what was acknowledged is there, what was not is whole or absent, and space heals everything."""

from __future__ import annotations

import errno
from pathlib import Path
from unittest.mock import patch

import pytest

from chatstore import Item, StorageFullError, UserStore, open_store
from chatstore.blobs.local import LocalBlobs
from chatstore.testing.faults.disks import DiskUnavailable, FullDisk, SQLitePages, small_disk


async def append_until_full(user: UserStore) -> list[str]:
    stored: list[str] = []
    try:
        for number in range(1_000):
            await user.add_thread_item("t", Item(type="note", id=str(number), data={"text": "x" * 10_000}))
            stored.append(str(number))
    except StorageFullError:
        return stored
    pytest.fail("the disk was never full")


async def ids(user: UserStore) -> list[str]:
    return [item.id async for item in user.iter_thread_items("t")]


async def test_a_database_that_may_not_grow_keeps_what_it_has_and_goes_on_with_space(sqlite_url: str) -> None:
    with SQLitePages(limit=60) as pages:
        async with open_store(sqlite_url) as store:
            ann = store.for_user("ann")
            await ann.create_thread(id="t")
            stored = await append_until_full(ann)
            assert await ids(ann) == stored
            assert 5 < len(stored) < 30
            pages.limit = 10_000
            await ann.add_thread_item("t", Item(type="note", id="more", data={"text": "x" * 10_000}))
            assert await ids(ann) == [*stored, "more"]
    async with open_store(sqlite_url) as store:
        await store.for_user("ann").add_thread_item("t", Item(type="note", id="at the end", data={}))


async def test_a_database_on_a_small_disk_keeps_what_it_has_and_goes_on_with_space() -> None:
    try:
        with small_disk(2_000_000) as folder:
            async with open_store(f"sqlite:///{folder}/chat.db") as store:
                ann = store.for_user("ann")
                await ann.create_thread(id="t")
                (folder / "ballast").write_bytes(b"x" * 500_000)
                stored = await append_until_full(ann)
                assert await ids(ann) == stored
                (folder / "ballast").unlink()
                await ann.add_thread_item("t", Item(type="note", id="more", data={}))
                assert await ids(ann) == [*stored, "more"]
    except DiskUnavailable as error:
        pytest.skip(f"no disk can be mounted: {error}")


async def test_a_blob_that_does_not_fit_leaves_nothing_and_the_next_one_is_stored(tmp_path: Path) -> None:
    disk = FullDisk(room=100_000)
    with patch("aiofiles.threadpool.sync_open", disk.open):
        async with LocalBlobs(tmp_path) as blobs:
            with pytest.raises(StorageFullError):
                await blobs.put("ab/cd", b"x" * 200_000, content_type="text/plain")
            assert await blobs.stat("ab/cd") is None
            assert [key async for key, _ in blobs.list()] == []
            disk.room = 300_000
            await blobs.put("ab/cd", b"x" * 200_000, content_type="text/plain")
            assert await blobs.read("ab/cd") == b"x" * 200_000


def test_a_full_disk_writes_what_fits_and_leaves_reading_alone(tmp_path: Path) -> None:
    disk = FullDisk(room=5)
    path = tmp_path / "file"
    file = disk.open(path, "wb")
    file.write(b"123456")
    with pytest.raises(OSError, match="No space left") as caught:
        file.flush()
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"12345"
    disk.room = 1
    file.close()
    with disk.open(path, "rb") as again:
        assert again.read() == b"123456"
    with disk.open(tmp_path / "text", "w") as text:
        text.write("x" * 1_000)
