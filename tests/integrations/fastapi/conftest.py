"""The router behind a real server on loopback, over each kind of blob store."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, TypeVar

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Header

from chatstore import Attachment, ChatStore, Limits, Owner, open_store
from chatstore.integrations.fastapi import attachments_router
from chatstore.protocols import BlobStore

T = TypeVar("T")

KEYS = [b"k" * 32]

START_SECONDS = 20

TLS = ssl.create_default_context()
"""Unused, but each client would load the certificates anew."""


def user_of(x_user: Annotated[str | None, Header()] = None, x_tenant: Annotated[str, Header()] = "") -> Any:
    """Find the user of a request where these tests put it."""
    return Owner(x_user, x_tenant) if x_user and x_tenant else x_user


class _Server(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()


class Served:
    """A server in a thread of its own, its store, and clients of two users."""

    def __init__(self, url: str, blobs: str | BlobStore, redirect: bool, limits: Limits | None, keys: bool) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._socket.getsockname()
        self.base_url = "http://{}:{}/files".format(*self.address)
        self.store: ChatStore = open_store(
            url,
            blobs=blobs,
            limits=limits,
            signing_keys=KEYS if keys else None,
            public_url=self.base_url if keys else None,
        )
        self._loop = asyncio.new_event_loop()
        self._clients = ExitStack()
        app = FastAPI(lifespan=self.store.lifespan)
        app.include_router(attachments_router(self.store, user=user_of, redirect=redirect), prefix="/files")
        self.app = app
        self._server = _Server(uvicorn.Config(app, log_level="critical"))
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()
        assert self._server.listens.wait(START_SECONDS)
        self.ann = self.client(**{"X-User": "ann"})
        self.bob = self.client(**{"X-User": "bob"})

    def stop(self) -> None:
        self._clients.close()
        self._server.should_exit = True
        self._thread.join(START_SECONDS)
        assert not self._thread.is_alive()

    def client(self, **headers: str) -> httpx.Client:
        """Return a client that sends these headers along."""
        return self._clients.enter_context(
            httpx.Client(base_url=self.base_url, headers=headers, timeout=30, verify=TLS)
        )

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` in the server's loop, where the store lives."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def upload(self, data: bytes, name: str = "a.txt", mime_type: str = "text/plain") -> str:
        """Upload as ann; return the id."""
        answer = self.ann.post(self.base_url, params={"name": name}, content=data, headers={"Content-Type": mime_type})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def records(self) -> list[Attachment]:
        """Return every record of every owner."""
        return [record.attachment for _, record in self.call(self.store.store.list_files(after=None, limit=1000))]

    def keys(self) -> list[str]:
        """Return the key of every blob."""
        return self.call(self._keys())

    def connect(self, head: str) -> socket.socket:
        """Return a connection on which ``head`` was sent: for requests that no client would send."""
        connection = socket.create_connection(self.address, 10)
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        return connection

    def requests(self) -> int:
        """Return how many requests the server is busy with."""
        return len(self._server.server_state.tasks)

    def key_of(self, attachment_id: str) -> str:
        """Return where the bytes of ann's attachment are."""
        return self.call(self.store.store.load_file(attachment_id, owner=Owner("ann"))).key

    @property
    def blobs(self) -> BlobStore:
        assert self.store.blobs is not None
        return self.store.blobs

    async def _keys(self) -> list[str]:
        return [key async for key, _ in self.blobs.list()]

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._server.serve([self._socket]))


Serve = Callable[..., Served]


@pytest.fixture
def serve(sqlite_url: str) -> Iterator[Serve]:
    """Call it for a server of the test's own."""
    running: list[Served] = []

    def start(
        blobs: str | BlobStore = "memory://", *, redirect: bool = False, limits: Limits | None = None, keys: bool = True
    ) -> Served:
        served = Served(sqlite_url, blobs, redirect, limits, keys)
        running.append(served)
        served.start()
        return served

    yield start
    for served in running:
        served.stop()


@pytest.fixture(params=["memory", "file", "sql"])
def blobs_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the bytes live: each kind that needs no server."""
    return {"memory": "memory://", "file": f"file:{tmp_path / 'blobs'}", "sql": "sql"}[str(request.param)]


@pytest.fixture
def served(serve: Serve, blobs_url: str) -> Served:
    """A server over each kind of blob store."""
    return serve(blobs_url)
