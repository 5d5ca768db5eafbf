"""Files in the example server, over HTTP alone: who gets them, what is refused, what becomes of them."""

import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from client import ADD, NEW, Client, done, message
from running import Running, Serve

from examples.made_files import picture

NOTES = b"swim, read, sleep\n"


def announce(client: Client, name: str = "notes.txt", mime_type: str = "text/plain", size: int = len(NOTES)) -> Any:
    return client.ask("attachments.create", name=name, mime_type=mime_type, size=size)


def send(client: Client, attachment: dict[str, Any], content: bytes) -> httpx.Response:
    request = attachment["upload_descriptor"]
    return client.http.request(request["method"], request["url"], headers=request["headers"], content=content)


def upload(client: Client, name: str, mime_type: str, content: bytes) -> dict[str, Any]:
    attachment: dict[str, Any] = announce(client, name, mime_type, len(content)).raise_for_status().json()
    send(client, attachment, content).raise_for_status()
    return attachment


def about(text: str, *attachments: dict[str, Any]) -> dict[str, Any]:
    return message(text) | {"attachments": [attachment["id"] for attachment in attachments]}


def answer_to(client: Client, type: str, **params: Any) -> str:
    text: str = done(list(client.events(type, **params)), "assistant_message")["content"][0]["text"]
    return text


def test_the_assistant_gets_the_bytes_of_small_and_of_large_files(client: Client) -> None:
    recording = b"RIFF\xf4\xff\xff\x00WAVEfmt " + bytes(range(256)) * 65_536
    files = [
        upload(client, "sunset.png", "image/png", picture()),
        upload(client, "notes.txt", "text/plain", NOTES),
        upload(client, "waves.wav", "audio/wav", recording),
    ]
    answer = answer_to(client, NEW, input=about("Look", *files))
    for content in (picture(), NOTES, recording):
        digest = sha256(content).hexdigest()
        assert f"has {len(content):,} bytes, and its SHA-256 begins with {digest[:12]}." in answer


def test_a_message_shows_its_files_with_urls_that_are_new_each_time(client: Client) -> None:
    attachment = upload(client, "sunset.png", "image/png", picture())
    thread_id, _ = client.begin("Hello")
    list(client.events(ADD, thread_id=thread_id, input=about("Look", attachment)))
    (shown,) = client.items(thread_id)[2]["attachments"]
    assert (shown["id"], shown["name"], shown["thread_id"]) == (attachment["id"], "sunset.png", thread_id)
    assert "upload_descriptor" not in shown
    image = httpx.get(shown["preview_url"], trust_env=False)
    assert (image.headers["content-type"], image.content) == ("image/png", picture())
    assert image.headers["content-disposition"].startswith("inline")
    (again,) = client.items(thread_id)[2]["attachments"]
    assert again["preview_url"] != shown["preview_url"]


def test_a_link_downloads_without_a_session(client: Client) -> None:
    attachment = upload(client, "../naïve “notes”.txt", "text/plain", NOTES)
    url = client.http.get(f"/files/{attachment['id']}/link").raise_for_status().json()["url"]
    file = httpx.get(url, trust_env=False)
    assert file.content == NOTES
    assert file.headers["content-disposition"].startswith("attachment;")
    assert file.headers["x-content-type-options"] == "nosniff"


def test_somebody_else_finds_no_file_and_cannot_name_or_delete_it(server: Running, client: Client) -> None:
    attachment = upload(client, "notes.txt", "text/plain", NOTES)
    with (other := Client(server.address, "somebody-else")).http:
        for part in ("", "/content", "/link"):
            theirs, none = (other.http.get(f"/files/{id}{part}") for id in (attachment["id"], "absent"))
            assert theirs.status_code == none.status_code == 404
        for named in (attachment, {"id": "absent"}):
            created, refused = other.events(NEW, input=about("Mine", named))
            assert refused["message"] == "The message names something that is not here any more."
            thread_id = created["thread"]["id"]
            assert other.ask(ADD, thread_id=thread_id, input=about("Mine", named)).status_code == 404
            assert other.items(thread_id) == []
        other.ask("attachments.delete", attachment_id=attachment["id"])
        other.http.delete(f"/files/{attachment['id']}")
    assert client.http.get(f"/files/{attachment['id']}/content").content == NOTES


@pytest.mark.parametrize("path", ["/files/absent", "/files/absent/content", "/files/absent/link"])
def test_a_request_for_a_file_without_a_user_is_refused(server: Running, path: str) -> None:
    assert httpx.get(server.address.rstrip("/") + path, trust_env=False).status_code == 401


@pytest.mark.parametrize(
    ("announced", "status", "said"),
    [
        ({"mime_type": "application/x-msdownload"}, 415, "Files of this type are not taken here"),
        ({"size": 50_000_001}, 413, "too large: a file may have 50 MB"),
        ({"size": -1}, 422, "refused"),
        ({"name": "not\0es.txt"}, 422, "refused"),
    ],
)
def test_what_is_not_taken_is_said_before_any_byte_is_sent(
    client: Client, announced: dict[str, Any], status: int, said: str
) -> None:
    answer = announce(client, **announced)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


def test_all_files_of_a_user_together_are_limited(client: Client) -> None:
    for _ in range(10):
        assert announce(client, size=50_000_000).status_code == 200
    answer = announce(client, size=1)
    assert answer.status_code == 413
    assert "no room left" in answer.json()["detail"]


@pytest.mark.parametrize("content", [NOTES[:-1], NOTES + b"!"])
def test_bytes_that_are_not_as_announced_are_not_kept(client: Client, content: bytes) -> None:
    attachment = announce(client).json()
    assert send(client, attachment, content).status_code == 422
    assert client.http.get(f"/files/{attachment['id']}").json()["state"] == "pending"
    assert client.http.get(f"/files/{attachment['id']}/content").status_code == 404
    assert send(client, attachment, NOTES).status_code == 200


def test_an_upload_to_what_was_deleted_meanwhile_is_404(client: Client) -> None:
    attachment = announce(client).json()
    client.ask("attachments.delete", attachment_id=attachment["id"]).raise_for_status()
    assert send(client, attachment, NOTES).status_code == 404


def test_a_conversation_goes_on_after_its_file_is_deleted(client: Client) -> None:
    attachment = upload(client, "sunset.png", "image/png", picture())
    events = list(client.events(NEW, input=about("Look", attachment)))
    thread_id = events[0]["thread"]["id"]
    client.ask("attachments.delete", attachment_id=attachment["id"]).raise_for_status()
    (shown,) = client.items(thread_id)[0]["attachments"]
    assert (shown["id"], shown["name"]) == (attachment["id"], "sunset.png")
    question = done(events, "user_message")["id"]
    assert "(The file 'sunset.png' is not there.)" in answer_to(
        client, "threads.retry_after_item", thread_id=thread_id, item_id=question
    )


def test_a_file_named_in_a_second_conversation_stays_when_the_first_is_deleted(client: Client) -> None:
    attachment = upload(client, "notes.txt", "text/plain", NOTES)
    turns = [list(client.events(NEW, input=about("Look", attachment))) for _ in range(2)]
    first, second = (events[0]["thread"]["id"] for events in turns)
    client.ask("threads.delete", thread_id=first).raise_for_status()
    (shown,) = client.items(second)[0]["attachments"]
    assert client.http.get(f"/files/{shown['id']}/content").content == NOTES
    assert client.http.get(f"/files/{attachment['id']}/content").status_code == 404


def test_files_are_there_after_a_restart_and_swept_when_deleted(serving: Serve, tmp_path: Path) -> None:
    with serving(tmp_path / "chat.db") as first, (client := Client(first.address, "ann")).http:
        kept, deleted = (upload(client, "notes.txt", "text/plain", NOTES * count) for count in (1, 2))
        client.http.delete(f"/files/{deleted['id']}").raise_for_status()
        assert client.http.get(f"/files/{deleted['id']}").status_code == 404
        assert sorted(first.contents()) == [NOTES, NOTES * 2]
    with serving(tmp_path / "chat.db") as second, (client := Client(second.address, "ann")).http:
        assert client.http.get(f"/files/{kept['id']}/content").content == NOTES
        until = time.monotonic() + 10
        while NOTES * 2 in contents_meanwhile(second):
            assert time.monotonic() < until, "the bytes of the deleted file were not swept"
            time.sleep(0.05)
        assert second.contents() == [NOTES]


def contents_meanwhile(running: Running) -> list[bytes]:
    """Return what is kept, also while it is swept away."""
    while True:
        with suppress(FileNotFoundError):
            return running.contents()


def test_a_large_file_passes_through_and_is_never_held(serving: Serve, tmp_path: Path) -> None:
    size, block = 50_000_000, bytes(100_000)
    with serving(tmp_path / "chat.db") as running, (client := Client(running.address, "ann")).http:
        upload(client, "notes.txt", "text/plain", NOTES)
        process = psutil.Process(running.pid)
        memory = [process.memory_info().rss]

        def blocks() -> Iterator[bytes]:
            for _ in range(size // len(block)):
                memory.append(process.memory_info().rss)
                yield block

        request = announce(client, "waves.wav", "audio/wav", size).json()["upload_descriptor"]
        headers = request["headers"] | {"Content-Length": str(size)}
        client.http.put(request["url"], headers=headers, content=blocks()).raise_for_status()
        assert max(memory) - memory[0] < 16 * 1024 * 1024
