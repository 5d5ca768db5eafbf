"""Every field of every call that takes a value, as a call with that value in it, through what applications hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

from chatstore import Attachment, Item, NotFoundError, Thread, ThreadStatus, UserStore
from chatstore.assembly import ChatStore
from chatstore.testing.factories import NOON

Call: TypeAlias = Callable[[UserStore, Any, str], Awaitable[Any]]
"""Makes the call with a value, and an id that no other call has; a field that is kept returns what came back."""

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Field:
    """One field: the call, and whether what it returns is what was given."""

    name: str
    call: Call
    kept: bool


async def seed(user: UserStore) -> None:
    """Make what the calls are about."""
    await user.create_thread(id="thread", created_at=NOON)
    await user.add_thread_item("thread", Item(id="item", type="note", data={}, created_at=NOON))
    file = Attachment(id="file", name="a", mime_type="text/plain", thread_id="thread", created_at=NOON)
    await user.save_attachment(file)
    await user.save_attachment(file.model_copy(update={"id": "loose", "thread_id": None}))
    uploaded = await user.add_attachment("a.txt", b"swim")
    await user.copy_attachment(uploaded.id, thread_id="thread", id="ready")


def fields() -> list[Field]:
    """Return all fields; ``user`` and ``tenant`` are those of :func:`owned`."""
    kept = [
        Field(name, call, kept=True) for name, call in (_KEYS | _TEXTS | _OBJECTS | _INSIDE | _TIMES | _FILES).items()
    ]
    return [*kept, *(Field(name, call, kept=False) for name, call in (_ASKED | _PAGES | _WHOLE | _UPLOADS).items())]


OWNERS: dict[str, Callable[[ChatStore, Any], UserStore]] = {
    "user": lambda store, bad: store.for_user(bad, "users"),
    "tenant": lambda store, bad: store.for_user("ann", bad),
}


async def owned(user: UserStore, number: str) -> tuple[str, str]:
    """Make a thread and return the user and tenant under which it is the only one."""
    made = await user.create_thread(id="owned", title=number)
    (found,) = (await user.load_threads()).data
    assert found == made
    return user.owner.user, user.owner.tenant


async def _created(user: UserStore, number: str, **given: Any) -> Thread:
    made = await user.create_thread(**({"id": number} | given))
    loaded = await user.load_thread(made.id)
    assert loaded == made
    return loaded


async def _saved(user: UserStore, number: str, **given: Any) -> Thread:
    made = await user.save_thread(Thread(**({"id": number} | given)))
    loaded = await user.load_thread(made.id)
    assert loaded == made
    return loaded


async def _updated(user: UserStore, number: str, **given: Any) -> Thread:
    try:  # what is refused, is refused before the thread is missed
        return await user.update_thread(number, **given)
    except NotFoundError:
        await user.create_thread(id=number)
        await user.update_thread(number, **given)
        return await user.load_thread(number)


async def _added(user: UserStore, number: str, at: Any = None, **given: Any) -> Item:
    made = await user.add_thread_item("thread", Item(**({"id": number, "type": "note", "data": {}} | given)), at=at)
    loaded = await user.load_item("thread", made.id)
    assert loaded == made
    return loaded


async def _added_among(user: UserStore, number: str, **given: Any) -> Item:
    item = Item(**({"id": number, "type": "note", "data": {}} | given))
    made = await user.add_thread_items("thread", [Item(id=f"{number} before", type="note", data={}), item])
    return await user.load_item("thread", made[1].id)


async def _kept_item(user: UserStore, number: str, **given: Any) -> Item:
    made = await user.save_item("thread", Item(**({"id": number, "type": "note", "data": {}} | given)))
    return await user.load_item("thread", made.id)


async def _recorded(user: UserStore, number: str, **given: Any) -> Attachment:
    made = await user.save_attachment(Attachment(**({"id": number, "name": "a", "mime_type": "text/plain"} | given)))
    loaded = await user.load_attachment(made.id)
    assert loaded == made
    return loaded


async def _stored(user: UserStore, number: str, name: Any = "a.txt", **given: Any) -> Attachment:
    made = await user.add_attachment(name, b"swim", **given)
    return await user.load_attachment(made.id)


async def _begun(user: UserStore, number: str, name: Any = "a.txt", **given: Any) -> Attachment:
    options: dict[str, Any] = {"mime_type": "text/plain", "size": 4, "id": number}
    upload = await user.begin_upload(name, **(options | given))
    return await user.load_attachment(upload.attachment.id)


async def _iterated(user: UserStore, **given: Any) -> list[Item]:
    return [item async for item in user.iter_thread_items(**({"thread_id": "thread"} | given))]


async def _opened(user: UserStore, id: Any, **given: Any) -> bytes:
    async with user.open_attachment(id, **given) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def _copied(user: UserStore, number: str, **given: Any) -> Attachment:
    copied = await user.copy_attachment("ready", **({"thread_id": "thread", "id": number} | given))
    return await user.load_attachment(copied.id)


async def _url(user: UserStore, **given: Any) -> bool:
    options: dict[str, Any] = {"attachment_id": "ready", "expires_in": HOUR}
    return bool(await user.attachment_url(**(options | given)))


def _picked(made: Callable[..., Awaitable[Any]], field: str) -> Call:
    """Return a call that gives ``field`` the value and returns the same field of what was stored."""

    async def call(user: UserStore, bad: Any, number: str) -> Any:
        return getattr(await made(user, number, **{field: bad}), field)

    return call


def _reason(made: Callable[..., Awaitable[Thread]]) -> Call:
    async def call(user: UserStore, bad: Any, number: str) -> Any:
        return (await made(user, number, status=ThreadStatus(type="locked", reason=bad))).status.reason

    return call


def _inside(
    made: Callable[..., Awaitable[Any]], field: str, wrap: Callable[[Any], Any], unwrap: Callable[[Any], Any]
) -> Call:
    async def call(user: UserStore, bad: Any, number: str) -> Any:
        return unwrap(getattr(await made(user, number, **{field: wrap(bad)}), field))

    return call


def _at(made: Callable[..., Awaitable[Any]]) -> Call:
    async def call(user: UserStore, bad: Any, number: str) -> Any:
        await made(user, number, at=bad)
        return bad

    return call


_KEYS: dict[str, Call] = {
    "create_thread.id": _picked(_created, "id"),
    "save_thread.id": _picked(_saved, "id"),
    "add_thread_item.id": _picked(_added, "id"),
    "add_thread_items.id": _picked(_added_among, "id"),
    "save_item.id": _picked(_kept_item, "id"),
    "save_attachment.id": _picked(_recorded, "id"),
    "begin_upload.id": _picked(_begun, "id"),
    "copy_attachment.id": _picked(_copied, "id"),
}

_TEXTS: dict[str, Call] = {
    "create_thread.title": _picked(_created, "title"),
    "save_thread.title": _picked(_saved, "title"),
    "update_thread.title": _picked(_updated, "title"),
    "save_thread.reason": _reason(_saved),
    "update_thread.reason": _reason(_updated),
    "add_thread_item.type": _picked(_added, "type"),
    "add_thread_items.type": _picked(_added_among, "type"),
    "save_item.type": _picked(_kept_item, "type"),
    "save_attachment.name": _picked(_recorded, "name"),
    "save_attachment.mime_type": _picked(_recorded, "mime_type"),
}

_OBJECTS: dict[str, Call] = {
    "create_thread.metadata": _picked(_created, "metadata"),
    "save_thread.metadata": _picked(_saved, "metadata"),
    "update_thread.metadata": _picked(_updated, "metadata"),
    "add_thread_item.data": _picked(_added, "data"),
    "add_thread_items.data": _picked(_added_among, "data"),
    "save_item.data": _picked(_kept_item, "data"),
    "save_attachment.metadata": _picked(_recorded, "metadata"),
    "add_attachment.metadata": _picked(_stored, "metadata"),
    "begin_upload.metadata": _picked(_begun, "metadata"),
}

_HOLDERS: list[tuple[str, Callable[..., Awaitable[Any]]]] = [
    ("create_thread.metadata", _created),
    ("update_thread.metadata", _updated),
    ("add_thread_item.data", _added),
    ("save_attachment.metadata", _recorded),
]

_INSIDE: dict[str, Call] = {
    f"{verb}, {where}": _inside(made, verb.partition(".")[2], wrap, unwrap)
    for verb, made in _HOLDERS
    for where, wrap, unwrap in [
        ("a member", lambda bad: {"value": bad}, lambda back: back["value"]),
        ("an element", lambda bad: {"value": [bad]}, lambda back: back["value"][0]),
        ("a key", lambda bad: {bad: 1}, lambda back: next(iter(back))),
    ]
}

_TIMES: dict[str, Call] = {
    "create_thread.created_at": _picked(_created, "created_at"),
    "save_thread.created_at": _picked(_saved, "created_at"),
    "add_thread_item.created_at": _picked(_added, "created_at"),
    "add_thread_items.created_at": _picked(_added_among, "created_at"),
    "save_item.created_at": _picked(_kept_item, "created_at"),
    "save_attachment.created_at": _picked(_recorded, "created_at"),
    "add_thread_item.at": _at(_added),
    "update_thread.status": _picked(_updated, "status"),
}

_FILES: dict[str, Call] = {
    "add_attachment.name": _picked(_stored, "name"),
    "add_attachment.mime_type": _picked(_stored, "mime_type"),
    "begin_upload.name": _picked(_begun, "name"),
    "begin_upload.mime_type": _picked(_begun, "mime_type"),
}

_ASKED: dict[str, Call] = {
    "load_thread.thread_id": lambda user, bad, number: user.load_thread(bad),
    "update_thread.thread_id": lambda user, bad, number: user.update_thread(bad, title="x"),
    "delete_thread.thread_id": lambda user, bad, number: user.delete_thread(bad),
    "add_thread_item.thread_id": lambda user, bad, number: user.add_thread_item(bad, Item(type="note", data={})),
    "add_thread_items.thread_id": lambda user, bad, number: user.add_thread_items(bad, [Item(type="note", data={})]),
    "load_item.thread_id": lambda user, bad, number: user.load_item(bad, "item"),
    "load_item.item_id": lambda user, bad, number: user.load_item("thread", bad),
    "save_item.thread_id": lambda user, bad, number: user.save_item(bad, Item(type="note", data={})),
    "load_thread_items.thread_id": lambda user, bad, number: user.load_thread_items(bad),
    "iter_thread_items.thread_id": lambda user, bad, number: _iterated(user, thread_id=bad),
    "delete_thread_item.thread_id": lambda user, bad, number: user.delete_thread_item(bad, "item"),
    "delete_thread_item.item_id": lambda user, bad, number: user.delete_thread_item("thread", bad),
    "delete_thread_items.thread_id": lambda user, bad, number: user.delete_thread_items(bad, ["item"]),
    "delete_thread_items.thread_id, after": lambda user, bad, number: user.delete_thread_items(bad, after="item"),
    "save_item.thread_id, loaded": lambda user, bad, number: user.save_item(
        bad, Item(id="item", type="note", data={}, position=1)
    ),
    "delete_thread_items.item_ids, one": lambda user, bad, number: user.delete_thread_items("thread", [bad]),
    "delete_thread_items.after": lambda user, bad, number: user.delete_thread_items("thread", after=bad),
    "save_attachment.thread_id": lambda user, bad, number: user.save_attachment(
        Attachment(id="loose", name="a", mime_type="text/plain", thread_id=bad)
    ),
    "load_attachment.attachment_id": lambda user, bad, number: user.load_attachment(bad),
    "load_attachments.attachment_ids, one": lambda user, bad, number: user.load_attachments(["file", bad]),
    "load_thread_attachments.thread_id": lambda user, bad, number: user.load_thread_attachments(bad),
    "delete_attachment.attachment_id": lambda user, bad, number: user.delete_attachment(bad),
}

_PAGES: dict[str, Call] = {
    "load_threads.limit": lambda user, bad, number: user.load_threads(limit=bad),
    "load_threads.order": lambda user, bad, number: user.load_threads(order=bad),
    "load_threads.by": lambda user, bad, number: user.load_threads(by=bad),
    "load_threads.after": lambda user, bad, number: user.load_threads(after=bad),
    "load_thread_items.limit": lambda user, bad, number: user.load_thread_items("thread", limit=bad),
    "load_thread_items.order": lambda user, bad, number: user.load_thread_items("thread", order=bad),
    "load_thread_items.after": lambda user, bad, number: user.load_thread_items("thread", after=bad),
    "iter_thread_items.page_size": lambda user, bad, number: _iterated(user, page_size=bad),
    "iter_thread_items.order": lambda user, bad, number: _iterated(user, order=bad),
    "load_thread_attachments.limit": lambda user, bad, number: user.load_thread_attachments("thread", limit=bad),
    "load_thread_attachments.after": lambda user, bad, number: user.load_thread_attachments("thread", after=bad),
}

_WHOLE: dict[str, Call] = {
    "save_thread.thread": lambda user, bad, number: user.save_thread(bad),
    "add_thread_item.item": lambda user, bad, number: user.add_thread_item("thread", bad),
    "add_thread_items.items": lambda user, bad, number: user.add_thread_items("thread", bad),
    "add_thread_items.items, one": lambda user, bad, number: user.add_thread_items("thread", [bad]),
    "save_item.item": lambda user, bad, number: user.save_item("thread", bad),
    "save_attachment.attachment": lambda user, bad, number: user.save_attachment(bad),
    "delete_thread_items.item_ids": lambda user, bad, number: user.delete_thread_items("thread", bad),
    "load_attachments.attachment_ids": lambda user, bad, number: user.load_attachments(bad),
    "update_thread.revision": lambda user, bad, number: user.update_thread("thread", revision=bad),
}

_UPLOADS: dict[str, Call] = {
    "add_attachment.thread_id": lambda user, bad, number: _stored(user, number, thread_id=bad),
    "add_attachment.size": lambda user, bad, number: _stored(user, number, size=bad),
    "add_attachment.sha256": lambda user, bad, number: _stored(user, number, sha256=bad),
    "begin_upload.thread_id": lambda user, bad, number: _begun(user, number, thread_id=bad),
    "begin_upload.size": lambda user, bad, number: _begun(user, number, size=bad),
    "begin_upload.expires_in": lambda user, bad, number: _begun(user, number, expires_in=bad),
    "complete_upload.attachment_id": lambda user, bad, number: user.complete_upload(bad),
    "copy_attachment.attachment_id": lambda user, bad, number: user.copy_attachment(bad, thread_id="thread"),
    "copy_attachment.thread_id": lambda user, bad, number: _copied(user, number, thread_id=bad),
    "open_attachment.attachment_id": lambda user, bad, number: _opened(user, bad),
    "open_attachment.start": lambda user, bad, number: _opened(user, "ready", start=bad),
    "open_attachment.end": lambda user, bad, number: _opened(user, "ready", end=bad),
    "attachment_url.attachment_id": lambda user, bad, number: _url(user, attachment_id=bad),
    "attachment_url.expires_in": lambda user, bad, number: _url(user, expires_in=bad),
    "attachment_url.download_name": lambda user, bad, number: _url(user, download_name=bad),
}
