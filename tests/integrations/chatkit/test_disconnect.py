"""A client that goes away in the middle of an answer, seen through uvicorn, loses nothing of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    SDKHiddenContextItem,
    ThreadItemAddedEvent,
    ThreadItemUpdatedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    UserMessageItem,
)
from fastapi import FastAPI, Request, Response

from chatstore import ChatStore
from chatstore.integrations.chatkit import ChatKitStore

if TYPE_CHECKING:
    from tests.integrations.chatkit.conftest import Context, ScriptedServer

Events = AsyncIterator[ThreadStreamEvent]
Listening = Callable[[FastAPI], AbstractAsyncContextManager[int]]

DEADLINE = 20.0


async def begun(thread: ThreadMetadata) -> Events:
    """Begin an answer."""
    item = AssistantMessageItem(
        id="msg_answer",
        thread_id=thread.id,
        created_at=datetime.now(),
        content=[AssistantMessageContent(text="partial ")],
    )
    yield ThreadItemAddedEvent(item=item)
    delta = AssistantMessageContentPartTextDelta(content_index=0, delta="answer")
    yield ThreadItemUpdatedEvent(item_id=item.id, update=delta)


async def endless(thread: ThreadMetadata, typed: UserMessageItem | None, context: Context) -> Events:
    """Begin an answer and never end it."""
    async for event in begun(thread):
        yield event
    await asyncio.Event().wait()


async def slowly(context: Context) -> str:
    """Look the user up as an application with a session store would: with real waits."""
    for _ in range(3):
        await asyncio.sleep(0)
    return context.user_id


async def passes_on(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    return await call_next(request)


async def talk_and_hang_up(port: int, body: dict[str, Any]) -> None:
    """Send a request, read until the answer streams, and drop the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    payload = json.dumps(body).encode()
    head = f"POST /chatkit HTTP/1.1\r\nhost: x\r\nx-user: ann\r\ncontent-length: {len(payload)}\r\n\r\n"
    writer.write(head.encode() + payload)
    await reader.readuntil(b'"delta":"answer"')
    writer.transport.abort()


@pytest.mark.parametrize("has_middleware", [False, True], ids=["plain", "behind a middleware"])
@pytest.mark.parametrize("owner_of", [None, slowly], ids=["user in the context", "user looked up"])
async def test_the_message_the_partial_answer_and_the_note_are_kept(
    chat: ChatStore,
    ann: Context,
    scripted: Callable[[ChatKitStore[Context]], ScriptedServer],
    application: Callable[[ScriptedServer], FastAPI],
    listening: Listening,
    has_middleware: bool,
    owner_of: Any,
) -> None:
    server = scripted(ChatKitStore(chat, owner_of=owner_of) if owner_of else ChatKitStore(chat))
    app = application(server)
    if has_middleware:
        app.middleware("http")(passes_on)
    server.script = endless
    async with listening(app) as port, asyncio.timeout(DEADLINE):
        await talk_and_hang_up(port, {"type": "threads.create", "params": {"input": server.typed("hi")}})
        await server.cancelled.wait()
    [thread] = (await server.store.load_threads(20, None, "desc", ann)).data
    said, answer, note = await server.history(ann, thread.id)
    assert isinstance(said, UserMessageItem)
    assert isinstance(answer, AssistantMessageItem)
    assert answer.content[0].text == "partial answer"
    assert isinstance(note, SDKHiddenContextItem)


async def test_two_writes_in_a_row_finish_in_a_cancelled_scope(
    chat: ChatStore, ann: Context, thread: ThreadMetadata
) -> None:
    store = ChatKitStore(chat, owner_of=slowly)
    notes = [
        SDKHiddenContextItem(id=f"n{number}", thread_id="thr_1", created_at=thread.created_at, content="x")
        for number in range(2)
    ]
    with anyio.CancelScope() as scope:
        scope.cancel()
        for note in notes:
            await store.add_thread_item("thr_1", note, ann)
        await store.save_thread(thread.model_copy(update={"title": "kept"}), ann)
    assert (await store.load_thread_items("thr_1", None, 20, "asc", ann)).data == notes
    assert (await store.load_thread("thr_1", ann)).title == "kept"


async def test_a_native_cancellation_before_the_write_writes_nothing_and_is_raised(
    chat: ChatStore, ann: Context, thread: ThreadMetadata
) -> None:
    looking = asyncio.Event()

    async def hangs(context: Context) -> str:
        looking.set()
        await asyncio.Event().wait()
        return context.user_id

    note = SDKHiddenContextItem(id="n", thread_id="thr_1", created_at=thread.created_at, content="x")
    writing = asyncio.create_task(ChatKitStore(chat, owner_of=hangs).add_thread_item("thr_1", note, ann))
    await looking.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert (await ChatKitStore(chat).load_thread_items("thr_1", None, 20, "asc", ann)).data == []


async def test_a_rename_during_a_streaming_turn_survives_over_http(
    http: httpx.AsyncClient, server: ScriptedServer, ann: Context, thread: ThreadMetadata
) -> None:
    renamed = asyncio.Event()

    async def slow(thread: ThreadMetadata, typed: UserMessageItem | None, context: Context) -> Events:
        thread.metadata["before"] = 1
        async for event in begun(thread):
            yield event
        await renamed.wait()
        thread.metadata["after"] = 2

    server.script = slow
    body = {"type": "threads.add_user_message", "params": {"thread_id": "thr_1", "input": server.typed("hi")}}
    rename = {"type": "threads.update", "params": {"thread_id": "thr_1", "title": "renamed"}}
    async with asyncio.timeout(DEADLINE), http.stream("POST", "/chatkit", json=body) as turn:
        async for line in turn.aiter_lines():
            if '"delta":"answer"' in line:
                assert (await http.post("/chatkit", json=rename)).json()["title"] == "renamed"
                renamed.set()
    stored = await server.store.load_thread("thr_1", ann)
    assert (stored.title, stored.metadata) == ("renamed", {"before": 1, "after": 2})


async def test_a_conversation_over_http_is_read_back(
    http: httpx.AsyncClient, server: ScriptedServer, ann: Context
) -> None:
    created = await http.post("/chatkit", json={"type": "threads.create", "params": {"input": server.typed("hi")}})
    events = [json.loads(line.removeprefix("data: ")) for line in created.text.splitlines() if line]
    thread_id = events[0]["thread"]["id"]
    done = [event["item"]["id"] for event in events if event["type"] == "thread.item.done"]
    got = await http.post("/chatkit", json={"type": "threads.get_by_id", "params": {"thread_id": thread_id}})
    assert [item["id"] for item in got.json()["items"]["data"]] == done
    assert isinstance((await server.history(ann, thread_id))[1], AssistantMessageItem)
