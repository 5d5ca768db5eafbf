"""Blobs in a bucket of S3, or of a server that speaks its protocol; ``blobs="s3://bucket/prefix"``.

A blob of up to 5 MiB is one request, a longer one is sent in parts of 5 MiB, the smallest that S3 takes: one part
goes out while the next is gathered, so that an upload of any length holds two. A server that was cut off may keep the
parts of an upload that nobody could end: give the bucket a rule that removes incomplete uploads after a day.
"""

from __future__ import annotations

import asyncio
import math
import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Coroutine
from contextlib import aclosing, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Literal, Self, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from chatstore import instants
from chatstore.aws import Body, Client, ClientFactory, code_of, opened_client
from chatstore.errors import (
    ChatStoreError,
    ConfigurationError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from chatstore.lifetime import Lifetime
from chatstore.protocols import BlobInfo, BlobSource, Capability, PresignedRequest
from chatstore.serving import content_disposition
from chatstore.shielding import finished
from chatstore.streams import CHUNK_BYTES, Meter, check_blob_key, check_range, chunks_of, may_begin_key

T = TypeVar("T")
U = TypeVar("U")

PART_BYTES = 5 * 1024 * 1024
"""The least that S3 takes as a part, and from how many bytes on a blob is sent in parts."""

_ABORT_SECONDS = 2.0  # the error that led there is what matters
_MOST_PARTS = 10_000
_LONGEST_PREFIX = 2000  # more than any key has; a server refuses a URL that is too long
_LONGEST = timedelta(days=7)
_SHA256 = "chatstore-sha256"
_WRITE = "chatstore-write"


def open_s3(url: str) -> S3Blobs:
    """Return the blobs of ``s3://bucket/prefix``, with ``?endpoint_url=``, ``region=`` and ``checksums=``.

    Raises ``ConfigurationError`` for any other URL, above all for one that holds credentials.
    """
    parts = urlsplit(url)
    options = parse_qsl(parts.query, keep_blank_values=True)
    names = [name for name, _ in options]
    if parts.scheme != "s3" or "@" in parts.netloc or parts.fragment:
        raise ConfigurationError("blobs: a bucket is written s3://bucket/prefix; credentials are no part of the URL")
    if len(set(names)) < len(names) or not set(names) <= {"endpoint_url", "region", "checksums"}:
        raise ConfigurationError("blobs: the options of an s3:// URL are endpoint_url, region and checksums, once each")
    given: dict[str, Any] = dict(options)
    return S3Blobs(parts.netloc, prefix=unquote(parts.path), **given)


@dataclass(frozen=True, slots=True)
class _Write:
    """One put: what all its requests say. The tag tells its own blob from that of another writer."""

    client: Client
    what: str
    target: dict[str, str]
    content_type: str
    condition: dict[str, str]
    tag: str = field(default_factory=lambda: uuid.uuid4().hex)

    async def ask(self, operation: str, arguments: dict[str, Any], **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.client.ask(self.what, operation, self.target | arguments, **options)
        return answer


class S3Blobs:
    """Blobs below ``prefix`` in one bucket; the client is opened by the first call and closed with the store.

    ``endpoint_url`` names another server than AWS; ``checksums="when_required"`` is for one that refuses the
    checksums AWS takes. Credentials are found as every AWS client finds them. A caller's own ``client``, or a
    factory of one, is used in place of all this; the client is not closed, what the factory opens is.
    """

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint_url: str | None = None,
        region: str | None = None,
        checksums: Literal["when_supported", "when_required"] = "when_supported",
        client: Any | ClientFactory | None = None,
    ) -> None:
        _check_options(bucket, endpoint_url, checksums)
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/".lstrip("/")
        source: ClientFactory = partial(
            opened_client, "s3", endpoint_url=endpoint_url, region=region, checksums=checksums
        )
        if client is not None:
            source = client if callable(client) else partial(nullcontext, client)
        self._client = Client(source)
        self._uploads: dict[str, _Write] = {}
        self._lifetime = Lifetime()

    @property
    def capabilities(self) -> frozenset[Capability]:
        presigning = {Capability.PRESIGN_GET, Capability.PRESIGN_PUT}
        return frozenset({Capability.DURABLE, Capability.SHARED, Capability.CONDITIONAL_CREATE} | presigning)

    async def put(
        self,
        key: str,
        source: BlobSource,
        *,
        content_type: str,
        size: int | None = None,
        if_absent: bool = False,
    ) -> BlobInfo:
        self._enter(key)
        _check_content_type(content_type)
        meter = Meter(size)
        part_bytes = max(PART_BYTES, math.ceil((size or 0) / _MOST_PARTS))
        condition = {"IfNoneMatch": "*"} if if_absent else {}
        async with aclosing(_parts(source, meter, part_bytes)) as parts:
            write = _Write(self._client, f"put {key!r}", self._target(key), content_type, condition)
            first = await anext(parts, Body())
            if first.tell() < part_bytes:
                etag = await _send_whole(write, first, meter.sha256)
            else:
                etag = await self._send_parts(write, first, parts)
        return BlobInfo(meter.size, etag, meter.sha256, instants.now())

    @asynccontextmanager
    async def open(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        self._enter(key)
        start, end = check_range(start, end)
        what = f"open {key!r}"
        body = await self._body(what, key, start, end)
        if body is None:
            yield _nothing()
            return
        try:
            async with aclosing(self._chunks(what, body)) as chunks:
                yield chunks
        finally:
            body.close()

    async def read(self, key: str) -> bytes:
        async with self.open(key) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def stat(self, key: str) -> BlobInfo | None:
        self._enter(key)
        what = f"stat {key!r}"
        try:
            return _info(what, await self._client.ask(what, "head_object", self._target(key)))
        except NotFoundError:
            pass  # this answer has no body that would tell an absent blob from an absent bucket
        try:
            answer = await self._client.ask(what, "get_object", self._target(key))
        except NotFoundError:
            return None
        answer["Body"].close()
        return _info(what, answer)

    async def delete(self, key: str) -> None:
        self._enter(key)
        with suppress(NotFoundError):
            await self._client.ask(f"delete {key!r}", "delete_object", self._target(key))

    async def list(self, prefix: str = "") -> AsyncIterator[tuple[str, BlobInfo]]:
        self._lifetime.enter()
        if not may_begin_key(prefix) or len(prefix) > _LONGEST_PREFIX:
            return
        listed = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        while True:
            page = await self._client.ask("list", "list_objects_v2", listed)
            _field("list", page, "Name")  # an answer that is none must not read as an empty bucket
            for found in page.get("Contents", []):
                key = found["Key"].removeprefix(self._prefix)
                if _is_key(key):
                    yield key, BlobInfo(found["Size"], _etag("list", found), None, found["LastModified"])
            if not page.get("IsTruncated"):
                return
            listed["ContinuationToken"] = _field("list", page, "NextContinuationToken")

    async def presign_get(
        self, key: str, *, expires_in: timedelta, download_name: str | None = None
    ) -> PresignedRequest:
        self._enter(key)
        shown = "attachment" if download_name is None else content_disposition(download_name, inline=False)
        return await self._presigned("get", key, expires_in, {}, ResponseContentDisposition=shown)

    async def presign_put(self, key: str, *, size: int, content_type: str, expires_in: timedelta) -> PresignedRequest:
        self._enter(key)
        _check_content_type(content_type)
        if type(size) is not int or size < 0:
            raise InvalidInputError("size: must be an int of 0 or more")
        headers = {"Content-Type": content_type, "Content-Length": str(size)}
        return await self._presigned("put", key, expires_in, headers, ContentType=content_type, ContentLength=size)

    async def aclose(self) -> None:
        self._lifetime.closed = True
        await finished(self._close())

    async def __aenter__(self) -> Self:
        self._lifetime.enter()
        await self._client.opened()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _close(self) -> None:
        await self._client.settle()
        for upload in tuple(self._uploads):
            await self._abort(upload)
        await self._client.aclose()

    def _enter(self, key: str) -> None:
        self._lifetime.enter()
        check_blob_key(key)

    def _target(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    async def _body(self, what: str, key: str, start: int, end: int | None) -> Any:
        """Return the body that holds the range, or ``None`` where the blob has no bytes in it."""
        if end is not None and end <= start:
            if await self.stat(key) is None:
                raise NotFoundError(f"{what}: there is no such blob")
            return None
        ranged = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end is not None else {}
        try:
            answer = await self._client.ask(what, "get_object", self._target(key) | ranged)
        except ChatStoreError as error:
            if code_of(error) == "InvalidRange":
                return None
            raise
        return _body_of(what, answer, ranged=bool(ranged))

    async def _chunks(self, what: str, body: Any) -> AsyncGenerator[bytes, None]:
        # never through ``async with body``: that yields what is below the body and skips its checksum
        while chunk := await self._client.receive(what, body, CHUNK_BYTES):
            yield chunk

    async def _presigned(
        self, method: Literal["get", "put"], key: str, expires_in: timedelta, headers: dict[str, str], **signed: Any
    ) -> PresignedRequest:
        if type(expires_in) is not timedelta or not timedelta(0) < expires_in <= _LONGEST:
            raise InvalidInputError("expires_in: must be a timedelta of more than 0 and at most 7 days")
        seconds = math.ceil(expires_in.total_seconds())
        expires_at = instants.now() + timedelta(seconds=seconds)
        request = {
            "ClientMethod": f"{method}_object",
            "Params": self._target(key) | signed,
            "ExpiresIn": seconds,
        }
        url = await self._client.ask(f"presign {key!r}", "generate_presigned_url", request)
        return PresignedRequest(url, method.upper(), headers, expires_at)

    async def _send_parts(self, write: _Write, first: Body, parts: AsyncGenerator[Body, None]) -> str:
        async with self._upload(write) as (upload, checksummed):
            sent: list[dict[str, Any]] = []
            part: Body | None = first
            while part is not None:
                number = len(sent) + 1
                answer, part = await _meanwhile(_send_part(write, upload, number, part), anext(parts, None))
                checksum = {"ChecksumCRC32": _field(write.what, answer, "ChecksumCRC32")} if checksummed else {}
                sent.append({"PartNumber": number, "ETag": _field(write.what, answer, "ETag"), **checksum})
            whole = {"UploadId": upload, "MultipartUpload": {"Parts": sent}}
            return await _create(write, "complete_multipart_upload", whole)

    @asynccontextmanager
    async def _upload(self, write: _Write) -> AsyncIterator[tuple[str, bool]]:
        """Begin an upload in parts and yield its id and whether parts have a checksum; abort it on any error."""
        driver = await self._client.opened()
        checksummed = driver.meta.config.request_checksum_calculation == "when_supported"
        options = {"ChecksumAlgorithm": "CRC32"} if checksummed else {}

        async def begin() -> str:
            described = {"ContentType": write.content_type, "Metadata": {_WRITE: write.tag}}
            answer = await write.ask("create_multipart_upload", described | options)
            upload = str(_field(write.what, answer, "UploadId"))
            self._uploads[upload] = write
            return upload

        beginning = asyncio.ensure_future(begin())
        try:
            yield await finished(beginning), checksummed
        except BaseException:
            if beginning.exception() is None:
                await finished(self._abort(beginning.result()))
            raise
        self._uploads.pop(beginning.result(), None)

    async def _abort(self, upload: str) -> None:
        write = self._uploads.pop(upload, None)  # the put and a close may both come to this
        if write is not None:
            with suppress(ChatStoreError):
                await write.ask("abort_multipart_upload", {"UploadId": upload}, seconds=_ABORT_SECONDS, last=True)


async def _send_whole(write: _Write, body: Body, sha256: str) -> str:
    body.seek(0)
    metadata = {_SHA256: sha256, _WRITE: write.tag}
    arguments = {"Body": body, "ContentType": write.content_type, "Metadata": metadata}
    return await _create(write, "put_object", arguments, body)


async def _send_part(write: _Write, upload: str, number: int, body: Body) -> dict[str, Any]:
    body.seek(0)
    answer = await write.ask("upload_part", {"UploadId": upload, "PartNumber": number, "Body": body}, body=body)
    body.close()  # others still name it, and it is large
    return answer


async def _create(write: _Write, operation: str, arguments: dict[str, Any], body: Body | None = None) -> str:
    """Send the request that makes the blob, and return its tag; a retry may find what its first try had done."""
    try:
        answer = await write.ask(operation, write.condition | arguments, body=body)
    except ChatStoreError as error:
        if not isinstance(error, ConflictError) and code_of(error) != "NoSuchUpload":
            raise
        answer = await _head(write)
        if answer.get("Metadata", {}).get(_WRITE) != write.tag:
            raise
    return _etag(write.what, answer)


async def _head(write: _Write) -> dict[str, Any]:
    try:
        return await write.ask("head_object", {})
    except NotFoundError:
        return {}


async def _meanwhile(sending: Coroutine[Any, Any, T], gathering: Awaitable[U]) -> tuple[T, U]:
    """Await both side by side; when either fails, or on a cancellation, nothing is sent any more."""
    task = asyncio.create_task(sending)
    try:
        gathered = await gathering
        return await task, gathered
    finally:
        task.cancel()
        await finished(asyncio.gather(task, return_exceptions=True))


async def _parts(source: BlobSource, meter: Meter, part_bytes: int) -> AsyncGenerator[Body, None]:
    """Yield the bytes of ``source``, metered, in parts that are all of one size but the last."""
    part = Body()
    async with aclosing(meter.through(chunks_of(source))) as chunks:
        async for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                space = part_bytes - part.tell()
                part.write(rest[:space])
                rest = rest[space:]
                if part.tell() == part_bytes:
                    yield part
                    part = Body(part_bytes)
    part.truncate()
    if part.tell():
        yield part


async def _nothing() -> AsyncGenerator[bytes, None]:
    return
    yield b""


def _body_of(what: str, answer: dict[str, Any], *, ranged: bool) -> Any:
    """Return the body of an answer that is a blob; some proxies answer 200 with a page of their own."""
    body = answer["Body"]
    if "ETag" not in answer:
        body.close()
        raise UnavailableError(f"{what}: the answer is not that of S3")
    if ranged and "ContentRange" not in answer and answer.get("ContentLength") != 0:
        body.close()
        raise ConfigurationError(f"{what}: the server does not send ranges")
    return body


def _info(what: str, answer: dict[str, Any]) -> BlobInfo:
    sha256 = answer.get("Metadata", {}).get(_SHA256)
    return BlobInfo(_field(what, answer, "ContentLength"), _etag(what, answer), sha256, answer.get("LastModified"))


def _etag(what: str, answer: dict[str, Any]) -> str:
    return str(_field(what, answer, "ETag")).strip('"')


def _field(what: str, answer: dict[str, Any], name: str) -> Any:
    if name not in answer:
        raise UnavailableError(f"{what}: the answer is not that of S3, its {name} is missing")
    return answer[name]


def _is_key(key: str) -> bool:
    try:
        check_blob_key(key)
    except InvalidInputError:
        return False
    return True


def _check_options(bucket: object, endpoint_url: str | None, checksums: str) -> None:
    if not isinstance(bucket, str) or not bucket:
        raise ConfigurationError("bucket: must be the name of a bucket, as in s3://bucket/prefix")
    if checksums not in ("when_supported", "when_required"):
        raise ConfigurationError('checksums: must be "when_supported" or "when_required"')
    if endpoint_url is not None:
        parts = urlsplit(endpoint_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ConfigurationError("endpoint_url: must be http:// or https:// and a host, without credentials")


def _check_content_type(content_type: object) -> None:
    if not isinstance(content_type, str) or not re.fullmatch(r"[ -~]{1,255}", content_type):
        raise InvalidInputError("content_type: must be 1 to 255 printable ASCII characters")
