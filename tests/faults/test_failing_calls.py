"""Every database call of every operation fails once, with every error a driver has: what is promised holds."""

from __future__ import annotations

import inspect
import itertools
import re
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from driver_calls import Fault, hooked_driver, of, sqlite_error
from scale import scaled

from chatstore import Owner, open_store
from chatstore.errors import ChatStoreError, NotFoundError, UnavailableError
from chatstore.protocols import Limits, QueuedDeletion, Store
from chatstore.testing.factories import NOON, message, messages, minutes, upload
from chatstore.testing.faults.failing import Hook
from chatstore.testing.suites.calls import CALLS, Call, Subject, seed

MOST = 20
"""More calls than any operation makes."""

DAY = timedelta(days=1)


_EACH_TREATED_DIFFERENTLY: list[type[BaseException]] = [
    ConnectionResetError,
    TimeoutError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.SerializationError,
    asyncpg.QueryCanceledError,
    asyncpg.DiskFullError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.InternalServerError,
]
_TREATED_LIKE_ONE_OF_THESE: list[type[BaseException]] = [
    asyncpg.InterfaceError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.OutOfMemoryError,
]
_LOST: list[type[BaseException]] = [ConnectionResetError, TimeoutError]
"""What is raised where the server did its work and the answer did not arrive."""

_CODES = ["BUSY", "BUSY_SNAPSHOT", "LOCKED", "FULL", "IOERR", "CORRUPT", "READONLY", "CANTOPEN", "NOMEM", "INTERRUPT"]

FAULTS: dict[str, list[Fault]] = {
    "postgresql_url": [(of(kind), "before") for kind in _EACH_TREATED_DIFFERENTLY]
    + [(of(kind), "after") for kind in _LOST],
    "sqlite_url": [(sqlite_error(getattr(sqlite3, f"SQLITE_{code}")), "before") for code in _CODES],
}

SIMILAR: dict[str, list[Fault]] = {
    "postgresql_url": [(of(kind), "before") for kind in _TREATED_LIKE_ONE_OF_THESE],
    "sqlite_url": [],
}
"""Of these the short form takes one with each case, in turn."""

LIMITS = Limits()


async def _run(store: Store, owner: Any, on: Subject) -> None:
    async def work(tx: Store) -> None:
        await tx.add_thread_item(on.thread_id, message("first", id="first"), owner=owner)
        await tx.add_thread_item(on.thread_id, message("second", id="second"), owner=owner)

    await store.run(work)


async def _block(store: Store, owner: Any, on: Subject) -> None:
    async with store.transaction() as tx, tx.transaction() as inner:
        await inner.add_thread_item(on.thread_id, message("first", id="first"), owner=owner)
        await inner.update_thread(on.thread_id, owner=owner, title="changed")


FILE_CALLS: dict[str, Call] = {
    "begin_upload": lambda store, owner, on: store.begin_upload(
        upload("begun"), owner=owner, key="ab/begun", size=3, expires_in=DAY, limits=LIMITS
    ),
    "load_file": lambda store, owner, on: store.load_file("pending", owner=owner),
    "finish_upload": lambda store, owner, on: store.finish_upload(
        "pending", owner=owner, key="ab/cd", size=3, sha256="0" * 64, sniffed=None, limits=LIMITS
    ),
    "load_files": lambda store, owner, on: store.load_files(["pending", "file"], owner=owner),
    "copy_attachment": lambda store, owner, on: store.copy_attachment(
        "ready", thread_id=on.thread_id, owner=owner, id="copied", limits=LIMITS
    ),
    "acknowledge_deletion": lambda store, owner, on: store.acknowledge_deletion(QueuedDeletion(owner, "ab/gone", 0)),
    "queue_deletion": lambda store, owner, on: store.queue_deletion("ab/gone", owner=owner),
    "take_deletions": lambda store, owner, on: store.take_deletions(limit=1, retry_after=DAY),
    "expire_uploads": lambda store, owner, on: store.expire_uploads(limit=10),
    "known_keys": lambda store, owner, on: store.known_keys(["ab/cd"]),
    "list_files": lambda store, owner, on: store.list_files(after=None, limit=10),
}

NEW: dict[str, Call] = {
    "create_thread": lambda store, owner, on: store.create_thread(owner=owner, id="new", title="new"),
    "add_thread_item": lambda store, owner, on: store.add_thread_item(
        on.thread_id, message("new", id="new"), owner=owner
    ),
    "add_thread_item at a time": lambda store, owner, on: store.add_thread_item(
        on.thread_id, message("new", id="new"), owner=owner, at=minutes(-1)
    ),
    "add_thread_items": lambda store, owner, on: store.add_thread_items(on.thread_id, messages(3), owner=owner),
}

UNITS: dict[str, Call] = {"run of two writes": _run, "block in a block": _block}

NOT_TWICE = {"begin_upload"}
"""Once it is done, the same call again is a conflict."""

AGAIN: dict[str, Call] = {
    "add_thread_item that is there": CALLS["add_thread_item"],
    "add_thread_item at a time that is there": lambda store, owner, on: store.add_thread_item(
        on.thread_id, message("taken", id=on.item_id, created_at=NOON), owner=owner, at=minutes(-1)
    ),
    "add_thread_items that are there": lambda store, owner, on: store.add_thread_items(
        on.thread_id, [message("new", id="new"), message("taken", id=on.item_id, created_at=NOON)], owner=owner
    ),
}

CASES = [(name, True) for name in [*CALLS, *FILE_CALLS, *AGAIN, "add_thread_item at a time", *UNITS]]
CASES += [(name, False) for name in ("add_thread_item", "add_thread_items", "save_item", *AGAIN)]
"""The operations, and whether items that several tasks write go together."""

OPERATIONS: dict[str, Call] = CALLS | FILE_CALLS | NEW | AGAIN | UNITS


@pytest.fixture(params=list(FAULTS))
def database(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def url(request: pytest.FixtureRequest, database: str) -> str:
    found: str = request.getfixturevalue(database)
    return found


@pytest.fixture
def hook() -> Iterator[Hook]:
    with hooked_driver() as hook:
        yield hook


@pytest.mark.parametrize(
    ("operation", "coalesce"), CASES, ids=[f"{name}{'' if together else ', alone'}" for name, together in CASES]
)
async def test_an_operation_that_fails_at_any_step_is_whole_or_absent(
    operation: str, coalesce: bool, database: str, url: str, hook: Hook
) -> None:
    async with open_store(url, coalesce=coalesce) as store:
        await fail_everywhere(store.store, operation, faults_of(database, CASES.index((operation, coalesce))), hook)


async def test_an_upload_whose_begin_was_not_answered_is_begun_once(postgresql_url: str, hook: Hook) -> None:
    async with open_store(postgresql_url) as store:
        owner, _ = await prepared(store.store, Owner("ann"))
        hook.fail(4, of(ConnectionResetError), "after")  # after the begin, the record and its charge: the commit
        begun = await FILE_CALLS["begin_upload"](store.store, owner, Subject())
        assert hook.reached
        file = await store.store.load_file("begun", owner=owner)
        assert (file.attachment, file.key, file.declared_size) == (begun, "ab/begun", 3)


def faults_of(database: str, case: int) -> list[Fault]:
    similar = SIMILAR[database]
    return FAULTS[database] + scaled(similar[case % len(similar) :][:1] if similar else [], similar)


def test_every_method_of_a_store_is_among_the_operations() -> None:
    public = {name for name, _ in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")}
    made = {re.split(" |_after|_in_thread", name)[0] for name in OPERATIONS}
    assert public - made == {"aclose"}, "a method that is new needs a call here"


async def fail_everywhere(store: Store, operation: str, faults: list[Fault], hook: Hook) -> None:
    """Fail the operation's calls one by one with each fault, and check what is there, also after it is made again."""
    call, owners = OPERATIONS[operation], (Owner(f"ann {number}") for number in itertools.count())
    owner, before = await prepared(store, next(owners))
    await call(store, owner, Subject())
    after = await snapshot(store, owner)
    owner, _ = await prepared(store, next(owners))
    for number in range(1, MOST):
        reached = False
        for fault in faults:
            hook.fail(number, *fault)
            error = await error_of(call, store, owner)
            reached = hook.reached
            hook.rest()
            found = await snapshot(store, owner)
            assert found in expected(error, before, after)
            if error is not None and operation not in NOT_TWICE:
                await call(store, owner, Subject())
                found = await snapshot(store, owner)
                assert found == after
            if before != after and found == after:
                owner, _ = await prepared(store, next(owners))
        if not reached:
            return
    pytest.fail("an operation of more calls than any should have")


async def error_of(call: Call, store: Store, owner: Owner) -> ChatStoreError | None:
    """Make the call and return the store's own error, if any; another one is not caught."""
    try:
        await call(store, owner, Subject())
    except ChatStoreError as error:
        return error
    return None


def expected(error: ChatStoreError | None, before: Any, after: Any) -> list[Any]:
    """Return what may be there after a call that ended with ``error``, which names its cause and quotes nothing."""
    if error is None:
        return [after]
    assert "made up" not in str(error)
    if isinstance(error, UnavailableError) and error.may_have_committed:
        return [before, after]
    assert error.__cause__ is not None
    return [before]


async def prepared(store: Store, owner: Owner) -> tuple[Owner, Any]:
    await seed(store, owner)
    await store.begin_upload(upload("pending"), owner=owner, key="ab/cd", size=3, expires_in=DAY, limits=LIMITS)
    await store.begin_upload(upload("ready"), owner=owner, key="ab/ef", size=3, expires_in=DAY, limits=LIMITS)
    await store.finish_upload("ready", owner=owner, key="ab/ef", size=3, sha256="0" * 64, sniffed=None, limits=LIMITS)
    return owner, await snapshot(store, owner)


async def snapshot(store: Store, owner: Owner) -> Any:
    """Return what an owner has, without what a store numbers and times by itself."""
    found: list[Any] = []
    for thread in (await store.load_threads(owner=owner)).data:
        items = (await store.load_thread_items(thread.id, owner=owner)).data
        found.append((thread.id, thread.title, thread.metadata, [(item.id, item.data) for item in items]))
    for name in ("file", "pending", "ready", "begun", "copied"):
        try:
            record = await store.load_attachment(name, owner=owner)
        except NotFoundError:
            continue
        found.append((record.id, record.state, record.size, record.thread_id))
    return found
