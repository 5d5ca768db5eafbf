"""A request that carries its own permission is a secret: nothing that prints it gives the permission away."""

from __future__ import annotations

from datetime import UTC, datetime

from chatstore import Attachment
from chatstore.links import Upload
from chatstore.protocols import PresignedRequest

URL = "https://bucket.example/key?X-Amz-Signature=0123456789abcdef"
NOW = datetime.now(UTC)


def test_a_presigned_request_does_not_show_its_url() -> None:
    request = PresignedRequest(URL, "GET", {}, NOW)
    for shown in (repr(request), str(request), f"{[request]}"):
        assert "Signature" not in shown
        assert "method='GET'" in shown
    assert (request.url, request) == (URL, PresignedRequest(URL, "GET", {}, NOW))


def test_an_upload_does_not_show_its_url() -> None:
    upload = Upload(Attachment(id="atc_1", name="a", mime_type="a/b"), URL, "PUT", {}, NOW)
    assert "Signature" not in repr(upload)
    assert "atc_1" in repr(upload)
    assert upload.url == URL
