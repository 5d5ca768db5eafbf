"""Bytes on their way to S3: in one request, or in an upload of several parts that is completed or aborted."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Any, TypeVar

from chatstore.aws import Body, Client, code_of
from chatstore.blobs.s3.answers import SHA256, etag_of, field
from chatstore.blobs.s3.parts import Part
from chatstore.errors import ChatStoreError, ConflictError, NotFoundError
from chatstore.shielding import finished

T = TypeVar("T")
U = TypeVar("U")

_ABORT_SECONDS = 2.0  # the error that led there is what matters
_TAG = "chatstore-write"


@dataclass(frozen=True, slots=True)
class Write:
    """One put: what all its requests say. The tag tells its own blob from that of another writer."""

    client: Client
    what: str
    target: dict[str, str]
    content_type: str
    condition: dict[str, str]
    checksummed: bool
    tag: str = attribute(default_factory=lambda: uuid.uuid4().hex)

    def described(self, **metadata: str) -> dict[str, Any]:
        """Return the arguments that describe the blob."""
        return {"ContentType": self.content_type, "Metadata": {_TAG: self.tag, **metadata}}

    async def ask(self, operation: str, arguments: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Send a request about the blob and return the answer."""
        answer: dict[str, Any] = await self.client.ask(self.what, operation, self.target | arguments, **options)
        return answer

    async def create(self, operation: str, arguments: dict[str, Any], body: Body | None = None) -> str:
        """Send the request that makes the blob, and return its tag.

        When the server has all of it, it may make the blob at any time, over a later one as well: a cancellation
        waits for what it does then.
        """
        creating = asyncio.ensure_future(self._create(operation, arguments, body))
        if body is not None and body.size:
            await _until_taken(creating, body)
        return await finished(creating)

    async def _create(self, operation: str, arguments: dict[str, Any], body: Body | None) -> str:
        try:
            answer = await self.ask(operation, self.condition | arguments, body=body)
        except ChatStoreError as error:
            # a retry may find what its first try had done
            if not isinstance(error, ConflictError) and code_of(error) != "NoSuchUpload":
                raise
            answer = await self._head()
            if answer.get("Metadata", {}).get(_TAG) != self.tag:
                raise
        return etag_of(self.what, answer)

    async def _head(self) -> dict[str, Any]:
        try:
            return await self.ask("head_object", {})
        except NotFoundError:
            return {}


class Uploads:
    """Uploads in parts that are under way; none outlives the store."""

    def __init__(self) -> None:
        self._under_way: dict[str, Write] = {}

    async def send(self, write: Write, first: Part, parts: AsyncGenerator[Part]) -> str:
        """Send all parts, one while the next is gathered, and return the blob's tag; abort on any error."""
        async with self._upload(write) as upload:
            sent: list[dict[str, Any]] = []
            part: Part | None = first
            while part is not None:
                sending = _send_part(write, upload, len(sent) + 1, part)
                answer, part = await _meanwhile(sending, anext(parts, None))
                sent.append(answer)
            whole = {"UploadId": upload, "MultipartUpload": {"Parts": sent}}
            return await write.create("complete_multipart_upload", whole)

    async def abort_all(self) -> None:
        """Abort what is under way."""
        for upload in tuple(self._under_way):
            await self._abort(upload)

    @asynccontextmanager
    async def _upload(self, write: Write) -> AsyncIterator[str]:
        """Begin an upload and yield its id; abort it on any error."""

        async def begin() -> str:
            options = {"ChecksumAlgorithm": "CRC32"} if write.checksummed else {}
            answer = await write.ask("create_multipart_upload", write.described() | options)
            upload = str(field(write.what, answer, "UploadId"))
            self._under_way[upload] = write
            return upload

        beginning = asyncio.ensure_future(begin())
        try:
            yield await finished(beginning)
        except BaseException:
            if beginning.exception() is None:
                await finished(self._abort(beginning.result()))
            raise
        self._under_way.pop(beginning.result(), None)

    async def _abort(self, upload: str) -> None:
        write = self._under_way.pop(upload, None)  # the put and a close may both come to this
        if write is not None:
            with suppress(ChatStoreError):
                await write.ask("abort_multipart_upload", {"UploadId": upload}, seconds=_ABORT_SECONDS, last=True)


async def send_whole(write: Write, part: Part, sha256: str) -> str:
    """Send a blob that is one part, and return its tag."""
    part.body.seek(0)
    arguments = write.described(**{SHA256: sha256}) | part.checksum | {"Body": part.body}
    try:
        return await write.create("put_object", arguments, part.body)
    finally:
        await part.close()


async def _send_part(write: Write, upload: str, number: int, part: Part) -> dict[str, Any]:
    """Send a part and return what the completion says of it."""
    part.body.seek(0)
    checksum = part.checksum
    arguments = {"UploadId": upload, "PartNumber": number, "Body": part.body}
    try:
        answer = await write.ask("upload_part", arguments | checksum, body=part.body)
    finally:
        await part.close()
    sent = {"PartNumber": number, "ETag": field(write.what, answer, "ETag")}
    return sent | checksum if write.checksummed else sent


async def _until_taken(sending: asyncio.Future[Any], body: Body) -> None:
    """Wait until all of the body was taken or its request has ended; a cancellation before that ends the request."""
    taken = asyncio.ensure_future(body.taken.wait())
    try:
        await asyncio.wait([sending, taken], return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        if not body.taken.is_set():
            sending.cancel()
        await finished(asyncio.gather(sending, return_exceptions=True))
        raise
    finally:
        taken.cancel()


async def _meanwhile(sending: Coroutine[Any, Any, T], gathering: Awaitable[U]) -> tuple[T, U]:
    """Await both side by side; when either fails, or on a cancellation, nothing is sent any more."""
    task = asyncio.create_task(sending)
    try:
        gathered = await gathering
        return await task, gathered
    finally:
        task.cancel()
        await finished(asyncio.gather(task, return_exceptions=True))
