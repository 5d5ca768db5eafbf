"""PRESIGN_GET and PRESIGN_PUT: a request that anyone may send, by plain HTTP, for what it says and no longer."""

from __future__ import annotations

import asyncio
import re
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.message import Message
from typing import Any

import pytest

from chatstore.errors import InvalidInputError, NotSupportedError
from chatstore.protocols import BlobStore, Capability, PresignedRequest
from chatstore.testing.blob_suites.calls import HOUR, refusal
from chatstore.testing.blob_suites.sources import LARGE, PATIENCE, TYPE, content, everything, keys, put

REFUSED_DURATIONS: list[Any] = [
    *(timedelta(0), timedelta(microseconds=-1), timedelta(days=-1), timedelta(days=7, seconds=1), timedelta(days=8)),
    *(timedelta.max, timedelta.min, None, 60, 60.0, True, "60", "1h", datetime.now(UTC)),
]
"""How long no request may hold: no time at all, more than seven days, or no duration."""

REFUSED_SIZES: list[Any] = [-1, -(10**30), True, False, 5.0, "5", None, [5]]

DOWNLOAD_NAMES = {
    "plain": "cat.png",
    "spaces": "my cat.png",
    "quotes": 'a"b\\"; filename="evil.exe',
    "line ends": "a\r\nX-Evil: 1\r\n\r\n<script>",
    "control characters": "a\x00b\x1f\x7f",
    "unicode": "r\u00e9sum\u00e9 \u4e2d \U0001f600.pdf",
    "from right to left": "\u202egpj.exe",
    "a path": "../../etc/passwd",
    "encoded": "%0d%0aX-Evil: 1",
    "separators": "a;b=c,d&e=f#g?h",
    "long": "x" * 1000,
}
"""Names under which files were uploaded, some by those who hoped for a new header."""


_PARAMETER = re.compile(r"""; ?(?P<name>filename\*?)=(?:"(?:[ !#-\[\]-~]|\\[ -~])*"|[\w!#$%&'*+.^`|~-]+)""", re.ASCII)

_DISPOSITION = re.compile(rf"attachment(?:{_PARAMETER.pattern.replace('?P<name>', '?:')})*", re.ASCII)
"""What browsers are agreed on: quoted texts and plain words, of printable ASCII."""


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Message
    body: bytes


def _exchange(request: PresignedRequest, body: bytes | None) -> _Answer:
    message = urllib.request.Request(request.url, data=body, headers=request.headers, method=request.method)
    try:
        with urllib.request.urlopen(message, timeout=PATIENCE) as response:
            return _Answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return _Answer(error.code, error.headers, error.read())


async def _send(request: PresignedRequest, body: bytes | None = None) -> _Answer:
    return await asyncio.to_thread(_exchange, request, body)


def _declares(blobs: BlobStore, *capabilities: Capability) -> None:
    for capability in capabilities:
        if capability not in blobs.capabilities:
            pytest.skip(f"the store does not declare {capability.name}")


class PresigningTests:
    """Requests sent by somebody who knows nothing of the store."""

    checks_presigned = True
    """Whether the server behind the store checks signatures, expiry and signed lengths; some test servers do not."""

    def _is_checked(self) -> None:
        if not self.checks_presigned:
            pytest.skip("the server behind this store does not check presigned requests: not checked")

    async def test_a_presigned_get_fetches_the_blob(self, blobs: BlobStore) -> None:
        """PRESIGN_GET: the request brings the very bytes. Not declared: NotSupportedError."""
        await put(blobs, "a/b", content(LARGE))
        if Capability.PRESIGN_GET not in blobs.capabilities:
            with pytest.raises(NotSupportedError):
                await blobs.presign_get("a/b", expires_in=HOUR)
            return
        request = await blobs.presign_get("a/b", expires_in=HOUR)
        answer = await _send(request)
        assert (request.method, answer.status) == ("GET", 200)
        assert (answer.body == content(LARGE)) is True

    async def test_a_presigned_put_stores_the_blob(self, blobs: BlobStore) -> None:
        """PRESIGN_PUT: bytes sent with the request are a blob like any other. Not declared: NotSupportedError."""
        data = content(100_000)
        if Capability.PRESIGN_PUT not in blobs.capabilities:
            with pytest.raises(NotSupportedError):
                await blobs.presign_put("a/b", size=len(data), content_type=TYPE, expires_in=HOUR)
            return
        request = await blobs.presign_put("a/b", size=len(data), content_type=TYPE, expires_in=HOUR)
        assert await keys(blobs) == []
        answer = await _send(request, data)
        assert answer.status in (200, 201, 204), answer.body
        assert (await blobs.read("a/b") == data) is True
        stat = await blobs.stat("a/b")
        assert stat is not None
        assert stat.size == len(data)
        assert await keys(blobs) == ["a/b"]

    async def test_a_presigned_get_may_be_sent_again_until_it_expires(self, blobs: BlobStore) -> None:
        """PRESIGN_GET: it says until when it holds, and brings what is stored at the time it is sent."""
        _declares(blobs, Capability.PRESIGN_GET)
        request = await blobs.presign_get("key", expires_in=HOUR)
        assert abs(request.expires_at - datetime.now(UTC) - HOUR) < timedelta(minutes=1)
        for data in (b"first", b"second", b""):
            await put(blobs, "key", data)
            assert (await _send(request)).body == data

    async def test_a_presigned_get_of_what_is_absent_is_an_http_error(self, blobs: BlobStore) -> None:
        """PRESIGN_GET: the request is made without asking; whoever sends it is told that nothing is there."""
        _declares(blobs, Capability.PRESIGN_GET)
        await put(blobs, "key", b"deleted soon")
        request = await blobs.presign_get("key", expires_in=HOUR)
        await blobs.delete("key")
        answer = await _send(request)
        assert 400 <= answer.status < 500
        assert b"deleted soon" not in answer.body

    @pytest.mark.parametrize("name", DOWNLOAD_NAMES)
    async def test_a_download_name_is_a_name_and_nothing_else(self, blobs: BlobStore, name: str) -> None:
        """PRESIGN_GET: the file is to be saved under a name that adds no header and no second name, or is refused."""
        _declares(blobs, Capability.PRESIGN_GET)
        await put(blobs, "key")
        try:
            request = await blobs.presign_get("key", expires_in=HOUR, download_name=DOWNLOAD_NAMES[name])
        except InvalidInputError:
            assert name not in ("plain", "spaces", "unicode")
            return
        answer = await _send(request)
        assert (answer.status, answer.body) == (200, b"kept")
        assert answer.headers["X-Evil"] is None
        (disposition,) = answer.headers.get_all("Content-Disposition", [])
        assert _DISPOSITION.fullmatch(disposition), disposition
        parameters = [found["name"] for found in _PARAMETER.finditer(disposition)]
        assert len(parameters) == len(set(parameters)), disposition
        if name == "plain":
            assert answer.headers.get_filename() == "cat.png"

    @pytest.mark.parametrize("where", ["presign_get", "presign_put"])
    async def test_a_bad_duration_is_refused(self, blobs: BlobStore, where: str) -> None:
        """A request holds for more than no time and at most seven days; anything else is refused."""
        for bad in REFUSED_DURATIONS:
            request = (
                blobs.presign_get("key", expires_in=bad)
                if where == "presign_get"
                else blobs.presign_put("key", size=5, content_type=TYPE, expires_in=bad)
            )
            with pytest.raises(refusal(blobs, where)):
                await request

    async def test_seven_days_are_allowed(self, blobs: BlobStore) -> None:
        """PRESIGN_GET: the longest and a short duration both give a request that works now."""
        _declares(blobs, Capability.PRESIGN_GET)
        await put(blobs, "key")
        for duration in (timedelta(days=7), timedelta(seconds=60)):
            request = await blobs.presign_get("key", expires_in=duration)
            assert abs(request.expires_at - datetime.now(UTC) - duration) < timedelta(minutes=1)
            assert (await _send(request)).body == b"kept"

    async def test_a_bad_size_of_a_presigned_put_is_refused(self, blobs: BlobStore) -> None:
        """The size is part of the request: an int of 0 or more."""
        for bad in REFUSED_SIZES:
            with pytest.raises(refusal(blobs, "presign_put")):
                await blobs.presign_put("key", size=bad, content_type=TYPE, expires_in=HOUR)

    async def test_a_presigned_put_may_be_empty(self, blobs: BlobStore) -> None:
        """PRESIGN_PUT: a file without bytes can be uploaded."""
        _declares(blobs, Capability.PRESIGN_PUT)
        request = await blobs.presign_put("key", size=0, content_type=TYPE, expires_in=HOUR)
        assert (await _send(request, b"")).status in (200, 201, 204)
        assert await blobs.read("key") == b""

    @pytest.mark.parametrize("size", [4, 6, 0, 100_000])
    async def test_a_presigned_put_of_another_size_is_refused(self, blobs: BlobStore, size: int) -> None:
        """PRESIGN_PUT: fewer or more bytes than were signed for are refused, and nothing is stored."""
        _declares(blobs, Capability.PRESIGN_PUT)
        self._is_checked()
        request = await blobs.presign_put("key", size=5, content_type=TYPE, expires_in=HOUR)
        others = {name: value for name, value in request.headers.items() if name.lower() != "content-length"}
        answer = await _send(replace(request, headers=others), b"x" * size)
        assert 400 <= answer.status < 500
        assert await keys(blobs) == []

    async def test_an_expired_request_is_refused(self, blobs: BlobStore) -> None:
        """PRESIGN_GET: soon after its time the same request brings nothing."""
        _declares(blobs, Capability.PRESIGN_GET)
        self._is_checked()
        await put(blobs, "key", b"no longer yours")
        request = await blobs.presign_get("key", expires_in=timedelta(seconds=1))
        async with asyncio.timeout(PATIENCE):
            while (answer := await _send(request)).status == 200:  # noqa: ASYNC110  # nobody tells of the time
                await asyncio.sleep(0.1)
        assert 400 <= answer.status < 500
        assert b"no longer yours" not in answer.body
        assert datetime.now(UTC) > request.expires_at - timedelta(seconds=1)

    async def test_a_request_for_one_blob_is_no_request_for_another(self, blobs: BlobStore) -> None:
        """PRESIGN_GET: an address that was altered brings nothing."""
        _declares(blobs, Capability.PRESIGN_GET)
        self._is_checked()
        await put(blobs, "first-key", b"mine")
        await put(blobs, "other-key", b"not yours")
        request = await blobs.presign_get("first-key", expires_in=HOUR)
        assert (await _send(request)).body == b"mine"
        answer = await _send(replace(request, url=request.url.replace("first-key", "other-key")))
        assert 400 <= answer.status < 500
        assert b"not yours" not in answer.body

    async def test_a_request_to_read_does_not_write(self, blobs: BlobStore) -> None:
        """PRESIGN_GET: sent with another method, it changes and deletes nothing."""
        _declares(blobs, Capability.PRESIGN_GET)
        self._is_checked()
        await put(blobs, "key")
        before = await everything(blobs)
        request = await blobs.presign_get("key", expires_in=HOUR)
        for method in ("PUT", "DELETE", "POST"):
            body = None if method == "DELETE" else b"taken"
            assert 400 <= (await _send(replace(request, method=method), body)).status < 600
        assert await everything(blobs) == before

    async def test_a_request_to_write_does_not_read(self, blobs: BlobStore) -> None:
        """PRESIGN_PUT: sent with another method, it shows and deletes nothing."""
        _declares(blobs, Capability.PRESIGN_PUT)
        self._is_checked()
        await put(blobs, "key", b"not yours")
        request = await blobs.presign_put("key", size=5, content_type=TYPE, expires_in=HOUR)
        for method in ("GET", "DELETE"):
            answer = await _send(replace(request, method=method), b"taken")  # as long as its headers say
            assert 400 <= answer.status < 600
            assert b"not yours" not in answer.body
        assert await blobs.read("key") == b"not yours"
