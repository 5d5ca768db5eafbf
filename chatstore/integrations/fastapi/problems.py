"""Errors as problem responses (RFC 9457), for every route of a router at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from chatstore.errors import (
    ChatStoreError,
    ClosedError,
    ConflictError,
    IntegrityError,
    InvalidInputError,
    LimitError,
    NotFoundError,
    NotSupportedError,
    StorageFullError,
    UnavailableError,
)

_logger = logging.getLogger(__name__)


class ForbiddenError(InvalidInputError):
    """A request without a user, or with a token that permits nothing."""


_STATUSES: list[tuple[type[ChatStoreError], HTTPStatus]] = [
    (ForbiddenError, HTTPStatus.FORBIDDEN),
    (InvalidInputError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (NotSupportedError, HTTPStatus.NOT_IMPLEMENTED),
    (UnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (ClosedError, HTTPStatus.SERVICE_UNAVAILABLE),
    (StorageFullError, HTTPStatus.INSUFFICIENT_STORAGE),
    (IntegrityError, HTTPStatus.INTERNAL_SERVER_ERROR),
]


class ProblemRoute(APIRoute):
    """A route that answers what chatstore raises, and what FastAPI finds wrong with a request, as a problem."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's own handler with the errors caught around it."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except ChatStoreError as error:
                return _last_if_endless(request, problem_of(error))
            except RequestValidationError as error:
                wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
                return _problem(HTTPStatus.UNPROCESSABLE_ENTITY, wrong)
            except ClientDisconnect:
                return Response(status_code=HTTPStatus.BAD_REQUEST)

        return handled


def problem_of(error: ChatStoreError) -> Response:
    """Return the problem response of ``error``; a mistake of the application's is raised again.

    What is wrong with the request is said in it; what is wrong with the server is said in the log alone.
    """
    if isinstance(error, LimitError):
        return _problem(_status_of_limit(error), str(error), limit=error.limit)
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), None)
    if status is None:
        raise error
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _logger.error("%s: %s", type(error).__name__, error)
        return _problem(status)
    return _problem(status, str(error))


def _last_if_endless(request: Request, response: Response) -> Response:
    """Close the connection where the body may never end: the server would read on to offer the next request."""
    if "transfer-encoding" in request.headers:
        response.headers["Connection"] = "close"
    return response


def _status_of_limit(error: LimitError) -> HTTPStatus:
    return HTTPStatus.UNSUPPORTED_MEDIA_TYPE if error.limit == "types" else HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def _problem(status: HTTPStatus, detail: str | None = None, **more: str) -> Response:
    content = {"type": "about:blank", "title": status.phrase, "status": status.value, **more}
    if detail is not None:
        content["detail"] = detail
    headers = {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return JSONResponse(content, status, headers, media_type="application/problem+json")
