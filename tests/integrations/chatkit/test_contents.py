"""What a user attached, handed to a model: whole, bounded, of a harmless type, and never another user's."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64decode
from typing import TYPE_CHECKING, Any, cast

import pytest
from chatkit.types import FileAttachment

from chatstore import ConfigurationError, IntegrityError, InvalidInputError, NotFoundError, Owner, open_store
from chatstore.errors import LimitError
from chatstore.integrations.chatkit.contents import AttachmentContents
from tests.integrations.chatkit.sites import ANN, HTML, IN_MEMORY, PDF, PNG, Site, message

if TYPE_CHECKING:
    from tests.integrations.chatkit.conftest import Context

TEXT = "naïve café\n".encode()
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


async def content_of(site: Site, owner: Owner | str, id: str, **options: Any) -> dict[str, Any]:
    """Return what a model is given for an attachment, as the SDK's converter asks for it."""
    named = FileAttachment(id=id, name="a.png", mime_type="image/png")
    converter = AttachmentContents(site.chat, owner, **options)
    return cast("dict[str, Any]", await converter.attachment_to_message_content(named))


def split(url: str) -> tuple[str, bytes]:
    """Return the type and the bytes of a data: URL."""
    head, _, encoded = url.removeprefix("data:").partition(";base64,")
    return head, b64decode(encoded, validate=True)


async def test_an_image_is_handed_on_whole(site: Site, ann: Context) -> None:
    content = await content_of(site, "ann", await site.upload(ann))
    assert (content["type"], content["detail"]) == ("input_image", "auto")
    assert split(content["image_url"]) == ("image/png", PNG)


@IN_MEMORY
@pytest.mark.parametrize(
    ("data", "declared", "given"),
    [
        (PDF, "application/pdf", "application/pdf"),
        (TEXT, "text/plain; charset=utf-8", "text/plain"),
        (b"a,b\n", "text/csv", "text/csv"),
        (b"", "text/plain", "text/plain"),
        (HTML, "text/html", "application/octet-stream"),
        (HTML, "image/png", "application/octet-stream"),
        (HTML, "text/plain", "application/octet-stream"),
        (SVG, "image/svg+xml", "application/octet-stream"),
        (PDF, "image/png", "application/octet-stream"),
        (PNG, "application/x-own", "application/octet-stream"),
    ],
)
async def test_any_other_file_has_a_type_that_no_browser_runs(
    site: Site, ann: Context, data: bytes, declared: str, given: str
) -> None:
    id = await site.upload(ann, data, declared)
    content = await content_of(site, ANN, id)
    assert (content["type"], content["filename"]) == ("input_file", "a.png")
    assert split(content["file_data"]) == (given, data)
    assert await AttachmentContents(site.chat, ANN).read(id) == data


@IN_MEMORY
async def test_the_name_is_a_file_name(site: Site, ann: Context) -> None:
    added = await site.chat.for_user("ann").add_attachment("../../a\r\nb.txt", TEXT)
    assert (await content_of(site, "ann", added.id))["filename"] == "ab.txt"


async def test_a_whole_conversation_is_handed_to_a_model(site: Site, ann: Context) -> None:
    image, file = await site.upload(ann), await site.upload(ann, PDF, "application/pdf")
    thread_id = await site.new_thread(ann, image, file)
    await site.server.request(ann, "attachments.delete", attachment_id=file)
    history = await site.server.history(ann, thread_id)
    [asked, answered] = cast("Any", await AttachmentContents(site.chat, "ann").to_agent_input(history))
    assert [part["type"] for part in asked["content"]] == ["input_text", "input_image", "input_text"]
    assert "a.png" in asked["content"][2]["text"]
    assert answered["role"] == "assistant"


async def test_another_users_file_is_answered_as_one_that_never_was(site: Site, ann: Context, bob: Context) -> None:
    theirs = await site.upload(bob)
    for owner in ("ann", Owner("bob", "other tenant")):
        assert await content_of(site, owner, theirs) == await content_of(site, owner, "atc_never")
        with pytest.raises(NotFoundError):
            await AttachmentContents(site.chat, owner).read(theirs)
    assert (await content_of(site, "bob", theirs))["type"] == "input_image"


@IN_MEMORY
async def test_what_is_not_uploaded_yet_is_not_there(site: Site, ann: Context) -> None:
    created = await site.create(ann)
    assert (await content_of(site, "ann", created["id"]))["type"] == "input_text"


@IN_MEMORY
async def test_a_file_beyond_the_bound_is_a_limit_error_and_is_not_read(
    site: Site, ann: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await site.upload(ann)
    assert (await content_of(site, "ann", id, max_bytes=len(PNG)))["type"] == "input_image"
    monkeypatch.setattr(site.chat.attachments, "open", None)
    with pytest.raises(LimitError, match=id) as refused:
        await content_of(site, "ann", id, max_bytes=len(PNG) - 1)
    assert refused.value.limit == "max_bytes"


@IN_MEMORY
async def test_damaged_bytes_are_an_error_and_never_handed_on(site: Site, ann: Context) -> None:
    id = await site.upload(ann)
    record = await site.chat.store.load_file(id, owner=ANN)
    assert site.chat.blobs is not None
    await site.chat.blobs.put(record.key, PNG[:-1] + b"x", content_type="image/png")
    with pytest.raises(IntegrityError):
        await content_of(site, "ann", id)
    await site.chat.blobs.delete(record.key)
    with pytest.raises(IntegrityError):
        await content_of(site, "ann", id)


@IN_MEMORY
async def test_what_has_no_possible_id_is_not_there(site: Site) -> None:
    for id in ("", "a" * 300, "a\nb"):
        assert (await content_of(site, "ann", id))["type"] == "input_text"


@pytest.mark.parametrize("owner", ["", " ", None, 7])
async def test_nobodys_files_are_refused(owner: Any) -> None:
    async with open_store("memory://", blobs="memory://") as chat:
        with pytest.raises(InvalidInputError):
            AttachmentContents(chat, owner)


async def test_a_store_without_blobs_is_refused() -> None:
    async with open_store("memory://") as chat:
        with pytest.raises(ConfigurationError, match="blobs"):
            AttachmentContents(chat, "ann")


@IN_MEMORY
async def test_the_message_of_an_application_may_name_any_attachment(site: Site) -> None:
    item = message("thr_1", FileAttachment(id="theirs", name="n.txt", mime_type="text/plain"))
    converted = cast("Any", await AttachmentContents(site.chat, "ann").to_agent_input([item]))
    assert "n.txt" in converted[0]["content"][1]["text"]


def test_the_agents_sdk_is_imported_by_the_converter_alone() -> None:
    program = "import sys, chatstore.integrations.chatkit; print('agents' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "False"
