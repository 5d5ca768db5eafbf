"""Uploads through the server: as a raw body and as a form, whole, refused and broken off."""

from __future__ import annotations

import hashlib
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from chatstore import InvalidInputError, Limits
from chatstore.blobs.memory import MemoryBlobs
from chatstore.errors import ChatStoreError, StorageFullError, UnavailableError
from chatstore.integrations.fastapi.forms import FormFile

if TYPE_CHECKING:
    from tests.integrations.fastapi.conftest import Serve, Served

DATA = bytes(range(256)) * 4096
PLAIN = {"Content-Type": "text/plain"}
FORM = {"Content-Type": "multipart/form-data; boundary=cut"}
PART = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n'
END = b"\r\n--cut--\r\n"


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Check that the answer is a problem with this status; return it."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    content: dict[str, Any] = answer.json()
    assert (answer.status_code, content["status"], content["type"]) == (status, status, "about:blank"), content
    return content


def post(
    served: Served, data: bytes | Iterator[bytes], headers: dict[str, str] = PLAIN, **params: str
) -> httpx.Response:
    """Upload as ann."""
    return served.ann.post(served.base_url, params=params, content=data, headers=headers)


def pieces(count: int, size: int = 64 * 1024) -> Iterator[bytes]:
    """Yield a body whose length is not announced."""
    for _ in range(count):
        yield b"p" * size


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until the server, which does not say so, has done its part."""
    until = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def rows(sqlite_url: str) -> Callable[[], int]:
    """Call it for the number of records, pending ones included."""

    def count() -> int:
        connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
        try:
            return int(connection.execute("SELECT count(*) FROM chatstore_attachments").fetchone()[0])
        finally:
            connection.close()

    return count


def test_a_raw_body_is_stored_as_it_is(served: Served) -> None:
    answer = post(served, DATA, {"Content-Type": "application/x-thing"}, name="thing ä.bin")
    assert answer.status_code == 201
    expected = {"name": "thing ä.bin", "mime_type": "application/x-thing", "size": len(DATA), "state": "ready"}
    assert expected.items() <= answer.json().items()
    assert answer.json()["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert served.ann.get(f"/{answer.json()['id']}/content").content == DATA


def test_a_body_of_no_announced_length_is_stored(served: Served) -> None:
    answer = post(served, pieces(5), name="p.txt")
    assert (answer.status_code, answer.json()["size"]) == (201, 5 * 64 * 1024)


def test_an_empty_body_is_an_empty_file(served: Served) -> None:
    id = post(served, b"", name="empty.txt").json()["id"]
    content = served.ann.get(f"/{id}/content")
    assert (content.status_code, content.content, content.headers["Content-Length"]) == (200, b"", "0")


def test_a_form_is_stored_under_the_name_and_type_of_its_file(served: Served) -> None:
    answer = served.ann.post(
        served.base_url, files={"file": ("ü \r\n.png", DATA, "image/png")}, data={"note": "passed over"}
    )
    assert answer.status_code == 201
    assert answer.json()["mime_type"] == "image/png"
    assert answer.json()["name"].startswith("ü ")
    assert served.ann.get(f"/{answer.json()['id']}/content").content == DATA


def test_a_file_joins_the_thread_that_is_named(serve: Serve) -> None:
    served = serve()
    thread = served.call(served.store.for_user("ann").create_thread())
    answer = post(served, b"x", name="a.txt", thread_id=thread.id)
    assert answer.json()["thread_id"] == thread.id


def test_somebody_elses_thread_is_not_there(serve: Serve, rows: Callable[[], int]) -> None:
    served = serve()
    thread = served.call(served.store.for_user("bob").create_thread())
    problem(post(served, b"x", name="a.txt", thread_id=thread.id), 404)
    assert (rows(), served.keys()) == (0, [])


def test_a_raw_body_needs_a_name(serve: Serve) -> None:
    assert "name" in problem(post(serve(), b"x"), 422)["detail"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (PART + b"hello", "last boundary"),
        (PART + b"hello" + END[:-4], "last boundary"),
        (PART + b"one\r\n" + PART + b"two" + END, "more than one"),
        (b"--cut\r\nContent-Disposition: form-data; name=note\r\n\r\nhello" + END, "no file"),
        (b"--cut\r\nContent-Disposition: form-data; name=note\r\n\r\n" + DATA + END, "besides"),
        (PART + b"hello" + END + DATA, "besides"),
        (b"", "no file"),
        (b"hello", "not multipart"),
    ],
)
def test_a_broken_form_leaves_nothing(serve: Serve, rows: Callable[[], int], body: bytes, said: str) -> None:
    served = serve()
    assert said in problem(post(served, body, FORM), 422)["detail"]
    served.call(served.store.admin().sweep())
    assert (rows(), served.keys()) == (0, [])


@pytest.mark.parametrize("boundary", ["", "; boundary=", f"; boundary={'b' * 5000}"])
def test_a_form_needs_a_boundary(serve: Serve, boundary: str) -> None:
    answer = post(serve(), PART + b"hello" + END, {"Content-Type": f"multipart/form-data{boundary}"})
    assert "boundary" in problem(answer, 422)["detail"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100_000])
async def test_a_form_reads_alike_in_chunks_of_any_size(size: int) -> None:
    data = b"\r\n--cu\r\n--\r\n" * 100
    body = b'--cut\r\nContent-Disposition: form-data; name="note"\r\n\r\nhi\r\n' + PART + data + END

    async def arriving() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    form = FormFile(FORM["Content-Type"], arriving())
    await form.begin()
    assert (form.name, form.mime_type) == ("a.txt", "text/plain")
    assert b"".join([chunk async for chunk in form.chunks()]) == data


async def test_a_form_is_refused_before_the_rest_of_it_arrives() -> None:
    async def arriving() -> AsyncIterator[bytes]:
        yield b"--cut\r\nContent-Disposition: form-data; name=note\r\n\r\n"
        while True:
            yield DATA

    with pytest.raises(InvalidInputError, match="besides the file"):
        await FormFile(FORM["Content-Type"], arriving()).begin()


@pytest.mark.parametrize("way", ["raw", "chunked", "form"])
def test_a_file_over_the_limit_leaves_nothing(serve: Serve, blobs_url: str, rows: Callable[[], int], way: str) -> None:
    served = serve(blobs_url, limits=Limits(file_bytes=100_000))
    if way == "form":
        answer = served.ann.post(served.base_url, files={"file": ("a.txt", b"p" * 100_001, "text/plain")})
    else:
        answer = post(served, b"p" * 100_001 if way == "raw" else pieces(2), name="a.txt")
    assert problem(answer, 413)["limit"] == "file_bytes"
    served.call(served.store.admin().sweep())
    assert (rows(), served.keys()) == (0, [])


def test_an_endless_upload_is_stopped_by_the_limit(serve: Serve, rows: Callable[[], int]) -> None:
    served = serve(limits=Limits(file_bytes=100_000))
    answer = post(served, iter(lambda: b"e" * 1000, b""), name="endless.txt")
    assert problem(answer, 413)["limit"] == "file_bytes"
    assert (rows(), served.keys()) == (0, [])


def test_a_file_of_exactly_the_limit_is_stored(serve: Serve) -> None:
    assert post(serve(limits=Limits(file_bytes=1000)), b"p" * 1000, name="a.txt").status_code == 201


def test_limits_of_an_owner_are_413(serve: Serve) -> None:
    served = serve(limits=Limits(owner_files=1))
    served.upload(b"x")
    assert problem(post(served, b"x", name="b.txt"), 413)["limit"] == "owner_files"
    assert served.bob.post(served.base_url, params={"name": "b.txt"}, content=b"x").status_code == 201


def test_a_type_that_is_not_allowed_is_415(serve: Serve) -> None:
    served = serve(limits=Limits(types=frozenset({"image/*"})))
    assert problem(post(served, b"x", name="a.txt"), 415)["limit"] == "types"


@pytest.mark.parametrize("way", ["raw", "form", "chunked"])
def test_an_upload_broken_off_leaves_nothing(served: Served, rows: Callable[[], int], way: str) -> None:
    with broken_off(served, way):
        eventually(lambda: rows() == 1)
    eventually(lambda: rows() == 0)
    served.call(served.store.admin().sweep())
    assert served.keys() == []
    assert post(served, DATA, name="again.txt").status_code == 201


def broken_off(served: Served, way: str) -> socket.socket:
    """Return a connection on which half of an upload was sent."""
    length = "Transfer-Encoding: chunked" if way == "chunked" else "Content-Length: 1000000"
    kind = FORM["Content-Type"] if way == "form" else "text/plain"
    host = f"POST /files?name=half.txt HTTP/1.1\nHost: localhost\nX-User: ann\nContent-Type: {kind}\n{length}"
    connection = served.connect(host)
    half = (PART if way == "form" else b"") + b"p" * 200_000
    connection.sendall(b"%x\r\n%b\r\n" % (len(half), half) if way == "chunked" else half)
    return connection


@pytest.mark.parametrize(
    ("error", "status"), [(UnavailableError("away: secret"), 503), (StorageFullError("full: secret"), 507)]
)
def test_a_failure_of_the_server_is_told_without_its_details(
    serve: Serve, rows: Callable[[], int], error: ChatStoreError, status: int
) -> None:
    class Failing(MemoryBlobs):
        async def put(self, key: str, source: Any, **options: Any) -> Any:
            raise error

    answer = post(serve(Failing()), b"x", name="a.txt")
    problem(answer, status)
    assert "secret" not in answer.text
    assert answer.headers.get("Retry-After") == ("1" if status == 503 else None)
    assert rows() == 0


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\r\nX-Evil: 1", 'a"; filename="b.html', "\u202etxt.exe"])
def test_a_hostile_name_is_harmless_in_the_headers(serve: Serve, name: str) -> None:
    served = serve()
    content = served.ann.get(f"/{served.upload(b'x', name)}/content")
    disposition = content.headers["Content-Disposition"]
    assert disposition.startswith("attachment; ")
    assert "x-evil" not in content.headers
    assert not set(disposition) & set("/\\\u202e")


def test_a_name_that_no_database_keeps_is_422(serve: Serve) -> None:
    problem(post(serve(), b"x", name="a\0b"), 422)
