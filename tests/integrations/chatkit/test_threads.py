"""A thread's metadata comes back as given, and a save writes what its request changed, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from chatkit.store import NotFoundError
from chatkit.types import ActiveStatus, ClosedStatus, EndOfTurnItem, LockedStatus, Page, Thread, ThreadMetadata

from chatstore import ChatStore, IntegrityError, InvalidInputError, ThreadStatus
from chatstore.integrations.chatkit import ChatKitStore, threads
from chatstore.integrations.chatkit.recent import KEPT
from chatstore.testing.factories import MOMENTS

if TYPE_CHECKING:
    from tests.integrations.chatkit.conftest import Context

T = TypeVar("T")

NOON = datetime(2024, 5, 17, 12, 0)


async def elsewhere(call: Awaitable[T]) -> T:
    """Await a call as another request would."""

    async def run() -> T:
        return await call

    return await asyncio.create_task(run())


async def rename(store: ChatKitStore[Any], ann: Context, title: str) -> None:
    """Do what the server does for ``threads.update``."""
    thread = await store.load_thread("thr_1", ann)
    thread.title = title
    await store.save_thread(thread, ann)


SAMPLES = {
    "plain": ThreadMetadata(id="thr_1", created_at=NOON),
    "aware": ThreadMetadata(id="thr_1", created_at=NOON.replace(tzinfo=UTC)),
    "full": ThreadMetadata(
        id="thr_1",
        created_at=NOON,
        title="A title, é 👩‍👩‍👧",
        allowed_image_domains=["example.org", "x.example"],
        metadata={"a": {"b": [1, 1.0, True, None, "\x00", 10**30]}, "": "", "items": 1},
    ),
    "no domains allowed": ThreadMetadata(id="thr_1", created_at=NOON, allowed_image_domains=[]),
    "locked": ThreadMetadata(id="thr_1", created_at=NOON, status=LockedStatus(reason="why")),
    "locked for no reason": ThreadMetadata(id="thr_1", created_at=NOON, status=LockedStatus()),
    "closed": ThreadMetadata(id="thr_1", created_at=NOON, status=ClosedStatus(reason="")),
    "active": ThreadMetadata(id="thr_1", created_at=NOON, status=ActiveStatus()),
}


@pytest.mark.parametrize("name", SAMPLES)
async def test_a_thread_comes_back_exactly(store: ChatKitStore[Any], ann: Context, name: str) -> None:
    await store.save_thread(SAMPLES[name], ann)
    assert await store.load_thread("thr_1", ann) == SAMPLES[name]
    assert (await store.load_threads(20, None, "desc", ann)).data == [SAMPLES[name]]


@pytest.mark.parametrize("first", SAMPLES)
@pytest.mark.parametrize("second", SAMPLES)
async def test_a_thread_saved_without_a_load_replaces_everything(
    store: ChatKitStore[Any], ann: Context, first: str, second: str
) -> None:
    await elsewhere(store.save_thread(SAMPLES[first], ann))
    await elsewhere(store.save_thread(SAMPLES[second], ann))
    expected = SAMPLES[second].model_copy(update={"created_at": SAMPLES[first].created_at})
    assert await store.load_thread("thr_1", ann) == expected


@pytest.mark.parametrize("first", SAMPLES)
@pytest.mark.parametrize("second", SAMPLES)
async def test_every_field_changed_after_a_load_is_saved(
    store: ChatKitStore[Any], ann: Context, first: str, second: str
) -> None:
    await store.save_thread(SAMPLES[first], ann)
    changed = SAMPLES[second].model_copy(update={"created_at": SAMPLES[first].created_at})
    await store.load_thread("thr_1", ann)
    await store.save_thread(changed, ann)
    assert await elsewhere(store.load_thread("thr_1", ann)) == changed


@pytest.mark.parametrize("name", MOMENTS)
async def test_a_threads_creation_time_comes_back_as_it_was(store: ChatKitStore[Any], ann: Context, name: str) -> None:
    await store.save_thread(ThreadMetadata(id="thr_1", created_at=MOMENTS[name]), ann)
    assert (await store.load_thread("thr_1", ann)).created_at.isoformat() == MOMENTS[name].isoformat()


async def test_the_items_of_a_thread_are_not_saved_with_it(
    store: ChatKitStore[Any], chat: ChatStore, ann: Context
) -> None:
    item = EndOfTurnItem(id="i", thread_id="thr_1", created_at=NOON)
    for title in ("first", "second"):
        thread = Thread(id="thr_1", title=title, created_at=NOON, metadata={"a": 1}, items=Page(data=[item]))
        await store.save_thread(thread, ann)
        loaded = await store.load_thread("thr_1", ann)
        assert loaded == ThreadMetadata(id="thr_1", title=title, created_at=NOON, metadata={"a": 1})
    assert (await store.load_thread_items("thr_1", None, 20, "asc", ann)).data == []
    assert (await chat.for_user("ann").load_thread("thr_1")).metadata == {"a": 1}


@pytest.mark.parametrize(
    "value", [float("nan"), {1}, (1,), NOON, {1: 2}, "\ud800"], ids=lambda value: type(value).__name__
)
async def test_metadata_that_json_cannot_carry_is_refused(
    store: ChatKitStore[Any], thread: ThreadMetadata, ann: Context, value: Any
) -> None:
    thread.title = "changed"
    thread.metadata["deep"] = [{"v": value}]
    with pytest.raises(InvalidInputError):
        await store.save_thread(thread, ann)
    assert (await store.load_thread("thr_1", ann)).title is None


async def test_the_stores_own_key_in_metadata_is_refused(store: ChatKitStore[Any], ann: Context) -> None:
    thread = ThreadMetadata(id="thr_1", created_at=NOON, metadata={threads.RESERVED: {}})
    with pytest.raises(InvalidInputError, match="own"):
        await store.save_thread(thread, ann)


@pytest.mark.parametrize("value", [7, {"allowed_image_domains": 7}])
async def test_what_something_else_wrote_under_that_key_is_an_error_and_no_guess(
    store: ChatKitStore[Any], chat: ChatStore, ann: Context, value: Any
) -> None:
    await chat.for_user("ann").create_thread(id="thr_1", metadata={threads.RESERVED: value})
    with pytest.raises(IntegrityError, match="thr_1"):
        await store.load_thread("thr_1", ann)
    with pytest.raises(IntegrityError, match="thr_1"):
        await store.load_threads(20, None, "desc", ann)


async def test_a_loaded_thread_is_the_callers_own(store: ChatKitStore[Any], ann: Context) -> None:
    await store.save_thread(SAMPLES["full"].model_copy(deep=True), ann)
    first = await store.load_thread("thr_1", ann)
    first.metadata["a"]["b"].append("changed")
    assert await store.load_thread("thr_1", ann) == SAMPLES["full"]
    await store.save_thread(first, ann)
    assert (await store.load_thread("thr_1", ann)).metadata == first.metadata


async def test_a_rename_by_somebody_else_survives_every_save_of_this_request(
    store: ChatKitStore[Any], thread: ThreadMetadata, ann: Context
) -> None:
    mine = await store.load_thread("thr_1", ann)
    await elsewhere(rename(store, ann, "renamed"))
    for step in range(3):
        mine.metadata["step"] = step
        await store.save_thread(mine, ann)
    stored = await elsewhere(store.load_thread("thr_1", ann))
    assert (stored.title, stored.metadata) == ("renamed", {"step": 2})


async def test_a_rename_during_the_first_turn_of_a_new_thread_survives(store: ChatKitStore[Any], ann: Context) -> None:
    await store.save_thread(ThreadMetadata(id="thr_1", created_at=NOON), ann)
    await elsewhere(rename(store, ann, "renamed"))
    await store.save_thread(Thread(id="thr_1", created_at=NOON, metadata={"a": 1}, items=Page()), ann)
    stored = await elsewhere(store.load_thread("thr_1", ann))
    assert (stored.title, stored.metadata) == ("renamed", {"a": 1})


async def test_fields_kept_in_one_place_are_merged_each_for_itself(
    store: ChatKitStore[Any], thread: ThreadMetadata, chat: ChatStore, ann: Context
) -> None:
    user = chat.for_user("ann")
    mine = await store.load_thread("thr_1", ann)
    await user.update_thread("thr_1", metadata={"theirs": 1})
    mine.allowed_image_domains = ["example.org"]
    await store.save_thread(mine, ann)
    mine.status = LockedStatus(reason="why")
    await store.save_thread(mine, ann)
    stored = await elsewhere(store.load_thread("thr_1", ann))
    assert (stored.metadata, stored.allowed_image_domains) == ({"theirs": 1}, ["example.org"])
    assert (await user.load_thread("thr_1")).status == ThreadStatus(type="locked", reason="why")


async def test_where_both_changed_a_field_the_last_one_wins(
    store: ChatKitStore[Any], thread: ThreadMetadata, ann: Context
) -> None:
    mine = await store.load_thread("thr_1", ann)
    await elsewhere(rename(store, ann, "theirs"))
    mine.title = "mine"
    mine.metadata["a"] = 1
    await store.save_thread(mine, ann)
    stored = await elsewhere(store.load_thread("thr_1", ann))
    assert (stored.title, stored.metadata) == ("mine", {"a": 1})


async def test_a_thread_deleted_since_it_was_loaded_does_not_come_back(
    store: ChatKitStore[Any], thread: ThreadMetadata, ann: Context
) -> None:
    mine = await store.load_thread("thr_1", ann)
    await elsewhere(store.delete_thread("thr_1", ann))
    mine.title = "changed"
    with pytest.raises(NotFoundError):
        await store.save_thread(mine, ann)
    assert (await store.load_threads(20, None, "desc", ann)).data == []


async def test_a_thread_deleted_since_this_request_made_it_does_not_come_back(
    store: ChatKitStore[Any], ann: Context
) -> None:
    mine = ThreadMetadata(id="thr_1", created_at=NOON)
    await store.save_thread(mine, ann)
    await elsewhere(store.delete_thread("thr_1", ann))
    with pytest.raises(NotFoundError):
        await store.save_thread(mine, ann)


async def test_a_thread_deleted_by_the_request_itself_may_be_made_again(
    store: ChatKitStore[Any], thread: ThreadMetadata, ann: Context
) -> None:
    await store.load_thread("thr_1", ann)
    await store.delete_thread("thr_1", ann)
    again = ThreadMetadata(id="thr_1", created_at=NOON + timedelta(days=1), title="again")
    await store.save_thread(again, ann)
    assert await store.load_thread("thr_1", ann) == again


async def test_requests_started_from_one_that_loaded_the_thread_do_not_share_what_they_know(
    store: ChatKitStore[Any], thread: ThreadMetadata, ann: Context
) -> None:
    await store.load_thread("thr_1", ann)
    loaded, renamed = asyncio.Event(), asyncio.Event()

    async def turn() -> None:
        mine = await store.load_thread("thr_1", ann)
        loaded.set()
        await renamed.wait()
        mine.metadata["a"] = 1
        await store.save_thread(mine, ann)

    running = asyncio.create_task(turn())
    await loaded.wait()
    await elsewhere(rename(store, ann, "renamed"))
    renamed.set()
    await running
    stored = await store.load_thread("thr_1", ann)
    assert (stored.title, stored.metadata) == ("renamed", {"a": 1})


async def test_a_tool_that_saves_the_thread_in_a_task_of_its_own_is_merged_too(
    store: ChatKitStore[Any], thread: ThreadMetadata, ann: Context
) -> None:
    mine = await store.load_thread("thr_1", ann)
    await elsewhere(rename(store, ann, "renamed"))
    mine.metadata["tool"] = 1
    await elsewhere(store.save_thread(mine, ann))
    mine.metadata["turn"] = 2
    await store.save_thread(mine, ann)
    stored = await elsewhere(store.load_thread("thr_1", ann))
    assert (stored.title, stored.metadata) == ("renamed", {"tool": 1, "turn": 2})


async def test_users_and_stores_are_remembered_apart(store: ChatKitStore[Any], chat: ChatStore, ann: Context) -> None:
    bob = {"user_id": "bob"}
    await store.save_thread(ThreadMetadata(id="thr_1", created_at=NOON, title="ann's"), ann)
    await store.save_thread(ThreadMetadata(id="thr_1", created_at=NOON, title="bob's"), bob)
    other = ChatKitStore[Any](chat, owner_of=lambda context: "cy")
    await other.save_thread(ThreadMetadata(id="thr_1", created_at=NOON, title="cy's"), None)
    titles = [(await chat.for_user(user).load_thread("thr_1")).title for user in ("ann", "bob", "cy")]
    assert titles == ["ann's", "bob's", "cy's"]


async def test_what_is_remembered_is_bounded_and_the_newest_stays(
    store: ChatKitStore[Any], thread: ThreadMetadata, ann: Context
) -> None:
    for number in range(KEPT + 1):
        await elsewhere(store.save_thread(ThreadMetadata(id=f"t{number}", created_at=NOON), ann))
    first, last = await store.load_thread("t0", ann), None
    for number in range(1, KEPT + 1):
        last = await store.load_thread(f"t{number}", ann)
    assert last is not None
    for thread_id in ("t0", last.id):
        await elsewhere(store.delete_thread(thread_id, ann))
    with pytest.raises(NotFoundError):
        await store.save_thread(last, ann)
    await store.save_thread(first, ann)
    assert await store.load_thread("t0", ann) == first


async def test_an_sdk_without_a_field_does_not_lose_it(
    store: ChatKitStore[Any], ann: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    await elsewhere(store.save_thread(SAMPLES["full"], ann))
    with monkeypatch.context() as older:
        older.setattr(threads, "_FURTHER", frozenset())
        mine = await store.load_thread("thr_1", ann)
        assert mine.allowed_image_domains is None
        mine.metadata = {"changed": 1}
        await store.save_thread(mine, ann)
    stored = await elsewhere(store.load_thread("thr_1", ann))
    assert (stored.allowed_image_domains, stored.metadata) == (["example.org", "x.example"], {"changed": 1})
