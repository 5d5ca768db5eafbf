"""A whole site: ChatKit's server with files, and the routes that a browser sends and fetches bytes by."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aioboto3  # type: ignore[import-untyped]
import httpx
import pytest
import uvicorn
from chatkit.types import Attachment, FileAttachment, ImageAttachment, UserMessageItem
from fastapi import FastAPI, Request

from chatstore import Capability, ChatStore, Owner, open_store
from chatstore.integrations.chatkit import ChatKitAttachmentStore, ChatKitStore
from chatstore.integrations.fastapi import attachments_router
from chatstore.protocols import Limits

if TYPE_CHECKING:
    from tests.integrations.chatkit.conftest import Context, ScriptedServer

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
PDF = b"%PDF-1.7 " + bytes(range(256))
HTML = b"<!doctype html><script>alert(1)</script>"
LIMITS = Limits(file_bytes=1_000_000)
ANN = Owner("ann")
_REGION = "us-east-1"

IN_MEMORY = pytest.mark.parametrize("places", ["memory-memory"], indirect=True)
IN_FILES = pytest.mark.parametrize("places", ["sqlite-file"], indirect=True)
IN_S3 = pytest.mark.parametrize("places", ["sqlite-s3"], indirect=True)
WITHOUT_S3 = pytest.mark.parametrize("places", ["memory-memory", "sqlite-file", "postgresql-sql"], indirect=True)


@dataclass
class Site:
    """One store behind ChatKit's server and the attachment routes, and a browser."""

    chat: ChatStore
    server: ScriptedServer
    web: httpx.AsyncClient
    folder: Path

    @property
    def presigns(self) -> bool:
        """Whether clients upload to the blob store itself."""
        return self.chat.blobs is not None and Capability.PRESIGN_PUT in self.chat.blobs.capabilities

    async def create(
        self, context: Context, name: str = "a.png", size: int = len(PNG), mime_type: str = "image/png"
    ) -> dict[str, Any]:
        """Announce a file by ChatKit's own request and return the attachment that it answers with."""
        [created] = await self.server.request(context, "attachments.create", name=name, size=size, mime_type=mime_type)
        return created

    async def send(self, created: dict[str, Any], data: Any = PNG) -> httpx.Response:
        """Send bytes as the descriptor of an attachment says; a browser says itself how many there are."""
        to = created["upload_descriptor"]
        headers = {name: value for name, value in to.get("headers", {}).items() if name != "Content-Length"}
        return await self.web.request(to["method"], to["url"], headers=headers, content=data)

    async def upload(self, context: Context, data: bytes = PNG, mime_type: str = "image/png") -> str:
        """Upload a file in two phases and return its id; it is ready, as a message that names it makes it."""
        created = await self.create(context, size=len(data), mime_type=mime_type)
        assert (await self.send(created, data)).status_code == 200
        id: str = created["id"]
        await self.load(context, id)
        return id

    async def new_thread(self, context: Context, *attachments: str, text: str = "look") -> str:
        """Begin a thread with a message that names attachments, and return its id."""
        events = await self.server.request(context, "threads.create", input=self.server.typed(text, *attachments))
        assert events[-1]["type"] == "thread.item.done", events[-1]
        id: str = events[0]["thread"]["id"]
        return id

    async def shown(self, context: Context, thread_id: str) -> list[Attachment]:
        """Return the attachments of a thread's messages as another request reads them."""
        history = await self.server.history(context, thread_id)
        return [each for item in history if isinstance(item, UserMessageItem) for each in item.attachments]

    async def load(self, context: Context, attachment_id: str) -> Attachment:
        """Return an attachment as another request reads it."""
        return await asyncio.create_task(self.server.store.load_attachment(attachment_id, context))

    async def sweep(self) -> list[str]:
        """Sweep, and return the keys of the bytes that are left."""
        await self.chat.admin().sweep(grace=timedelta(0))
        assert self.chat.blobs is not None
        return [key async for key, _ in self.chat.blobs.list()]

    async def stored_text(self, thread_id: str) -> str:
        """Return everything that the store keeps of a thread of ann's, as text."""
        ann = self.chat.for_user("ann")
        items = [item.payload async for item in ann.iter_thread_items(thread_id)]
        records = (await ann.load_thread_attachments(thread_id)).data
        return " ".join([*items, *(record.model_dump_json() for record in records)])


OpenSite = Callable[..., Any]


@asynccontextmanager
async def opened_site(
    make_server: Callable[[ChatKitStore[Any]], ScriptedServer], url: str, blobs: str, folder: Path, **options: Any
) -> AsyncIterator[Site]:
    """Serve the attachment routes with uvicorn on a free loopback port, where ``public_url`` points."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        given = {"signing_keys": [b"k" * 32], "public_url": f"{base}/files", "limits": LIMITS, **options}
        async with open_store(url, blobs=blobs, **given) as chat:
            server = make_server(ChatKitStore(chat))
            server.attachment_store = ChatKitAttachmentStore(chat)
            app = FastAPI()
            app.include_router(attachments_router(chat, user=_user), prefix="/files")
            web = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
            serving = asyncio.create_task(web.serve(sockets=[listener]))
            try:
                async with httpx.AsyncClient(base_url=base, headers={"x-user": "ann"}) as client:
                    yield Site(chat, server, client, folder)
            finally:
                web.should_exit = True
                await serving


def _user(request: Request) -> str:
    return request.headers["x-user"]


def new_place(endpoint: str) -> str:
    """Return the URL of a fresh prefix in a bucket, as ``open_store`` takes it."""
    return f"s3://{_bucket(endpoint)}/{uuid.uuid4().hex}?endpoint_url={endpoint}&region={_REGION}"


@cache
def _bucket(endpoint: str) -> str:
    async def create(name: str) -> str:
        async with aioboto3.Session().client("s3", endpoint_url=endpoint, region_name=_REGION) as client:
            await client.create_bucket(Bucket=name)
        return name

    return asyncio.run(create(f"chatstore-{uuid.uuid4().hex}"))


def message(thread_id: str, *named: Attachment, id: str = "msg_1") -> UserMessageItem:
    """Return a user's message as an application would make it."""
    content = [{"type": "input_text", "text": "by hand"}]
    fields = {"content": content, "inference_options": {}, "created_at": datetime(2024, 5, 17)}
    item = UserMessageItem.model_validate({"id": id, "thread_id": thread_id, **fields})
    item.attachments = list(named)
    return item


def from_json(value: dict[str, Any]) -> Attachment:
    """Return the attachment in an answer of the server."""
    kind = ImageAttachment if value["type"] == "image" else FileAttachment
    return kind.model_validate(value)


def to_json(attachment: Attachment) -> dict[str, Any]:
    """Return an attachment as an answer of the server has it."""
    return attachment.model_dump(mode="json")
