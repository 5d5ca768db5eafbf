"""Downloads through the server: whole, in part, on conditions; and what others get to see."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from chatstore import ConfigurationError, open_store
from chatstore.blobs.memory import MemoryBlobs
from chatstore.errors import UnavailableError
from chatstore.instants import now
from chatstore.integrations.fastapi import attachments_router
from chatstore.protocols import Capability, PresignedRequest

if TYPE_CHECKING:
    from tests.integrations.fastapi.conftest import Serve, Served

DATA = bytes(range(256)) * 4096
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
PROBLEM = "application/problem+json"


def test_a_download_carries_what_keeps_a_browser_safe(served: Served) -> None:
    content = served.ann.get(f"/{served.upload(b'<script>', 'x.html', 'text/html')}/content")
    assert (content.content, content.headers["Content-Type"]) == (b"<script>", "application/octet-stream")
    assert content.headers["Content-Disposition"] == 'attachment; filename="x.html"'
    assert content.headers["X-Content-Type-Options"] == "nosniff"
    assert content.headers["Content-Security-Policy"].startswith("sandbox")
    assert content.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_an_image_is_shown_inline(served: Served) -> None:
    headers = served.ann.get(f"/{served.upload(PNG, 'x.png', 'image/png')}/content").headers
    assert (headers["Content-Type"], headers["Content-Disposition"]) == ("image/png", 'inline; filename="x.png"')


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-299999", 100, 300_000),
        ("bytes=1000000-", 1_000_000, len(DATA)),
        ("bytes=-5", len(DATA) - 5, len(DATA)),
        ("bytes=5-99999999999", 5, len(DATA)),
        ("bytes=0-", 0, len(DATA)),
    ],
)
def test_a_range_is_exactly_what_was_asked_for(served: Served, asked: str, start: int, end: int) -> None:
    part = served.ann.get(f"/{served.upload(DATA)}/content", headers={"Range": asked})
    assert (part.status_code, part.content) == (206, DATA[start:end])
    assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
    assert part.headers["Content-Length"] == str(end - start)


def test_a_range_beyond_the_end_is_416(served: Served) -> None:
    beyond = served.ann.get(f"/{served.upload(b'hello')}/content", headers={"Range": "bytes=5-"})
    assert (beyond.status_code, beyond.content, beyond.headers["Content-Range"]) == (416, b"", "bytes */5")


def test_conditions_are_kept(served: Served) -> None:
    path = f"/{served.upload(DATA)}/content"
    tag = served.ann.get(path).headers["ETag"]

    def answer(**headers: str) -> tuple[int, int]:
        answer = served.ann.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return answer.status_code, len(answer.content)

    assert answer(If_None_Match=tag) == (304, 0)
    assert answer(If_None_Match='"other"') == (200, len(DATA))
    assert answer(If_Match='"other"') == (412, 0)
    assert answer(Range="bytes=0-9", If_Range=tag) == (206, 10)
    assert answer(Range="bytes=0-9", If_Range='"other"') == (200, len(DATA))
    assert served.ann.get(path, headers={"If-None-Match": tag}).headers["ETag"] == tag


def test_head_is_get_without_the_bytes(served: Served) -> None:
    path = f"/{served.upload(DATA)}/content"
    get, head = served.ann.get(path), served.ann.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert {**head.headers, "date": ""} == {**get.headers, "date": ""}
    assert head.headers["Content-Length"] == str(len(DATA))


@pytest.mark.parametrize("headers", [{"X-User": "bob"}, {"X-User": "ann", "X-Tenant": "other"}])
def test_somebody_elses_file_is_answered_like_none(served: Served, headers: dict[str, str]) -> None:
    id, other = served.upload(DATA), served.client(**headers)
    for method, path in [
        ("GET", "/{}"), ("GET", "/{}/content"), ("HEAD", "/{}/content"), ("POST", "/uploads/{}/complete")
    ]:  # fmt: skip
        theirs, none = other.request(method, path.format(id)), other.request(method, path.format("atc_none"))
        assert (theirs.status_code, none.status_code) == (404, 404)
        assert theirs.text.replace(id, "atc_none") == none.text
        assert {**theirs.headers, "date": "", "content-length": ""} == {
            **none.headers,
            "date": "",
            "content-length": "",
        }
    assert other.delete(f"/{id}").status_code == 204
    assert served.ann.get(f"/{id}/content").content == DATA


@pytest.mark.parametrize("user", [None, ""])
def test_a_request_of_nobody_is_refused(serve: Serve, user: str | None) -> None:
    served = serve()
    nobody = served.client(**({} if user is None else {"X-User": user}))
    id = served.upload(b"hello")
    answers = [
        nobody.post(served.base_url, params={"name": "a"}, content=b"x"),
        nobody.post("/uploads", json={"name": "a", "mime_type": "text/plain", "size": 1}),
        nobody.post(f"/uploads/{id}/complete"),
        nobody.get(f"/{id}"),
        nobody.get(f"/{id}/content"),
        nobody.delete(f"/{id}"),
    ]
    assert [(answer.status_code, answer.headers["Content-Type"]) for answer in answers] == [(403, PROBLEM)] * 6
    assert served.ann.get(f"/{id}").json()["state"] == "ready"


def test_the_record_is_the_one_of_the_upload(served: Served) -> None:
    answer = served.ann.post(served.base_url, params={"name": "a"}, content=b"hello")
    assert served.ann.get(f"/{answer.json()['id']}").json() == answer.json()


def test_a_deleted_file_is_gone_with_its_bytes(served: Served) -> None:
    id = served.upload(DATA)
    assert [served.ann.delete(f"/{id}").status_code for _ in range(2)] == [204, 204]
    assert served.ann.get(f"/{id}/content").status_code == 404
    served.call(served.store.admin().sweep())
    assert served.keys() == []


def test_missing_bytes_are_an_error_of_the_server(served: Served) -> None:
    id = served.upload(DATA)
    served.call(served.blobs.delete(served.key_of(id)))
    for headers in ({}, {"Range": "bytes=0-9"}):
        answer = served.ann.get(f"/{id}/content", headers=headers)
        assert (answer.status_code, answer.headers["Content-Type"]) == (500, PROBLEM)
        assert answer.json() == {"type": "about:blank", "title": "Internal Server Error", "status": 500}


def test_damage_in_a_small_file_is_an_error_of_the_server(served: Served) -> None:
    id = served.upload(b"hello")
    served.call(served.blobs.put(served.key_of(id), b"hellp", content_type="text/plain"))
    answer = served.ann.get(f"/{id}/content")
    assert (answer.status_code, b"hell" in answer.content) == (500, False)


@pytest.mark.parametrize("damaged", [DATA[:-1] + b"!", DATA[:-1], DATA[:500_000]])
def test_damage_found_in_the_middle_breaks_the_connection(served: Served, damaged: bytes) -> None:
    id = served.upload(DATA)
    served.call(served.blobs.put(served.key_of(id), damaged, content_type="text/plain"))
    with pytest.raises(httpx.RemoteProtocolError):
        served.ann.get(f"/{id}/content")


def test_a_range_that_turns_out_short_breaks_the_connection(served: Served) -> None:
    id = served.upload(DATA)
    served.call(served.blobs.put(served.key_of(id), DATA[:500_000], content_type="text/plain"))
    with pytest.raises(httpx.RemoteProtocolError):
        served.ann.get(f"/{id}/content", headers={"Range": "bytes=100-"})


class Breaking(MemoryBlobs):
    """Fails after the first chunk, and counts who is still reading."""

    readers = 0

    @asynccontextmanager
    async def open(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        self.readers += 1
        try:
            yield self._broken()
        finally:
            self.readers -= 1

    async def _broken(self) -> AsyncIterator[bytes]:
        yield DATA[:1000]
        yield DATA[1000:2000]
        raise UnavailableError("cut off")


def test_a_failure_in_the_middle_breaks_the_connection_and_lets_the_bytes_go(serve: Serve) -> None:
    blobs = Breaking()
    served = serve(blobs)
    id = served.upload(DATA)
    with pytest.raises(httpx.RemoteProtocolError):
        served.ann.get(f"/{id}/content")
    assert blobs.readers == 0
    assert served.ann.get(f"/{id}").status_code == 200


class Endless(MemoryBlobs):
    """Gives bytes until its reader goes, and tells when it went."""

    def __init__(self) -> None:
        super().__init__()
        self.left = threading.Event()

    @asynccontextmanager
    async def open(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        try:
            yield self._bytes()
        finally:
            self.left.set()

    async def _bytes(self) -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0)
            yield b"e"


def test_a_download_that_nobody_reads_on_lets_the_bytes_go(serve: Serve) -> None:
    blobs = Endless()
    served = serve(blobs)
    id = served.upload(DATA)
    with served.ann.stream("GET", f"/{id}/content") as content:
        assert next(content.iter_raw()).startswith(b"e")
    assert blobs.left.wait(10)


class Presigning(MemoryBlobs):
    """Says that somebody else serves its blobs."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities | {Capability.PRESIGN_GET}

    async def presign_get(
        self, key: str, *, expires_in: timedelta, download_name: str | None = None
    ) -> PresignedRequest:
        return PresignedRequest(f"https://blobs.example/{key}?name={download_name}", "GET", {}, now() + expires_in)


def test_a_redirect_leads_to_the_blob_store(serve: Serve) -> None:
    served = serve(Presigning(), redirect=True)
    id = served.upload(PNG, "x.png", "image/png")
    answer = served.ann.get(f"/{id}/content")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (307, "no-store")
    assert answer.headers["Location"] == f"https://blobs.example/{served.key_of(id)}?name=x.png"
    assert served.ann.head(f"/{id}/content").status_code == 200
    assert served.bob.get(f"/{id}/content").status_code == 404


@pytest.mark.parametrize("mime_type", ["text/html", "image/svg+xml", "image/png"])
def test_what_the_blob_store_would_serve_as_something_else_is_not_redirected(serve: Serve, mime_type: str) -> None:
    served = serve(Presigning(), redirect=True)
    content = served.ann.get(f"/{served.upload(b'<script>', 'x', mime_type)}/content")
    assert (content.status_code, content.headers["Content-Type"]) == (200, "application/octet-stream")


def test_nothing_is_redirected_unless_asked_for(serve: Serve) -> None:
    served = serve(Presigning())
    assert served.ann.get(f"/{served.upload(PNG, 'x.png', 'image/png')}/content").content == PNG


def test_the_user_is_mandatory() -> None:
    untyped: Any = attachments_router
    with pytest.raises(TypeError, match="user"):
        untyped(open_store("memory://", blobs="memory://"))


def test_a_store_without_blobs_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="blobs"):
        attachments_router(open_store("memory://"), user=str)


def test_routes_are_described_once_each(serve: Serve) -> None:
    paths = serve().app.openapi()["paths"]
    assert sorted((path, method) for path, methods in paths.items() for method in methods) == [
        ("/files", "post"),
        ("/files/download/{token}", "get"),
        ("/files/upload/{token}", "put"),
        ("/files/uploads", "post"),
        ("/files/uploads/{attachment_id}/complete", "post"),
        ("/files/{attachment_id}", "delete"),
        ("/files/{attachment_id}", "get"),
        ("/files/{attachment_id}/content", "get"),
    ]


@pytest.mark.parametrize("missing", ["fastapi", "python_multipart"])
def test_a_missing_framework_names_what_to_install(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; import chatstore.integrations.fastapi"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 1
    assert 'ConfigurationError: attachments_router needs FastAPI: pip install "chatstore-py[fastapi]"' in ended.stderr
