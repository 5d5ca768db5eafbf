"""Every database call of what is done with files fails once: none is ready without bytes, and no bytes are left."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg
import pytest
from driver_calls import Fault, hooked_driver, of, sqlite_error

from chatstore import UserStore, open_store
from chatstore.assembly import ChatStore
from chatstore.errors import ChatStoreError
from chatstore.testing.faults.failing import Hook

Call: TypeAlias = Callable[[ChatStore, UserStore], Awaitable[Any]]

MOST = 60
"""More calls than any operation makes."""
HOUR = timedelta(hours=1)
BYTES = b"swim"


FAULTS: dict[str, list[Fault]] = {
    "postgresql_url": [
        (of(ConnectionResetError), "before"),
        (of(ConnectionResetError), "after"),
        (of(asyncpg.DiskFullError), "before"),
    ],
    "sqlite_url": [(sqlite_error(sqlite3.SQLITE_FULL), "before"), (sqlite_error(sqlite3.SQLITE_BUSY), "before")],
}


async def read(store: ChatStore, user: UserStore) -> bytes:
    async with user.open_attachment("ready") as chunks:
        return b"".join([chunk async for chunk in chunks])


async def verify(store: ChatStore, user: UserStore) -> list[Any]:
    return [finding async for finding in store.admin().verify()]


OPERATIONS: dict[str, Call] = {
    "add_attachment": lambda store, user: user.add_attachment("a.txt", BYTES, thread_id="thread"),
    "begin_upload": lambda store, user: user.begin_upload("a.txt", mime_type="text/plain", size=4, thread_id="thread"),
    "complete_upload": lambda store, user: user.complete_upload("pending"),
    "copy_attachment": lambda store, user: user.copy_attachment("ready", thread_id="thread"),
    "open_attachment": read,
    "attachment_url": lambda store, user: user.attachment_url("ready", expires_in=HOUR),
    "delete_attachment": lambda store, user: user.delete_attachment("ready"),
    "delete_thread": lambda store, user: user.delete_thread("thread"),
    "sweep": lambda store, user: store.admin().sweep(grace=timedelta(0)),
    "verify": verify,
}


@pytest.fixture
def hook() -> Iterator[Hook]:
    with hooked_driver() as hook:
        yield hook


@pytest.fixture(params=list(FAULTS))
def place(request: pytest.FixtureRequest) -> tuple[str, list[Fault]]:
    """A database, and the faults of its driver."""
    return request.getfixturevalue(request.param), FAULTS[request.param]


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_an_operation_on_files_that_fails_at_any_step_leaves_nothing_broken(
    operation: str, place: tuple[str, list[Fault]], hook: Hook
) -> None:
    """The bytes are in the database too, so that every step of an operation is one of its calls."""
    url, faults = place
    address = "https://chat.example/attachments"
    async with open_store(url, blobs="sql", signing_keys=[b"k" * 32], public_url=address) as store:
        for number in range(1, MOST):
            reached = [await _fails(store, operation, number, fault, hook) for fault in faults]
            if not any(reached):
                break
        else:
            pytest.fail("an operation of more calls than any should have")
        user = await _prepared(store, "at the end")
        await OPERATIONS[operation](store, user)
        await store.admin().sweep(grace=timedelta(0))
        assert [finding async for finding in store.admin().verify()] == []


async def _fails(store: ChatStore, operation: str, number: int, fault: Fault, hook: Hook) -> bool:
    """Fail one step, look at what is there, and return whether there was such a step."""
    user = await _prepared(store, f"{number} {fault[1]} {fault[0]()!r}")
    hook.fail(number, *fault)
    error = await _error_of(OPERATIONS[operation](store, user))
    reached = hook.reached
    hook.rest()
    assert error is None or "made up" not in str(error)
    await _check_whole(user)
    await user.delete_thread("thread")
    return reached


async def _error_of(call: Awaitable[Any]) -> ChatStoreError | None:
    """Await the call and return the store's own error, if any; another one is not caught."""
    try:
        await call
    except ChatStoreError as error:
        return error
    return None


async def _prepared(store: ChatStore, name: str) -> UserStore:
    """Make a file that is ready and one whose bytes were uploaded and not looked at yet."""
    user = store.for_user(name)
    await user.create_thread(id="thread")
    added = await user.add_attachment("a.txt", BYTES, thread_id="thread")
    await user.copy_attachment(added.id, thread_id="thread", id="ready")
    await user.begin_upload("b.txt", mime_type="text/plain", size=4, thread_id="thread", id="pending")
    assert store.blobs is not None
    key = (await store.store.load_file("pending", owner=user.owner)).key
    await store.blobs.put(key, BYTES, content_type="text/plain")
    return user


async def _check_whole(user: UserStore) -> None:
    if not (await user.load_threads()).data:
        return
    for record in (await user.load_thread_attachments("thread")).data:
        if record.state == "ready":
            async with user.open_attachment(record.id) as chunks:
                assert b"".join([chunk async for chunk in chunks]) == BYTES
