"""``make demo``: two conversations are held, closed away, and read back from the file."""

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from chatkit.types import InferenceOptions, ThreadMetadata, UserMessageItem, UserMessageTextContent

from chatstore import open_store
from chatstore.integrations.chatkit import ChatKitStore
from examples.demo import DemoError, read_back
from examples.visitor import Visitor

ROOT = Path(__file__).parents[2]


def test_it_prints_both_conversations_as_they_are_in_a_fresh_file(tmp_path: Path) -> None:
    (tmp_path / "demo.db").write_text("left over, and no database at all")
    demo = subprocess.run(
        [sys.executable, "-m", "examples.demo"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert demo.returncode == 0, demo.stderr
    lines = demo.stdout.splitlines()
    assert "ann: A weekend in Lisbon" in lines
    assert "ben: Tell me a story about a notebook" in lines
    assert "  8 items: 3 user_message, 3 assistant_message, 1 widget, 1 client_tool_call" in lines
    assert "  7 items: 3 user_message, 3 assistant_message, 1 client_tool_call" in lines
    assert "ann asks for the conversation of ben by its exact id: not found." in lines
    assert "ben asks for the conversation of ann by its exact id: not found." in lines
    assert str(tmp_path / "demo.db") in lines[-1]
    assert "\x1b" not in demo.stdout


async def test_a_difference_between_what_was_streamed_and_what_is_kept_is_an_error() -> None:
    now = datetime.now()
    text = UserMessageTextContent(text="Hello")
    item = UserMessageItem(
        id="msg_1", thread_id="thr_1", created_at=now, content=[text], inference_options=InferenceOptions()
    )
    async with open_store("memory://") as chat_store, httpx.AsyncClient() as http:
        store = ChatKitStore(chat_store)
        visitor = Visitor(http, "ann")
        visitor.thread_id, visitor.title = "thr_1", "Hello"
        visitor.items = {item.id: item.model_dump(mode="json")}
        await store.save_thread(ThreadMetadata(id="thr_1", title="Hello", created_at=now), {"user_id": "ann"})
        await store.add_thread_item("thr_1", item, {"user_id": "ann"})
        assert await read_back(store, visitor) == ("Hello", [item])
        visitor.items[item.id]["content"][0]["text"] = "Hello?"
        with pytest.raises(DemoError, match="msg_1"):
            await read_back(store, visitor)
        visitor.items = {}
        with pytest.raises(DemoError, match="number of items"):
            await read_back(store, visitor)
