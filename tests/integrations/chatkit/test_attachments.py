"""Attachment records per user: exact, merged by field, one thread each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from chatkit.store import NotFoundError
from chatkit.types import Attachment, FileAttachment, ImageAttachment, ThreadMetadata

from chatstore import ChatStore, IntegrityError, InvalidInputError, models
from chatstore.integrations.chatkit import ChatKitStore, attachments

if TYPE_CHECKING:
    from tests.integrations.chatkit.conftest import Context

T = TypeVar("T")

NOON = datetime(2024, 5, 17, 12, 0)
DESCRIPTOR = {"url": "https://up.example/1?sig=x", "method": "POST", "headers": {"x-a": "b"}}
BASE: dict[str, Any] = {"id": "atc_1", "name": "a b é.png", "mime_type": "image/png"}

SAMPLES: dict[str, Attachment] = {
    "file": FileAttachment(**BASE),
    "file to upload": FileAttachment.model_validate(BASE | {"upload_descriptor": DESCRIPTOR, "metadata": {}}),
    "file with metadata": FileAttachment(**BASE, metadata={"a": [1, 1.0, True, None, {"b": "\x00"}]}),
    "image": ImageAttachment.model_validate(BASE | {"preview_url": "https://example.org/p?x=1#y"}),
    "image to upload": ImageAttachment.model_validate(
        BASE | {"preview_url": "data:image/png;base64,AA", "upload_descriptor": DESCRIPTOR, "metadata": {"k": "v"}}
    ),
}
TO_UPLOAD = SAMPLES["file to upload"]


async def elsewhere(call: Awaitable[T]) -> T:
    """Await a call as another request would."""

    async def run() -> T:
        return await call

    return await asyncio.create_task(run())


@pytest.mark.parametrize("name", SAMPLES)
async def test_an_attachment_comes_back_exactly(
    store: ChatKitStore[Any], thread: ThreadMetadata, ann: Context, name: str
) -> None:
    await store.save_attachment(SAMPLES[name].model_copy(deep=True), ann)
    loaded = await store.load_attachment("atc_1", ann)
    assert loaded == SAMPLES[name]
    in_thread = loaded.model_copy(update={"thread_id": "thr_1"})
    await store.save_attachment(in_thread, ann)
    assert await elsewhere(store.load_attachment("atc_1", ann)) == in_thread


@pytest.mark.parametrize("is_loaded", [True, False])
@pytest.mark.parametrize("first", SAMPLES)
@pytest.mark.parametrize("second", SAMPLES)
async def test_a_save_writes_every_changed_field_but_brings_back_no_descriptor(
    store: ChatKitStore[Any], ann: Context, first: str, second: str, is_loaded: bool
) -> None:
    await elsewhere(store.save_attachment(SAMPLES[first], ann))
    if is_loaded:
        await store.load_attachment("atc_1", ann)
    changed = SAMPLES[second].model_copy(update={"name": "new", "mime_type": "text/new"})
    await store.save_attachment(changed, ann)
    if SAMPLES[first].upload_descriptor is None:
        changed = changed.model_copy(update={"upload_descriptor": None})
    assert await elsewhere(store.load_attachment("atc_1", ann)) == changed


@pytest.mark.parametrize("is_loaded", [True, False])
async def test_a_stale_copy_does_not_bring_back_the_upload_descriptor(
    store: ChatKitStore[Any], thread: ThreadMetadata, ann: Context, is_loaded: bool
) -> None:
    await elsewhere(store.save_attachment(TO_UPLOAD, ann))
    stale = await store.load_attachment("atc_1", ann) if is_loaded else TO_UPLOAD
    await elsewhere(store.save_attachment(TO_UPLOAD.model_copy(update={"upload_descriptor": None}), ann))
    await store.save_attachment(stale.model_copy(update={"thread_id": "thr_1"}), ann)
    stored = await elsewhere(store.load_attachment("atc_1", ann))
    assert (stored.upload_descriptor, stored.thread_id) == (None, "thr_1")


async def test_the_message_path_changes_nothing_but_the_thread(
    store: ChatKitStore[Any], thread: ThreadMetadata, ann: Context
) -> None:
    await elsewhere(store.save_attachment(SAMPLES["image to upload"], ann))
    stale = await store.load_attachment("atc_1", ann)
    fresh = {"name": "renamed.png", "metadata": {"size": 7}, "preview_url": "https://example.org/fresh"}
    loaded = await elsewhere(store.load_attachment("atc_1", ann))
    await elsewhere(store.save_attachment(loaded.model_copy(update=fresh), ann))
    await store.save_attachment(stale.model_copy(update={"thread_id": "thr_1"}), ann)
    stored = await elsewhere(store.load_attachment("atc_1", ann))
    assert isinstance(stored, ImageAttachment)
    assert (stored.name, stored.metadata) == ("renamed.png", {"size": 7})
    assert (str(stored.preview_url), stored.thread_id) == ("https://example.org/fresh", "thr_1")


@pytest.mark.parametrize("is_loaded", [True, False])
async def test_naming_it_in_a_second_thread_keeps_the_first_and_fails_nothing(
    store: ChatKitStore[Any], thread: ThreadMetadata, ann: Context, is_loaded: bool
) -> None:
    await store.save_thread(ThreadMetadata(id="thr_2", created_at=NOON), ann)
    await elsewhere(store.save_attachment(SAMPLES["file"].model_copy(update={"thread_id": "thr_1"}), ann))
    if is_loaded:
        await store.load_attachment("atc_1", ann)
    await store.save_attachment(SAMPLES["file"].model_copy(update={"thread_id": "thr_2", "name": "new"}), ann)
    stored = await elsewhere(store.load_attachment("atc_1", ann))
    assert (stored.thread_id, stored.name) == ("thr_1", "new")


async def test_a_thread_that_does_not_exist_is_not_found(store: ChatKitStore[Any], ann: Context) -> None:
    in_thread = SAMPLES["file"].model_copy(update={"thread_id": "absent"})
    with pytest.raises(NotFoundError):
        await store.save_attachment(in_thread, ann)
    with pytest.raises(NotFoundError):
        await store.load_attachment("atc_1", ann)
    await store.save_attachment(SAMPLES["file"], ann)
    with pytest.raises(NotFoundError):
        await store.save_attachment(in_thread, ann)
    assert await store.load_attachment("atc_1", ann) == SAMPLES["file"]


async def test_an_attachment_deleted_since_it_was_loaded_does_not_come_back(
    store: ChatKitStore[Any], thread: ThreadMetadata, ann: Context
) -> None:
    await elsewhere(store.save_attachment(SAMPLES["file"], ann))
    mine = await store.load_attachment("atc_1", ann)
    await elsewhere(store.delete_attachment("atc_1", ann))
    with pytest.raises(NotFoundError):
        await store.save_attachment(mine.model_copy(update={"thread_id": "thr_1"}), ann)
    with pytest.raises(NotFoundError):
        await store.load_attachment("atc_1", ann)


async def test_an_attachment_deleted_by_the_request_itself_may_be_made_again(
    store: ChatKitStore[Any], ann: Context
) -> None:
    await store.save_attachment(SAMPLES["file"], ann)
    await store.delete_attachment("atc_1", ann)
    await store.save_attachment(SAMPLES["image"], ann)
    assert await store.load_attachment("atc_1", ann) == SAMPLES["image"]


async def test_deleting_a_thread_takes_the_records_of_its_attachments(
    store: ChatKitStore[Any], thread: ThreadMetadata, ann: Context
) -> None:
    await store.save_attachment(SAMPLES["file"].model_copy(update={"thread_id": "thr_1"}), ann)
    await store.delete_thread("thr_1", ann)
    with pytest.raises(NotFoundError):
        await store.load_attachment("atc_1", ann)


@pytest.mark.parametrize("value", [float("inf"), {1}, (1,), NOON, {1: 2}], ids=lambda value: type(value).__name__)
async def test_metadata_that_json_cannot_carry_is_refused(store: ChatKitStore[Any], ann: Context, value: Any) -> None:
    with pytest.raises(InvalidInputError):
        await store.save_attachment(SAMPLES["file"].model_copy(update={"metadata": {"v": [value]}}), ann)
    with pytest.raises(NotFoundError):
        await store.load_attachment("atc_1", ann)


async def test_the_record_has_its_name_type_and_thread_in_the_stores_own_fields(
    store: ChatKitStore[Any], thread: ThreadMetadata, chat: ChatStore, ann: Context
) -> None:
    await store.save_attachment(SAMPLES["image"].model_copy(update={"thread_id": "thr_1"}), ann)
    record = await chat.for_user("ann").load_attachment("atc_1")
    assert (record.name, record.mime_type, record.thread_id) == ("a b é.png", "image/png", "thr_1")
    page = await chat.for_user("ann").load_thread_attachments("thr_1")
    assert [record.id for record in page.data] == ["atc_1"]


async def test_a_record_that_something_else_made_is_a_file_and_keeps_its_metadata(
    store: ChatKitStore[Any], chat: ChatStore, ann: Context
) -> None:
    user = chat.for_user("ann")
    await user.save_attachment(models.Attachment(id="atc_1", name="n", mime_type="text/plain", metadata={"a": 1}))
    loaded = await store.load_attachment("atc_1", ann)
    assert loaded == FileAttachment(id="atc_1", name="n", mime_type="text/plain", metadata={"a": 1})
    await store.save_attachment(loaded.model_copy(update={"metadata": {"b": 2}}), ann)
    assert (await store.load_attachment("atc_1", ann)).metadata == {"b": 2}
    assert (await user.load_attachment("atc_1")).metadata["a"] == 1


@pytest.mark.parametrize("value", [7, {"type": "hologram"}, {"type": "image"}])
async def test_what_is_no_attachment_of_chatkits_is_an_error_and_no_guess(
    store: ChatKitStore[Any], chat: ChatStore, ann: Context, value: Any
) -> None:
    record = models.Attachment(id="atc_1", name="n", mime_type="t/t", metadata={attachments.RESERVED: value})
    await chat.for_user("ann").save_attachment(record)
    with pytest.raises(IntegrityError, match="atc_1"):
        await store.load_attachment("atc_1", ann)
