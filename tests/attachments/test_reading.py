"""What is stored is read back whole or in part, by its owner alone, and never damaged without a word."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from inspecting import BIG, blobs_of, content, keys, record, sweep

from chatstore import open_store
from chatstore.assembly import ChatStore
from chatstore.attachments import new_blob_key
from chatstore.errors import ConfigurationError, IntegrityError, InvalidInputError, NotFoundError, NotSupportedError
from chatstore.models import Attachment
from chatstore.owners import Owner
from chatstore.streams import CHUNK_BYTES
from chatstore.users import UserStore

HOUR = timedelta(hours=1)
SIZE = len(BIG)

RANGES = [
    (0, None),
    (0, 0),
    (0, 1),
    (5, 5),
    (1, None),
    (CHUNK_BYTES - 1, CHUNK_BYTES + 1),
    (CHUNK_BYTES, 2 * CHUNK_BYTES),
    (SIZE - 1, None),
    (SIZE - 1, SIZE + 10),
    (SIZE, None),
    (SIZE + 7, SIZE + 9),
]


async def test_a_range_is_cut_to_the_file(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    added = await user.add_attachment("a.bin", BIG)
    for start, end in RANGES:
        assert await content(user, added.id, start=start, end=end) == BIG[start:end], (start, end)


async def test_files_are_loaded_at_once_and_those_that_are_not_there_left_out(chat: ChatStore) -> None:
    user, store = chat.for_user("ann"), chat.store
    ready = (await user.add_attachment("a.png", b"\x89PNG\r\n\x1a\n")).id
    pending = (await user.begin_upload("b", mime_type="x/y", size=7)).attachment.id
    theirs = (await chat.for_user("bob").add_attachment("c", b"")).id
    await user.save_attachment(Attachment(id="elsewhere", name="d", mime_type="x/y"))
    asked = [pending, "absent", ready, theirs, "elsewhere", pending]
    loaded = await store.load_files(asked, owner=user.owner)
    assert loaded == [await store.load_file(id, owner=user.owner) for id in (pending, ready, pending)]
    assert [(each.sniffed, each.declared_size) for each in loaded[:2]] == [(None, 7), ("image/png", None)]
    assert await store.load_files([], owner=user.owner) == []


@pytest.mark.parametrize("ids", ["atc_1", None, [""], ["a\nb"], [7], ["a"] * 1001], ids=lambda ids: str(ids)[:10])
async def test_what_is_no_list_of_ids_is_refused(chat: ChatStore, ids: Any) -> None:
    with pytest.raises(InvalidInputError, match="attachment_ids"):
        await chat.store.load_files(ids, owner=chat.for_user("ann").owner)


@pytest.mark.parametrize("given", [(-1, None), (5, 4), ("0", None), (0, 1.5), (True, None)], ids=str)
async def test_what_is_no_range_is_refused(chat: ChatStore, given: tuple[Any, Any]) -> None:
    user = chat.for_user("ann")
    added = await user.add_attachment("a.bin", b"bytes")
    with pytest.raises(InvalidInputError):
        await content(user, added.id, start=given[0], end=given[1])


async def _collect(chunks: AsyncIterator[bytes], given: list[bytes]) -> None:
    async for chunk in chunks:
        given.append(chunk)


async def test_a_damaged_byte_is_told_before_the_last_chunk(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    added = await user.add_attachment("a.bin", BIG)
    stored = await record(chat, user, added.id)
    await blobs_of(chat).put(stored.key, b"X" + BIG[1:], content_type="x/y")
    async with user.open_attachment(added.id) as chunks:
        given: list[bytes] = []
        with pytest.raises(IntegrityError, match="damaged"):
            await _collect(chunks, given)
    assert 0 < sum(map(len, given)) < len(BIG)


@pytest.mark.parametrize("damaged", [b"", BIG[:-1], BIG[:-CHUNK_BYTES], BIG + b"x"], ids=len)
async def test_too_few_or_too_many_bytes_are_damage(chat: ChatStore, damaged: bytes) -> None:
    user = chat.for_user("ann")
    added = await user.add_attachment("a.bin", BIG)
    stored = await record(chat, user, added.id)
    await blobs_of(chat).put(stored.key, damaged, content_type="x/y")
    with pytest.raises(IntegrityError, match="damaged"):
        await content(user, added.id)


async def test_missing_bytes_are_an_error_and_not_an_absent_file(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    added = await user.add_attachment("a.bin", b"")
    await blobs_of(chat).delete((await record(chat, user, added.id)).key)
    for end in (None, 0):
        with pytest.raises(IntegrityError, match="missing"):
            await content(user, added.id, end=end)


async def test_a_callers_own_error_passes_through(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    added = await user.add_attachment("a.bin", b"bytes")
    with pytest.raises(NotFoundError, match="thread"):
        async with user.open_attachment(added.id):
            await user.load_thread("thr_absent")


async def test_a_file_that_is_not_uploaded_yet_cannot_be_read(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    begun = await user.begin_upload("a.bin", mime_type="x/y", size=1)
    by_hand = await user.save_attachment(Attachment(name="b.bin", mime_type="x/y", id="atc_by_hand"))
    for id in (begun.attachment.id, by_hand.id):
        with pytest.raises(NotFoundError):
            await content(user, id)
        with pytest.raises(NotFoundError):
            await user.attachment_url(id, expires_in=HOUR)


async def _open(user: UserStore, id: str) -> None:
    await content(user, id)


async def _url(user: UserStore, id: str) -> None:
    await user.attachment_url(id, expires_in=HOUR)


async def _complete(user: UserStore, id: str) -> None:
    await user.complete_upload(id)


@pytest.mark.parametrize("call", [_open, _url, _complete])
@pytest.mark.parametrize("state", ["ready", "pending"])
async def test_somebody_elses_file_is_not_there(chat: ChatStore, call: Any, state: str) -> None:
    ann = chat.for_user("ann", "one")
    if state == "ready":
        id = (await ann.add_attachment("a.bin", b"secret")).id
    else:
        id = (await ann.begin_upload("a.bin", mime_type="x/y", size=1)).attachment.id
    for user, tenant in (("bob", "one"), ("ann", "two"), ("ann", "")):
        other = chat.for_user(user, tenant)
        with pytest.raises(NotFoundError) as theirs:
            await call(other, id)
        with pytest.raises(NotFoundError) as absent:
            await call(other, "atc_absent")
        assert str(theirs.value).replace(id, "atc_absent") == str(absent.value)


async def test_somebody_else_can_neither_delete_a_file_nor_add_to_a_thread(chat: ChatStore) -> None:
    ann, bob = chat.for_user("ann"), chat.for_user("bob")
    thread = await ann.create_thread()
    added = await ann.add_attachment("a.bin", b"mine", thread_id=thread.id)
    await bob.delete_attachment(added.id)
    with pytest.raises(NotFoundError):
        await bob.add_attachment("b.bin", b"theirs", thread_id=thread.id)
    with pytest.raises(NotFoundError):
        await bob.begin_upload("b.bin", mime_type="x/y", size=1, thread_id=thread.id)
    await sweep(chat)
    assert await content(ann, added.id) == b"mine"
    assert len(await keys(chat)) == 1


@pytest.mark.parametrize("expires_in", [timedelta(0), timedelta(-1), timedelta(days=8), timedelta.max, 60], ids=str)
async def test_a_url_is_good_for_at_most_seven_days(chat: ChatStore, expires_in: Any) -> None:
    user = chat.for_user("ann")
    added = await user.add_attachment("a.bin", b"bytes")
    with pytest.raises(InvalidInputError, match="expires_in"):
        await user.attachment_url(added.id, expires_in=expires_in)
    with pytest.raises(InvalidInputError, match="expires_in"):
        await user.begin_upload("b.bin", mime_type="x/y", size=1, expires_in=expires_in)


async def test_urls_need_a_signer_where_the_blobs_cannot_presign(places: tuple[str, str]) -> None:
    url, blobs = places
    with pytest.raises(ConfigurationError, match="public_url"):
        open_store(url, blobs=blobs, public_url="https://chat.example")
    async with AsyncExitStack() as opened:
        chat = await opened.enter_async_context(open_store(url, blobs=blobs))
        user = chat.for_user("ann")
        added = await user.add_attachment("a.bin", b"bytes")
        with pytest.raises(NotSupportedError, match="signing_keys"):
            await user.attachment_url(added.id, expires_in=HOUR)
        with pytest.raises(NotSupportedError, match="signing_keys"):
            await user.begin_upload("b.bin", mime_type="x/y", size=1)
        await sweep(chat)
        assert [found.attachment for _, found in await chat.store.list_files(after=None, limit=9)] == [added]


async def test_a_url_is_known_again_by_who_made_it(chat: ChatStore) -> None:
    files, ann = chat.attachments, chat.for_user("ann")
    assert files is not None
    made = await ann.attachment_url((await ann.add_attachment("a.txt", b"a")).id, expires_in=timedelta(hours=1))
    presigned = f"https://bucket.example/{new_blob_key(ann.owner)}?X-Amz-Signature=0"
    assert files.made_url(made, owner=ann.owner)
    assert files.made_url(presigned, owner=ann.owner)
    assert not files.made_url(presigned, owner=Owner("bob"))
    assert not files.made_url("https://elsewhere.example/a.txt", owner=ann.owner)


async def test_the_record_of_a_file_is_there_once_its_bytes_are(chat: ChatStore) -> None:
    files, ann = chat.attachments, chat.for_user("ann")
    assert files is not None
    ready = await ann.add_attachment("a.txt", b"a")
    assert (await files.record(ready.id, owner=ann.owner)).attachment == ready
    begun = await ann.begin_upload("b.txt", mime_type="text/plain", size=1)
    with pytest.raises(NotFoundError, match="not uploaded yet"):
        await files.record(begun.attachment.id, owner=ann.owner)


async def test_a_url_names_the_attachment_and_its_owner_to_the_signer(chat: ChatStore) -> None:
    user = chat.for_user("ann", "one")
    added = await user.add_attachment("a.bin", b"bytes")
    url = await user.attachment_url(added.id, expires_in=HOUR, download_name="b.bin")
    start, _, token = url.rpartition("/")
    assert chat.signer is not None
    claims = chat.signer.verify(token, "download")
    assert start == "https://chat.example/files/download"
    assert (claims.owner, claims.attachment_id, claims.bound) == (user.owner, added.id, {"name": "b.bin"})
