"""The SDK's own server on the store: every request, and what is in the history afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from chatkit.actions import ActionConfig
from chatkit.server import stream_widget
from chatkit.store import NotFoundError
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageItem,
    ClientToolCallItem,
    HiddenContextItem,
    StructuredInputFreeform,
    StructuredInputItem,
    ThoughtTask,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemReplacedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    UserMessageItem,
    WidgetItem,
    Workflow,
    WorkflowItem,
)
from chatkit.widgets import Button, Card, Text, WidgetRoot

from chatstore import ChatStore, Item
from chatstore.ids import new_id

if TYPE_CHECKING:
    from tests.integrations.chatkit.conftest import Context, Script, ScriptedServer

Events = AsyncIterator[ThreadStreamEvent]


def message(thread: ThreadMetadata, text: str, id: str | None = None) -> AssistantMessageItem:
    content = [AssistantMessageContent(text=text)]
    return AssistantMessageItem(id=id or new_id("msg"), thread_id=thread.id, created_at=datetime.now(), content=content)


def script(*events: ThreadStreamEvent) -> Script:
    """Return a script of events whose items are made at the moment they are streamed."""

    async def run(thread: ThreadMetadata, typed: UserMessageItem | None, context: Context) -> Events:
        for event in events:
            if isinstance(event, ThreadItemAddedEvent | ThreadItemDoneEvent | ThreadItemReplacedEvent):
                event.item.created_at = datetime.now()
            yield event

    return run


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events if event["type"] != "stream_options"]


@pytest.fixture
async def thread_id(server: ScriptedServer, ann: Context) -> str:
    """A thread in which ann said hi and was answered hello."""
    events = await server.request(ann, "threads.create", input=server.typed("hi"))
    id: str = events[0]["thread"]["id"]
    return id


async def test_threads_create(server: ScriptedServer, ann: Context) -> None:
    events = await server.request(ann, "threads.create", input=server.typed("hi"))
    assert types(events) == ["thread.created", "thread.item.done", "thread.item.done"]
    thread_id = events[0]["thread"]["id"]
    assert await server.heard(ann, thread_id) == ["hi", "hello"]
    [thread] = await server.request(ann, "threads.get_by_id", thread_id=thread_id)
    assert [item["type"] for item in thread["items"]["data"]] == ["user_message", "assistant_message"]


async def test_threads_create_whose_responder_changes_the_thread(server: ScriptedServer, ann: Context) -> None:
    async def titles(thread: ThreadMetadata, typed: UserMessageItem | None, context: Context) -> Events:
        thread.title = "titled"
        yield ThreadItemDoneEvent(item=message(thread, "one"))
        thread.metadata["count"] = 1
        yield ThreadItemDoneEvent(item=message(thread, "two"))
        thread.allowed_image_domains = ["example.org"]

    server.script = titles
    events = await server.request(ann, "threads.create", input=server.typed("hi"))
    thread = await server.store.load_thread(events[0]["thread"]["id"], ann)
    assert (thread.title, thread.metadata, thread.allowed_image_domains) == ("titled", {"count": 1}, ["example.org"])
    assert types(events).count("thread.updated") == 3
    assert await server.heard(ann, thread.id) == ["hi", "one", "two"]


async def test_threads_add_user_message(server: ScriptedServer, ann: Context, thread_id: str) -> None:
    await server.say(ann, thread_id, "how are you?")
    assert await server.heard(ann, thread_id) == ["hi", "hello", "how are you?", "hello"]


async def test_threads_add_user_message_with_attachments(server: ScriptedServer, ann: Context, thread_id: str) -> None:
    created = [
        (await server.request(ann, "attachments.create", name=name, size=3, mime_type="text/plain"))[0]
        for name in ("a.txt", "b.txt")
    ]
    assert all("upload_descriptor" in attachment for attachment in created)
    ids = [attachment["id"] for attachment in created]
    await server.say(ann, thread_id, "look", *ids)
    said = (await server.history(ann, thread_id))[2]
    assert isinstance(said, UserMessageItem)
    assert [attachment.id for attachment in said.attachments] == ids
    for id in ids:
        stored = await server.store.load_attachment(id, ann)
        assert stored.thread_id == thread_id
        assert stored.upload_descriptor is not None
        assert stored in said.attachments


async def test_an_attachment_named_in_a_second_thread_does_not_fail_the_message(
    server: ScriptedServer, ann: Context, thread_id: str
) -> None:
    [created] = await server.request(ann, "attachments.create", name="a.txt", size=3, mime_type="text/plain")
    await server.say(ann, thread_id, "look", created["id"])
    events = await server.request(ann, "threads.create", input=server.typed("again", created["id"]))
    assert await server.heard(ann, events[0]["thread"]["id"]) == ["again", "hello"]
    assert (await server.store.load_attachment(created["id"], ann)).thread_id == thread_id


async def test_attachments_delete(server: ScriptedServer, ann: Context) -> None:
    [created] = await server.request(ann, "attachments.create", name="a.txt", size=3, mime_type="text/plain")
    assert await server.request(ann, "attachments.delete", attachment_id=created["id"]) == [{}]
    with pytest.raises(NotFoundError):
        await server.store.load_attachment(created["id"], ann)


async def test_threads_list_and_items_list(server: ScriptedServer, ann: Context, bob: Context, thread_id: str) -> None:
    other = (await server.request(ann, "threads.create", input=server.typed("other")))[0]["thread"]["id"]
    [first] = await server.request(ann, "threads.list", limit=1)
    assert ([thread["id"] for thread in first["data"]], first["has_more"], first["after"]) == ([other], True, other)
    [rest] = await server.request(ann, "threads.list", limit=1, after=first["after"])
    assert ([thread["id"] for thread in rest["data"]], rest["has_more"]) == ([thread_id], False)
    [newest] = await server.request(ann, "items.list", thread_id=thread_id, limit=1)
    [older] = await server.request(ann, "items.list", thread_id=thread_id, after=newest["after"], limit=5)
    assert [item["type"] for item in newest["data"] + older["data"]] == ["assistant_message", "user_message"]
    assert (await server.request(bob, "threads.list"))[0]["data"] == []
    assert (await server.request(bob, "items.list", thread_id=thread_id))[0]["data"] == []


async def test_threads_update(server: ScriptedServer, ann: Context, bob: Context, thread_id: str) -> None:
    await server.request(ann, "threads.update", thread_id=thread_id, title="renamed")
    assert (await server.store.load_thread(thread_id, ann)).title == "renamed"
    with pytest.raises(NotFoundError):
        await server.request(bob, "threads.update", thread_id=thread_id, title="stolen")
    assert (await server.store.load_thread(thread_id, ann)).title == "renamed"


async def test_threads_delete(server: ScriptedServer, ann: Context, bob: Context, thread_id: str) -> None:
    assert await server.request(bob, "threads.delete", thread_id=thread_id) == [{}]
    assert await server.heard(ann, thread_id) == ["hi", "hello"]
    assert await server.request(ann, "threads.delete", thread_id=thread_id) == [{}]
    assert await server.request(ann, "threads.delete", thread_id=thread_id) == [{}]
    with pytest.raises(NotFoundError):
        await server.request(ann, "threads.get_by_id", thread_id=thread_id)


async def test_items_feedback(server: ScriptedServer, ann: Context, thread_id: str) -> None:
    assert await server.request(ann, "items.feedback", thread_id=thread_id, item_ids=["x"], kind="positive") == [{}]
    assert await server.heard(ann, thread_id) == ["hi", "hello"]


async def test_threads_add_client_tool_output(server: ScriptedServer, ann: Context, thread_id: str) -> None:
    call = ClientToolCallItem(
        id="tc_1", thread_id=thread_id, created_at=datetime.now(), call_id="c1", name="locate", arguments={"a": 1}
    )
    server.script = script(ThreadItemDoneEvent(item=call))
    await server.say(ann, thread_id, "where am I?")
    server.script = script(ThreadItemDoneEvent(item=message(await server.store.load_thread(thread_id, ann), "there")))
    result = {"city": "Z\u00fcrich", "at": [47.4, -0.0]}
    await server.request(ann, "threads.add_client_tool_output", thread_id=thread_id, result=result)
    assert await server.heard(ann, thread_id) == ["hi", "hello", "where am I?", "client_tool_call", "there"]
    stored = (await server.history(ann, thread_id))[3]
    assert stored == call.model_copy(update={"status": "completed", "output": result})


async def test_threads_add_client_tool_output_for_calls_under_one_placeholder(
    server: ScriptedServer, ann: Context, thread_id: str
) -> None:
    for number in range(2):
        call = ClientToolCallItem(
            id="__fake_id__", thread_id=thread_id, created_at=datetime.now(), call_id="c", name="n", arguments={}
        )
        server.script = script(ThreadItemDoneEvent(item=call))
        await server.say(ann, thread_id, "call")
        server.script = script()
        await server.request(ann, "threads.add_client_tool_output", thread_id=thread_id, result=number)
    items = await server.history(ann, thread_id)
    calls = [item for item in items if isinstance(item, ClientToolCallItem)]
    assert [(call.status, call.output) for call in calls] == [("completed", 0), ("completed", 1)]


async def test_threads_add_client_tool_output_that_json_cannot_carry_writes_nothing(
    server: ScriptedServer, ann: Context, thread_id: str
) -> None:
    call = ClientToolCallItem(
        id="tc_1", thread_id=thread_id, created_at=datetime.now(), call_id="c1", name="n", arguments={}
    )
    await server.store.add_thread_item(thread_id, call, ann)
    with pytest.raises(ValueError, match="NaN"):
        await server.request(ann, "threads.add_client_tool_output", thread_id=thread_id, result=float("nan"))
    assert (await server.history(ann, thread_id))[-1] == call


async def test_threads_add_structured_input(server: ScriptedServer, ann: Context, thread_id: str) -> None:
    asked = StructuredInputItem(
        id="si_1",
        thread_id=thread_id,
        created_at=datetime.now(),
        inputs=[StructuredInputFreeform(id="q1", question="Why?"), StructuredInputFreeform(id="q2", question="How?")],
    )
    server.script = script(ThreadItemDoneEvent(item=asked))
    await server.say(ann, thread_id, "ask me")
    server.script = script()
    await server.request(
        ann,
        "threads.add_structured_input",
        thread_id=thread_id,
        item_id="si_1",
        input={"answers": {"q1": {"values": ["because"]}}},
    )
    answered = (await server.history(ann, thread_id))[-1]
    assert isinstance(answered, StructuredInputItem)
    assert answered.status == "answered"
    assert [question.answer and question.answer.values for question in answered.inputs] == [["because"], []]


async def test_threads_custom_action_and_sync_custom_action(
    server: ScriptedServer, ann: Context, thread_id: str
) -> None:
    widget = Card(children=[Button(label="Go", onClickAction=ActionConfig(type="go", payload={"n": 1}))])
    item = WidgetItem(id="w_1", thread_id=thread_id, created_at=datetime.now(), widget=widget)
    server.script = script(ThreadItemDoneEvent(item=item))
    await server.say(ann, thread_id, "show")
    action = {"type": "go", "payload": {"n": 1}}
    await server.request(ann, "threads.custom_action", thread_id=thread_id, item_id="w_1", action=action)
    assert await server.heard(ann, thread_id) == ["hi", "hello", "show", "widget", "go from w_1"]
    [answer] = await server.request(
        ann, "threads.sync_custom_action", thread_id=thread_id, item_id="w_1", action=action
    )
    assert answer["updated_item"]["id"] == "w_1"
    with pytest.raises(NotFoundError):
        await server.request(ann, "threads.custom_action", thread_id=thread_id, item_id="absent", action=action)


async def test_threads_retry_after_item(server: ScriptedServer, ann: Context, thread_id: str) -> None:
    for number in range(25):
        await server.say(ann, thread_id, f"message {number}")
    items = await server.history(ann, thread_id)
    assert len(items) == 52
    await server.request(ann, "threads.retry_after_item", thread_id=thread_id, item_id=items[0].id)
    assert await server.heard(ann, thread_id) == ["hi", "hello"]
    assert (await server.history(ann, thread_id))[0] == items[0]


async def test_threads_retry_after_item_removes_answers_under_one_placeholder(
    server: ScriptedServer, ann: Context, thread_id: str
) -> None:
    thread = await server.store.load_thread(thread_id, ann)
    for number in range(3):
        server.script = script(ThreadItemDoneEvent(item=message(thread, f"fake {number}", "__fake_id__")))
        await server.say(ann, thread_id, "say")
    items = await server.history(ann, thread_id)
    server.script = script(ThreadItemDoneEvent(item=message(thread, "anew", "__fake_id__")))
    await server.request(ann, "threads.retry_after_item", thread_id=thread_id, item_id=items[4].id)
    assert await server.heard(ann, thread_id) == ["hi", "hello", "say", "fake 0", "say", "anew"]


async def test_answers_under_one_placeholder_are_all_kept(server: ScriptedServer, ann: Context, thread_id: str) -> None:
    async def answers(thread: ThreadMetadata, typed: UserMessageItem | None, context: Context) -> Events:
        for text in ("one", "two"):
            yield ThreadItemAddedEvent(item=message(thread, "", "__fake_id__"))
            yield ThreadItemDoneEvent(item=message(thread, text, "__fake_id__"))

    server.script = answers
    for _ in range(2):
        events = await server.say(ann, thread_id, "say")
        assert "error" not in types(events)
    assert await server.heard(ann, thread_id) == ["hi", "hello", "say", "one", "two", "say", "one", "two"]


async def test_an_answer_that_a_guardrail_removes_is_gone_and_no_earlier_one_with_it(
    server: ScriptedServer, ann: Context, thread_id: str
) -> None:
    thread = await server.store.load_thread(thread_id, ann)
    server.script = script(ThreadItemDoneEvent(item=message(thread, "kept", "__fake_id__")))
    await server.say(ann, thread_id, "first")
    removed = ThreadItemRemovedEvent(item_id="__fake_id__")
    server.script = script(ThreadItemDoneEvent(item=message(thread, "blocked", "__fake_id__")), removed)
    await server.say(ann, thread_id, "second")
    server.script = script(ThreadItemAddedEvent(item=message(thread, "never done", "__fake_id__")), removed)
    await server.say(ann, thread_id, "third")
    assert await server.heard(ann, thread_id) == ["hi", "hello", "first", "kept", "second", "third"]


async def test_a_rename_during_a_turn_that_changes_the_metadata_survives(
    server: ScriptedServer, ann: Context, thread_id: str
) -> None:
    started, renamed = asyncio.Event(), asyncio.Event()

    async def slow(thread: ThreadMetadata, typed: UserMessageItem | None, context: Context) -> Events:
        thread.metadata["before"] = 1
        yield ThreadItemDoneEvent(item=message(thread, "one"))
        started.set()
        await renamed.wait()
        thread.metadata["after"] = 2
        yield ThreadItemDoneEvent(item=message(thread, "two"))

    server.script = slow
    turn = asyncio.create_task(server.say(ann, thread_id, "go"))
    await started.wait()
    await server.request(ann, "threads.update", thread_id=thread_id, title="renamed")
    renamed.set()
    assert "error" not in types(await turn)
    thread = await server.store.load_thread(thread_id, ann)
    assert (thread.title, thread.metadata) == ("renamed", {"before": 1, "after": 2})


async def test_a_thread_deleted_during_a_turn_does_not_come_back(
    server: ScriptedServer, ann: Context, thread_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)

    async def deleted(thread: ThreadMetadata, typed: UserMessageItem | None, context: Context) -> Events:
        await server.request(ann, "threads.delete", thread_id=thread.id)
        thread.title = "changed"
        yield ThreadItemDoneEvent(item=message(thread, "too late"))

    server.script = deleted
    with pytest.raises(NotFoundError):
        await server.say(ann, thread_id, "go")
    assert (await server.request(ann, "threads.list"))[0]["data"] == []


async def test_a_streamed_widget_stands_where_it_began(server: ScriptedServer, ann: Context, thread_id: str) -> None:
    begun, interrupted = asyncio.Event(), asyncio.Event()

    async def states() -> AsyncGenerator[WidgetRoot, None]:
        yield Card(children=[Text(id="t", value="begun", streaming=True)])
        begun.set()
        await interrupted.wait()
        yield Card(children=[Text(id="t", value="begun and done", streaming=False)])

    async def widget(thread: ThreadMetadata, typed: UserMessageItem | None, context: Context) -> Events:
        async for event in stream_widget(thread, states()):
            yield event

    server.script = widget
    turn = asyncio.create_task(server.say(ann, thread_id, "show"))
    await begun.wait()
    server.script = script()
    await server.say(ann, thread_id, "meanwhile")
    interrupted.set()
    await turn
    assert await server.heard(ann, thread_id) == ["hi", "hello", "show", "widget", "meanwhile"]
    shown = (await server.history(ann, thread_id))[3]
    assert isinstance(shown, WidgetItem)
    assert "begun and done" in shown.model_dump_json()


async def test_a_workflow_continued_in_a_later_turn_is_one_item_in_its_place(
    server: ScriptedServer, ann: Context, thread_id: str
) -> None:
    workflow = WorkflowItem(
        id="wf_1",
        thread_id=thread_id,
        created_at=datetime.now(),
        workflow=Workflow(type="reasoning", tasks=[ThoughtTask(content="first")]),
    )
    call = ClientToolCallItem(
        id="tc_1", thread_id=thread_id, created_at=datetime.now(), call_id="c1", name="n", arguments={}
    )
    server.script = script(ThreadItemDoneEvent(item=workflow), ThreadItemDoneEvent(item=call))
    await server.say(ann, thread_id, "think")

    async def continues(thread: ThreadMetadata, typed: UserMessageItem | None, context: Context) -> Events:
        page = await server.store.load_thread_items(thread.id, None, 2, "desc", context)
        last = page.data[1]
        assert isinstance(last, WorkflowItem)
        last.workflow.tasks.append(ThoughtTask(content="second"))
        yield ThreadItemDoneEvent(item=last)
        yield ThreadItemDoneEvent(item=message(thread, "thought"))

    server.script = continues
    await server.request(ann, "threads.add_client_tool_output", thread_id=thread_id, result=1)
    assert await server.heard(ann, thread_id) == ["hi", "hello", "think", "workflow", "client_tool_call", "thought"]
    continued = (await server.history(ann, thread_id))[3]
    assert isinstance(continued, WorkflowItem)
    assert [task.content for task in continued.workflow.tasks if isinstance(task, ThoughtTask)] == ["first", "second"]


async def test_hidden_removed_and_replaced_items(server: ScriptedServer, ann: Context, thread_id: str) -> None:
    thread = await server.store.load_thread(thread_id, ann)
    first, never_stored = message(thread, "draft", "msg_draft"), message(thread, "new", "msg_new")
    hidden = HiddenContextItem(id="h", thread_id=thread_id, created_at=datetime.now(), content={"k": [1]})
    server.script = script(
        ThreadItemDoneEvent(item=hidden),
        ThreadItemDoneEvent(item=first),
        ThreadItemReplacedEvent(item=message(thread, "final", "msg_draft")),
        ThreadItemReplacedEvent(item=never_stored),
        ThreadItemDoneEvent(item=message(thread, "gone", "msg_gone")),
        ThreadItemRemovedEvent(item_id="msg_gone"),
        ThreadItemRemovedEvent(item_id="msg_never"),
    )
    events = await server.say(ann, thread_id, "go")
    assert "hidden" not in str(events)
    heard = await server.heard(ann, thread_id)
    assert sorted(heard[3:]) == ["final", "hidden_context_item", "new"]
    assert "hidden" not in str(await server.request(ann, "items.list", thread_id=thread_id))


async def test_a_history_with_items_of_other_writers_is_still_served(
    server: ScriptedServer, ann: Context, thread_id: str, chat: ChatStore, caplog: pytest.LogCaptureFixture
) -> None:
    await chat.for_user("ann").add_thread_item(thread_id, Item(type="hologram", data={"x": 1}))
    await server.say(ann, thread_id, "still there?")
    assert await server.heard(ann, thread_id) == ["hi", "hello", "still there?", "hello"]
    assert "hologram" in caplog.text


@pytest.mark.parametrize(
    ("type", "params"),
    [
        ("threads.get_by_id", {}),
        ("threads.update", {"title": "x"}),
        ("threads.add_user_message", {}),
        ("threads.add_client_tool_output", {"result": 1}),
        ("threads.add_structured_input", {"item_id": "x", "input": {}}),
        ("threads.custom_action", {"action": {"type": "go"}}),
        ("threads.sync_custom_action", {"action": {"type": "go"}}),
        ("threads.retry_after_item", {"item_id": "x"}),
    ],
)
async def test_another_users_thread_is_not_found(
    server: ScriptedServer, ann: Context, bob: Context, thread_id: str, type: str, params: dict[str, Any]
) -> None:
    if type == "threads.add_user_message":
        params = {"input": server.typed("x")}
    with pytest.raises(NotFoundError):
        await server.request(bob, type, thread_id=thread_id, **params)
    assert await server.heard(ann, thread_id) == ["hi", "hello"]


async def test_three_messages_at_once_are_all_answered_and_kept(
    server: ScriptedServer, ann: Context, thread_id: str
) -> None:
    await asyncio.gather(*(server.say(ann, thread_id, f"message {number}") for number in range(3)))
    heard = await server.heard(ann, thread_id)
    assert sorted(heard[2:]) == ["hello"] * 3 + [f"message {number}" for number in range(3)]
