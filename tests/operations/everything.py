"""Every public operation of a store, with something in each argument that nobody else may ever read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeAlias

from chatstore import BlobStore, ChatStore, Item, NotFoundError, Owner, UserStore, open_store

SECRET = "Hush-"
"""What everything secret begins with: users, tenants, ids, titles, content, names, bytes, passwords, keys."""

ANN = Owner(f"{SECRET}ann@example.com", f"{SECRET}tenant")
KEY = f"{SECRET}signing-key-of-thirty-two-bytes".encode()
THREAD, ITEM, FILE = f"{SECRET}thread", f"{SECRET}item", f"{SECRET}file"

Operation: TypeAlias = Callable[[UserStore, dict[str, Any]], Awaitable[object]]


def note(id: str) -> Item:
    return Item(type="note", id=id, data={"text": f"{SECRET}content"})


@asynccontextmanager
async def opened(url: str, blobs: str | BlobStore) -> AsyncIterator[ChatStore]:
    async with open_store(url, blobs=blobs, signing_keys=[KEY], public_url="https://chat.example.com/files") as store:
        yield store


async def _iterate(user: UserStore, kept: dict[str, Any]) -> None:
    assert [item.id async for item in user.iter_thread_items(THREAD)]


async def _add_attachment(user: UserStore, kept: dict[str, Any]) -> None:
    content = f"{SECRET}bytes".encode()
    kept["file"] = await user.add_attachment(f"{SECRET}name.txt", content, metadata={"a": SECRET})


async def _begin_upload(user: UserStore, kept: dict[str, Any]) -> None:
    upload = await user.begin_upload(f"{SECRET}name.txt", mime_type="text/plain", size=5, id=FILE)
    kept["upload"] = upload.attachment.id


async def _complete_upload(user: UserStore, kept: dict[str, Any]) -> None:
    try:
        await user.complete_upload(kept["upload"])
    except NotFoundError:
        return
    raise AssertionError("nothing was uploaded")


async def _open_attachment(user: UserStore, kept: dict[str, Any]) -> None:
    async with user.open_attachment(kept["file"].id) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == f"{SECRET}bytes".encode()


async def _transaction(user: UserStore, kept: dict[str, Any]) -> None:
    async with user.transaction() as tx:
        await tx.load_thread(THREAD)


async def _run(user: UserStore, kept: dict[str, Any]) -> None:
    await user.run(lambda tx: tx.load_thread(THREAD))


async def _save_thread(user: UserStore, kept: dict[str, Any]) -> None:
    await user.save_thread((await user.load_thread(THREAD)).model_copy(update={"title": f"{SECRET}other"}))


async def _save_attachment(user: UserStore, kept: dict[str, Any]) -> None:
    await user.save_attachment(kept["file"].model_copy(update={"thread_id": THREAD}))


OPERATIONS: dict[str, tuple[Operation, set[str]]] = {
    "create_thread": (lambda user, kept: user.create_thread(id=THREAD, title=f"{SECRET}title"), {"create_thread"}),
    "load_thread": (lambda user, kept: user.load_thread(THREAD), {"load_thread"}),
    "save_thread": (_save_thread, {"load_thread", "save_thread"}),
    "update_thread": (lambda user, kept: user.update_thread(THREAD, metadata={"a": SECRET}), {"update_thread"}),
    "load_threads": (lambda user, kept: user.load_threads(), {"load_threads"}),
    "add_thread_item": (lambda user, kept: user.add_thread_item(THREAD, note(ITEM)), {"add_thread_item"}),
    "add_thread_items": (lambda user, kept: user.add_thread_items(THREAD, [note(f"{ITEM}2")]), {"add_thread_items"}),
    "load_item": (lambda user, kept: user.load_item(THREAD, ITEM), {"load_item"}),
    "save_item": (lambda user, kept: user.save_item(THREAD, note(ITEM)), {"save_item"}),
    "load_thread_items": (lambda user, kept: user.load_thread_items(THREAD), {"load_thread_items"}),
    "iter_thread_items": (_iterate, {"iter_thread_items"}),
    "delete_thread_item": (lambda user, kept: user.delete_thread_item(THREAD, ITEM), {"delete_thread_item"}),
    "delete_thread_items": (lambda user, kept: user.delete_thread_items(THREAD, [ITEM]), {"delete_thread_items"}),
    "add_attachment": (
        _add_attachment,
        {"add_attachment", "begin_upload", "blobs.put", "finish_upload"},
    ),
    "save_attachment": (_save_attachment, {"save_attachment"}),
    "load_attachment": (lambda user, kept: user.load_attachment(kept["file"].id), {"load_attachment"}),
    "load_attachments": (lambda user, kept: user.load_attachments([kept["file"].id]), {"load_attachments"}),
    "load_thread_attachments": (lambda user, kept: user.load_thread_attachments(THREAD), {"load_thread_attachments"}),
    "open_attachment": (_open_attachment, {"open_attachment", "load_file", "blobs.open"}),
    "attachment_url": (
        lambda user, kept: user.attachment_url(kept["file"].id, expires_in=timedelta(hours=1)),
        {"attachment_url", "load_file"},
    ),
    "begin_upload": (_begin_upload, {"begin_upload"}),
    "complete_upload": (_complete_upload, {"complete_upload", "load_file", "blobs.open"}),
    "copy_attachment": (
        lambda user, kept: user.copy_attachment(kept["file"].id, thread_id=THREAD, id=f"{FILE}2"),
        {"copy_attachment"},
    ),
    "delete_attachment": (lambda user, kept: user.delete_attachment(kept["file"].id), {"delete_attachment"}),
    "transaction": (_transaction, {"transaction", "load_thread"}),
    "run": (_run, {"run", "load_thread"}),
    "delete_thread": (lambda user, kept: user.delete_thread(THREAD), {"delete_thread"}),
}
"""In an order in which each succeeds: what it does, and the names under which it is told."""
