"""ChatKit's own server over each store: called directly, and through uvicorn."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import httpx
import pytest
import uvicorn
from chatkit.actions import Action
from chatkit.server import ChatKitServer, NonStreamingResult, StreamingResult
from chatkit.store import AttachmentStore, Store
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageItem,
    Attachment,
    AttachmentCreateParams,
    AttachmentUploadDescriptor,
    FileAttachment,
    Page,
    SyncCustomActionResponse,
    ThreadItem,
    ThreadItemDoneEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    UserMessageItem,
    WidgetItem,
)
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse

from chatstore import ChatStore, open_store
from chatstore.ids import new_id
from chatstore.integrations.chatkit import ChatKitStore
from chatstore.testing.servers import S3Server, ServerUnavailable
from tests.integrations.chatkit.sites import OpenSite, Site, new_place, opened_site


@dataclass(frozen=True)
class Context:
    """The context of a request, as an application defines it."""

    user_id: str


Script: TypeAlias = Callable[[ThreadMetadata, UserMessageItem | None, Context], AsyncIterator[ThreadStreamEvent]]


@pytest.fixture
def ann() -> Context:
    """The context of ann's requests."""
    return Context("ann")


@pytest.fixture
def bob() -> Context:
    """The context of bob's requests."""
    return Context("bob")


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def chat_store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a fresh store of each kind."""
    if request.param == "memory":
        return "memory://"
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def chat(chat_store_url: str) -> AsyncIterator[ChatStore]:
    """The store that ChatKit's adapter stands on."""
    async with open_store(chat_store_url) as chat:
        yield chat


@pytest.fixture
def store(chat: ChatStore) -> ChatKitStore[Any]:
    """The adapter under test."""
    return ChatKitStore(chat)


@pytest.fixture
async def thread(store: ChatKitStore[Any], ann: Context) -> ThreadMetadata:
    """A thread of ann's that another request made: nothing is remembered of it here."""
    thread = ThreadMetadata(id="thr_1", created_at=datetime(2024, 5, 17, 12, 0))
    await asyncio.create_task(store.save_thread(thread, ann))
    return thread


class Uploads(AttachmentStore[Context]):
    """Where the bytes would go, and the descriptors that lead there."""

    def __init__(self) -> None:
        self.deleted: list[str] = []

    async def delete_attachment(self, attachment_id: str, context: Context) -> None:
        self.deleted.append(attachment_id)

    async def create_attachment(self, input: AttachmentCreateParams, context: Context) -> Attachment:
        id = self.generate_attachment_id(input.mime_type, context)
        descriptor = AttachmentUploadDescriptor.model_validate({"url": f"https://up.example/{id}", "method": "PUT"})
        return FileAttachment(id=id, name=input.name, mime_type=input.mime_type, upload_descriptor=descriptor)


class ScriptedServer(ChatKitServer[Context]):
    """The SDK's server, whose answers are a test's own."""

    def __init__(self, store: Store[Context]) -> None:
        super().__init__(store, Uploads())
        self.script: Script = says("hello")
        self.cancelled = asyncio.Event()

    def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: Context
    ) -> AsyncIterator[ThreadStreamEvent]:
        return self.script(thread, input_user_message, context)

    def action(
        self, thread: ThreadMetadata, action: Action[str, Any], sender: WidgetItem | None, context: Context
    ) -> AsyncIterator[ThreadStreamEvent]:
        return says(f"{action.type} from {sender.id if sender else 'nowhere'}")(thread, None, context)

    async def sync_action(
        self, thread: ThreadMetadata, action: Action[str, Any], sender: WidgetItem | None, context: Context
    ) -> SyncCustomActionResponse:
        return SyncCustomActionResponse(updated_item=sender)

    async def handle_stream_cancelled(
        self, thread: ThreadMetadata, pending_items: list[ThreadItem], context: Context
    ) -> None:
        await super().handle_stream_cancelled(thread, pending_items, context)
        self.cancelled.set()

    async def request(self, context: Context, type: str, **params: Any) -> list[dict[str, Any]]:
        """Send a request in a task of its own, as a web server would; return its events, or its one answer."""
        return await asyncio.create_task(self._answers(context, json.dumps({"type": type, "params": params})))

    async def history(self, context: Context, thread_id: str) -> list[ThreadItem]:
        """Return what another request reads of a thread, oldest first."""
        page: Page[ThreadItem] = await asyncio.create_task(
            self.store.load_thread_items(thread_id, None, 1000, "asc", context)
        )
        return page.data

    async def heard(self, context: Context, thread_id: str) -> list[str]:
        """Return the text of each message of a thread, the type of each other item."""
        return [
            item.content[0].text if isinstance(item, UserMessageItem | AssistantMessageItem) else item.type
            for item in await self.history(context, thread_id)
        ]

    async def say(self, context: Context, thread_id: str, text: str, *attachments: str) -> list[dict[str, Any]]:
        """Send a user's message."""
        return await self.request(
            context, "threads.add_user_message", thread_id=thread_id, input=self.typed(text, *attachments)
        )

    @staticmethod
    def typed(text: str, *attachments: str) -> dict[str, Any]:
        """Return the JSON of what a user typed."""
        content = [{"type": "input_text", "text": text}]
        return {"content": content, "attachments": list(attachments), "inference_options": {}}

    async def _answers(self, context: Context, body: str) -> list[dict[str, Any]]:
        result = await self.process(body, context)
        if isinstance(result, NonStreamingResult):
            return [json.loads(result.json)]
        return [json.loads(line.removeprefix(b"data: ")) async for line in result]


def says(text: str) -> Script:
    """Return the script of one finished message."""

    async def script(
        thread: ThreadMetadata, message: UserMessageItem | None, context: Context
    ) -> AsyncIterator[ThreadStreamEvent]:
        content = [AssistantMessageContent(text=text)]
        yield ThreadItemDoneEvent(
            item=AssistantMessageItem(id=new_id("msg"), thread_id=thread.id, created_at=datetime.now(), content=content)
        )

    return script


@pytest.fixture
def server(store: ChatKitStore[Context]) -> ScriptedServer:
    """ChatKit's server, called without HTTP."""
    return ScriptedServer(store)


def application(server: ScriptedServer) -> FastAPI:
    """Return the web application of the SDK's guide."""
    app = FastAPI()

    @app.post("/chatkit")
    async def chatkit(request: Request) -> Response:
        result = await server.process(await request.body(), Context(request.headers["x-user"]))
        if isinstance(result, StreamingResult):
            return StreamingResponse(result, media_type="text/event-stream")
        return Response(result.json, media_type="application/json")

    return app


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[int]:
    """Serve an application with uvicorn on a free loopback port and yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        web = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        serving = asyncio.create_task(web.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            web.should_exit = True
            await serving


@pytest.fixture(name="scripted")
def _scripted() -> type[ScriptedServer]:
    """The scripted server, for a test that makes its own."""
    return ScriptedServer


@pytest.fixture(name="application")
def _application() -> Callable[[ScriptedServer], FastAPI]:
    """Call it with a server to get its web application."""
    return application


@pytest.fixture(name="listening")
def _listening() -> Callable[[FastAPI], AbstractAsyncContextManager[int]]:
    """Call it with an application to serve it with uvicorn."""
    return listening


@pytest.fixture
async def http(server: ScriptedServer) -> AsyncIterator[httpx.AsyncClient]:
    """A client of ``server`` behind uvicorn, as ann."""
    async with listening(application(server)) as port:
        address = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=address, headers={"x-user": "ann"}) as client:
            yield client


@pytest.fixture(scope="session")
def found_s3_server() -> Iterator[S3Server | str]:
    """A server of the S3 protocol, or why there is none."""
    try:
        server = S3Server().start()
    except ServerUnavailable as error:
        yield str(error)
        return
    yield server
    server.stop()


@pytest.fixture
def s3_url(found_s3_server: S3Server | str, require: Callable[[str], NoReturn], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a place in a bucket where nothing is yet."""
    for name in {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} - os.environ.keys():
        monkeypatch.setenv(name, "testing")
    server = found_s3_server if isinstance(found_s3_server, S3Server) else require(found_s3_server)
    return new_place(server.url())


PLACES = ["memory-memory", "sqlite-file", "postgresql-sql", "sqlite-s3"]


@pytest.fixture(params=PLACES)
def places(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Where records and bytes are: two URLs."""
    store, _, blobs = request.param.partition("-")
    url = "memory://" if store == "memory" else request.getfixturevalue(f"{store}_url")
    if blobs == "s3":
        return url, request.getfixturevalue("s3_url")
    return url, {"memory": "memory://", "file": f"file:{tmp_path}/blobs", "sql": "sql"}[blobs]


@pytest.fixture
async def open_site(places: tuple[str, str], tmp_path: Path) -> AsyncIterator[OpenSite]:
    """Open the site with options of ``open_store``; it is closed at the end of the test."""
    async with AsyncExitStack() as opened:

        async def open_here(**options: Any) -> Site:
            return await opened.enter_async_context(opened_site(ScriptedServer, *places, tmp_path, **options))

        yield open_here


@pytest.fixture
async def site(open_site: OpenSite) -> Site:
    """ChatKit's server with files in every pair of places, served over HTTP."""
    site: Site = await open_site()
    return site
