"""A user of the example server, over HTTP."""

import json
from collections.abc import Iterator
from typing import Any

import httpx

NEW = "threads.create"
ADD = "threads.add_user_message"


class Client:
    """A user of one server."""

    def __init__(self, address: str, user: str) -> None:
        self.http = httpx.Client(base_url=address, headers={"X-Demo-User": user}, trust_env=False, timeout=30)

    def ask(self, type: str, **params: Any) -> httpx.Response:
        return self.http.post("/chatkit", json={"type": type, "params": params})

    def events(self, type: str, **params: Any) -> Iterator[dict[str, Any]]:
        with self.http.stream("POST", "/chatkit", json={"type": type, "params": params}) as response:
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            for line in response.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def begin(self, text: str) -> tuple[str, list[dict[str, Any]]]:
        events = list(self.events(NEW, input=message(text)))
        return events[0]["thread"]["id"], events

    def items(self, thread_id: str) -> list[dict[str, Any]]:
        answer = self.ask("items.list", thread_id=thread_id, limit=100, order="asc")
        data: list[dict[str, Any]] = answer.raise_for_status().json()["data"]
        return data

    def title(self, thread_id: str) -> str:
        title: str = self.ask("threads.get_by_id", thread_id=thread_id).raise_for_status().json()["title"]
        return title


def message(text: str) -> dict[str, Any]:
    return {"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}}


def done(events: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    found = [event["item"] for event in events if event["type"] == "thread.item.done"]
    return next(item for item in found if item["type"] == kind)


def types_of(items: list[dict[str, Any]]) -> list[str]:
    return [item["type"] for item in items]
