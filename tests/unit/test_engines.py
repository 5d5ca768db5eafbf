"""What of a URL or an option cannot work is refused before anything connects."""

from __future__ import annotations

import sys
from typing import Any

import asyncpg
import pytest

from chatstore import ConfigurationError, Deadlines, UnavailableError, open_store

PLAIN = "postgresql://host/db"


@pytest.mark.parametrize(
    ("url", "options", "told"),
    [
        ("postgresql://[::1/db", {}, "^url: cannot be read; write postgresql://"),
        ("postgresql://user:p@ss@host/d@b", {}, "^url: cannot be read; write postgresql://"),
        (f"{PLAIN}?channel_binding=require", {}, "^url: channel_binding=require is more than asyncpg can do"),
        ("sqlite://", {"schema": "chat"}, "^schema: sqlite has none; choose a prefix instead$"),
        ("sqlite://", {"pgbouncer": True}, "^pgbouncer: stands before PostgreSQL alone"),
        ("memory://somewhere", {}, '^url: a memory store has no path; write "memory://"$'),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_write(url: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        open_store(url, **options)


def test_a_driver_that_is_not_installed_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ConfigurationError, match=r'pip install "chatstore-py\[postgresql\]"$'):
        open_store(PLAIN)


async def test_a_server_that_refuses_every_connection_is_not_taken_for_a_pooler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PgBouncer's one code says a setting that it does not know as well as a server that is away."""

    async def refuse(*args: Any, **options: Any) -> Any:
        raise asyncpg.ProtocolViolationError("server_login_failed")

    monkeypatch.setattr(asyncpg, "connect", refuse)
    store = open_store(PLAIN, deadlines=Deadlines(connect=0.1, command=0.1, pool=0.1, total=0.5))
    with pytest.raises(UnavailableError, match="the pooler before the server, or the server, refused to go on"):
        await store.for_user("ann").load_threads()
    await store.aclose()


async def test_the_deadlines_of_statements_and_locks_are_told_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, str]] = []

    async def refuse(*args: Any, server_settings: dict[str, str], **options: Any) -> Any:
        told.append(server_settings)
        raise asyncpg.InvalidPasswordError("refused")

    monkeypatch.setattr(asyncpg, "connect", refuse)
    store = open_store(PLAIN, deadlines=Deadlines(statement=2.5, lock=0.5))
    with pytest.raises(ConfigurationError):
        await store.for_user("ann").load_threads()
    await store.aclose()
    assert told[0]["statement_timeout"] == "2500"
    assert told[0]["lock_timeout"] == "500"
