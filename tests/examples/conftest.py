"""The example server as a process of its own, and Chromium where it is installed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from client import Client
from devtools import Tab, chromium
from running import Running, Serve
from steps import enter

ROOT = Path(__file__).parents[2]


@contextmanager
def _serving(database: Path) -> Iterator[Running]:
    files = database.with_name("files")
    command = [sys.executable, "-m", "examples.chatkit_server", "--port", "0"]
    command += ["--url", f"sqlite:///{database}", "--blobs", files.as_uri()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split(" ")[0]
            assert address.startswith("http://127.0.0.1:"), "the example server did not start"
            yield Running(address, database, files, process.pid)
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def serving() -> Serve:
    """Run the example server over a SQLite file for the length of a block, and stop it as a person would."""
    return _serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with _serving(tmp_path_factory.mktemp("example") / "chat.db") as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[Client]:
    client = Client(server.address, f"user-{uuid4().hex}")
    with client.http:
        yield client


@pytest.fixture(scope="session")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("chromium")) as tab:
        yield tab


@pytest.fixture
def tab(_chromium: Tab, server: Running) -> Iterator[Tab]:
    """The example's page as somebody sees it who comes for the first time; nothing in it may go wrong unseen."""
    tab = _chromium
    tab.look(1200, 800, "light")
    tab.call("Storage.clearDataForOrigin", origin=server.address.rstrip("/"), storageTypes="all")
    tab.open("about:blank")
    tab.open(server.address)
    tab.complaints.clear()
    yield tab
    assert tab.complaints == []


@pytest.fixture
def user(tab: Tab) -> str:
    user = f"user-{uuid4().hex[:12]}"
    enter(tab, user)
    return user
