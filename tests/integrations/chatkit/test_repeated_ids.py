"""An id that comes again: the same item in its place, or another one that is kept beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from chatkit.store import NotFoundError
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageItem,
    ClientToolCallItem,
    ThoughtTask,
    ThreadMetadata,
    Workflow,
    WorkflowItem,
)

from chatstore.integrations.chatkit import ChatKitStore

if TYPE_CHECKING:
    from tests.integrations.chatkit.conftest import Context

T = TypeVar("T")

NOON = datetime(2024, 5, 17, 12, 0)
FAKE = "__fake_id__"
REPEATED = pytest.mark.parametrize("id", [FAKE, "msg_1"])


def said(text: str, id: str, minutes: int) -> AssistantMessageItem:
    content = [AssistantMessageContent(text=text)]
    return AssistantMessageItem(id=id, thread_id="thr_1", created_at=NOON + timedelta(minutes=minutes), content=content)


async def later(call: Awaitable[T]) -> T:
    """Await a call as another request would: what it remembers is forgotten."""

    async def run() -> T:
        return await call

    return await asyncio.create_task(run())


async def heard(store: ChatKitStore[Any], ann: Context) -> list[str]:
    page = await store.load_thread_items("thr_1", None, 100, "asc", ann)
    assert len({item.id for item in page.data}) == len(page.data)
    return [item.content[0].text for item in page.data if isinstance(item, AssistantMessageItem)]


@pytest.fixture
async def kept(store: ChatKitStore[Any], thread: ThreadMetadata) -> ChatKitStore[Any]:
    return store


async def test_the_same_id_and_time_is_the_same_item_in_its_place(kept: ChatKitStore[Any], ann: Context) -> None:
    workflow = WorkflowItem(
        id="wf_1", thread_id="thr_1", created_at=NOON, workflow=Workflow(type="reasoning", tasks=[])
    )
    await kept.add_thread_item("thr_1", workflow, ann)
    await kept.add_thread_item("thr_1", said("then", "msg_1", 1), ann)
    workflow.workflow.tasks.append(ThoughtTask(content="continued"))
    await kept.add_thread_item("thr_1", workflow, ann)
    page = await kept.load_thread_items("thr_1", None, 20, "asc", ann)
    assert page.data == [workflow, said("then", "msg_1", 1)]


@REPEATED
async def test_no_answer_is_overwritten_by_one_with_the_same_id(kept: ChatKitStore[Any], ann: Context, id: str) -> None:
    for number in range(5):
        await later(kept.add_thread_item("thr_1", said(str(number), id, number), ann))
    assert await heard(kept, ann) == ["0", "1", "2", "3", "4"]


@REPEATED
async def test_a_retry_of_an_answer_under_a_repeated_id_makes_no_copy(
    kept: ChatKitStore[Any], ann: Context, id: str
) -> None:
    for attempt in range(3):
        for number in range(3):
            await later(kept.add_thread_item("thr_1", said(f"{number} {attempt}", id, number), ann))
    assert await heard(kept, ann) == ["0 2", "1 2", "2 2"]


@REPEATED
async def test_answers_under_one_id_at_once_are_all_kept(kept: ChatKitStore[Any], ann: Context, id: str) -> None:
    items = [said(str(number), id, number) for number in range(20)]
    await asyncio.gather(*(kept.add_thread_item("thr_1", item, ann) for item in items))
    assert await heard(kept, ann) == [str(number) for number in range(20)]


@REPEATED
async def test_a_save_of_a_repeated_id_reaches_the_item_that_was_stored(
    kept: ChatKitStore[Any], ann: Context, id: str
) -> None:
    for number in range(3):
        await kept.add_thread_item("thr_1", said(str(number), id, number), ann)
    await later(kept.save_item("thr_1", said("changed", id, 1), ann))
    assert await heard(kept, ann) == ["0", "changed", "2"]
    await later(kept.save_item("thr_1", said("first", id, 0), ann))
    assert await heard(kept, ann) == ["first", "changed", "2"]


async def test_a_save_with_another_time_replaces_the_item_with_that_id(kept: ChatKitStore[Any], ann: Context) -> None:
    await kept.add_thread_item("thr_1", said("old", "msg_1", 1), ann)
    await kept.save_item("thr_1", said("new", "msg_1", 2), ann)
    assert (await kept.load_thread_items("thr_1", None, 20, "asc", ann)).data == [said("new", "msg_1", 2)]


@REPEATED
async def test_a_renamed_item_is_loaded_saved_and_deleted_by_the_id_of_its_page(
    kept: ChatKitStore[Any], ann: Context, id: str
) -> None:
    for number in range(2):
        await later(kept.add_thread_item("thr_1", said(str(number), id, number), ann))
    second = (await kept.load_thread_items("thr_1", None, 1, "desc", ann)).data[0]
    assert isinstance(second, AssistantMessageItem)
    assert second.id.startswith("msg_")
    assert len(second.id) == 36
    assert await kept.load_item("thr_1", second.id, ann) == second
    second.content[0].text = "changed"
    await kept.save_item("thr_1", second, ann)
    assert await heard(kept, ann) == ["0", "changed"]
    await kept.delete_thread_item("thr_1", second.id, ann)
    assert await heard(kept, ann) == ["0"]


async def test_a_message_and_a_tool_call_under_one_placeholder_are_two_items(
    kept: ChatKitStore[Any], ann: Context
) -> None:
    call = ClientToolCallItem(id=FAKE, thread_id="thr_1", created_at=NOON, call_id="c", name="n", arguments={"a": 1})
    await kept.add_thread_item("thr_1", said("text", FAKE, 0), ann)
    await kept.add_thread_item("thr_1", call, ann)
    page = await kept.load_thread_items("thr_1", None, 20, "asc", ann)
    assert sorted(item.id.partition("_")[0] for item in page.data) == ["msg", "tc"]


async def test_within_its_request_an_answer_is_found_and_removed_by_its_placeholder(
    kept: ChatKitStore[Any], ann: Context
) -> None:
    await later(kept.add_thread_item("thr_1", said("of an earlier request", FAKE, 0), ann))
    await kept.add_thread_item("thr_1", said("one", FAKE, 1), ann)
    await kept.add_thread_item("thr_1", said("two", FAKE, 2), ann)
    newest = await kept.load_item("thr_1", FAKE, ann)
    assert isinstance(newest, AssistantMessageItem)
    assert newest.content[0].text == "two"
    await kept.delete_thread_item("thr_1", FAKE, ann)
    assert await heard(kept, ann) == ["of an earlier request"]


async def test_removing_a_placeholder_that_was_never_stored_removes_no_earlier_answer(
    kept: ChatKitStore[Any], ann: Context
) -> None:
    await later(kept.add_thread_item("thr_1", said("earlier", FAKE, 0), ann))
    await later(kept.delete_thread_item("thr_1", FAKE, ann))
    assert await heard(kept, ann) == ["earlier"]
    await kept.add_thread_item("thr_1", said("earlier", FAKE, 0), ann)
    await kept.load_thread("thr_1", ann)
    await kept.delete_thread_item("thr_1", FAKE, ann)
    assert await heard(kept, ann) == ["earlier"]
    with pytest.raises(NotFoundError):
        await kept.load_item("thr_1", FAKE, ann)
