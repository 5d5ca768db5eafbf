"""Clients of AWS and of what speaks its protocols: opened once, asked with a deadline, their errors as ours."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from tempfile import TemporaryFile
from typing import Any, TypeAlias, TypeVar

from chatstore.errors import (
    ChatStoreError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    StorageFullError,
    UnavailableError,
)

try:
    import aioboto3  # type: ignore[import-untyped]
    import aiohttp
    from botocore import exceptions  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]
    from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]
except ImportError as _missing:
    raise ConfigurationError('S3 needs a driver that is not installed: pip install "chatstore-py[s3]"') from _missing

T = TypeVar("T")

ClientFactory: TypeAlias = Callable[[], AbstractAsyncContextManager[Any]]
"""What opens a client: ``lambda: aioboto3.Session().client("s3")``."""

DEADLINE = 8.0
"""After how many seconds without an answer, or without progress, a call is given up, its attempts included."""

_PIECE_BYTES = 256 * 1024
_BYTES_PER_SECOND = 2 * 1024 * 1024  # of a busy server, between the last byte of a body and its answer

_FAILURES = (exceptions.BotoCoreError, exceptions.ClientError, ResponseParserError, aiohttp.ClientError, OSError)

_ADVICE = {
    "AccessDenied": "the credentials do not allow it; grant s3:GetObject, PutObject, DeleteObject and ListBucket",
    "ExpiredToken": "the credentials have expired; renew them",
    "InvalidAccessKeyId": "the server does not know the access key; correct the credentials",
    "NoSuchBucket": "the bucket does not exist; create it, or correct the URL",
    "NotImplemented": "the server cannot do this; if it refuses checksums, add ?checksums=when_required to the URL",
    "RequestTimeTooSkewed": "this machine's clock differs from the server's; set it",
    "SignatureDoesNotMatch": "the server refuses the secret key or the region; correct the credentials or the URL",
    "TokenRefreshRequired": "the credentials have expired; renew them",
}

_FOR_NOW = {
    "BadDigest": "the bytes were altered on their way",
    "IncompleteBody": "the bytes were cut on their way",
    "NoSuchUpload": "the upload was ended by somebody else",
    "RequestTimeout": "the server waited too long for the bytes",
    "SlowDown": "the server asks for fewer requests",
}

_FULL = {"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull"}

_WITHOUT_ANSWER = (
    exceptions.ConnectionError,
    exceptions.HTTPClientError,
    exceptions.IncompleteReadError,
    ResponseParserError,
    aiohttp.ClientError,
    OSError,
)

_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
)


@asynccontextmanager
async def opened_client(
    service: str, *, endpoint_url: str | None, region: str | None, checksums: str
) -> AsyncIterator[Any]:
    """Open a client and close it at the end; its credentials are found as those of every AWS client are.

    It is made in a thread, with a loop of that thread's own, since the driver reads files while it is made.
    """
    config = Config(
        signature_version="s3v4",
        connect_timeout=2,
        read_timeout=60,  # every call has a deadline of its own, which is shorter
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=64,
        s3={"payload_signing_enabled": False},  # else a body is read in the event loop; its checksum is signed
        request_checksum_calculation=checksums,
        response_checksum_validation=checksums,
    )

    session = await asyncio.to_thread(aioboto3.Session)
    making = session.client(service, endpoint_url=endpoint_url, region_name=region, config=config)
    client = await asyncio.to_thread(asyncio.run, making.__aenter__())
    try:
        yield client
    finally:
        await client.close()


class Body(io.BufferedIOBase):
    """Bytes on their way to a server: the deadline of their request counts from when some were last taken."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.size: int = 0
        """How many bytes there are, for whoever writes them to say."""
        self.taken: asyncio.Event = asyncio.Event()
        """Set when the last of them was taken: from then on the server may do at any time what it was asked for."""
        self._limit: asyncio.Timeout | None = None
        self._loop: asyncio.AbstractEventLoop

    def limit_by(self, limit: asyncio.Timeout | None) -> None:
        """Put off ``limit`` whenever bytes are taken, until this is called again."""
        self._limit, self._loop = limit, asyncio.get_running_loop()

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes, never many of them unless all are asked for.

        The driver calls it in a thread where the bytes are in a file.
        """
        piece = super().read(size if size is None or size < 0 else min(size, _PIECE_BYTES))
        if self._limit is not None:
            self._loop.call_soon_threadsafe(self._put_off, self.tell() >= self.size)
        return piece

    def _put_off(self, all_taken: bool) -> None:
        if all_taken:
            self.taken.set()
        if self._limit is not None and not self._limit.expired():
            further = self.size / _BYTES_PER_SECOND if all_taken else 0.0
            self._limit.reschedule(self._loop.time() + DEADLINE + further)


class BodyInMemory(Body, io.BytesIO):
    """Bytes that wait in memory."""


class BodyInFile(Body, io.BufferedRandom):
    """Bytes that wait in a temporary file, which has no name and goes when it is closed; making one blocks."""

    def __init__(self) -> None:
        super().__init__(TemporaryFile(buffering=0))  # noqa: SIM115  # closed with this


class Client:
    """A client that is opened by its first call and closed once.

    Calls under way end before it is closed: the driver would connect anew for a retry, and nobody would close that.
    """

    def __init__(self, source: ClientFactory) -> None:
        self._source = source
        self._stack = AsyncExitStack()
        self._client: Any = None
        self._opening = asyncio.Lock()
        self._under_way = 0
        self._idle = asyncio.Event()
        self._closing = False

    async def opened(self) -> Any:
        """Return the client itself, and open it where nobody has."""
        async with self._opening:
            if self._client is None:
                self._client = await answered("connect", self._stack.enter_async_context(self._source()))
        return self._client

    async def ask(
        self,
        what: str,
        operation: str,
        arguments: dict[str, Any],
        *,
        body: Body | None = None,
        seconds: float | None = None,
        last: bool = False,
    ) -> Any:
        """Call one operation with a deadline and return its answer; errors are ours and begin with ``what``.

        Raises ``ClosedError`` after :meth:`settle` was called, unless it is the ``last`` call that tidies up.
        """
        with self._call(what, last):
            call = getattr(await self.opened(), operation)
            return await answered(what, call(**arguments), seconds, body)

    async def receive(self, what: str, stream: Any, size: int) -> bytes:
        """Return up to ``size`` bytes of an answer's body, none at its end; raise as :meth:`ask` does."""
        with self._call(what):
            chunk: bytes = await answered(what, stream.read(size))
            return chunk

    async def settle(self) -> None:
        """Refuse further calls and wait for those under way, each of which has its deadline."""
        self._closing = True
        while self._under_way:
            self._idle.clear()
            await self._idle.wait()

    @contextmanager
    def _call(self, what: str, last: bool = False) -> Iterator[None]:
        if self._closing and not last:
            raise ClosedError(f"{what}: the store was closed meanwhile")
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._idle.set()

    async def aclose(self) -> None:
        """Close what was opened, after :meth:`settle`; a second call does nothing."""
        await self._stack.aclose()


async def answered(what: str, call: Awaitable[T], seconds: float | None = None, body: Body | None = None) -> T:
    """Await one answer with a deadline, and turn the driver's errors into ours."""
    try:
        async with asyncio.timeout(seconds or DEADLINE) as limit:
            if body is not None:
                body.limit_by(limit)
            return await call
    except _FAILURES as error:
        raise _failure(what, error) from error
    finally:
        if body is not None:
            body.limit_by(None)


def code_of(error: ChatStoreError) -> str:
    """Return the code of the server's answer that ``error`` was made from, or nothing."""
    cause = error.__cause__
    return _code_and_status(cause)[0] if isinstance(cause, exceptions.ClientError) else ""


def _failure(what: str, error: Exception) -> ChatStoreError:
    name = type(error).__name__
    if isinstance(error, exceptions.ClientError):
        return _refusal(what, *_code_and_status(error))
    if isinstance(error, exceptions.FlexibleChecksumError):
        return IntegrityError(f"{what}: the bytes do not have the checksum that the server keeps of them")
    if isinstance(error, TimeoutError):
        return UnavailableError(f"{what}: the server did not answer in time")
    if isinstance(error, _CREDENTIALS):
        return ConfigurationError(f"{what}: there are no usable credentials ({name})")
    if isinstance(error, exceptions.SSLError):
        return ConfigurationError(f"{what}: the server's certificate is not trusted, or it does not speak TLS")
    if isinstance(error, _WITHOUT_ANSWER):
        return UnavailableError(f"{what}: the server could not be reached, or its answer was cut ({name})")
    return ConfigurationError(f"{what}: the driver refuses the call ({name})")


def _refusal(what: str, code: str, status: int) -> ChatStoreError:
    if code in _ADVICE:
        return ConfigurationError(f"{what}: {_ADVICE[code]}")
    if code in _FOR_NOW:
        return UnavailableError(f"{what}: {_FOR_NOW[code]}")
    if code in _FULL or status == 507:
        return StorageFullError(f"{what}: the server has no space left ({code})")
    if code == "KeyTooLongError":
        return InvalidInputError("key: longer, with the prefix, than the 1,024 bytes that S3 takes")
    if status == 404:
        return NotFoundError(f"{what}: there is no such blob")
    if status == 412:
        return ConflictError(f"{what}: there is a blob already")
    if status != 501 and (status < 400 or status >= 500 or status in (408, 409, 429)):
        return UnavailableError(f"{what}: the server failed, or refuses for now ({code})")
    if status in (401, 403):
        return ConfigurationError(f"{what}: the server refuses the credentials, or what they ask for ({code})")
    return ConfigurationError(f"{what}: the server refuses the request ({code})")


def _code_and_status(error: Any) -> tuple[str, int]:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return str(error.response.get("Error", {}).get("Code", status)), status
