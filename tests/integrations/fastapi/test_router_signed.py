"""Uploads in two phases and downloads by signed URLs: the token is the permission, and nothing else is."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from chatstore import Owner
from chatstore.instants import now
from chatstore.signing import UrlSigner

if TYPE_CHECKING:
    import httpx

    from tests.integrations.fastapi.conftest import Serve, Served

DATA = bytes(range(256)) * 1024
HOUR = timedelta(hours=1)


def begin(served: Served, size: int = len(DATA), mime_type: str = "text/plain") -> dict[str, Any]:
    """Begin an upload as ann."""
    answer = served.ann.post("/uploads", json={"name": "a.txt", "mime_type": mime_type, "size": size})
    assert answer.status_code == 201, answer.text
    begun: dict[str, Any] = answer.json()
    return begun


def put(served: Served, begun: dict[str, Any], data: Any = DATA) -> httpx.Response:
    """Send the bytes of an upload as anybody."""
    return served.client().request(begun["method"], begun["url"], headers=begun["headers"], content=data)


def url_of(served: Served, id: str, download_name: str | None = None) -> str:
    """Return a signed URL of ann's file."""
    user = served.store.for_user("ann")
    return served.call(user.attachment_url(id, expires_in=HOUR, download_name=download_name))


def refused(answer: httpx.Response) -> str:
    """Check that a token was refused; return why."""
    assert (answer.status_code, answer.headers["Content-Type"]) == (403, "application/problem+json")
    return str(answer.json()["detail"])


def test_an_upload_in_two_phases_is_ready_once_its_bytes_are_there(served: Served) -> None:
    begun = begin(served)
    id = begun["attachment"]["id"]
    assert (begun["attachment"]["state"], begun["method"]) == ("pending", "PUT")
    assert served.ann.get(f"/{id}/content").status_code == 404
    assert served.ann.post(f"/uploads/{id}/complete").status_code == 404
    assert put(served, begun).json()["state"] == "ready"
    completed = [served.ann.post(f"/uploads/{id}/complete") for _ in range(2)]
    assert [(answer.status_code, answer.json()["state"]) for answer in completed] == [(200, "ready")] * 2
    assert served.ann.get(f"/{id}/content").content == DATA


def test_bytes_of_an_upload_cannot_be_replaced(served: Served) -> None:
    begun = begin(served)
    put(served, begun)
    assert put(served, begun, b"!" * len(DATA)).status_code == 409
    assert served.ann.get(f"/{begun['attachment']['id']}/content").content == DATA


@pytest.mark.parametrize("size", [0, len(DATA) - 1, len(DATA) + 1])
@pytest.mark.parametrize("announced", [True, False])
def test_other_than_the_announced_bytes_are_refused_and_may_be_sent_again(
    served: Served, size: int, announced: bool
) -> None:
    begun = begin(served)
    data = (DATA + b"!")[:size]
    answer = put(served, begun, data if announced else iter([data]))
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert served.keys() == []
    assert put(served, begun).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [{"size": -1}, {"size": "5"}, {"size": 2**63}, {"size": True}, {"name": None}, {"mime_type": 5}, {"name": "a\0"}],
)
def test_a_wrong_announcement_is_422(serve: Serve, wrong: dict[str, object]) -> None:
    announced = {"name": "secret.txt", "mime_type": "text/plain", "size": 5} | wrong
    answer = serve().ann.post("/uploads", json=announced)
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert next(iter(wrong)) in answer.json()["detail"]
    assert "secret" not in answer.text


def test_a_file_deleted_meanwhile_takes_no_bytes(served: Served) -> None:
    begun = begin(served)
    served.ann.delete(f"/{begun['attachment']['id']}")
    assert put(served, begun).status_code == 404
    assert served.keys() == []


def test_nobody_else_completes_an_upload(served: Served) -> None:
    begun = begin(served)
    assert served.bob.post(f"/uploads/{begun['attachment']['id']}/complete").status_code == 404


def test_a_signed_download_needs_no_user(served: Served) -> None:
    url, anybody = url_of(served, served.upload(DATA)), served.client()
    whole = anybody.get(url)
    assert (whole.status_code, whole.content) == (200, DATA)
    assert whole.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    part = anybody.get(url, headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, DATA[1:4])
    assert anybody.head(url).headers["Content-Length"] == str(len(DATA))
    assert anybody.get(url, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304


def test_a_signed_name_makes_a_download(serve: Serve) -> None:
    served = serve()
    id = served.upload(b"\x89PNG\r\n\x1a\n" + bytes(100), "x.png", "image/png")
    inline = served.client().get(url_of(served, id)).headers
    named = served.client().get(url_of(served, id, "Bericht ü.png")).headers
    assert inline["Content-Disposition"].startswith("inline")
    assert named["Content-Disposition"].startswith("attachment")
    assert named["Content-Disposition"].endswith("filename*=UTF-8''Bericht%20%C3%BC.png")


def test_a_file_deleted_after_signing_is_gone(serve: Serve) -> None:
    served = serve()
    id = served.upload(DATA)
    url = url_of(served, id)
    served.ann.delete(f"/{id}")
    assert served.client().get(url).status_code == 404


def test_every_altered_character_of_a_token_is_refused(serve: Serve) -> None:
    served = serve()
    url = url_of(served, served.upload(b"x"))
    token = url.rpartition("/")[2]
    anybody, base = served.client(), url.removesuffix(token)
    for place, character in enumerate(token):
        other = "B" if character == "A" else "A"
        assert refused(anybody.get(f"{base}{token[:place]}{other}{token[place + 1 :]}"))
    assert anybody.get(url).status_code == 200


def test_a_token_is_good_for_its_action_alone(serve: Serve) -> None:
    served = serve()
    begun, url = begin(served), url_of(served, served.upload(b"x"))
    anybody = served.client()
    assert refused(anybody.get(begun["url"].replace("/upload/", "/download/")))
    assert refused(anybody.put(url.replace("/download/", "/upload/"), content=b"x"))
    assert urlsplit(url).path.startswith("/files/download/")


@pytest.mark.parametrize("action", ["upload", "download"])
def test_expired_and_foreign_tokens_are_refused(serve: Serve, action: str) -> None:
    served = serve()
    assert served.store.signer is not None
    id = served.upload(b"x") if action == "download" else begin(served, 1)["attachment"]["id"]
    past = now() - 3 * HOUR
    expired = served.store.signer.sign(action, Owner("ann"), id, past + HOUR, now=past)
    foreign = UrlSigner([b"f" * 32]).sign(action, Owner("ann"), id, now() + HOUR)
    method = "GET" if action == "download" else "PUT"
    whys = [
        refused(served.client().request(method, f"/{action}/{token}", content=b"x")) for token in (expired, foreign)
    ]
    assert "expired" in whys[0]
    assert "expired" not in whys[1]


def test_without_keys_signed_routes_are_not_supported(serve: Serve) -> None:
    served = serve(keys=False)
    begun = served.ann.post("/uploads", json={"name": "a", "mime_type": "text/plain", "size": 1})
    answers = [begun, served.client().put("/upload/token", content=b"x"), served.client().get("/download/token")]
    assert [answer.status_code for answer in answers] == [501] * 3
    assert served.records() == []
