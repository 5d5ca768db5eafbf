"""Answers that carry the bytes of an attachment."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from datetime import timedelta
from typing import Literal, cast

from fastapi import Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from chatstore.attachments import Attachments
from chatstore.errors import ChatStoreError
from chatstore.integrations.fastapi.problems import problem_of
from chatstore.owners import Owner
from chatstore.protocols import BlobStore, Capability, FileRecord
from chatstore.serving import ResponsePlan, headers_for, plan_response, served_type

REDIRECT_LIFETIME = timedelta(minutes=5)
"""How long the URL of a redirect may be followed."""


class ContentResponse(Response):
    """Streams bytes that are opened when the response begins.

    What fails before the first byte is a problem response; what fails later breaks the connection, short of the
    announced length.
    """

    def __init__(
        self, opening: AbstractAsyncContextManager[AsyncIterator[bytes]], status: int, headers: dict[str, str]
    ) -> None:
        super().__init__(status_code=status, headers=headers)
        self._opening = opening
        self._sent = dict(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open, look at the first bytes, then send."""
        async with AsyncExitStack() as stack:
            try:
                chunks = await stack.enter_async_context(self._opening)
                first = await anext(chunks, b"")
            except ChatStoreError as error:
                await problem_of(error)(scope, receive, send)
                return
            body = await stack.enter_async_context(aclosing(_joined(first, chunks)))
            await StreamingResponse(body, self.status_code, self._sent)(scope, receive, send)


async def answer(
    request: Request,
    files: Attachments,
    attachment_id: str,
    owner: Owner,
    *,
    signed: bool = False,
    download_name: str | None = None,
    presigning: BlobStore | None = None,
) -> Response:
    """Return the bytes, a part of them, or why not, as the headers of the request ask.

    With ``presigning`` a GET is sent on to that blob store where it would serve the file as we do.
    """
    record = await files.record(attachment_id, owner=owner)
    attachment = record.attachment
    method = cast("Literal['GET', 'HEAD']", request.method)
    headers = headers_for(
        attachment.mime_type,
        record.sniffed,
        name=download_name or attachment.name,
        sha256=str(attachment.sha256),
        signed=signed,
        download=download_name is not None,
    )
    plan = plan_response(method, request.headers, size=attachment.size or 0, etag=headers["ETag"])
    if plan.status in (412, 416):
        return Response(status_code=plan.status, headers=plan.headers)
    headers |= plan.headers
    if plan.status == 304 or method == "HEAD":
        return Response(status_code=plan.status, headers=headers)
    if presigning is not None and _may_redirect(presigning, record):
        return await _redirect(presigning, record)
    opening = files.open(attachment_id, owner=owner, start=plan.start, end=_end(plan, attachment.size))
    return ContentResponse(opening, plan.status, headers)


def _end(plan: ResponsePlan, size: int | None) -> int | None:
    """Return the end to open with: none where it is the last byte, so that a whole file is held against its hash."""
    return None if plan.end == size else plan.end


def _may_redirect(blobs: BlobStore, record: FileRecord) -> bool:
    """Say whether the blob store, which knows only the declared type, sends the type that we would."""
    declared = record.attachment.mime_type
    served = served_type(declared, record.sniffed).content_type
    same = served.partition(";")[0] == declared.partition(";")[0].strip().lower()
    return same and Capability.PRESIGN_GET in blobs.capabilities


async def _redirect(blobs: BlobStore, record: FileRecord) -> Response:
    request = await blobs.presign_get(record.key, expires_in=REDIRECT_LIFETIME, download_name=record.attachment.name)
    return RedirectResponse(request.url, 307, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})


async def _joined(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    if first:
        yield first
    async for chunk in chunks:
        yield chunk
