"""Blobs in memory that are also served by plain HTTP to whoever holds a signed address; and ways to get that wrong."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import threading
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from chatstore.blobs.memory import MemoryBlobs
from chatstore.errors import InvalidInputError, NotFoundError
from chatstore.protocols import Capability, PresignedRequest
from chatstore.streams import check_blob_key, check_content_type

T = TypeVar("T")


class PresigningBlobs(MemoryBlobs):
    """Signs method, key, end, size and name, and checks them all."""

    signed: ClassVar[list[str]] = ["method", "key", "until", "size", "name"]

    def __init__(self) -> None:
        super().__init__()
        self._server: ThreadingHTTPServer | None = None

    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities | {Capability.PRESIGN_GET, Capability.PRESIGN_PUT}

    async def presign_get(
        self, key: str, *, expires_in: timedelta, download_name: str | None = None
    ) -> PresignedRequest:
        self._enter(key)
        return self._request("GET", key, expires_in, name=download_name or "")

    async def presign_put(self, key: str, *, size: int, content_type: str, expires_in: timedelta) -> PresignedRequest:
        self._enter(key)
        check_content_type(content_type)
        if type(size) is not int or size < 0:
            raise InvalidInputError("size: must be an int of 0 or more")
        return self._request("PUT", key, expires_in, size=str(size))

    async def aclose(self) -> None:
        await super().aclose()
        if self._server is not None:
            await asyncio.to_thread(self._server.shutdown)
            self._server.server_close()
            self._server = None

    def check_duration(self, expires_in: timedelta) -> None:
        if not isinstance(expires_in, timedelta) or not timedelta(0) < expires_in <= timedelta(days=7):
            raise InvalidInputError("expires_in: must be a timedelta of up to seven days")

    def may(self, method: str, key: str, values: dict[str, str], length: int) -> bool:
        """Say whether the address was made here for this request."""
        facts = values | {"method": method, "key": key}
        return (
            hmac.compare_digest(self._signature(facts), values.get("signature", ""))
            and float(values["until"]) > time.time()
            and values.get("size", str(length)) == str(length)
        )

    def disposition(self, name: str) -> str:
        return f"attachment; filename*=UTF-8''{quote(name, safe='')}"

    def _request(self, method: str, key: str, expires_in: timedelta, **facts: str) -> PresignedRequest:
        self.check_duration(expires_in)
        expires_at = datetime.now(UTC) + expires_in
        facts |= {"until": str(expires_at.timestamp())}
        facts |= {"signature": self._signature(facts | {"method": method, "key": key})}
        url = f"http://127.0.0.1:{self._port()}/{key}?{urlencode(facts)}"
        return PresignedRequest(url, method, {"Content-Type": "any/thing"}, expires_at)

    def _signature(self, facts: dict[str, str]) -> str:
        signed = "\0".join(facts.get(name, "") for name in self.signed)
        return hmac.new(b"secret", signed.encode(), hashlib.sha256).hexdigest()

    def _port(self) -> int:
        if self._server is None:
            handler = type("Handler", (_Handler,), {"blobs": self, "loop": asyncio.get_running_loop()})
            self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
            threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self._server.server_port


class _Handler(BaseHTTPRequestHandler):
    blobs: PresigningBlobs
    loop: asyncio.AbstractEventLoop

    def do_GET(self) -> None:
        self._answer(*self._handled())

    do_PUT = do_POST = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _handled(self) -> tuple[int, bytes, str]:
        parts = urlsplit(self.path)
        key, values = parts.path[1:], dict(parse_qsl(parts.query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.blobs.may(self.command, check_blob_key(key), values, len(body)):
            return 403, b"", ""
        if self.command == "PUT":
            self._call(self.blobs.put(key, body, content_type="any/thing"))
            return 201, b"", ""
        try:
            return 200, self._call(self.blobs.read(key)), values.get("name", "")
        except NotFoundError:
            return 404, b"", ""

    def _call(self, call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(call, self.loop).result(10)

    def _answer(self, status: int, body: bytes, name: str) -> None:
        self.send_response(status)
        if name:
            self.send_header("Content-Disposition", self.blobs.disposition(name))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class SignsNoKey(PresigningBlobs):
    """Gives a request for one blob that holds for all."""

    signed: ClassVar[list[str]] = ["method", "until", "size", "name"]


class SignsNoMethod(PresigningBlobs):
    """Gives a request to read that may also write, and one to write that may also read."""

    signed: ClassVar[list[str]] = ["key", "until", "size", "name"]

    def may(self, method: str, key: str, values: dict[str, str], length: int) -> bool:
        return super().may(method, key, values, length if method == "PUT" else int(values.get("size", length)))


class SignsNoSize(PresigningBlobs):
    """Takes as many bytes as are sent."""

    def may(self, method: str, key: str, values: dict[str, str], length: int) -> bool:
        return super().may(method, key, values, int(values.get("size", length)))


class NeverExpires(PresigningBlobs):
    """Does not look at the time."""

    def may(self, method: str, key: str, values: dict[str, str], length: int) -> bool:
        facts = values | {"method": method, "key": key}
        return self._signature(facts) == values["signature"] and values.get("size", str(length)) == str(length)


class TakesAnyDuration(PresigningBlobs):
    """Signs for as long as anyone asks."""

    def check_duration(self, expires_in: timedelta) -> None:
        if not isinstance(expires_in, timedelta) or not timedelta(0) < expires_in < timedelta(days=100_000):
            raise InvalidInputError("expires_in: must be a timedelta")


class TrustsNames(PresigningBlobs):
    """Puts the name of a file into the header as it is."""

    def disposition(self, name: str) -> str:
        return f'attachment; filename="{name}"'.encode().decode("latin-1")


class ShowsInline(PresigningBlobs):
    """Lets a browser show what was to be saved."""

    def disposition(self, name: str) -> str:
        return super().disposition(name).replace("attachment", "inline")
