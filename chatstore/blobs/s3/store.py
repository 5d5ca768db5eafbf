"""The blob store over a bucket.

A blob of up to 64 MiB is one request, a longer one is sent in parts of that size: one part goes out while the next is
gathered. A server that was cut off may keep the parts of an upload that nobody could end: give the bucket a rule that
removes incomplete uploads after a day.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from chatstore import instants
from chatstore.aws import Client, ClientFactory, code_of, opened_client
from chatstore.blobs.s3 import parts as sizes
from chatstore.blobs.s3.answers import body_of, etag_of, field, info_of
from chatstore.blobs.s3.parts import ALL_MEMORY_BYTES, Memory, Part, parts_of
from chatstore.blobs.s3.uploads import Uploads, Write, send_whole
from chatstore.errors import ChatStoreError, ConfigurationError, InvalidInputError, NotFoundError
from chatstore.lifetime import Lifetime
from chatstore.protocols import BlobInfo, BlobSource, Capability, PresignedRequest
from chatstore.serving import content_disposition
from chatstore.shielding import finished
from chatstore.streams import (
    CHUNK_BYTES,
    MAX_KEY,
    Meter,
    check_blob_key,
    check_content_type,
    check_range,
    chunks_of,
    may_begin_key,
)

_MOST_PARTS = 10_000
_LONGEST = timedelta(days=7)


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


class S3Blobs:
    """Blobs below ``prefix`` in one bucket; the client is opened by the first call and closed with the store.

    ``endpoint_url`` names another server than AWS; ``checksums="when_required"`` is for one that refuses the
    checksums AWS takes. Credentials are found as every AWS client finds them. A caller's own ``client``, or a
    factory of one, is used in place of all this; the client is not closed, what the factory opens is. Give it
    ``Config(s3={"payload_signing_enabled": False})``, or it reads long blobs in the event loop to sign them.
    """

    system = "s3"

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
        self._prefix = _checked_prefix(prefix)
        source: ClientFactory = partial(
            opened_client, "s3", endpoint_url=endpoint_url, region=region, checksums=checksums
        )
        if client is not None:
            source = client if callable(client) else partial(nullcontext, client)
        self._client = Client(source)
        self._uploads = Uploads()
        self._memory = Memory(ALL_MEMORY_BYTES)
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
        check_content_type(content_type)
        meter = Meter(size)
        chunks = meter.through(chunks_of(source))
        write = await self._write(key, content_type, {"IfNoneMatch": "*"} if if_absent else {})
        part_bytes = max(sizes.PART_BYTES, math.ceil((size or 0) / _MOST_PARTS))
        new = partial(Part, part_bytes, self._memory, checksummed=write.checksummed)
        async with aclosing(parts_of(write.what, chunks, new)) as parts:
            first = await anext(parts)
            if first.is_last:
                etag = await send_whole(write, first, meter.sha256)
            else:
                etag = await self._uploads.send(write, first, parts)
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
            return info_of(what, await self._client.ask(what, "head_object", self._target(key)))
        except NotFoundError:
            pass  # this answer has no body that would tell an absent blob from an absent bucket
        try:
            answer = await self._client.ask(what, "get_object", self._target(key))
        except NotFoundError:
            return None
        answer["Body"].close()
        return info_of(what, answer)

    async def delete(self, key: str) -> None:
        self._enter(key)
        with suppress(NotFoundError):
            await self._client.ask(f"delete {key!r}", "delete_object", self._target(key))

    async def list(self, prefix: str = "") -> AsyncIterator[tuple[str, BlobInfo]]:
        self._lifetime.enter()
        if not may_begin_key(prefix):
            return
        listed = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        while True:
            page = await self._client.ask("list", "list_objects_v2", listed)
            field("list", page, "Name")  # an answer that is none must not read as an empty bucket
            for found in page.get("Contents", []):
                key = found["Key"].removeprefix(self._prefix)
                if _is_key(key):
                    yield key, BlobInfo(found["Size"], etag_of("list", found), None, found["LastModified"])
            if not page.get("IsTruncated"):
                return
            listed["ContinuationToken"] = field("list", page, "NextContinuationToken")

    async def presign_get(
        self, key: str, *, expires_in: timedelta, download_name: str | None = None
    ) -> PresignedRequest:
        self._enter(key)
        shown = "attachment" if download_name is None else content_disposition(download_name, inline=False)
        return await self._presigned("get", key, expires_in, {}, ResponseContentDisposition=shown)

    async def presign_put(self, key: str, *, size: int, content_type: str, expires_in: timedelta) -> PresignedRequest:
        self._enter(key)
        check_content_type(content_type)
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
        await self._uploads.abort_all()
        await self._client.aclose()

    def _enter(self, key: str) -> None:
        self._lifetime.enter()
        check_blob_key(key)

    def _target(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    async def _write(self, key: str, content_type: str, condition: dict[str, str]) -> Write:
        driver = await self._client.opened()
        checksummed = driver.meta.config.request_checksum_calculation == "when_supported"
        return Write(self._client, f"put {key!r}", self._target(key), content_type, condition, checksummed)

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
        return body_of(what, answer, ranged=bool(ranged))

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


async def _nothing() -> AsyncGenerator[bytes, None]:
    return
    yield b""


def _is_key(key: str) -> bool:
    try:
        check_blob_key(key)
    except InvalidInputError:
        return False
    return True


def _checked_prefix(prefix: object) -> str:
    if not isinstance(prefix, str) or len(prefix.encode(errors="replace")) >= MAX_KEY:
        raise ConfigurationError(
            f"prefix: must be a str of fewer than {MAX_KEY} bytes, so that every key fits behind it"
        )
    return f"{prefix.strip('/')}/".lstrip("/")


def _check_options(bucket: object, endpoint_url: str | None, checksums: str) -> None:
    if not isinstance(bucket, str) or not bucket:
        raise ConfigurationError("bucket: must be the name of a bucket, as in s3://bucket/prefix")
    if checksums not in ("when_supported", "when_required"):
        raise ConfigurationError('checksums: must be "when_supported" or "when_required"')
    if endpoint_url is not None:
        parts = urlsplit(endpoint_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ConfigurationError("endpoint_url: must be http:// or https:// and a host, without credentials")
