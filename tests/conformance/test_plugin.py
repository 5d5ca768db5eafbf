"""What pytest finds by itself: the fixture, asserts that explain, and no harm to those who do not use them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from chatstore import ChatStore, Item
from chatstore.protocols import Store

_SYNCHRONOUS = """
def test_without_asyncio(chat_store):
    assert chat_store.for_user("ann").owner.user == "ann"
"""

_FAILING = """
import pytest
from chatstore.stores.memory import MemoryStore
from chatstore.testing.store_suite import StoreTests

class Wrong(MemoryStore):
    async def load_item(self, thread_id, item_id, *, owner):
        item = await super().load_item(thread_id, item_id, owner=owner)
        return item.model_copy(update={"type": "wrong"})

class TestWrong(StoreTests):
    @pytest.fixture
    async def store(self):
        async with Wrong() as store:
            yield store
"""


def _pytest(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_given.py").write_text(text)
    command = [sys.executable, "-W", "ignore", "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


async def test_the_fixture_is_a_new_store_in_memory(chat_store: ChatStore) -> None:
    ann = chat_store.for_user("ann")
    thread = await ann.create_thread(title="Hello")
    await ann.add_thread_item(thread.id, Item(type="user_message", data={"text": "hi"}))
    assert [item.data for item in (await ann.load_thread_items(thread.id)).data] == [{"text": "hi"}]
    assert isinstance(chat_store.store, Store)


async def test_the_fixture_shares_nothing_with_other_tests(chat_store: ChatStore) -> None:
    assert (await chat_store.for_user("ann").load_threads()).data == []


def test_a_run_without_pytest_asyncio_is_not_disturbed(tmp_path: Path) -> None:
    run = _pytest(tmp_path, _SYNCHRONOUS, "-p", "no:asyncio", "-p", "no:anyio")
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_failing_test_of_the_suite_shows_the_values(tmp_path: Path) -> None:
    run = _pytest(tmp_path, _FAILING, "--asyncio-mode=auto", "-k", "test_an_unknown_type_comes_back_whole")
    assert run.returncode == 1
    assert "'wrong'" in run.stdout
    assert "hologram/v99" in run.stdout


def test_the_plugin_imports_no_database_driver() -> None:
    program = (
        "import sys, chatstore.pytest_plugin; print([n for n in ('sqlalchemy', 'hypothesis') if n in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout == "[]\n"
