"""What a client may send wrong is a clear error: nothing is stored, nothing is lost and nothing is revealed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from inspecting import BIG, content, keys, record, sweep, upload

from chatstore.assembly import ChatStore
from chatstore.attachments import MAX_SIZE
from chatstore.errors import InvalidInputError, LimitError, NotFoundError
from chatstore.protocols import Limits
from chatstore.users import UserStore

Open = Callable[..., ChatStore]

NAMES = ["../../etc/passwd", "a\r\nSet-Cookie: x=1", '"quo\'ted"', "n" * 1000, "\u202egpj.exe", "a;b", ""]


async def _assert_nothing_begun(chat: ChatStore, user: UserStore) -> None:
    """Prove that there is room for the one file that the limits allow."""
    assert await keys(chat) == []
    assert (await user.add_attachment("b.bin", b"x")).state == "ready"


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
async def test_a_hostile_name_is_announced_as_it_is_and_is_no_part_of_the_request(chat: ChatStore, name: str) -> None:
    user = chat.for_user("ann")
    begun = await user.begin_upload(name, mime_type="text/plain", size=1)
    assert begun.attachment.name == name
    assert begun.url.isascii()
    assert begun.url.isprintable()
    assert begun.headers == {"Content-Type": "text/plain"}
    await upload(chat, user, begun.attachment.id, b"x")
    assert (await user.complete_upload(begun.attachment.id)).name == name
    (key,) = {(await record(chat, user, begun.attachment.id)).key}
    assert set(key) <= set("0123456789abcdef/")


@pytest.mark.parametrize("name", ["nul\0", "\ud800", "x" * 1025, 7, None], ids=range(5))
async def test_a_name_that_nothing_accepts_begins_nothing(open_chat: Open, name: Any) -> None:
    chat = open_chat(limits=Limits(owner_files=1))
    user = chat.for_user("ann")
    with pytest.raises(InvalidInputError, match="name"):
        await user.begin_upload(name, mime_type="text/plain", size=1)
    await _assert_nothing_begun(chat, user)


@pytest.mark.parametrize("mime_type", ["", 0, False, b""], ids=repr)
async def test_a_type_that_is_empty_is_not_taken_for_absent(chat: ChatStore, mime_type: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"mime_type|content_type"):
        await chat.for_user("ann").add_attachment("a.txt", b"x", mime_type=mime_type)


@pytest.mark.parametrize("mime_type", ["text/html", "TEXT/HTML ; x=y", "image/svg+xml", "image", "images/png"])
async def test_a_type_that_the_limits_forbid_begins_nothing(open_chat: Open, mime_type: str) -> None:
    chat = open_chat(limits=Limits(owner_files=1, types=frozenset({"image/png", "application/*"})))
    user = chat.for_user("ann")
    with pytest.raises(LimitError) as caught:
        await user.begin_upload("a.png", mime_type=mime_type, size=1)
    assert caught.value.limit == "types"
    await _assert_nothing_begun(chat, user)


@pytest.mark.parametrize("size", [MAX_SIZE + 1, 2**63, 10**30], ids=["one too many", "64 bits", "100 bits"])
async def test_a_size_that_nothing_has_is_refused(open_chat: Open, size: int) -> None:
    chat = open_chat(limits=Limits(file_bytes=None, owner_files=1))
    user = chat.for_user("ann")
    with pytest.raises(InvalidInputError, match="size"):
        await user.begin_upload("a.bin", mime_type="x/y", size=size)
    with pytest.raises(InvalidInputError, match="size"):
        await user.add_attachment("a.bin", b"x", size=size)
    await _assert_nothing_begun(chat, user)


async def test_absurd_ranges_are_cut_to_the_file(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    added = await user.add_attachment("a.bin", BIG)
    assert await content(user, added.id, start=10**30) == b""
    assert await content(user, added.id, start=5, end=10**30) == BIG[5:]
    assert await content(user, added.id, start=10**30, end=10**30) == b""


async def test_nobody_else_fills_completes_or_deletes_an_upload(chat: ChatStore) -> None:
    ann, bob = chat.for_user("ann"), chat.for_user("bob")
    begun = await ann.begin_upload("a.bin", mime_type="x/y", size=len(BIG))
    await upload(chat, ann, begun.attachment.id, BIG)
    assert chat.attachments is not None
    told = set()
    for id in (begun.attachment.id, "atc_absent"):
        for call in (
            chat.attachments.receive(id, BIG, owner=bob.owner),
            bob.complete_upload(id),
            bob.attachment_url(id, expires_in=timedelta(hours=1)),
            bob.load_attachment(id),
        ):
            with pytest.raises(NotFoundError) as caught:
                await call
            told.add(str(caught.value).replace(id, "ID"))
    assert len(told) == 2  # load_file and load_attachments, each in one way for what is absent and what is another's
    await bob.delete_attachment(begun.attachment.id)
    await sweep(chat)
    assert (await ann.complete_upload(begun.attachment.id)).state == "ready"
    assert await content(ann, begun.attachment.id) == BIG


async def test_an_upload_of_a_thread_that_was_deleted_is_refused_and_leaves_nothing(open_chat: Open) -> None:
    chat = open_chat(limits=Limits(owner_files=1))
    user = chat.for_user("ann")
    thread = await user.create_thread()
    begun = await user.begin_upload("a.bin", mime_type="x/y", size=len(BIG), thread_id=thread.id)
    await upload(chat, user, begun.attachment.id, BIG)
    await user.delete_thread(thread.id)
    assert chat.attachments is not None
    for call in (
        chat.attachments.receive(begun.attachment.id, BIG, owner=user.owner),
        user.complete_upload(begun.attachment.id),
        user.add_attachment("a.bin", BIG, thread_id=thread.id),
        user.begin_upload("a.bin", mime_type="x/y", size=1, thread_id=thread.id),
    ):
        with pytest.raises(NotFoundError):
            await call
    await sweep(chat)
    await _assert_nothing_begun(chat, user)
