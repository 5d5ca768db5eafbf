"""Files through ChatKit's own server, with real bytes: in two phases, shown by fresh URLs, gone when deleted."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from chatkit.store import NotFoundError
from chatkit.types import Attachment, AttachmentCreateParams, FileAttachment, ImageAttachment, UserMessageItem

from chatstore import ChatStore, ConfigurationError, ConflictError, InvalidInputError, open_store
from chatstore.errors import LimitError
from chatstore.integrations.chatkit import ChatKitAttachmentStore, ChatKitStore, attachments
from chatstore.protocols import FileRecord, Limits
from tests.integrations.chatkit.sites import ANN, HTML, LIMITS, PDF, PNG, OpenSite, Site

if TYPE_CHECKING:
    from tests.integrations.chatkit.conftest import Context

IN_FILES = pytest.mark.parametrize("places", ["sqlite-file"], indirect=True)
IN_MEMORY = pytest.mark.parametrize("places", ["memory-memory"], indirect=True)
IN_S3 = pytest.mark.parametrize("places", ["sqlite-s3"], indirect=True)


def message(thread_id: str, *named: Attachment, id: str = "msg_1") -> UserMessageItem:
    """Return a user's message as an application would make it."""
    content = [{"type": "input_text", "text": "by hand"}]
    fields = {"content": content, "inference_options": {}, "created_at": datetime(2024, 5, 17)}
    item = UserMessageItem.model_validate({"id": id, "thread_id": thread_id, **fields})
    item.attachments = list(named)
    return item


async def test_a_file_is_uploaded_in_two_phases_and_shown(site: Site, ann: Context) -> None:
    created = await site.create(ann)
    assert (await site.send(created)).status_code == 200
    events = await site.server.request(ann, "threads.create", input=site.server.typed("look", created["id"]))
    thread_id = events[0]["thread"]["id"]
    [in_answer] = events[1]["item"]["attachments"]
    [in_history] = await site.shown(ann, thread_id)
    loaded = await site.load(ann, created["id"])
    for shown in (from_json(in_answer), in_history, loaded):
        assert isinstance(shown, ImageAttachment)
        assert (shown.id, shown.name, shown.mime_type) == (created["id"], "a.png", "image/png")
        assert (shown.thread_id, shown.upload_descriptor) == (thread_id, None)
        fetched = await site.web.get(str(shown.preview_url))
        assert (fetched.content, fetched.headers["content-type"]) == (PNG, "image/png")


async def test_every_answer_of_the_server_shows_files_as_they_are_now(site: Site, ann: Context) -> None:
    thread_id = await site.new_thread(ann, await site.upload(ann))
    [by_id] = await site.server.request(ann, "threads.get_by_id", thread_id=thread_id)
    [listed] = await site.server.request(ann, "items.list", thread_id=thread_id)
    item_id = listed["data"][-1]["id"]
    item = await asyncio.create_task(site.server.store.load_item(thread_id, item_id, ann))
    assert isinstance(item, UserMessageItem)
    answers = [by_id["items"]["data"][0]["attachments"][0], listed["data"][-1]["attachments"][0]]
    for shown in [*map(from_json, answers), item.attachments[0]]:
        assert isinstance(shown, ImageAttachment)
        assert (await site.web.get(str(shown.preview_url))).content == PNG


async def test_the_servers_save_of_what_was_created_changes_nothing(site: Site, ann: Context) -> None:
    params = AttachmentCreateParams(name="a.png", size=len(PNG), mime_type="image/png")
    store = site.server.attachment_store
    assert store is not None
    created = await asyncio.create_task(store.create_attachment(params, ann))
    before = await site.chat.store.load_file(created.id, owner=ANN)
    await site.server.store.save_attachment(created, ann)
    assert await site.chat.store.load_file(created.id, owner=ANN) == before
    assert (before.declared_size, before.attachment.metadata, before.attachment.state) == (len(PNG), {}, "pending")


async def test_no_url_is_ever_stored(site: Site, ann: Context) -> None:
    pending = await site.create(ann)
    ready = await site.upload(ann)
    thread_id = await site.new_thread(ann, pending["id"], ready)
    [item] = [item for item in await site.server.history(ann, thread_id) if isinstance(item, UserMessageItem)]
    assert item.attachments[0].upload_descriptor is not None
    await asyncio.create_task(site.server.store.save_item(thread_id, item, ann))
    for shown in item.attachments:
        await asyncio.create_task(site.server.store.save_attachment(shown, ann))
    assert "://" not in await site.stored_text(thread_id)


async def test_a_pending_file_has_a_descriptor_that_works_until_the_upload_is_finished(
    site: Site, ann: Context
) -> None:
    created = await site.create(ann)
    thread_id = await site.new_thread(ann, created["id"])
    [pending] = await site.shown(ann, thread_id)
    assert pending.upload_descriptor is not None
    assert (await site.send(to_json(pending))).status_code == 200
    if site.presigns:
        await site.chat.for_user("ann").complete_upload(created["id"])
    [ready] = await site.shown(ann, thread_id)
    assert ready.upload_descriptor is None
    assert isinstance(ready, ImageAttachment)


@pytest.mark.parametrize("is_loaded", [True, False])
async def test_a_stale_copy_saved_after_the_upload_brings_nothing_back(
    site: Site, ann: Context, is_loaded: bool
) -> None:
    created = await site.create(ann)
    store = site.server.store
    stale = await store.load_attachment(created["id"], ann) if is_loaded else from_json(created)
    assert stale.upload_descriptor is not None
    await site.send(created)
    await site.load(ann, created["id"])
    before = await site.chat.store.load_file(created["id"], owner=ANN)
    await store.save_attachment(stale, ann)
    assert await site.chat.store.load_file(created["id"], owner=ANN) == before
    assert (await site.load(ann, created["id"])).upload_descriptor is None


async def test_the_name_and_metadata_of_a_file_can_be_saved(site: Site, ann: Context) -> None:
    id = await site.upload(ann)
    loaded = await site.load(ann, id)
    changed = loaded.model_copy(update={"name": "new.png", "metadata": {"k": [1]}, "mime_type": "text/html"})
    await asyncio.create_task(site.server.store.save_attachment(changed, ann))
    after = await site.load(ann, id)
    assert (after.name, after.metadata, after.mime_type, after.type) == ("new.png", {"k": [1]}, "image/png", "image")
    assert "://" not in (await site.chat.for_user("ann").load_attachment(id)).model_dump_json()


@pytest.mark.parametrize("data", [HTML, PDF, b"GIF8", b""], ids=["html", "pdf", "torn", "empty"])
async def test_bytes_that_are_not_the_claimed_image_are_never_shown(site: Site, ann: Context, data: bytes) -> None:
    id = await site.upload(ann, data, "image/png")
    thread_id = await site.new_thread(ann, id)
    [in_history] = await site.shown(ann, thread_id)
    for shown in (await site.load(ann, id), in_history):
        assert type(shown) is FileAttachment
        assert shown.upload_descriptor is None
    assert "preview_url" not in to_json(in_history)


@IN_FILES
@pytest.mark.parametrize("mime_type", ["image/svg+xml", "text/html", "image/x-unknown", "application/pdf", "video/mp4"])
async def test_only_images_that_may_be_shown_inline_get_a_preview(site: Site, ann: Context, mime_type: str) -> None:
    created = await site.create(ann, mime_type=mime_type)
    assert created["type"] == "file"
    assert "preview_url" not in created


@IN_FILES
async def test_the_preview_of_a_pending_image_serves_nothing_before_its_bytes_are_verified(
    site: Site, ann: Context
) -> None:
    created = await site.create(ann)
    assert (await site.web.get(created["preview_url"])).status_code == 404
    await site.send(created)
    assert (await site.web.get(created["preview_url"])).content == PNG


async def test_a_preview_is_made_fresh_on_every_load_and_expires(open_site: OpenSite, ann: Context) -> None:
    site = await open_site()
    thread_id = await site.new_thread(ann, await site.upload(ann))
    soon = ChatKitStore[Any](site.chat, previews_expire_in=timedelta(minutes=5))
    urls = set()
    for _ in range(2):
        page = await soon.load_thread_items(thread_id, None, 20, "asc", ann)
        assert isinstance(page.data[0], UserMessageItem)
        assert isinstance(page.data[0].attachments[0], ImageAttachment)
        urls.add(str(page.data[0].attachments[0].preview_url))
        await asyncio.sleep(0)
    if site.presigns:
        assert all("X-Amz-Expires=300" in url or "Expires=" in url for url in urls)
        return
    assert len(urls) == 2
    assert site.chat.signer is not None
    for url in urls:
        claims = site.chat.signer.verify(url.rpartition("/")[2], "download")
        assert timedelta(minutes=4) < claims.expires_at - datetime.now(claims.expires_at.tzinfo) < timedelta(minutes=5)


class Counting:
    """Counts the plural loads of a store."""

    def __init__(self, chat: ChatStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loads: list[int] = []
        load = chat.store.load_files

        async def counted(ids: list[str], **options: Any) -> list[FileRecord]:
            self.loads.append(len(ids))
            return await load(ids, **options)

        monkeypatch.setattr(chat.store, "load_files", counted)


@IN_MEMORY
async def test_a_page_loads_its_files_at_once_and_a_page_without_any_loads_nothing(
    site: Site, ann: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await site.upload(ann)
    thread_id = await site.new_thread(ann, first)
    for _ in range(4):
        await site.server.say(ann, thread_id, "more", await site.upload(ann), first)
    plain_id = await site.new_thread(ann)
    counting = Counting(site.chat, monkeypatch)
    shown = await site.shown(ann, thread_id)
    assert counting.loads == [5]
    assert [type(each) for each in shown] == [ImageAttachment] * 9
    assert await site.shown(ann, plain_id) == []
    assert counting.loads == [5]


@IN_MEMORY
async def test_a_page_of_more_files_than_one_load_takes_is_loaded_whole(site: Site, ann: Context) -> None:
    thread_id = await site.new_thread(ann)
    user = site.chat.for_user("ann")
    named = [await user.add_attachment(f"{n}.png", PNG, mime_type="image/png") for n in range(1003)]
    files = [FileAttachment(id=each.id, name=each.name, mime_type="image/png") for each in named]
    for start in (0, 600):
        item = message(thread_id, *files[start : start + 600], id=f"msg_{start}")
        await site.server.store.add_thread_item(thread_id, item, ann)
    shown = await site.shown(ann, thread_id)
    assert [each.id for each in shown] == [each.id for each in named]
    assert {type(each) for each in shown} == {ImageAttachment}


async def test_a_message_outlives_its_files(site: Site, ann: Context, caplog: pytest.LogCaptureFixture) -> None:
    gone, broken, intact = [await site.upload(ann) for _ in range(3)]
    thread_id = await site.new_thread(ann, gone, broken, intact)
    await site.server.request(ann, "attachments.delete", attachment_id=gone)
    user = site.chat.for_user("ann")
    record = await user.load_attachment(broken)
    await user.save_attachment(record.model_copy(update={"metadata": {attachments.RESERVED: 7}}))
    with caplog.at_level(logging.WARNING):
        shown = await site.shown(ann, thread_id)
    assert [(each.id, each.name, each.type) for each in shown] == [
        (gone, "a.png", "file"),
        (broken, "a.png", "file"),
        (intact, "a.png", "image"),
    ]
    assert broken in caplog.text
    await site.server.say(ann, thread_id, "the conversation goes on")
    assert "the conversation goes on" in await site.server.heard(ann, thread_id)


async def test_a_message_saved_again_after_its_file_is_gone_keeps_no_url(site: Site, ann: Context) -> None:
    id = await site.upload(ann)
    thread_id = await site.new_thread(ann, id)
    item_id = (await site.server.history(ann, thread_id))[0].id
    item = await site.server.store.load_item(thread_id, item_id, ann)
    await asyncio.create_task(site.server.store.delete_attachment(id, ann))
    await site.server.store.save_item(thread_id, item, ann)
    assert "://" not in await site.stored_text(thread_id)
    [shown] = await site.shown(ann, thread_id)
    assert type(shown) is FileAttachment


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


@pytest.mark.parametrize("places", ["memory-memory", "sqlite-file", "postgresql-sql"], indirect=True)
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


NAMES = {
    "up": "../../etc/passwd",
    "windows": "..\\..\\boot.ini",
    "line ends": 'a"\r\nSet-Cookie: x=1\r\n.png',
    "quotes": "\"'`;.png",
    "right to left": "\u202egnp.exe",
    "1,000 characters": "a" * 996 + ".png",
    "no letters": "\u200b",
    "empty": "",
}


@IN_FILES
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
async def test_any_name_comes_back_and_is_never_a_path_or_a_header(site: Site, ann: Context, name: str) -> None:
    created = await site.create(ann, name=name)
    assert (await site.send(created)).status_code == 200
    [shown] = await site.shown(ann, await site.new_thread(ann, created["id"]))
    assert shown.name == name
    assert isinstance(shown, ImageAttachment)
    fetched = await site.web.get(str(shown.preview_url))
    assert (fetched.content, "set-cookie" in fetched.headers) == (PNG, False)
    assert {path.name for path in site.folder.iterdir()} <= {"blobs", "chat.db", "chat.db-wal", "chat.db-shm"}


@IN_FILES
@pytest.mark.parametrize("name", ["a\x00.png", "\ud800", "a" * 1025])
async def test_a_name_that_no_database_keeps_is_refused(site: Site, ann: Context, name: str) -> None:
    await refused(site, ann, InvalidInputError, name=name, size=1, mime_type="image/png")


@IN_FILES
@pytest.mark.parametrize("size", [-1, -(2**70), LIMITS.file_bytes + 1 if LIMITS.file_bytes else 0, 2**63, 2**70])
async def test_a_size_that_none_can_have_or_a_limit_forbids_is_refused(site: Site, ann: Context, size: int) -> None:
    await refused(site, ann, InvalidInputError, name="a.png", size=size, mime_type="image/png")


@IN_FILES
@pytest.mark.parametrize("size", [2**63, 2**70])
async def test_a_size_beyond_all_is_refused_without_limits_too(open_site: OpenSite, ann: Context, size: int) -> None:
    site = await open_site(limits=Limits(file_bytes=None))
    await refused(site, ann, InvalidInputError, name="a.png", size=size, mime_type="image/png")


@IN_FILES
@pytest.mark.parametrize("mime_type", ["text/html", "IMAGE/SVG+XML", "image", "image/png" * 100])
async def test_a_forbidden_type_is_refused(open_site: OpenSite, ann: Context, mime_type: str) -> None:
    site = await open_site(limits=Limits(types=frozenset({"image/png", "text/plain"})))
    await refused(site, ann, InvalidInputError, name="a", size=1, mime_type=mime_type)


async def refused(site: Site, context: Context, error: type[Exception], **params: Any) -> None:
    """Ask for an upload that is refused, and leaves nothing: not even a charge."""
    store = site.server.attachment_store
    assert store is not None
    with pytest.raises(error):
        await store.create_attachment(AttachmentCreateParams.model_construct(**params), context)
    assert [record async for record in _all_files(site.chat)] == []
    assert await site.sweep() == []


async def _all_files(chat: ChatStore) -> AsyncIterator[FileRecord]:
    for _, record in await chat.store.list_files(after=None, limit=10):
        yield record


@pytest.mark.parametrize("data", [b"", PNG[:-1], PNG + b"x"], ids=["none", "one less", "one more"])
async def test_another_number_of_bytes_than_announced_is_no_upload(site: Site, ann: Context, data: bytes) -> None:
    created = await site.create(ann)
    answer = await site.send(created, data)
    if not site.presigns:  # moto takes any number; S3 itself refuses what was not signed
        assert answer.status_code == 422
    thread_id = await site.new_thread(ann)
    if site.presigns:
        with pytest.raises(InvalidInputError):
            await site.server.say(ann, thread_id, "torn", created["id"])
        assert "torn" not in await site.server.heard(ann, thread_id)
    record = await site.chat.store.load_file(created["id"], owner=ANN)
    assert record.attachment.state == "pending"


async def test_an_empty_file_is_a_file(site: Site, ann: Context) -> None:
    id = await site.upload(ann, b"", "text/plain")
    [shown] = await site.shown(ann, await site.new_thread(ann, id))
    assert (shown.upload_descriptor, shown.type) == (None, "file")


@IN_S3
async def test_a_presigned_url_is_handed_on_letter_for_letter(site: Site, ann: Context) -> None:
    params = AttachmentCreateParams(name="a b+c.png", size=len(PNG), mime_type="image/png")
    assert site.chat.attachments is not None
    made: list[str] = []
    presign = site.chat.attachments.links.upload

    async def noted(*given: Any, **options: Any) -> Any:
        made.append((upload := await presign(*given, **options)).url)
        return upload

    site.chat.attachments.links.upload = noted  # type: ignore[method-assign]
    store = site.server.attachment_store
    assert store is not None
    created = await store.create_attachment(params, ann)
    assert created.upload_descriptor is not None
    assert [str(created.upload_descriptor.url)] == made


@IN_S3
async def test_without_routes_of_its_own_an_image_has_a_preview_once_it_is_named(
    open_site: OpenSite, ann: Context
) -> None:
    site = await open_site(signing_keys=None, public_url=None)
    created = await site.create(ann)
    assert created["type"] == "file"
    await site.send(created)
    [shown] = await site.shown(ann, await site.new_thread(ann, created["id"]))
    assert isinstance(shown, ImageAttachment)
    assert (await site.web.get(str(shown.preview_url))).content == PNG


@IN_FILES
async def test_an_id_of_the_applications_own_is_the_records(site: Site, ann: Context) -> None:
    class Numbered(ChatKitAttachmentStore[Any]):
        def generate_attachment_id(self, mime_type: str, context: Any) -> str:
            return "file-1"

    site.server.attachment_store = Numbered(site.chat)
    created = await site.create(ann)
    assert created["id"] == "file-1"
    await site.send(created)
    with pytest.raises(ConflictError, match="file-1"):
        await site.create(ann)
    assert (await site.chat.store.load_file("file-1", owner=ANN)).attachment.state == "ready"


@IN_FILES
async def test_a_file_added_by_the_application_is_shown_as_any_other(site: Site, ann: Context) -> None:
    user = site.chat.for_user("ann")
    added = await user.add_attachment("a.png", PNG, metadata={"from": "mail"})
    assert isinstance(await site.load(ann, added.id), ImageAttachment)
    thread_id = await site.new_thread(ann, added.id)
    [shown] = await site.shown(ann, thread_id)
    assert (shown.type, shown.metadata) == ("image", {"from": "mail"})


@IN_FILES
async def test_attachments_with_their_bytes_elsewhere_come_back_as_they_were_saved(site: Site, ann: Context) -> None:
    preview = {"type": "image", "preview_url": "https://cdn.example/p?sig=1"}
    theirs = from_json({"id": "x", "name": "n", "mime_type": "image/png", **preview})
    await asyncio.create_task(site.server.store.save_attachment(theirs, ann))
    thread_id = await site.new_thread(ann, "x")
    [shown] = await site.shown(ann, thread_id)
    assert shown == theirs.model_copy(update={"thread_id": thread_id})


@IN_FILES
@pytest.mark.parametrize("id", ["", "a" * 300, "a\nb"])
async def test_a_message_whose_attachment_has_no_possible_id_breaks_no_page(site: Site, ann: Context, id: str) -> None:
    thread_id = await site.new_thread(ann)
    named = FileAttachment(id=id, name="n", mime_type="text/plain")
    await site.server.store.add_thread_item(thread_id, message(thread_id, named), ann)
    assert await site.shown(ann, thread_id) == [named]


@IN_FILES
async def test_an_upload_begun_in_a_scope_that_is_cancelled_is_begun(site: Site, ann: Context) -> None:
    store = site.server.attachment_store
    assert store is not None
    params = AttachmentCreateParams(name="a.png", size=len(PNG), mime_type="image/png")
    created: list[Attachment] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        created.append(await store.create_attachment(params, ann))
        await store.delete_attachment("absent", ann)
    assert (await site.load(ann, created[0].id)).name == "a.png"


@IN_FILES
@pytest.mark.parametrize("context", [None, {}, {"user_id": ""}])
async def test_uploads_of_nobody_are_refused(site: Site, context: Any) -> None:
    await refused(site, context, InvalidInputError, name="a.png", size=1, mime_type="image/png")
    store = site.server.attachment_store
    assert store is not None
    with pytest.raises(InvalidInputError):
        await store.delete_attachment("atc_1", context)


@pytest.mark.parametrize("options", [{}, {"blobs": "memory://"}], ids=["no blobs", "no way to make a URL"])
async def test_a_store_that_takes_no_uploads_is_refused_at_once(options: dict[str, Any]) -> None:
    async with open_store("memory://", **options) as chat:
        with pytest.raises(ConfigurationError, match="open_store"):
            ChatKitAttachmentStore[Any](chat)


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(days=8), 3600])
async def test_a_lifetime_that_no_url_can_have_is_refused_at_once(lifetime: Any) -> None:
    async with open_store("memory://", blobs="memory://", signing_keys=[b"k" * 32], public_url="https://x") as chat:
        with pytest.raises(InvalidInputError, match="expires_in"):
            ChatKitAttachmentStore[Any](chat, expires_in=lifetime)
        with pytest.raises(InvalidInputError, match="expires_in"):
            ChatKitStore[Any](chat, previews_expire_in=lifetime)


async def test_images_are_files_where_no_url_can_be_made(ann: Context) -> None:
    async with open_store("memory://", blobs="memory://") as chat:
        added = await chat.for_user("ann").add_attachment("a.png", PNG)
        assert type(await ChatKitStore[Any](chat).load_attachment(added.id, ann)) is FileAttachment
        assert type(await ChatKitStore[Any](chat.store).load_attachment(added.id, ann)) is FileAttachment


async def test_a_relative_public_url_is_a_configuration_error_that_names_it(ann: Context) -> None:
    async with open_store("memory://", blobs="memory://", signing_keys=[b"k" * 32], public_url="/files") as chat:
        params = AttachmentCreateParams(name="a.png", size=1, mime_type="image/png")
        with pytest.raises(ConfigurationError, match="public_url"):
            await ChatKitAttachmentStore[Any](chat).create_attachment(params, ann)


def from_json(value: dict[str, Any]) -> Attachment:
    kind = ImageAttachment if value["type"] == "image" else FileAttachment
    return kind.model_validate(value)


def to_json(attachment: Attachment) -> dict[str, Any]:
    return attachment.model_dump(mode="json")
