"""Files in ChatKit's answers: shown by fresh URLs, none of them stored, and never what they only claim to be."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from chatkit.types import FileAttachment, ImageAttachment, UserMessageItem

from chatstore import ChatStore, open_store
from chatstore.integrations.chatkit import ChatKitStore, attachments
from chatstore.protocols import FileRecord
from tests.integrations.chatkit.sites import (
    HTML,
    IN_FILES,
    IN_MEMORY,
    IN_S3,
    PDF,
    PNG,
    OpenSite,
    Site,
    from_json,
    message,
    to_json,
)

if TYPE_CHECKING:
    from tests.integrations.chatkit.conftest import Context


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


async def test_bytes_that_are_not_the_claimed_image_are_never_shown(site: Site, ann: Context) -> None:
    ids = [await site.upload(ann, data, "image/png") for data in (HTML, PDF, b"GIF8", b"")]
    thread_id = await site.new_thread(ann, *ids)
    in_history = await site.shown(ann, thread_id)
    for shown in [*in_history, *[await site.load(ann, id) for id in ids]]:
        assert type(shown) is FileAttachment
        assert shown.upload_descriptor is None
        assert "preview_url" not in to_json(shown)


@IN_FILES
@pytest.mark.parametrize("mime_type", ["image/svg+xml", "text/html", "image/x-unknown", "application/pdf", "video/mp4"])
async def test_only_images_that_may_be_shown_inline_get_a_preview(site: Site, ann: Context, mime_type: str) -> None:
    created = await site.create(ann, mime_type=mime_type)
    assert created["type"] == "file"
    assert "preview_url" not in created


@IN_FILES
async def test_the_name_and_metadata_of_a_file_can_be_saved(site: Site, ann: Context) -> None:
    id = await site.upload(ann)
    loaded = await site.load(ann, id)
    changed = loaded.model_copy(update={"name": "new.png", "metadata": {"k": [1]}, "mime_type": "text/html"})
    await asyncio.create_task(site.server.store.save_attachment(changed, ann))
    after = await site.load(ann, id)
    assert (after.name, after.metadata, after.mime_type, after.type) == ("new.png", {"k": [1]}, "image/png", "image")
    assert "://" not in (await site.chat.for_user("ann").load_attachment(id)).model_dump_json()


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


@IN_FILES
@pytest.mark.parametrize("id", ["", "a" * 300, "a\nb"])
async def test_a_message_whose_attachment_has_no_possible_id_breaks_no_page(site: Site, ann: Context, id: str) -> None:
    thread_id = await site.new_thread(ann)
    named = FileAttachment(id=id, name="n", mime_type="text/plain")
    await site.server.store.add_thread_item(thread_id, message(thread_id, named), ann)
    assert await site.shown(ann, thread_id) == [named]


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


async def test_images_are_files_where_no_url_can_be_made(ann: Context) -> None:
    async with open_store("memory://", blobs="memory://") as chat:
        added = await chat.for_user("ann").add_attachment("a.png", PNG)
        assert type(await ChatKitStore[Any](chat).load_attachment(added.id, ann)) is FileAttachment
        assert type(await ChatKitStore[Any](chat.store).load_attachment(added.id, ann)) is FileAttachment


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
