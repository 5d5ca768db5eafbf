"""What nobody needs goes, at the latest after its grace; what somebody needs never does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from inspecting import BIG, HeldSource, blobs_of, content, findings, keys, record, sweep

from chatstore.assembly import ChatStore
from chatstore.attachments import new_blob_key
from chatstore.blobs.memory import MemoryBlobs
from chatstore.errors import InvalidInputError, NotFoundError, UnavailableError
from chatstore.sweeping import Finding, Sweeper, Swept
from chatstore.users import UserStore

Open = Callable[..., ChatStore]


class StubbornBlobs(MemoryBlobs):
    """Blobs whose deletion fails for as long as the service is away."""

    def __init__(self) -> None:
        super().__init__()
        self.away = True

    async def delete(self, key: str) -> None:
        if self.away:
            raise UnavailableError("delete: the service is away")
        await super().delete(key)


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
