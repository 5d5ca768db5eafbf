"""A file joins one thread, is copied into others, and leaves no byte behind when it is deleted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from chatkit.store import NotFoundError
from chatkit.types import FileAttachment, ImageAttachment

from chatstore.errors import LimitError
from chatstore.protocols import Limits
from tests.integrations.chatkit.sites import (
    IN_FILES,
    PDF,
    PNG,
    WITHOUT_S3,
    OpenSite,
    Site,
    message,
)

if TYPE_CHECKING:
    from tests.integrations.chatkit.conftest import Context


async def test_a_file_joins_the_thread_of_the_message_that_names_it(site: Site, ann: Context) -> None:
    by_server, by_application = await site.upload(ann), await site.upload(ann)
    thread_id = await site.new_thread(ann, by_server)
    await site.load(ann, by_application)
    named = FileAttachment(id=by_application, name="a.png", mime_type="image/png")
    await asyncio.create_task(site.server.store.add_thread_item(thread_id, message(thread_id, named), ann))
    page = await site.chat.for_user("ann").load_thread_attachments(thread_id)
    assert {record.id for record in page.data} == {by_server, by_application}


async def test_a_file_named_in_a_second_thread_is_a_record_of_its_own_there(site: Site, ann: Context) -> None:
    id = await site.upload(ann)
    first = await site.new_thread(ann, id)
    second = await site.new_thread(ann, id)
    await site.server.say(ann, second, "the same once more", id)
    copies = await site.shown(ann, second)
    assert len({copy.id for copy in copies}) == 1
    assert copies[0].id != id
    assert {copy.thread_id for copy in copies} == {second}
    assert [(each.id, each.thread_id) for each in await site.shown(ann, first)] == [(id, first)]
    await site.server.request(ann, "threads.delete", thread_id=first)
    assert len(await site.sweep()) == 1
    assert isinstance(copies[0], ImageAttachment)
    [copy, _] = await site.shown(ann, second)
    assert isinstance(copy, ImageAttachment)
    assert (await site.web.get(str(copy.preview_url))).content == PNG
    await site.server.request(ann, "threads.delete", thread_id=second)
    assert await site.sweep() == []


async def test_a_copy_may_be_named_as_any_file(site: Site, ann: Context) -> None:
    id = await site.upload(ann)
    await site.new_thread(ann, id)
    second = await site.new_thread(ann, id)
    [copy] = await site.shown(ann, second)
    await site.server.say(ann, second, "again", copy.id)
    third = await site.new_thread(ann, copy.id)
    assert [each.id for each in await site.shown(ann, second)] == [copy.id] * 2
    [last] = await site.shown(ann, third)
    assert last.id not in (id, copy.id)
    assert isinstance(last, ImageAttachment)


async def test_a_message_tried_again_meets_the_same_file(site: Site, ann: Context) -> None:
    id = await site.upload(ann)
    await site.new_thread(ann, id)
    thread_id = await site.new_thread(ann)
    named = await site.load(ann, id)
    for _ in range(2):
        item = message(thread_id, named.model_copy(update={"thread_id": thread_id}))
        await asyncio.create_task(site.server.store.add_thread_item(thread_id, item, ann))
    assert len(await site.shown(ann, thread_id)) == 1
    assert len((await site.chat.for_user("ann").load_thread_attachments(thread_id)).data) == 1


@IN_FILES
async def test_a_message_cancelled_anywhere_is_stored_whole_or_found_again_by_a_retry(site: Site, ann: Context) -> None:
    id = await site.upload(ann)
    await site.new_thread(ann, id)
    store = site.server.store
    for turns in range(0, 120, 6):
        thread_id = await site.new_thread(ann)
        item = message(thread_id, FileAttachment(id=id, name="a.png", mime_type="image/png"))
        writing = asyncio.create_task(store.add_thread_item(thread_id, item, ann))
        for _ in range(turns):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        await asyncio.create_task(store.add_thread_item(thread_id, item, ann))
        assert [each.type for each in await site.shown(ann, thread_id)] == ["image"]
        assert len((await site.chat.for_user("ann").load_thread_attachments(thread_id)).data) == 1
    assert len(await site.sweep()) == 1


async def test_two_messages_at_once_in_two_threads_do_not_share_a_record(site: Site, ann: Context) -> None:
    id = await site.upload(ann)
    first, second = await asyncio.gather(site.new_thread(ann, id), site.new_thread(ann, id))
    [one], [other] = await site.shown(ann, first), await site.shown(ann, second)
    assert (one.thread_id, other.thread_id) == (first, second)
    assert one.id != other.id
    assert id in (one.id, other.id)


async def test_a_pending_file_of_another_thread_is_refused_and_the_message_not_stored(site: Site, ann: Context) -> None:
    created = await site.create(ann)
    await site.new_thread(ann, created["id"])
    second = await site.new_thread(ann)
    with pytest.raises(NotFoundError, match=created["id"]):
        await site.server.say(ann, second, "too early", created["id"])
    assert "too early" not in await site.server.heard(ann, second)


@IN_FILES
async def test_a_copy_that_a_limit_forbids_refuses_the_message(open_site: OpenSite, ann: Context) -> None:
    site = await open_site(limits=Limits(owner_files=1))
    id = await site.upload(ann)
    await site.new_thread(ann, id)
    second = await site.new_thread(ann)
    with pytest.raises(LimitError):
        await site.server.say(ann, second, "one too many", id)
    assert "one too many" not in await site.server.heard(ann, second)


async def test_another_users_file_is_not_there(site: Site, ann: Context, bob: Context) -> None:
    mine, theirs = await site.upload(ann), await site.upload(bob)
    thread_id = await site.new_thread(ann, mine)
    for id in (theirs, "atc_never"):
        with pytest.raises(NotFoundError):
            await site.server.say(ann, thread_id, "what is it?", id)
        with pytest.raises(NotFoundError):
            await site.load(ann, id)
        assert await site.server.request(ann, "attachments.delete", attachment_id=id) == [{}]
        named = FileAttachment(id=id, name="theirs", mime_type="image/png")
        await asyncio.create_task(site.server.store.add_thread_item(thread_id, message(thread_id, named, id=id), ann))
    assert "what is it?" not in await site.server.heard(ann, thread_id)
    assert [type(each) for each in await site.shown(ann, thread_id)].count(FileAttachment) == 2
    assert (await site.load(bob, theirs)).thread_id is None
    assert len(await site.sweep()) == 2


async def test_deleting_a_thread_leaves_no_byte_of_its_files(site: Site, ann: Context, bob: Context) -> None:
    large = PNG + os.urandom(900_000)
    ids = [await site.upload(ann), await site.upload(ann, large), await site.upload(ann, PDF, "application/pdf")]
    pending = await site.create(ann)
    thread_id = await site.new_thread(ann, *ids, pending["id"])
    bobs = await site.upload(bob)
    await site.new_thread(bob, bobs)
    await site.server.request(bob, "threads.delete", thread_id=thread_id)
    assert len(await site.sweep()) == 4
    await site.server.request(ann, "threads.delete", thread_id=thread_id)
    for id in [*ids, pending["id"]]:
        with pytest.raises(NotFoundError):
            await site.load(ann, id)
    record = await site.chat.store.load_file(bobs, owner=site.chat.for_user("bob").owner)
    assert await site.sweep() == [record.key]
    on_disk = [path for path in (site.folder / "blobs").rglob("*") if path.is_file() and path.stat().st_size]
    assert sum(path.stat().st_size for path in on_disk) in (0, len(PNG))
    assert (await site.chat.admin().sweep()).deleted_blobs == 0


async def test_deleting_an_attachment_leaves_no_byte_of_it(site: Site, ann: Context, bob: Context) -> None:
    ready, pending = await site.upload(ann), await site.create(ann)
    for id in (ready, pending["id"]):
        assert await site.server.request(bob, "attachments.delete", attachment_id=id) == [{}]
        await site.load(ann, id)
        for _ in range(2):
            assert await site.server.request(ann, "attachments.delete", attachment_id=id) == [{}]
        with pytest.raises(NotFoundError):
            await site.load(ann, id)
    assert await site.sweep() == []


async def test_an_upload_to_a_thread_that_was_deleted_meanwhile_is_refused(site: Site, ann: Context) -> None:
    created = await site.create(ann)
    thread_id = await site.new_thread(ann, created["id"])
    await site.server.request(ann, "threads.delete", thread_id=thread_id)
    answer = await site.send(created)
    assert answer.status_code == (200 if site.presigns else 404)
    with pytest.raises(NotFoundError):
        await site.load(ann, created["id"])
    assert await site.sweep() == []


@WITHOUT_S3
async def test_a_deletion_while_its_upload_runs_leaves_nothing(site: Site, ann: Context) -> None:
    created = await site.create(ann)
    halfway, deleted = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield PNG[:100]
        halfway.set()
        await deleted.wait()
        yield PNG[100:]

    sending = asyncio.create_task(site.send(created, body()))
    await halfway.wait()
    await site.server.request(ann, "attachments.delete", attachment_id=created["id"])
    deleted.set()
    assert (await sending).status_code == 404
    assert await site.sweep() == []
    assert [finding async for finding in site.chat.admin().verify()] == []
