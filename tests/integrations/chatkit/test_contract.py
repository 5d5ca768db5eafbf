"""ChatKitStore is the SDK's Store, for any context, and for one user at a time."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from chatkit.store import NotFoundError, Store, StoreItemType
from chatkit.types import AssistantMessageItem, FileAttachment, ThreadMetadata

import chatstore
from chatstore import ChatStore, InvalidInputError, Owner, UnavailableError
from chatstore.integrations.chatkit import ChatKitStore, callers

if TYPE_CHECKING:
    from tests.integrations.chatkit.conftest import Context

METHODS = [name for name in vars(Store) if not name.startswith("_")]

THREAD = ThreadMetadata(id="thr_1", created_at=datetime(2024, 5, 17, 12, 0))
ITEM = AssistantMessageItem(id="msg_1", thread_id="thr_1", created_at=datetime(2024, 5, 17, 12, 0), content=[])
FILE = FileAttachment(id="atc_1", name="cat.txt", mime_type="text/plain")

CALLS: dict[str, tuple[Any, ...]] = {
    "load_thread": ("thr_1",),
    "save_thread": (THREAD,),
    "load_thread_items": ("thr_1", None, 20, "asc"),
    "load_threads": (20, None, "desc"),
    "add_thread_item": ("thr_1", ITEM),
    "save_item": ("thr_1", ITEM),
    "load_item": ("thr_1", "msg_1"),
    "delete_thread": ("thr_1",),
    "delete_thread_item": ("thr_1", "msg_1"),
    "save_attachment": (FILE,),
    "load_attachment": ("atc_1",),
    "delete_attachment": ("atc_1",),
}

IN_MEMORY = pytest.mark.parametrize("chat_store_url", ["memory"], indirect=True)

PREFIXES: dict[StoreItemType, str] = {
    "thread": "thr",
    "message": "msg",
    "tool_call": "tc",
    "task": "tsk",
    "workflow": "wf",
    "attachment": "atc",
    "sdk_hidden_context": "shcx",
}


@pytest.fixture
async def filled(store: ChatKitStore[Any]) -> ChatKitStore[Any]:
    ann = {"user_id": "ann"}
    await store.save_thread(THREAD, ann)
    await store.add_thread_item("thr_1", ITEM, ann)
    await store.save_attachment(FILE, ann)
    return store


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_the_signature_of_the_sdk(name: str) -> None:
    assert inspect.signature(getattr(ChatKitStore, name)) == inspect.signature(getattr(Store, name))


def test_every_call_of_the_sdk_is_tried_here() -> None:
    assert set(CALLS) | {"generate_thread_id", "generate_item_id"} == set(METHODS)


def test_every_public_method_says_what_it_does() -> None:
    assert [
        name for name in METHODS if not (getattr(ChatKitStore, name).__doc__ or "").endswith((".", ".\n        "))
    ] == []


@pytest.mark.parametrize("name", CALLS)
async def test_every_call_can_be_made_with_keywords(filled: ChatKitStore[Any], name: str) -> None:
    names = list(inspect.signature(getattr(Store, name)).parameters)[1:]
    await getattr(filled, name)(**dict(zip(names, (*CALLS[name], {"user_id": "ann"}), strict=True)))


async def _looked_up(context: Any) -> str:
    await asyncio.sleep(0)
    return str(context["session"]["user"])


@pytest.mark.parametrize(
    ("context", "options"),
    [
        (SimpleNamespace(user_id="ann"), {}),
        ({"user_id": "ann"}, {}),
        ("ann", {"owner_of": lambda context: context}),
        (["ann"], {"owner_of": lambda context: Owner(context[0])}),
        ({"session": {"user": "ann"}}, {"owner_of": _looked_up}),
    ],
    ids=["an attribute", "a mapping key", "a function", "an owner", "an async function"],
)
async def test_the_user_is_found_in_any_context(chat: ChatStore, context: Any, options: dict[str, Any]) -> None:
    store = ChatKitStore(chat, **options)
    await store.save_thread(THREAD, context)
    await store.add_thread_item("thr_1", ITEM, context)
    assert (await store.load_thread_items("thr_1", None, 20, "asc", context)).data == [ITEM]
    assert (await chat.for_user("ann").load_thread("thr_1")).id == "thr_1"


async def test_the_tenant_of_an_owner_is_kept_apart(chat: ChatStore) -> None:
    store = ChatKitStore(chat, owner_of=lambda context: Owner("ann", context))
    await store.save_thread(THREAD, "one")
    assert (await chat.for_user("ann", "one").load_thread("thr_1")).id == "thr_1"
    with pytest.raises(NotFoundError):
        await store.load_thread("thr_1", "two")


async def test_any_store_of_the_protocol_will_do(chat: ChatStore) -> None:
    store = ChatKitStore[Any](chat.store)
    await store.save_thread(THREAD, {"user_id": "ann"})
    assert await ChatKitStore[Any](chat).load_thread("thr_1", {"user_id": "ann"}) == THREAD


@pytest.mark.parametrize("context", [None, {}, {"user_id": None}, {"user_id": ""}, {"user_id": " "}, {"user_id": 7}])
@pytest.mark.parametrize("name", CALLS)
@IN_MEMORY
async def test_a_context_without_a_user_is_refused_in_every_call(
    store: ChatKitStore[Any], name: str, context: Any
) -> None:
    with pytest.raises(InvalidInputError, match="user"):
        await getattr(store, name)(*CALLS[name], context)


async def test_an_owner_that_is_never_found_is_not_waited_for_without_end(
    chat: ChatStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(context: Any) -> str:
        await asyncio.Event().wait()
        return "ann"

    monkeypatch.setattr(callers, "OWNER_SECONDS", 0.01)
    with pytest.raises(UnavailableError, match="owner_of"):
        await ChatKitStore(chat, owner_of=hangs).add_thread_item("thr_1", ITEM, None)


@pytest.mark.parametrize("name", ["load_thread", "load_item", "load_attachment", "add_thread_item", "save_item"])
async def test_what_is_absent_is_the_errors_of_the_sdk(store: ChatKitStore[Any], name: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        await getattr(store, name)(*CALLS[name], {"user_id": "ann"})
    assert isinstance(caught.value.__cause__, chatstore.NotFoundError)


@pytest.mark.parametrize("name", ["load_thread", "load_item", "load_attachment", "add_thread_item", "save_item"])
async def test_what_is_somebody_elses_is_answered_as_what_is_absent(filled: ChatKitStore[Any], name: str) -> None:
    async def message(call: Callable[..., Awaitable[Any]], user: str) -> str:
        with pytest.raises(NotFoundError) as caught:
            await call(*CALLS[name], {"user_id": user})
        return str(caught.value)

    of_ann = await message(getattr(filled, name), "bob")
    await filled.delete_thread("thr_1", {"user_id": "ann"})
    await filled.delete_attachment("atc_1", {"user_id": "ann"})
    assert of_ann == await message(getattr(filled, name), "bob")


async def test_pages_of_somebody_else_are_empty(filled: ChatKitStore[Any]) -> None:
    bob = {"user_id": "bob"}
    assert (await filled.load_threads(20, None, "desc", bob)).model_dump() == {
        "data": [],
        "has_more": False,
        "after": None,
    }
    page = await filled.load_thread_items("thr_1", None, 20, "desc", bob)
    assert page.model_dump() == {"data": [], "has_more": False, "after": None}


@pytest.mark.parametrize("name", ["delete_thread", "delete_thread_item", "delete_attachment"])
async def test_deleting_is_silent_and_reaches_nobody_elses(filled: ChatKitStore[Any], name: str) -> None:
    await getattr(filled, name)(*CALLS[name], {"user_id": "bob"})
    ann = {"user_id": "ann"}
    assert await filled.load_thread("thr_1", ann) == THREAD
    assert await filled.load_item("thr_1", "msg_1", ann) == ITEM
    assert await filled.load_attachment("atc_1", ann) == FILE
    await getattr(filled, name)(*CALLS[name], ann)
    await getattr(filled, name)(*CALLS[name], ann)


async def test_deleting_a_thread_takes_its_items(filled: ChatKitStore[Any]) -> None:
    ann = {"user_id": "ann"}
    await filled.delete_thread("thr_1", ann)
    with pytest.raises(NotFoundError):
        await filled.load_item("thr_1", "msg_1", ann)
    assert (await filled.load_thread_items("thr_1", None, 20, "asc", ann)).data == []


async def test_two_users_may_use_the_same_ids(filled: ChatKitStore[Any]) -> None:
    bob = {"user_id": "bob"}
    await filled.save_thread(THREAD.model_copy(update={"title": "bob's"}), bob)
    await filled.save_attachment(FILE.model_copy(update={"name": "dog.txt"}), bob)
    assert (await filled.load_thread("thr_1", {"user_id": "ann"})).title is None
    assert (await filled.load_attachment("atc_1", {"user_id": "ann"})).name == "cat.txt"


@pytest.mark.parametrize(("kind", "prefix"), PREFIXES.items())
def test_ids_are_uuid7_under_the_prefixes_of_the_sdk(
    store: ChatKitStore[Any], kind: StoreItemType, prefix: str
) -> None:
    ids = [store.generate_item_id(kind, THREAD, None) for _ in range(1000)]
    assert all(id.startswith(f"{prefix}_") and len(id) == len(prefix) + 33 and id[-20] == "7" for id in ids)
    assert len(set(ids)) == 1000
    assert ids == sorted(ids)


def test_a_threads_id_is_a_uuid7(
    store: ChatKitStore[Any],
) -> None:
    id = store.generate_thread_id(None)
    assert id.startswith("thr_")
    assert len(id) == 36
    assert id[-20] == "7"


def test_without_the_sdk_the_error_says_what_to_install() -> None:
    program = "import sys; sys.modules['chatkit'] = None; import chatstore.integrations.chatkit"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ConfigurationError" in done.stderr
    assert 'pip install "chatstore-py[chatkit]"' in done.stderr


def test_names_of_chatstore_are_not_taken_for_those_of_the_sdk() -> None:
    program = """
from datetime import datetime
from chatstore import Attachment, Page, Thread, ThreadStatus
from chatstore.integrations.chatkit import ChatKitStore
from chatkit.types import FileAttachment, LockedStatus, ThreadCreatedEvent, ThreadMetadata, UserMessageItem
now = datetime.now()
metadata = ThreadMetadata(id="t", created_at=now, status=LockedStatus(reason="why"))
file = FileAttachment(id="a", name="n", mime_type="t/t")
message = UserMessageItem(id="i", thread_id="t", created_at=now, content=[], attachments=[file], inference_options={})
import chatkit.types as sdk
event = ThreadCreatedEvent(thread=sdk.Thread(id="t", created_at=now, items=sdk.Page()))
print(type(metadata.status), type(message.attachments[0]), type(event.thread))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "chatstore" not in done.stdout


def test_an_application_may_name_the_type_of_its_context(chat: ChatStore) -> None:
    def user_of(context: Context) -> str:
        return context.user_id

    store: Store[Context] = ChatKitStore(chat, owner_of=user_of)
    assert isinstance(store, Store)
