"""Attachments over HTTP: ``app.include_router(attachments_router(store, user=...), prefix="/files")``."""

from __future__ import annotations

from chatstore.errors import ConfigurationError

try:
    from chatstore.integrations.fastapi.routes import attachments_router
except ModuleNotFoundError as _missing:
    if (_missing.name or "").partition(".")[0] not in ("fastapi", "starlette", "python_multipart"):
        raise
    raise ConfigurationError('attachments_router needs FastAPI: pip install "chatstore-py[fastapi]"') from _missing

__all__: list[str] = ["attachments_router"]
