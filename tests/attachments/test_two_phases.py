"""A client uploads by itself: nothing is ready before it was verified, and what is ready never changes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from inspecting import BIG, HeldSource, content, findings, keys, record, sweep, upload

from chatstore.assembly import ChatStore
from chatstore.attachments import Attachments, new_blob_key
from chatstore.errors import ConflictError, InvalidInputError, LimitError, NotFoundError, NotSupportedError
from chatstore.models import Attachment
from chatstore.owners import Owner
from chatstore.protocols import Limits
from chatstore.users import UserStore

Open = Callable[..., ChatStore]


async def _begun(user: UserStore, size: int = len(BIG), **options: Any) -> str:
    return (await user.begin_upload("a.bin", mime_type="x/y", size=size, **options)).attachment.id


def _files(chat: ChatStore) -> Attachments:
    assert chat.attachments is not None
    return chat.attachments


async def test_a_completed_upload_is_ready(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    begun = await user.begin_upload("a.bin", mime_type="x/y", size=len(BIG), metadata={"page": 1})
    assert (begun.attachment.state, begun.method, begun.headers) == ("pending", "PUT", {"Content-Type": "x/y"})
    await upload(chat, user, begun.attachment.id, BIG)
    done = await user.complete_upload(begun.attachment.id)
    assert (done.state, done.size, done.sha256) == ("ready", len(BIG), hashlib.sha256(BIG).hexdigest())
    assert done.metadata == {"page": 1}
    assert await content(user, done.id) == BIG
    await sweep(chat)
    assert len(await keys(chat)) == 1


async def test_an_id_may_be_given(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    assert await _begun(user, id="mine") == "mine"
    assert await _begun(chat.for_user("bob"), id="mine") == "mine"
    for bad in ("", "a\nb", "a" * 256, 7):
        with pytest.raises(InvalidInputError, match="id"):
            await _begun(user, id=bad)


async def test_an_id_in_use_is_a_conflict_that_leaves_its_file_alone(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    ready, pending = await user.add_attachment("a.bin", BIG), await _begun(user)
    for id in (ready.id, pending):
        with pytest.raises(ConflictError, match=id):
            await _begun(user, id=id)
    await sweep(chat)
    assert await content(user, ready.id) == BIG
    await upload(chat, user, pending, BIG)
    assert (await user.complete_upload(pending)).state == "ready"


async def test_an_upload_that_fails_to_begin_leaves_its_id_free(open_chat: Open) -> None:
    user = open_chat(signing_keys=None, public_url=None).for_user("ann")
    with pytest.raises(NotSupportedError):
        await _begun(user, id="mine")
    with pytest.raises(NotFoundError):
        await user.load_attachment("mine")


async def test_completing_twice_is_success(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    id = await _begun(user)
    await upload(chat, user, id, BIG)
    done = await user.complete_upload(id)
    assert await user.complete_upload(id) == done


async def test_a_finish_that_is_made_again_is_success_and_keeps_the_bytes(chat: ChatStore) -> None:
    """As after an answer that was lost."""
    user, owner = chat.for_user("ann"), Owner("ann")
    done = await user.add_attachment("a.bin", BIG)
    file = await chat.store.load_file(done.id, owner=owner)
    again = await chat.store.finish_upload(
        done.id,
        owner=owner,
        key=file.key,
        size=len(BIG),
        sha256=hashlib.sha256(BIG).hexdigest(),
        sniffed=None,
        limits=Limits(),
    )
    assert again == done
    await sweep(chat)
    assert await content(user, done.id) == BIG


async def test_completing_side_by_side_is_success(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    id = await _begun(user)
    await upload(chat, user, id, BIG)
    done = await asyncio.gather(*(user.complete_upload(id) for _ in range(4)))
    assert len({one.model_dump_json() for one in done}) == 1
    await sweep(chat)
    assert len(await keys(chat)) == 1
    assert await content(user, id) == BIG


async def test_nothing_uploaded_is_not_found_and_can_be_completed_later(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    id = await _begun(user)
    with pytest.raises(NotFoundError, match="nothing was uploaded"):
        await user.complete_upload(id)
    await upload(chat, user, id, BIG)
    assert (await user.complete_upload(id)).state == "ready"


@pytest.mark.parametrize("sent", [b"", BIG[:-1], BIG + b"x"], ids=len)
async def test_another_size_than_announced_stays_pending(chat: ChatStore, sent: bytes) -> None:
    user = chat.for_user("ann")
    id = await _begun(user)
    await upload(chat, user, id, sent)
    with pytest.raises(InvalidInputError):
        await user.complete_upload(id)
    assert (await user.load_attachment(id)).state == "pending"
    await sweep(chat)
    assert await keys(chat) == [(await record(chat, user, id)).key]
    await upload(chat, user, id, BIG)
    assert (await user.complete_upload(id)).state == "ready"


async def test_bytes_that_are_sent_again_after_completion_change_nothing(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    id = await _begun(user)
    await upload(chat, user, id, BIG)
    pending = (await record(chat, user, id)).key
    await user.complete_upload(id)
    assert (await record(chat, user, id)).key != pending
    await sweep(chat)
    assert chat.blobs is not None
    await chat.blobs.put(pending, BIG[::-1], content_type="x/y")
    assert await content(user, id) == BIG
    assert (await sweep(chat)).orphans == 1
    assert await findings(chat) == []


async def test_of_two_uploads_to_one_record_the_first_to_finish_stays(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    id = await _begun(user, size=10)
    slow = HeldSource(b"slow ", b"bytes")
    losing = asyncio.create_task(_files(chat).receive(id, slow, owner=user.owner))
    await slow.started.wait()
    await _files(chat).receive(id, b"fast bytes", owner=user.owner)
    slow.released.set()
    with pytest.raises(ConflictError):
        await losing
    with pytest.raises(ConflictError):
        await _files(chat).receive(id, b"late bytes", owner=user.owner)
    assert await content(user, id) == b"fast bytes"
    await sweep(chat)
    assert len(await keys(chat)) == 1


async def test_an_upload_that_fails_can_be_sent_again(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    id = await _begun(user, size=5)
    for sent, sha256 in ((b"four", None), (b"bytes", "0" * 64)):
        with pytest.raises(InvalidInputError):
            await _files(chat).receive(id, sent, owner=user.owner, sha256=sha256)
    assert (await _files(chat).receive(id, b"bytes", owner=user.owner)).state == "ready"
    await sweep(chat)
    assert len(await keys(chat)) == 1


async def test_an_announced_file_counts_before_it_arrives(open_chat: Open) -> None:
    user = open_chat(limits=Limits(owner_bytes=100, owner_files=2, file_bytes=90)).for_user("ann")
    first = await _begun(user, size=60)
    for size, limit in ((41, "owner_bytes"), (91, "file_bytes")):
        with pytest.raises(LimitError) as caught:
            await _begun(user, size=size)
        assert caught.value.limit == limit
    await _begun(user, size=40)
    with pytest.raises(LimitError) as caught:
        await _begun(user, size=0)
    assert caught.value.limit == "owner_files"
    await user.delete_attachment(first)
    await _begun(user, size=60)


@pytest.mark.parametrize("size", [-1, "5", 1.0, True], ids=str)
async def test_an_upload_announces_its_size(chat: ChatStore, size: Any) -> None:
    with pytest.raises(InvalidInputError, match="size"):
        await _begun(chat.for_user("ann"), size=size)


async def test_a_thread_that_is_deleted_takes_its_uploads_along(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    thread = await user.create_thread()
    id = await _begun(user, thread_id=thread.id)
    await upload(chat, user, id, BIG)
    await user.delete_thread(thread.id)
    with pytest.raises(NotFoundError):
        await user.complete_upload(id)
    with pytest.raises(NotFoundError):
        await _begun(user, thread_id=thread.id)
    assert (await sweep(chat)).deleted_blobs == 1
    assert await keys(chat) == []


async def test_an_upload_that_runs_out_is_swept_and_its_room_is_free_again(open_chat: Open) -> None:
    limits = Limits(owner_files=1, owner_bytes=len(BIG))
    chat = open_chat(limits=limits)
    user = chat.for_user("ann")
    attachment = Attachment(id="atc_short", name="a.bin", mime_type="x/y")
    await chat.store.begin_upload(
        attachment,
        owner=user.owner,
        key=new_blob_key(user.owner),
        size=len(BIG),
        expires_in=timedelta(0),
        limits=limits,
    )
    await upload(chat, user, attachment.id, BIG)
    swept = await sweep(chat)
    assert (swept.expired_uploads, swept.deleted_blobs, swept.orphans) == (1, 1, 0)
    with pytest.raises(NotFoundError):
        await user.complete_upload(attachment.id)
    assert await keys(chat) == []
    assert (await user.add_attachment("b.bin", BIG)).state == "ready"


async def test_an_upload_that_has_time_left_is_not_swept(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    id = await _begun(user, expires_in=timedelta(seconds=1))
    await upload(chat, user, id, BIG)
    assert (await sweep(chat)).expired_uploads == 0
    assert (await user.complete_upload(id)).state == "ready"
