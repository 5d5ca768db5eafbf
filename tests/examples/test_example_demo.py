"""``make demo``: two conversations are held, files sent, all of it closed away, and read back."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from chatkit.types import InferenceOptions, ThreadMetadata, UserMessageItem, UserMessageTextContent

from chatstore import open_store
from chatstore.integrations.chatkit import ChatKitStore
from examples.demo import DemoError, read_back
from examples.made_files import picture, recording
from examples.visitor import Visitor

ROOT = Path(__file__).parents[2]


DAMAGED = """
from contextlib import contextmanager
from examples import demo

held = demo.serving

@contextmanager
def serving():
    with held() as address:
        yield address
    recording = max(demo.FILES.rglob("*"), key=lambda file: file.stat().st_size)
    {damage}

demo.serving = serving
demo.run()
"""

FLIP = "file = recording.open('r+b'); file.seek(12_345_678); byte = file.read(1)[0]; file.seek(-1, 1); "
FLIP += "file.write(bytes([byte ^ 1])); file.close()"


def run_demo(folder: Path, *program: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "110"}
    command = [sys.executable, *program]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_it_prints_both_conversations_and_their_files_as_they_are_in_a_fresh_store(tmp_path: Path) -> None:
    (tmp_path / "demo.db").write_text("left over, and no database at all")
    (tmp_path / "demo.files").mkdir()
    (tmp_path / "demo.files" / "left over").touch()
    demo = run_demo(tmp_path, "-m", "examples.demo")
    assert demo.returncode == 0, demo.stderr
    lines = demo.stdout.splitlines()
    recorded = b"".join(asyncio.run(blocks_of(recording())))
    for name, mime_type, content in (("waves.wav", "audio/wav", recorded), ("sunset.png", "image/png", picture())):
        first = lines.index(f"  file       {name}, {mime_type}, {len(content):,} bytes: equal to what was sent")
        assert lines[first + 1].strip() == f"SHA-256 {sha256(content).hexdigest()}"
        assert (tmp_path / lines[first + 2].strip().removeprefix("in ")).read_bytes() == content
    assert not (tmp_path / "demo.files" / "left over").exists()
    assert "ann: A weekend in Lisbon" in lines
    assert "ben: Tell me a story about a notebook" in lines
    assert "  10 items: 4 user_message, 4 assistant_message, 1 widget, 1 client_tool_call" in lines
    assert "  7 items: 3 user_message, 3 assistant_message, 1 client_tool_call" in lines
    assert "ann asks for the conversation of ben by exact ids: not found." in lines
    assert "ben asks for the conversation of ann and waves.wav and sunset.png by exact ids: not found." in lines
    assert str(tmp_path / "demo.db") in lines[-1]
    assert str(tmp_path / "demo.files") in lines[-1]
    assert "\x1b" not in demo.stdout


async def blocks_of(chunks: AsyncIterator[bytes]) -> list[bytes]:
    return [chunk async for chunk in chunks]


@pytest.mark.parametrize(("damage", "said"), [(FLIP, "damaged"), ("recording.unlink()", "missing")])
def test_a_file_that_was_damaged_between_is_an_error(tmp_path: Path, damage: str, said: str) -> None:
    demo = run_demo(tmp_path, "-c", DAMAGED.format(damage=damage))
    assert demo.returncode == 1
    assert demo.stdout == ""
    assert demo.stderr.splitlines()[-1].startswith("The demo failed: open_attachment: the bytes of ")
    assert said in demo.stderr.splitlines()[-1]


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
