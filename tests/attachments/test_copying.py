"""A file in a second thread is a record of its own; the bytes are shared and go with the last of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from inspecting import content, findings, keys, sweep

from chatstore import ConflictError, LimitError, Limits, NotFoundError, UserStore
from chatstore.assembly import ChatStore
from chatstore.sweeping import Swept


async def two_threads(user: UserStore) -> None:
    for id in ("first", "second"):
        await user.create_thread(id=id)


async def test_a_copy_is_the_same_file_in_another_thread(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    await two_threads(user)
    added = await user.add_attachment("a.png", b"bytes", thread_id="first", metadata={"a": 1})
    copied = await user.copy_attachment(added.id, thread_id="second")
    assert copied == added.model_copy(update={"id": copied.id, "thread_id": "second"})
    assert copied.id != added.id
    assert await content(user, copied.id) == b"bytes"
    assert [one.id for one in (await user.load_thread_attachments("second")).data] == [copied.id]
    assert len(await keys(chat)) == 1


async def test_the_same_copy_again_is_the_same_record(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    await two_threads(user)
    added = await user.add_attachment("a", b"bytes", thread_id="first")
    copies = await asyncio.gather(*(user.copy_attachment(added.id, thread_id="second", id="c") for _ in range(5)))
    assert copies == [copies[0]] * 5
    assert len((await user.load_thread_attachments("second")).data) == 1


@pytest.mark.parametrize("first_gone", ["original", "copy"])
async def test_the_bytes_go_with_the_last_record(chat: ChatStore, first_gone: str) -> None:
    user = chat.for_user("ann")
    await two_threads(user)
    added = await user.add_attachment("a", b"bytes", thread_id="first")
    copied = await user.copy_attachment(added.id, thread_id="second")
    gone, kept = (added, copied) if first_gone == "original" else (copied, added)
    await user.delete_attachment(gone.id)
    assert await sweep(chat) == Swept()
    assert await content(user, kept.id) == b"bytes"
    assert await findings(chat) == []
    await user.delete_thread(str(kept.thread_id))
    assert await sweep(chat) == Swept(deleted_blobs=1)
    assert await keys(chat) == []


async def test_records_of_the_same_bytes_deleted_at_once_leave_nothing(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    await two_threads(user)
    added = await user.add_attachment("a", b"bytes", thread_id="first")
    copies = [await user.copy_attachment(added.id, thread_id="second") for _ in range(5)]
    await asyncio.gather(*(user.delete_attachment(one.id) for one in copies), user.delete_thread("first"))
    assert await sweep(chat) == Swept(deleted_blobs=1)
    assert await keys(chat) == []


async def test_a_copy_of_a_file_that_is_being_deleted_has_its_bytes_or_is_refused(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    await two_threads(user)
    for number in range(10):
        added = await user.add_attachment("a", b"bytes", thread_id="first")
        copied, *_ = await asyncio.gather(
            user.copy_attachment(added.id, thread_id="second", id=f"copy {number}"),
            user.delete_attachment(added.id),
            return_exceptions=True,
        )
        await sweep(chat)
        if isinstance(copied, BaseException):
            assert isinstance(copied, NotFoundError)
        else:
            assert await content(user, copied.id) == b"bytes"


async def test_what_cannot_be_copied_is_refused_and_nothing_is_inserted(chat: ChatStore) -> None:
    user, bob = chat.for_user("ann"), chat.for_user("bob")
    await two_threads(user)
    await bob.create_thread(id="second")
    added = await user.add_attachment("a", b"bytes", thread_id="first")
    other = await user.add_attachment("b", b"other", thread_id="second")
    begun = await user.begin_upload("c", mime_type="text/plain", size=1)
    await user.save_attachment(added.model_copy(update={"name": "renamed"}))
    with pytest.raises(NotFoundError):
        await bob.copy_attachment(added.id, thread_id="second")
    with pytest.raises(NotFoundError):
        await user.copy_attachment(begun.attachment.id, thread_id="second")
    with pytest.raises(NotFoundError):
        await user.copy_attachment(added.id, thread_id="third")
    with pytest.raises(ConflictError):
        await user.copy_attachment(added.id, thread_id="second", id=other.id)
    assert [one.id for one in (await user.load_thread_attachments("second")).data] == [other.id]
    assert (await bob.load_thread_attachments("second")).data == []


async def test_a_copy_counts_in_the_owners_limits(open_chat: Callable[..., ChatStore]) -> None:
    user = open_chat(limits=Limits(owner_files=2)).for_user("ann")
    await two_threads(user)
    added = await user.add_attachment("a", b"bytes", thread_id="first")
    copied = await user.copy_attachment(added.id, thread_id="second")
    with pytest.raises(LimitError):
        await user.copy_attachment(added.id, thread_id="second")
    await user.delete_attachment(copied.id)
    await user.copy_attachment(added.id, thread_id="second")
