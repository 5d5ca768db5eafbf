"""The routes by which a browser uploads, downloads and deletes attachments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from chatstore.assembly import ChatStore
from chatstore.attachments import Attachments
from chatstore.errors import ConfigurationError, InvalidInputError, NotSupportedError
from chatstore.integrations.fastapi.content import answer
from chatstore.integrations.fastapi.forms import FormFile
from chatstore.integrations.fastapi.problems import ForbiddenError, ProblemRoute
from chatstore.links import DOWNLOAD, UPLOAD, Upload
from chatstore.models import Attachment
from chatstore.owners import Owner
from chatstore.protocols import BlobStore
from chatstore.signing import Claims
from chatstore.users import UserStore


class Announced(BaseModel):
    """What a client says of a file that it will upload."""

    name: str
    mime_type: str
    size: int = Field(ge=0, lt=2**63, strict=True)
    thread_id: str | None = None


def attachments_router(store: ChatStore, *, user: Callable[..., Any], redirect: bool = False) -> APIRouter:
    """Return the routes of ``store``'s attachments, to be included under the path that ``public_url`` names.

    ``user`` is the dependency that tells whose request it is: a user's id or an :class:`~chatstore.owners.Owner`;
    without one of these the answer is 403. The routes under ``/upload/`` and ``/download/`` ask for a signed token
    instead. With ``redirect`` a download is sent on to a blob store that can presign, where that would serve the
    file under the same type. Errors are problem responses (RFC 9457).

    ``POST`` takes the bytes as its body, named by ``?name=`` and typed by ``Content-Type``, or a
    ``multipart/form-data`` with one file; both stream, and ``?thread_id=`` joins the file to a thread.
    Raises ``ConfigurationError`` for a store without blobs.
    """
    files = store.attachments
    if files is None:
        raise ConfigurationError("attachments_router: there is no place for bytes; open_store(blobs=...)")

    found_user = Depends(user)

    async def bound(found: Any = found_user) -> UserStore:
        owner = _owner(found)
        return store.for_user(owner.user, owner.tenant)

    mine = Depends(bound)
    router = APIRouter(route_class=ProblemRoute, tags=["attachments"])
    _add_uploads(router, mine)
    _add_signed(router, store, files)
    _add_downloads(router, files, mine, store.blobs if redirect else None)
    return router


def _add_uploads(router: APIRouter, mine: Any) -> None:
    @router.post("", status_code=201)
    async def add(
        request: Request, name: str | None = None, thread_id: str | None = None, user: UserStore = mine
    ) -> Attachment:
        """Store the body, or the one file of a form, as an attachment."""
        content_type = request.headers.get("content-type")
        if _is_form(content_type):
            form = FormFile(str(content_type), aiter(request.stream()))
            await form.begin()
            return await user.add_attachment(
                name or form.name, form.chunks(), mime_type=form.mime_type, thread_id=thread_id
            )
        if name is None:
            raise InvalidInputError("name: give ?name=, or send a form")
        return await user.add_attachment(
            name, request.stream(), mime_type=content_type or None, thread_id=thread_id, size=_content_length(request)
        )

    @router.post("/uploads", status_code=201)
    async def begin(announced: Announced, user: UserStore = mine) -> Upload:
        """Begin an upload that the client does by itself, and return the request to send its bytes with."""
        return await user.begin_upload(
            announced.name, mime_type=announced.mime_type, size=announced.size, thread_id=announced.thread_id
        )

    @router.post("/uploads/{attachment_id}/complete")
    async def complete(attachment_id: str, user: UserStore = mine) -> Attachment:
        """Verify what was uploaded; a second time is success."""
        return await user.complete_upload(attachment_id)


def _add_signed(router: APIRouter, store: ChatStore, files: Attachments) -> None:
    @router.put("/upload/{token}")
    async def upload(token: str, request: Request) -> Attachment:
        """Take the bytes of an upload that has begun, exactly as many as were announced."""
        claims = _permitted(store, token, UPLOAD)
        record = await store.store.load_file(claims.attachment_id, owner=claims.owner)
        if _content_length(request) not in (None, record.declared_size):
            raise InvalidInputError(f"Content-Length: {record.declared_size} bytes were announced")
        return await files.receive(claims.attachment_id, request.stream(), owner=claims.owner)

    async def download(token: str, request: Request) -> Response:
        """Return the bytes that a signed URL permits to read."""
        claims = _permitted(store, token, DOWNLOAD)
        name = claims.bound.get("name")
        return await answer(
            request,
            files,
            claims.attachment_id,
            claims.owner,
            signed=True,
            download_name=None if name is None else str(name),
        )

    _add_content(router, "/download/{token}", download)


def _add_downloads(router: APIRouter, files: Attachments, mine: Any, presigning: BlobStore | None) -> None:
    async def content(attachment_id: str, request: Request, user: UserStore = mine) -> Response:
        """Return the bytes of an attachment, or a range of them."""
        return await answer(request, files, attachment_id, user.owner, presigning=presigning)

    _add_content(router, "/{attachment_id}/content", content)

    @router.get("/{attachment_id}")
    async def load(attachment_id: str, user: UserStore = mine) -> Attachment:
        """Return the record of an attachment."""
        return await user.load_attachment(attachment_id)

    @router.delete("/{attachment_id}", status_code=204, response_model=None)
    async def delete(attachment_id: str, user: UserStore = mine) -> None:
        """Delete an attachment; quiet when absent."""
        await user.delete_attachment(attachment_id)


def _add_content(router: APIRouter, path: str, endpoint: Callable[..., Any]) -> None:
    router.get(path, response_class=Response)(endpoint)
    router.head(path, include_in_schema=False)(endpoint)


def _owner(found: Any) -> Owner:
    try:
        return found if isinstance(found, Owner) else Owner(found)
    except InvalidInputError as error:
        raise ForbiddenError("user: the request is nobody's") from error


def _permitted(store: ChatStore, token: str, action: str) -> Claims:
    if store.signer is None:
        raise NotSupportedError(f"{action}: open_store(signing_keys=..., public_url=...) makes signed URLs")
    try:
        return store.signer.verify(token, action)
    except InvalidInputError as error:
        raise ForbiddenError(str(error)) from None


def _is_form(content_type: str | None) -> bool:
    return (content_type or "").partition(";")[0].strip().lower() == "multipart/form-data"


def _content_length(request: Request) -> int | None:
    given = request.headers.get("content-length")
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 20):
        raise InvalidInputError("Content-Length: must be a number of bytes")
    return int(given)
