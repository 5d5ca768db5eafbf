"""Blobs in files: what a crash, a full disk, a cancellation and a planted link leave behind."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import itertools
import os
import random
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatstore.blobs.local import LocalBlobs, open_local
from chatstore.blobs.local.files import LEFTOVER_SECONDS
from chatstore.errors import (
    ChatStoreError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    NotSupportedError,
    StorageFullError,
    UnavailableError,
)
from chatstore.protocols import BlobStore, Capability

KEYS = st.lists(st.text("a-_0z", min_size=1, max_size=4), min_size=1, max_size=4).map("/".join)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
async def blobs(root: Path) -> AsyncIterator[LocalBlobs]:
    async with LocalBlobs(root) as opened:
        yield opened


async def put(blobs: LocalBlobs, key: str, data: bytes = b"bytes") -> None:
    await blobs.put(key, data, content_type="text/plain")


async def keys(blobs: LocalBlobs, prefix: str = "") -> list[str]:
    return [key async for key, _ in blobs.list(prefix)]


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir())


async def run_program(program: str, *arguments: str | Path, before: tuple[str, ...] = ()) -> str:
    command = [*before, sys.executable, "-c", program, *map(str, arguments)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    output, errors = await process.communicate()
    assert (process.returncode, errors.decode()) == (0, "")
    return output.decode().strip()


async def test_it_declares_what_it_does(blobs: LocalBlobs) -> None:
    assert blobs.capabilities == {
        Capability.DURABLE,
        Capability.SHARED,
        Capability.CONDITIONAL_CREATE,
        Capability.DISCARD,
    }
    assert isinstance(blobs, BlobStore)
    with pytest.raises(NotSupportedError):
        await blobs.presign_get("a", expires_in=timedelta(hours=1))
    with pytest.raises(NotSupportedError):
        await blobs.presign_put("a", size=1, content_type="text/plain", expires_in=timedelta(hours=1))


class TestPlaces:
    async def test_a_folder_of_two_characters_stands_before_each_part(self, blobs: LocalBlobs, root: Path) -> None:
        await put(blobs, "ab12/cd34")
        await put(blobs, "a")
        assert files(root) == ["a/a", "ab/ab12.d/cd/cd34"]
        assert (root / "ab/ab12.d/cd/cd34").read_bytes() == b"bytes"

    async def test_a_key_may_be_the_beginning_of_another(self, blobs: LocalBlobs) -> None:
        for key in ("ab", "ab/c", "ab/c/d", "a"):
            await put(blobs, key, key.encode())
        assert [await blobs.read(key) for key in await keys(blobs)] == [b"a", b"ab", b"ab/c", b"ab/c/d"]

    async def test_the_longest_key_has_a_place(self, blobs: LocalBlobs) -> None:
        key = "/".join(["x" * 128] * 3 + ["x" * 24] * 5)
        await put(blobs, key)
        assert await keys(blobs) == [key]
        assert await blobs.read(key) == b"bytes"

    @pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a/../../x", "a//b", ".tmp/x", "a.d", "A", "a\0b", "", "~"])
    async def test_a_key_that_would_be_a_path_is_refused(self, blobs: LocalBlobs, tmp_path: Path, key: str) -> None:
        for call in (put(blobs, key), blobs.read(key), blobs.stat(key), blobs.delete(key)):
            with pytest.raises(InvalidInputError):
                await call
        assert files(tmp_path) == []

    @settings(max_examples=50, deadline=None)
    @given(st.sets(KEYS, max_size=12), st.text("a-_0z/", max_size=5))
    def test_whatever_the_keys_are_the_listing_is_in_their_order(self, names: set[str], prefix: str) -> None:
        async def listed(root: Path) -> list[str]:
            async with LocalBlobs(root) as blobs:
                for name in names:
                    await put(blobs, name, b"")
                return await keys(blobs, prefix)

        root = Path("/dev/shm" if os.path.isdir("/dev/shm") else "/tmp") / f"chatstore-{os.getpid()}"
        try:
            assert asyncio.run(listed(root)) == sorted(name for name in names if name.startswith(prefix))
        finally:
            shutil.rmtree(root)

    async def test_more_blobs_than_are_listed_at_once_come_all(self, blobs: LocalBlobs) -> None:
        names = [f"owner/{number:04}" for number in range(600)]
        await asyncio.gather(*(put(blobs, name) for name in names))
        assert await keys(blobs) == names
        assert await keys(blobs, "owner/01") == names[100:200]

    async def test_blobs_deleted_during_a_listing_are_left_out(self, blobs: LocalBlobs) -> None:
        names = [f"{number:04}" for number in range(600)]
        await asyncio.gather(*(put(blobs, name) for name in names))
        listing = blobs.list()
        seen = [(await anext(listing))[0]]
        await asyncio.gather(*(blobs.delete(name) for name in names[1:]))
        seen += [key async for key, _ in listing]
        assert seen == names[: len(seen)]
        assert len(seen) < 600

    @pytest.mark.parametrize(
        ("url", "path"),
        [
            ("file:./blobs", "blobs"),
            ("file:blobs", "blobs"),
            ("file:///{tmp}/blobs", "{tmp}/blobs"),
            ("file://localhost/{tmp}/blobs", "{tmp}/blobs"),
            ("file:./my%20blobs", "my blobs"),
        ],
    )
    async def test_a_url_names_the_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, path: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        async with open_local(url.format(tmp=str(tmp_path)[1:])) as blobs:
            await put(blobs, "a")
        assert (tmp_path / path.format(tmp=tmp_path) / "a/a").read_bytes() == b"bytes"

    @pytest.mark.parametrize("url", ["file:", "file://blobs/a", "file:./a?b=c", "file:./a#b", "file:./a%00", "s3:./a"])
    def test_a_url_that_names_no_folder_is_refused(self, url: str) -> None:
        with pytest.raises(ConfigurationError):
            open_local(url)


class TestWriting:
    async def test_bytes_and_names_are_flushed_in_the_order_that_survives_a_power_cut(
        self, blobs: LocalBlobs, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps: list[str] = []

        def recorded(name: str) -> None:
            function: Callable[..., Any] = getattr(os, name)

            def record(*arguments: Any) -> Any:
                result = function(*arguments)
                target = os.readlink(f"/proc/self/fd/{arguments[0]}") if name == "fsync" else arguments[-1]
                steps.append(f"{name} {os.path.relpath(target, root)}")
                return result

            monkeypatch.setattr(os, name, record)

        for name in ("mkdir", "fsync", "replace"):
            recorded(name)
        await put(blobs, "ab12/cd34")
        assert steps[:2] == ["mkdir .tmp", "fsync ."]
        assert steps[2].startswith("fsync .tmp/")
        assert steps[3:] == [
            "mkdir ab",
            "fsync .",
            "mkdir ab/ab12.d",
            "fsync ab",
            "mkdir ab/ab12.d/cd",
            "fsync ab/ab12.d",
            "replace ab/ab12.d/cd/cd34",
            "fsync ab/ab12.d/cd",
        ]

    async def test_what_put_says_of_a_blob_is_what_stat_says(self, blobs: LocalBlobs) -> None:
        first = await blobs.put("a", b"one", content_type="text/plain")
        found = await blobs.stat("a")
        assert found is not None
        assert (found.size, found.etag, found.modified_at) == (3, first.etag, first.modified_at)
        assert (first.sha256, found.sha256) == (hashlib.sha256(b"one").hexdigest(), None)
        second = await blobs.put("a", b"two", content_type="text/plain")
        assert second.etag != first.etag
        assert await blobs.read("a") == b"two"

    async def test_one_of_many_writers_creates_the_blob(self, blobs: LocalBlobs, root: Path) -> None:
        others = [LocalBlobs(root) for _ in range(20)]
        writes = (
            other.put("a", bytes([number]) * 1000, content_type="text/plain", if_absent=True)
            for number, other in enumerate(others)
        )
        results = await asyncio.gather(*writes, return_exceptions=True)
        winners = [number for number, result in enumerate(results) if not isinstance(result, ConflictError)]
        assert len(winners) == 1
        assert await blobs.read("a") == bytes(winners) * 1000
        assert files(root) == ["a/a"]

    async def test_small_chunks_are_joined_and_large_ones_pass(self, blobs: LocalBlobs) -> None:
        data = random.Random(1).randbytes(5_000_000)
        cuts = [0, *range(1, 20_000, 7), 700_000, 4_000_000, len(data)]
        chunks = [data[start:end] for start, end in itertools.pairwise(cuts)]
        info = await blobs.put("a", chunks, content_type="text/plain", size=len(data))
        assert (info.size, info.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert await blobs.read("a") == data

    @pytest.mark.parametrize("size", [2_499_999, 2_500_001, 0])
    async def test_another_size_than_declared_stores_nothing(self, blobs: LocalBlobs, root: Path, size: int) -> None:
        with pytest.raises(InvalidInputError, match="declared"):
            await blobs.put("a", [b"x" * 500_000] * 5, content_type="text/plain", size=size)
        assert files(root) == []

    @pytest.mark.parametrize("size", [-1, True, 1.5, "5"])
    async def test_a_size_that_is_none_is_refused_before_anything_is_written(self, tmp_path: Path, size: Any) -> None:
        with pytest.raises(InvalidInputError, match="size"):
            await LocalBlobs(tmp_path / "blobs").put("a", b"bytes", content_type="text/plain", size=size)
        assert list(tmp_path.iterdir()) == []

    async def test_an_error_of_the_source_stays_and_leaves_the_old_blob(self, blobs: LocalBlobs, root: Path) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield b"x" * 3_000_000
            half_written.extend(await asyncio.to_thread(files, root / ".tmp"))
            raise KeyError("of the source")

        half_written: list[str] = []
        await put(blobs, "a", b"old")
        with pytest.raises(KeyError, match="of the source"):
            await blobs.put("a", broken(), content_type="text/plain")
        assert len(half_written) == 1
        with pytest.raises(FileNotFoundError) as caught:
            await blobs.put("a", root / "absent", content_type="text/plain")
        assert not isinstance(caught.value, ChatStoreError)
        assert files(root) == ["a/a"]
        assert await blobs.read("a") == b"old"


class TestCancelling:
    async def test_a_cancelled_upload_leaves_nothing(self, blobs: LocalBlobs, root: Path) -> None:
        reached = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            yield b"x" * 3_000_000
            reached.set()
            await asyncio.Event().wait()

        upload = asyncio.create_task(blobs.put("a", endless(), content_type="text/plain"))
        await reached.wait()
        assert files(root) != []
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        assert files(root) == []

    async def test_cancelled_at_any_moment_a_blob_is_whole_or_absent(self, blobs: LocalBlobs, root: Path) -> None:
        data = b"x" * 3_000_000
        moments = random.Random(2)
        for number in range(60):
            with anyio.move_on_after(moments.uniform(0, 0.02)) if number % 2 else _cancelled_after(moments):
                await blobs.put(f"{number}", [data[:1_500_000], data[1_500_000:]], content_type="text/plain")
        assert not any(name.startswith(".tmp") for name in files(root))
        assert [info.size async for _, info in blobs.list()] == [len(data)] * len(files(root))

    async def test_once_the_replace_has_begun_the_write_is_finished(
        self, blobs: LocalBlobs, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loop, replace = asyncio.get_running_loop(), os.replace

        def cancel_and_replace(*arguments: Any) -> None:
            loop.call_soon_threadsafe(upload.cancel)
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
            replace(*arguments)

        monkeypatch.setattr(os, "replace", cancel_and_replace)
        upload = asyncio.create_task(put(blobs, "a"))
        with pytest.raises(asyncio.CancelledError):
            await upload
        assert await blobs.read("a") == b"bytes"
        assert files(root) == ["a/a"]

    async def test_a_scope_that_is_cancelled_removes_the_temporary_file(self, blobs: LocalBlobs, root: Path) -> None:
        async def cancelling() -> AsyncIterator[bytes]:
            yield b"x" * 3_000_000
            scope.cancel()
            await anyio.sleep_forever()

        with anyio.CancelScope() as scope:
            await blobs.put("a", cancelling(), content_type="text/plain")
        assert scope.cancelled_caught
        assert files(root) == []


UPLOADS = """
import asyncio, hashlib, random, sys
from chatstore.blobs.local import LocalBlobs

async def upload():
    async with LocalBlobs(sys.argv[1]) as blobs:
        number = int(sys.argv[2])
        while True:
            number += 1
            data = random.randbytes(random.randrange(4_000_000))
            key = f"{hashlib.sha256(data).hexdigest()}/{len(data)}"
            print(key, flush=True)
            await blobs.put(key, data, content_type="text/plain")
            print("done", key, flush=True)

asyncio.run(upload())
"""


async def test_a_process_killed_at_any_moment_leaves_only_whole_blobs(blobs: LocalBlobs, root: Path) -> None:
    acknowledged: set[str] = set()
    for number in range(12):
        acknowledged |= await _uploads_until_killed(root, random.Random(number).uniform(0, 0.15))
    found = set(await keys(blobs))
    assert acknowledged <= found
    assert len(found) > 12
    for key in found:
        data = await blobs.read(key)
        assert key == f"{hashlib.sha256(data).hexdigest()}/{len(data)}"
    leftovers = files(root / ".tmp")
    assert leftovers
    for name in leftovers:
        with pytest.raises(InvalidInputError):
            await blobs.read(f".tmp/{name}")
        with pytest.raises(NotFoundError):
            await blobs.read(name)


async def _uploads_until_killed(root: Path, seconds: float) -> set[str]:
    command = [sys.executable, "-c", UPLOADS, str(root), "0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    await asyncio.sleep(seconds)  # the moment is what is tried
    process.send_signal(signal.SIGKILL)
    lines = (await process.stdout.read()).decode().splitlines()
    await process.wait()
    return {line.removeprefix("done ") for line in lines if line.startswith("done ") and len(line) > 70}


async def test_leftovers_are_removed_after_a_day(root: Path) -> None:
    (root / ".tmp").mkdir(parents=True)
    old, young = root / ".tmp/0aged", root / ".tmp/young"
    for path, age in ((old, LEFTOVER_SECONDS + 60), (young, LEFTOVER_SECONDS - 60)):
        path.write_bytes(b"half")
        moment = path.stat().st_mtime - age
        os.utime(path, (moment, moment))
    async with LocalBlobs(root) as blobs:
        assert await keys(blobs) == []
        assert files(root) == [".tmp/young"]
        await put(blobs, "a")
    assert files(root) == [".tmp/young", "a/a"]


FILLS = """
import asyncio, resource, sys
from pathlib import Path
from chatstore.blobs.local import LocalBlobs
from chatstore.errors import StorageFullError

async def fill(root):
    async with LocalBlobs(root) as blobs:
        await blobs.put("before", b"x" * 1_000_000, content_type="text/plain")
        await blobs.put("large", b"old", content_type="text/plain")
        for if_absent in (False, True):
            key = "new" if if_absent else "large"
            try:
                await blobs.put(key, [b"y" * 100_000] * 100, content_type="text/plain", if_absent=if_absent)
            except StorageFullError as error:
                print(type(error.__cause__).__name__, end=" ")
        assert await blobs.read("before") == b"x" * 1_000_000
        assert await blobs.read("large") == b"old"
        assert [key async for key, _ in blobs.list()] == ["before", "large"]
        await blobs.delete("before")
        await blobs.put("again", b"z" * 1_500_000, content_type="text/plain")
    print(*sorted(path.name for path in Path(root).rglob("*") if path.is_file()))
"""
LIMITED = f"{FILLS}\nresource.setrlimit(resource.RLIMIT_FSIZE, (2**21, 2**21))\nasyncio.run(fill(sys.argv[1]))"
MOUNTED = f"""{FILLS}
import subprocess
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", sys.argv[1]], capture_output=True).returncode:
    print("no tmpfs")
else:
    asyncio.run(fill(sys.argv[1]))
"""


class TestFullDisk:
    async def test_a_file_that_may_not_grow_leaves_nothing(self, root: Path) -> None:
        assert await run_program(LIMITED, root) == "OSError OSError again large"

    async def test_a_full_disk_leaves_nothing_and_works_again_after_a_deletion(self, tmp_path: Path) -> None:
        if shutil.which("unshare") is None:
            pytest.skip("there is no unshare to mount a small disk with")
        process = await asyncio.create_subprocess_exec("unshare", "-rm", "true", stderr=asyncio.subprocess.DEVNULL)
        if await process.wait() != 0:
            pytest.skip("this user may not make a mount namespace")
        output = await run_program(MOUNTED, tmp_path, before=("unshare", "-rm"))
        if output == "no tmpfs":
            pytest.skip("a tmpfs cannot be mounted here")
        assert output == "OSError OSError again large"

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            (errno.ENOSPC, StorageFullError),
            (errno.EROFS, ConfigurationError),
            (errno.ELOOP, IntegrityError),
            (errno.EIO, UnavailableError),
        ],
    )
    async def test_an_error_when_flushing_leaves_nothing_and_says_what_to_do(
        self, blobs: LocalBlobs, root: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[ChatStoreError]
    ) -> None:
        def fail(descriptor: int) -> None:
            raise OSError(code, os.strerror(code))

        await put(blobs, "other")
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(kind) as caught:
            await put(blobs, "a")
        assert isinstance(caught.value.__cause__, OSError)
        assert files(root) == ["ot/other"]


class TestPlanted:
    """What somebody who can write below the root puts there is never followed."""

    @pytest.fixture
    def secret(self, tmp_path: Path) -> Path:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside/cd34").write_bytes(b"secret")
        return tmp_path / "outside/cd34"

    async def test_a_link_in_the_place_of_a_blob_is_not_read(self, blobs: LocalBlobs, root: Path, secret: Path) -> None:
        (root / "ab/ab12.d/cd").mkdir(parents=True)
        link = root / "ab/ab12.d/cd/cd34"
        link.symlink_to(secret)
        for call in (blobs.read, blobs.stat):
            with pytest.raises(IntegrityError, match="cd34"):
                await call("ab12/cd34")
        assert await keys(blobs) == []
        with pytest.raises(ConflictError):
            await blobs.put("ab12/cd34", b"new", content_type="text/plain", if_absent=True)
        await put(blobs, "ab12/cd34", b"new")
        assert (secret.read_bytes(), link.is_symlink()) == (b"secret", False)
        assert await blobs.read("ab12/cd34") == b"new"

    async def test_deleting_a_link_leaves_its_target(self, blobs: LocalBlobs, root: Path, secret: Path) -> None:
        (root / "cd").mkdir()
        (root / "cd/cd34").symlink_to(secret)
        await blobs.delete("cd34")
        assert secret.read_bytes() == b"secret"
        assert await blobs.stat("cd34") is None

    @pytest.mark.parametrize("where", ["ab", "ab/ab12.d", "ab/ab12.d/cd", ".tmp"])
    @pytest.mark.parametrize("dangling", [False, True])
    async def test_a_folder_that_is_a_link_is_not_entered(
        self, blobs: LocalBlobs, root: Path, secret: Path, where: str, dangling: bool
    ) -> None:
        (root / where).parent.mkdir(parents=True, exist_ok=True)
        (root / where).symlink_to(secret.parent / "absent" if dangling else secret.parent)
        with pytest.raises(IntegrityError):
            await put(blobs, "ab12/cd34")
        if where != ".tmp":
            for call in (blobs.read, blobs.stat, blobs.delete):
                with pytest.raises(IntegrityError):
                    await call("ab12/cd34")
        assert await keys(blobs) == []
        assert list(secret.parent.iterdir()) == [secret]
        assert secret.read_bytes() == b"secret"

    async def test_what_is_no_file_is_not_opened(self, blobs: LocalBlobs, root: Path) -> None:
        (root / "a/a").mkdir(parents=True)
        (root / "b").mkdir()
        os.mkfifo(root / "b/b")
        (root / "c").write_bytes(b"a file where a folder belongs")
        for key in "abc":
            for call in (blobs.read, blobs.stat):
                with pytest.raises(IntegrityError):
                    await call(key)
        for key in "ac":
            with pytest.raises(IntegrityError):
                await put(blobs, key)
            with pytest.raises(IntegrityError):
                await blobs.delete(key)
        assert files(root) == ["b/b", "c"]

    async def test_files_of_others_are_not_listed(self, blobs: LocalBlobs, root: Path) -> None:
        await put(blobs, "ab12/cd34")
        for name in ("README", "ab/other", "ab/ab12", "lost+found/a", "ab/.DS_Store", "ab/ab12.d/cd/xx", "zz/ab"):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(b"")
        assert await keys(blobs) == ["ab12", "ab12/cd34"]

    async def test_the_root_itself_may_be_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "disk").mkdir()
        (tmp_path / "blobs").symlink_to("disk")
        async with LocalBlobs(tmp_path / "blobs") as blobs:
            await put(blobs, "a")
            assert await blobs.read("a") == b"bytes"
        assert (tmp_path / "disk/a/a").exists()


class TestReading:
    async def test_a_blob_that_is_being_read_keeps_its_content(self, blobs: LocalBlobs) -> None:
        old = random.Random(3).randbytes(1_000_000)
        await put(blobs, "a", old)
        async with blobs.open("a") as chunks:
            seen = await anext(chunks)
            await put(blobs, "a", b"new")
            await blobs.delete("a")
            assert seen + b"".join([chunk async for chunk in chunks]) == old

    async def test_a_file_cut_while_it_is_read_is_damaged(self, blobs: LocalBlobs, root: Path) -> None:
        await put(blobs, "a", b"x" * 1_000_000)
        async with blobs.open("a") as chunks:
            await anext(chunks)
            os.truncate(root / "a/a", 500_000)
            with pytest.raises(IntegrityError, match="shorter"):
                async for _ in chunks:
                    pass

    async def test_a_reader_that_leaves_early_or_is_cancelled_closes_the_file(
        self, blobs: LocalBlobs, root: Path
    ) -> None:
        await put(blobs, "a", b"x" * 1_000_000)
        before = len(os.listdir("/proc/self/fd"))

        async def read_a_little() -> None:
            async with blobs.open("a") as chunks:
                await anext(chunks)

        moments = random.Random(4)
        for _ in range(50):
            await read_a_little()
            with _cancelled_after(moments, 0.003):
                await blobs.read("a")
        assert len(os.listdir("/proc/self/fd")) == before

    async def test_other_failures_are_told_apart_from_absence(
        self, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def failing(path: object) -> None:
            raise OSError(5, "Input/output error")

        await put(blobs, "a")
        monkeypatch.setattr(os, "lstat", failing)
        with pytest.raises(UnavailableError, match="stat 'a'") as caught:
            await blobs.stat("a")
        assert isinstance(caught.value.__cause__, OSError)


class TestOpening:
    async def test_a_root_that_is_a_file_is_named(self, root: Path) -> None:
        root.write_bytes(b"")
        with pytest.raises(ConfigurationError, match="not a folder"):
            await put(LocalBlobs(root), "a")

    async def test_missing_folders_above_the_root_are_made(self, tmp_path: Path) -> None:
        async with LocalBlobs(str(tmp_path / "var/lib/blobs")) as blobs:
            assert await keys(blobs) == []
        assert (tmp_path / "var/lib/blobs").is_dir()

    async def test_a_folder_that_may_not_be_written_is_a_matter_of_configuration(self, root: Path) -> None:
        program = """
import asyncio, os, sys
from chatstore import ConfigurationError
from chatstore.blobs.local import LocalBlobs

async def put():
    await asyncio.to_thread(int)  # what is imported late is imported while it may be read
    os.getuid() == 0 and os.setuid(65534)
    try:
        await LocalBlobs(sys.argv[1]).put("a", b"bytes", content_type="text/plain")
    except ConfigurationError as error:
        print(type(error.__cause__).__name__)

asyncio.run(put())
"""
        root.mkdir(mode=0o555)
        assert await run_program(program, root) == "PermissionError"
        assert files(root) == []

    async def test_a_closed_store_and_another_loop_are_refused(self, root: Path) -> None:
        blobs = LocalBlobs(root)
        await put(blobs, "a")
        with pytest.raises(ConfigurationError, match="loop"):
            await asyncio.to_thread(asyncio.run, blobs.stat("a"))
        await blobs.aclose()
        await blobs.aclose()
        for call in (put(blobs, "a"), blobs.read("a"), blobs.stat("a"), blobs.delete("a"), keys(blobs)):
            with pytest.raises(ClosedError):
                await call


MEMORY = """
import asyncio, re, sys
from pathlib import Path
from chatstore.blobs.local import LocalBlobs

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

async def there_and_back(blobs, megabytes):
    async def chunks():
        for _ in range(megabytes * 16):
            yield bytes(65536)
    await blobs.put("a", chunks(), content_type="text/plain")
    async with blobs.open("a") as found:
        assert sum([len(chunk) async for chunk in found]) == megabytes << 20

async def main():
    async with LocalBlobs(sys.argv[1]) as blobs:
        await there_and_back(blobs, 1)
        before = peak()
        await there_and_back(blobs, 50)
        print(peak() - before)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
async def test_fifty_megabytes_up_and_down_add_at_most_sixteen_to_the_process(root: Path) -> None:
    assert int(await run_program(MEMORY, root)) <= 16 << 20


class _cancelled_after:
    """Cancel the task of the block natively, at a random moment, and swallow that cancellation alone."""

    def __init__(self, moments: random.Random, longest: float = 0.02) -> None:
        self._seconds = moments.uniform(0, longest)

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._timer = asyncio.get_running_loop().call_later(self._seconds, task.cancel)

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> bool:
        self._timer.cancel()
        if kind is asyncio.CancelledError:
            self._task.uncancel()
            return True
        return False
