"""A visitor of a ChatKit server, over HTTP: says things, sends files, and keeps what is streamed back."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import httpx


@dataclass(frozen=True)
class File:
    """What is known of a file by somebody who has seen all its bytes."""

    id: str
    name: str
    mime_type: str
    size: int
    sha256: str


class Visitor:
    """One user with one conversation.

    ``items`` and ``title`` are what the server streamed, ``files`` what was sent to it, and nothing else.
    """

    def __init__(self, http: httpx.AsyncClient, user: str) -> None:
        self.user = user
        self.thread_id = ""
        self.title: str | None = None
        self.items: dict[str, dict[str, Any]] = {}
        self.files: list[File] = []
        self._http = http
        self._headers = {"X-Demo-User": quote(user)}

    async def upload(self, name: str, mime_type: str, size: int, chunks: AsyncIterator[bytes]) -> File:
        """Announce a file, then send its bytes where the server wants them, as a browser does."""
        answer = await self._post("attachments.create", name=name, mime_type=mime_type, size=size)
        announced = answer.raise_for_status().json()
        request = announced["upload_descriptor"]
        headers = request["headers"] | {"Content-Length": str(size)}
        digest = sha256()

        async def hashed() -> AsyncIterator[bytes]:
            async for chunk in chunks:
                digest.update(chunk)
                yield chunk

        sent = await self._http.request(request["method"], request["url"], headers=headers, content=hashed())
        sent.raise_for_status()
        self.files.append(File(announced["id"], name, mime_type, size, digest.hexdigest()))
        return self.files[-1]

    async def say(self, text: str, files: Sequence[File] = ()) -> None:
        content = [{"type": "input_text", "text": text}]
        message = {"content": content, "attachments": [file.id for file in files], "inference_options": {}}
        if self.thread_id:
            await self._stream("threads.add_user_message", thread_id=self.thread_id, input=message)
        else:
            await self._stream("threads.create", input=message)

    async def answer_tool(self, result: dict[str, Any]) -> None:
        """Do what the last item asks of the browser."""
        call = list(self.items.values())[-1]
        assert call["type"] == "client_tool_call"
        await self._stream("threads.add_client_tool_output", thread_id=self.thread_id, result=result)
        call.update(status="completed", output=result)

    async def press(self, action: str) -> None:
        """Press the button of the last widget that has this action."""
        widget = [item for item in self.items.values() if item["type"] == "widget"][-1]
        actions = [part["onClickAction"] for part in widget["widget"]["children"] if "onClickAction" in part]
        pressed = next({"type": each["type"], "payload": each["payload"]} for each in actions if each["type"] == action)
        await self._stream("threads.custom_action", thread_id=self.thread_id, item_id=widget["id"], action=pressed)

    async def retry(self) -> None:
        """Have the last message answered once more; what followed it is gone."""
        ids = list(self.items)
        last = max(index for index, id in enumerate(ids) if self.items[id]["type"] == "user_message")
        for id in ids[last + 1 :]:
            del self.items[id]
        await self._stream("threads.retry_after_item", thread_id=self.thread_id, item_id=ids[last])

    async def rename(self, title: str) -> None:
        answer = await self._post("threads.update", thread_id=self.thread_id, title=title)
        self.title = answer.raise_for_status().json()["title"]

    async def status_of(self, thread_id: str) -> int:
        """Return the HTTP status with which the server answers a request for a thread."""
        return (await self._post("threads.get_by_id", thread_id=thread_id)).status_code

    async def statuses_of_file(self, file_id: str) -> set[int]:
        """Return the HTTP statuses with which the server answers requests for a file: its record, bytes and link."""
        asked = [f"/files/{file_id}{part}" for part in ("", "/content", "/link")]
        return {(await self._http.get(path, headers=self._headers)).status_code for path in asked}

    async def _post(self, type: str, **params: Any) -> httpx.Response:
        return await self._http.post("/chatkit", headers=self._headers, json={"type": type, "params": params})

    async def _stream(self, type: str, **params: Any) -> None:
        request = {"type": type, "params": params}
        async with self._http.stream("POST", "/chatkit", headers=self._headers, json=request) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    self._keep(json.loads(line.removeprefix("data: ")))

    def _keep(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "thread.created" | "thread.updated":
                self.thread_id = event["thread"]["id"]
                self.title = event["thread"].get("title")
            case "thread.item.added" | "thread.item.done" | "thread.item.replaced":
                self.items[event["item"]["id"]] = event["item"]
            case "thread.item.removed":
                del self.items[event["item_id"]]
            case "error":
                raise RuntimeError(f"the server answered with an error: {event}")
