"""What nobody needs goes, at the latest after its grace; what somebody needs never does."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from inspecting import (
    BIG,
    NOW,
    HeldSource,
    blobs_of,
    content,
    findings,
    keys,
    pass_time,
    record,
    sweep,
    unfinished,
    upload,
)

from chatstore import open_store
from chatstore.assembly import ChatStore
from chatstore.attachments import new_blob_key
from chatstore.blobs.memory import MemoryBlobs
from chatstore.errors import ConfigurationError, InvalidInputError, NotFoundError, UnavailableError
from chatstore.models import Attachment
from chatstore.protocols import BlobInfo, Limits
from chatstore.sweeping import Finding, Sweeper, Swept
from chatstore.users import UserStore

Open = Callable[..., ChatStore]


class StubbornBlobs(MemoryBlobs):
    """Blobs whose deletion fails for as long as the service is away."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.away = True
        self.asked = 0
        self._error = error or UnavailableError("delete: the service is away")

    async def delete(self, key: str) -> None:
        self.asked += 1
        if self.away:
            raise self._error
        await super().delete(key)


class AgelessBlobs(MemoryBlobs):
    """Blobs that do not say when they were stored."""

    async def list(self, prefix: str = "") -> AsyncIterator[tuple[str, BlobInfo]]:
        async for key, info in super().list(prefix):
            yield key, replace(info, modified_at=None)


class Paused:
    """Lets the first call of a method wait, before or after it has been done."""

    def __init__(self, place: Any, name: str, *, after: bool) -> None:
        self.reached = asyncio.Event()
        self.released = asyncio.Event()
        self._original = getattr(place, name)
        self._after = after
        setattr(place, name, self._call)

    async def _call(self, *given: Any, **options: Any) -> Any:
        if self.reached.is_set():
            return await self._original(*given, **options)
        answer = await self._original(*given, **options) if self._after else None
        self.reached.set()
        await self.released.wait()
        return answer if self._after else await self._original(*given, **options)


async def _run_queue(chat: ChatStore, retry_after: timedelta = timedelta(0)) -> list[int]:
    """Do by hand what a sweep does, without the wait after a failure; return the attempts of what was taken."""
    taken = await chat.store.take_deletions(limit=10, retry_after=retry_after)
    for deletion in taken:
        try:
            await blobs_of(chat).delete(deletion.key)
        except UnavailableError:
            continue
        await chat.store.acknowledge_deletion(deletion)
    return [deletion.attempts for deletion in taken]


async def test_a_deleted_file_is_gone_at_once_and_its_bytes_with_the_next_sweep(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    added = await user.add_attachment("a.bin", BIG)
    await user.delete_attachment(added.id)
    with pytest.raises(NotFoundError):
        await content(user, added.id)
    await user.delete_attachment(added.id)
    assert len(await keys(chat)) == 1
    assert await chat.admin().sweep() == Swept(deleted_blobs=1)
    assert await keys(chat) == []
    assert await chat.admin().sweep() == Swept()


async def test_a_deleted_thread_takes_its_files_along_and_no_others(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    thread, other = await user.create_thread(), await user.create_thread()
    gone = [await user.add_attachment("a.bin", b"gone", thread_id=thread.id) for _ in range(3)]
    kept = [await user.add_attachment("b.bin", b"kept", thread_id=id) for id in (other.id, None)]
    await user.delete_thread(thread.id)
    assert (await sweep(chat)).deleted_blobs == 3
    for one in gone:
        with pytest.raises(NotFoundError):
            await user.load_attachment(one.id)
    assert [await content(user, one.id) for one in kept] == [b"kept", b"kept"]
    assert len(await keys(chat)) == 2
    assert await findings(chat) == []


async def test_more_than_one_batch_is_swept(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    thread = await user.create_thread()
    for _ in range(103):
        await user.add_attachment("a", b"x", thread_id=thread.id)
    await user.add_attachment("b", b"kept")
    await user.delete_thread(thread.id)
    assert await sweep(chat) == Swept(deleted_blobs=103)
    assert await findings(chat) == []


async def test_a_rolled_back_deletion_queues_nothing(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    added = await user.add_attachment("a.bin", BIG)

    async def delete_and_fail(inside: UserStore) -> None:
        await inside.delete_attachment(added.id)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await user.run(delete_and_fail)
    assert await sweep(chat) == Swept()
    assert await content(user, added.id) == BIG


async def test_a_sweep_during_a_slow_upload_leaves_it_alone(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    source = HeldSource(BIG, BIG)
    adding = asyncio.create_task(user.add_attachment("a.bin", source))
    await source.started.wait()
    assert await sweep(chat) == Swept()
    source.released.set()
    added = await adding
    assert await sweep(chat) == Swept()
    assert await content(user, added.id) == BIG + BIG


async def _added(chat: ChatStore, user: UserStore) -> Attachment:
    return await user.add_attachment("a.bin", BIG)


async def _received(chat: ChatStore, user: UserStore) -> Attachment:
    begun = await user.begin_upload("a.bin", mime_type="x/y", size=len(BIG))
    assert chat.attachments is not None
    return await chat.attachments.receive(begun.attachment.id, BIG, owner=user.owner)


async def _completed(chat: ChatStore, user: UserStore) -> Attachment:
    begun = await user.begin_upload("a.bin", mime_type="x/y", size=len(BIG))
    stored = await record(chat, user, begun.attachment.id)
    await type(blobs_of(chat)).put(blobs_of(chat), stored.key, BIG, content_type="x/y")
    return await user.complete_upload(begun.attachment.id)


WAYS = pytest.mark.parametrize("way", [_added, _received, _completed])


@WAYS
async def test_bytes_that_are_there_before_their_record_is_ready_are_no_orphans(chat: ChatStore, way: Any) -> None:
    user = chat.for_user("ann")
    put = Paused(blobs_of(chat), "put", after=True)
    uploading = asyncio.create_task(way(chat, user))
    await put.reached.wait()
    assert await sweep(chat) == Swept()
    assert [finding for finding in await findings(chat) if finding.kind == "orphan"] == []
    put.released.set()
    assert await content(user, (await uploading).id) == BIG
    swept = await sweep(chat)
    assert (swept.orphans, swept.failed_deletions) == (0, 0)
    assert len(await keys(chat)) == 1


@WAYS
async def test_an_upload_that_a_sweep_overtakes_is_refused_and_leaves_nothing(
    chat: ChatStore, way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a day: its time is over while its bytes are on their way."""
    user = chat.for_user("ann")
    monkeypatch.setattr("chatstore.attachments.PENDING", timedelta(0))
    put = Paused(blobs_of(chat), "put", after=True)
    uploading = asyncio.create_task(way(chat, user))
    await put.reached.wait()
    assert (await sweep(chat)).deleted_blobs == 1
    put.released.set()
    with pytest.raises(NotFoundError):
        await uploading
    await sweep(chat)
    assert [found.attachment.state for _, found in await chat.store.list_files(after=None, limit=9)] == []
    assert len(await keys(chat)) == (1 if way is _completed else 0)  # what the client has sent may be completed again


async def test_an_upload_is_completed_although_another_one_did_and_a_sweep_took_what_it_reads(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    begun = await user.begin_upload("a.bin", mime_type="x/y", size=len(BIG))
    await upload(chat, user, begun.attachment.id, BIG)
    load = Paused(chat.store, "load_file", after=True)
    late = asyncio.create_task(user.complete_upload(begun.attachment.id))
    await load.reached.wait()
    done = await user.complete_upload(begun.attachment.id)
    assert (await sweep(chat)).deleted_blobs == 1
    load.released.set()
    assert await late == done
    assert await content(user, done.id) == BIG


async def test_sweeps_side_by_side_with_uploads_and_deletions_lose_nothing(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    kept: dict[str, bytes] = {}
    busy = True

    async def work(number: int) -> None:
        for turn in range(6):
            data = b"%d %d" % (number, turn)
            added = await user.add_attachment("a", data)
            if turn % 2:
                await user.delete_attachment(added.id)
            else:
                kept[added.id] = data

    async def keep_sweeping() -> int:
        total = 0
        while busy:
            await asyncio.sleep(0)
            total += (await sweep(chat)).deleted_blobs
        return total

    sweepers = [asyncio.create_task(keep_sweeping()) for _ in range(2)]
    await asyncio.gather(*(work(number) for number in range(4)))
    busy = False
    swept = sum([await one for one in sweepers])
    assert swept + (await sweep(chat)).deleted_blobs == 12
    assert {id: await content(user, id) for id in kept} == kept
    assert len(await keys(chat)) == len(kept) == 12


async def test_orphans_go_only_after_their_grace(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    added = await user.add_attachment("a.bin", b"kept")
    key = new_blob_key(user.owner)
    await blobs_of(chat).put(key, b"nobody's", content_type="x/y")
    assert await chat.admin().sweep(grace=timedelta(minutes=1)) == Swept()
    assert await findings(chat) == [Finding("orphan", key)]
    assert await sweep(chat) == Swept(orphans=1)
    assert await sweep(chat) == Swept()
    assert await content(user, added.id) == b"kept"


async def test_orphans_of_unknown_age_wait_for_a_sweep_without_grace(open_chat: Open) -> None:
    blobs = AgelessBlobs()
    chat = open_chat(blobs=blobs)
    await blobs.put("ab/one", b"x", content_type="x/y")
    assert await chat.admin().sweep(grace=timedelta(microseconds=1)) == Swept()
    assert await sweep(chat) == Swept(orphans=1)


@pytest.mark.parametrize("grace", [timedelta(-1), 3600, None], ids=str)
async def test_what_is_no_grace_is_refused(chat: ChatStore, grace: Any) -> None:
    with pytest.raises(InvalidInputError, match="grace"):
        await chat.admin().sweep(grace=grace)


async def test_verify_finds_what_is_missing_damaged_or_nobodys(chat: ChatStore) -> None:
    ann, bob = chat.for_user("ann", "one"), chat.for_user("bob")
    missing, damaged = [await ann.add_attachment("a.bin", BIG) for _ in range(2)]
    short = await bob.add_attachment("b.bin", BIG)
    await bob.add_attachment("c.bin", BIG)
    await bob.begin_upload("d.bin", mime_type="x/y", size=5)
    at = {one.id: (await record(chat, user, one.id)).key for user, one in ((ann, missing), (ann, damaged))}
    at[short.id] = (await record(chat, bob, short.id)).key
    orphan = new_blob_key(bob.owner)
    await blobs_of(chat).delete(at[missing.id])
    await blobs_of(chat).put(at[damaged.id], BIG[:-1] + b"?", content_type="x/y")
    await blobs_of(chat).put(at[short.id], BIG[:-1], content_type="x/y")
    await blobs_of(chat).put(orphan, b"nobody's", content_type="x/y")
    assert sorted(await findings(chat), key=str) == sorted(
        [
            Finding("missing", at[missing.id], ann.owner, missing.id),
            Finding("damaged", at[damaged.id], ann.owner, damaged.id),
            Finding("damaged", at[short.id], bob.owner, short.id),
            Finding("orphan", orphan),
        ],
        key=str,
    )


async def test_verify_says_nothing_of_a_file_that_is_deleted_while_it_reads(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    await user.add_attachment("a.bin", BIG)
    listed = Paused(chat.store, "list_files", after=True)
    verifying = asyncio.create_task(findings(chat))
    await listed.reached.wait()
    for _, found in await chat.store.list_files(after=None, limit=9):
        await user.delete_attachment(found.attachment.id)
    await sweep(chat)
    listed.released.set()
    assert await verifying == []


async def test_progress_is_told_as_it_is_made(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    for _ in range(2):
        await user.add_attachment("a.bin", BIG)
    read: list[tuple[int, int]] = []
    async for _ in chat.admin().verify(progress=lambda files, size: read.append((files, size))):
        pytest.fail("nothing is wrong here")
    assert read == sorted(read)
    assert read[-1] == (2, 2 * len(BIG))
    assert len(read) > 4
    for _, found in await chat.store.list_files(after=None, limit=9):
        await user.delete_attachment(found.attachment.id)
    swept: list[int] = []
    done = await chat.admin().sweep(progress=lambda so_far: swept.append(so_far.deleted_blobs))
    assert (sorted(set(swept)), done.deleted_blobs) == ([1, 2], 2)


async def test_verify_reads_more_files_than_one_batch(chat: ChatStore) -> None:
    for number in range(102):
        await chat.for_user(f"user {number % 3}").add_attachment("a", b"x")
    assert await findings(chat) == []
    for key in await keys(chat):
        await blobs_of(chat).delete(key)
    assert [finding.kind for finding in await findings(chat)] == ["missing"] * 102


async def test_a_deletion_that_fails_is_counted_and_comes_back_later(open_chat: Open) -> None:
    blobs = StubbornBlobs()
    chat = open_chat(blobs=blobs)
    user = chat.for_user("ann")
    added = await user.add_attachment("a.bin", BIG)
    await user.delete_attachment(added.id)
    assert await sweep(chat) == Swept(failed_deletions=1)
    assert await sweep(chat) == Swept()  # not due yet, and not taken for an orphan
    assert len(await keys(chat)) == 1


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InvalidInputError("key: not one of ours"), "key: not one of ours"),
        (ConfigurationError("delete: not allowed"), "delete: not allowed"),
        (KeyError("s3cret"), "KeyError"),
        (TimeoutError(), "TimeoutError"),
    ],
    ids=lambda one: type(one).__name__,
)
async def test_whatever_a_blob_store_raises_stops_no_sweep(open_chat: Open, error: Exception, told: str) -> None:
    blobs = StubbornBlobs(error)
    chat = open_chat(blobs=blobs)
    user = chat.for_user("ann")
    await blobs.put("ab/orphan", b"x", content_type="x/y")
    for _ in range(3):
        await user.delete_attachment((await user.add_attachment("a.bin", b"x")).id)
    swept = await sweep(chat)
    assert swept == Swept(failed_deletions=4)
    assert swept.last_failure == told
    blobs.away = False
    assert await sweep(chat) == Swept(orphans=1)  # the others wait for their next try
    assert await _run_queue(chat) == []


async def test_one_blob_that_cannot_be_deleted_keeps_no_other(open_chat: Open) -> None:
    class Picky(MemoryBlobs):
        async def delete(self, key: str) -> None:
            if key == refused:
                raise RuntimeError("not this one")
            await super().delete(key)

    chat = open_chat(blobs=Picky())
    user = chat.for_user("ann")
    thread = await user.create_thread()
    added = [await user.add_attachment("a", b"x", thread_id=thread.id) for _ in range(105)]
    refused = (await record(chat, user, added[0].id)).key
    await user.delete_thread(thread.id)
    assert await sweep(chat) == Swept(deleted_blobs=104, failed_deletions=1)
    assert await keys(chat) == [refused]


async def test_a_service_that_is_away_is_not_asked_for_every_blob(open_chat: Open) -> None:
    blobs = StubbornBlobs()
    chat = open_chat(blobs=blobs)
    user = chat.for_user("ann")
    thread = await user.create_thread()
    for _ in range(120):
        await user.add_attachment("a", b"x", thread_id=thread.id)
    await user.delete_thread(thread.id)
    assert (await sweep(chat)).failed_deletions == blobs.asked == 100


async def test_every_try_of_a_deletion_is_counted_until_it_succeeds(open_chat: Open) -> None:
    blobs = StubbornBlobs()
    chat = open_chat(blobs=blobs)
    user = chat.for_user("ann")
    await user.delete_attachment((await user.add_attachment("a.bin", BIG)).id)
    assert [await _run_queue(chat) for _ in range(3)] == [[0], [1], [2]]
    blobs.away = False
    assert await _run_queue(chat) == [3]
    assert await _run_queue(chat) == []
    assert await keys(chat) == []


async def test_a_deletion_waits_after_a_failure(open_chat: Open) -> None:
    chat = open_chat(blobs=StubbornBlobs())
    user = chat.for_user("ann")
    await user.delete_attachment((await user.add_attachment("a.bin", BIG)).id)
    assert await _run_queue(chat, timedelta(hours=1)) == [0]
    assert await _run_queue(chat, timedelta(hours=1)) == []


async def test_an_orphan_that_cannot_be_deleted_is_counted_and_stops_nothing(open_chat: Open) -> None:
    blobs = StubbornBlobs()
    chat = open_chat(blobs=blobs)
    await blobs.put("ab/one", b"x", content_type="x/y")
    await blobs.put("ab/two", b"x", content_type="x/y")
    assert await sweep(chat) == Swept(failed_deletions=2)
    blobs.away = False
    assert await sweep(chat) == Swept(orphans=2)


async def test_bytes_that_a_record_has_after_all_are_not_deleted(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    added = await user.add_attachment("a.bin", BIG)
    await chat.store.queue_deletion((await record(chat, user, added.id)).key, owner=user.owner)
    assert await sweep(chat) == Swept()
    assert await content(user, added.id) == BIG


async def test_housekeeping_is_out_of_a_users_reach(chat: ChatStore) -> None:
    assert isinstance(chat.admin(), Sweeper)
    user = chat.for_user("ann")
    assert [name for name in ("sweep", "verify", "admin", "take_deletions", "list_files") if hasattr(user, name)] == []


@pytest.fixture
def sql_chat(sqlite_url: str, postgresql_url: str, request: pytest.FixtureRequest) -> str:
    return {"sqlite": sqlite_url, "postgresql": postgresql_url}[request.param]


@pytest.mark.parametrize("sql_chat", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.parametrize("is_swept", [True, False], ids=["swept", "not swept"])
async def test_chunks_that_nobody_adds_to_any_more_are_dropped(sql_chat: str, is_swept: bool, tmp_path: Path) -> None:
    async with open_store(sql_chat, blobs="sql") as chat:
        source = HeldSource(BIG, BIG)
        putting = asyncio.create_task(blobs_of(chat).put("ab/cd", source, content_type="x/y"))
        await source.started.wait()
        assert await sweep(chat) == Swept()
        assert await unfinished(chat, tmp_path) > 0
        await pass_time(chat, tmp_path)
        if is_swept:
            assert await sweep(chat) == Swept(unfinished_uploads=1)
            assert await unfinished(chat, tmp_path) == 0
        source.released.set()
        with pytest.raises(UnavailableError, match="put it again"):
            await putting
        assert (await keys(chat), await unfinished(chat, tmp_path)) == ([], 0)


async def test_temporary_files_that_nobody_writes_to_any_more_are_removed(sqlite_url: str, tmp_path: Path) -> None:
    async with open_store(sqlite_url, blobs=f"file:{tmp_path}") as chat:
        source = HeldSource(BIG * 2, BIG)
        putting = asyncio.create_task(blobs_of(chat).put("ab/cd", source, content_type="x/y"))
        await source.started.wait()
        assert (await sweep(chat), await unfinished(chat, tmp_path)) == (Swept(), 1)
        await pass_time(chat, tmp_path)
        assert (await sweep(chat), await unfinished(chat, tmp_path)) == (Swept(unfinished_uploads=1), 0)
        source.released.set()
        with pytest.raises(UnavailableError):
            await putting
        assert await keys(chat) == []


@pytest.mark.parametrize("sql_chat", ["sqlite", "postgresql"], indirect=True)
async def test_sweepers_in_four_processes_share_the_work(sql_chat: str, tmp_path: Path) -> None:
    blobs = f"file:{tmp_path}/blobs"
    async with open_store(sql_chat, blobs=blobs) as chat:
        for number in range(40):
            user = chat.for_user(f"user {number % 5}")
            await user.delete_attachment((await user.add_attachment("a", b"x")).id)
            late = Attachment(id=f"atc_{number}", name="a", mime_type="x/y")
            key = new_blob_key(user.owner)
            await chat.store.begin_upload(late, owner=user.owner, key=key, size=1, expires_in=NOW, limits=Limits())
            await blobs_of(chat).put(key, b"x", content_type="x/y")
        kept = await user.add_attachment("b", b"kept")
        command = [sys.executable, "-m", "chatstore", "sweep", sql_chat, "--blobs", blobs, "--json"]
        sweepers = [await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE) for _ in range(4)]
        told = [json.loads((await sweeper.communicate())[0]) for sweeper in sweepers]
        total = Counter({name: sum(one[name] for one in told) for name in ("expired_uploads", "deleted_blobs")})
        rest = await sweep(chat)
        assert total["expired_uploads"] == 40
        assert total["deleted_blobs"] + rest.deleted_blobs == 80
        assert sum(one["failed_deletions"] for one in told) == 0
        assert await content(user, kept.id) == b"kept"
        assert len(await keys(chat)) == 1
