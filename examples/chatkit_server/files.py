"""Files: where the example keeps them, which it takes, and what it says of one that it does not take."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from chatstore import ChatStore, ChatStoreError, LimitError, Limits, open_store
from chatstore.integrations.fastapi import attachments_router

PATH = "/files"

_MEGABYTES = 50
_MEGABYTES_IN_ALL = 500

LIMITS = Limits(
    file_bytes=_MEGABYTES * 10**6,
    owner_bytes=_MEGABYTES_IN_ALL * 10**6,
    types=frozenset(
        {"image/*", "audio/*", "video/*", "text/*", "application/pdf", "application/json", "application/zip"}
    ),
)

_REFUSALS = {
    "types": (415, "Files of this type are not taken here: send images, sound, video, text, PDF, JSON or ZIP."),
    "file_bytes": (413, f"It is too large: a file may have {_MEGABYTES} MB."),
    "owner_bytes": (413, f"There is no room left: all your files together may have {_MEGABYTES_IN_ALL} MB."),
}

_SECONDS_BETWEEN_SWEEPS = 3600

_logger = logging.getLogger(__name__)


def open_with_files(url: str, blobs: str, address: str) -> ChatStore:
    """Open a store with files for the server at an address.

    The key that signs URLs is a new one each time: after a restart a page has to be loaded again. Servers that
    share their files need a key in common, kept as a secret.
    """
    keys = [secrets.token_bytes(32)]
    return open_store(url, blobs=blobs, limits=LIMITS, signing_keys=keys, public_url=address.rstrip("/") + PATH)


def add_files(app: FastAPI, store: ChatStore, user: Callable[..., str]) -> None:
    """Add chatstore's own routes, and one that makes a link for a browser to follow."""
    app.include_router(attachments_router(store, user=user), prefix=PATH)
    app.add_exception_handler(LimitError, _refused_by_limit)

    @app.get(PATH + "/{attachment_id}/link")
    async def link(attachment_id: str, user_id: Annotated[str, Depends(user)]) -> dict[str, str]:
        mine = store.for_user(user_id)
        name = (await mine.load_attachment(attachment_id)).name
        url = await mine.attachment_url(attachment_id, expires_in=timedelta(minutes=1), download_name=name)
        return {"url": url}


async def _refused_by_limit(request: Request, error: Exception) -> Response:
    assert isinstance(error, LimitError)
    status, detail = _REFUSALS[error.limit]
    return JSONResponse({"detail": detail}, status)


@asynccontextmanager
async def open_and_swept(store: ChatStore, app: FastAPI) -> AsyncIterator[None]:
    """Keep the store open with the application; now and then the bytes of deleted files are swept away."""
    async with store.lifespan(app):
        sweeping = asyncio.create_task(_sweep_forever(store))
        try:
            yield
        finally:
            sweeping.cancel()
            await asyncio.wait([sweeping])


async def _sweep_forever(store: ChatStore) -> None:
    while True:
        try:
            await store.admin().sweep()
        except ChatStoreError:
            _logger.exception("The sweep failed; it is tried again.")
        await asyncio.sleep(_SECONDS_BETWEEN_SWEEPS)
