"""Two-phase uploads through ChatKit's own server, with real bytes: what is announced, sent and refused."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from chatkit.types import Attachment, AttachmentCreateParams, ImageAttachment

from chatstore import ConfigurationError, ConflictError, InvalidInputError, open_store
from chatstore.integrations.chatkit import ChatKitAttachmentStore, ChatKitStore
from chatstore.protocols import Limits
from tests.integrations.chatkit.sites import (
    ANN,
    IN_FILES,
    IN_S3,
    LIMITS,
    PNG,
    OpenSite,
    Site,
    from_json,
    to_json,
)

if TYPE_CHECKING:
    from tests.integrations.chatkit.conftest import Context


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


async def test_the_servers_save_of_what_was_created_changes_nothing(site: Site, ann: Context) -> None:
    params = AttachmentCreateParams(name="a.png", size=len(PNG), mime_type="image/png")
    store = site.server.attachment_store
    assert store is not None
    created = await asyncio.create_task(store.create_attachment(params, ann))
    before = await site.chat.store.load_file(created.id, owner=ANN)
    await site.server.store.save_attachment(created, ann)
    assert await site.chat.store.load_file(created.id, owner=ANN) == before
    assert (before.declared_size, before.attachment.metadata, before.attachment.state) == (len(PNG), {}, "pending")


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


@IN_FILES
async def test_the_preview_of_a_pending_image_serves_nothing_before_its_bytes_are_verified(
    site: Site, ann: Context
) -> None:
    created = await site.create(ann)
    assert (await site.web.get(created["preview_url"])).status_code == 404
    await site.send(created)
    assert (await site.web.get(created["preview_url"])).content == PNG


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


@IN_FILES
@pytest.mark.parametrize("context", [None, {}, {"user_id": ""}])
async def test_uploads_of_nobody_are_refused(site: Site, context: Any) -> None:
    await refused(site, context, InvalidInputError, name="a.png", size=1, mime_type="image/png")
    store = site.server.attachment_store
    assert store is not None
    with pytest.raises(InvalidInputError):
        await store.delete_attachment("atc_1", context)


async def refused(site: Site, context: Context, error: type[Exception], **params: Any) -> None:
    """Ask for an upload that is refused, and leaves nothing: not even a charge."""
    store = site.server.attachment_store
    assert store is not None
    with pytest.raises(error):
        await store.create_attachment(AttachmentCreateParams.model_construct(**params), context)
    assert await site.chat.store.list_files(after=None, limit=10) == []
    assert await site.chat.store.expire_uploads(limit=10) == 0
    assert await site.sweep() == []


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


async def test_a_relative_public_url_is_a_configuration_error_that_names_it(ann: Context) -> None:
    async with open_store("memory://", blobs="memory://", signing_keys=[b"k" * 32], public_url="/files") as chat:
        params = AttachmentCreateParams(name="a.png", size=1, mime_type="image/png")
        with pytest.raises(ConfigurationError, match="public_url"):
            await ChatKitAttachmentStore[Any](chat).create_attachment(params, ann)
