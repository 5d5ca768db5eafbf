"""The logger ``chatstore``: a record for each call that ended, and nothing in it that is somebody's."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from everything import ANN, OPERATIONS, SECRET, note, opened

from chatstore import BlobStore, ChatStoreError, Deadlines, Item, NotFoundError, StorageFullError, UserStore, open_store
from chatstore.observing import logs
from chatstore.observing.outlets import Outlet
from chatstore.sql import stepwise
from chatstore.stores.sql import SQLStore
from chatstore.testing.faults.failing import hooked
from chatstore.testing.faults.proxy import Proxy
from chatstore.testing.suites.calls import OWNED, Subject


class Records(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record)

    async def all(self) -> list[logging.LogRecord]:
        await logs.outlet.flush()
        taken, self.kept = self.kept, []
        return taken


@pytest.fixture
def records() -> Iterator[Records]:
    handler = Records()
    logs.logger.addHandler(handler)
    logs.logger.setLevel(logging.DEBUG)
    yield handler
    logs.logger.setLevel(logging.NOTSET)
    logs.logger.removeHandler(handler)


def whole(record: logging.LogRecord) -> str:
    """Return all that a handler could write of a record."""
    return logging.Formatter("%(message)s").format(record) + json.dumps(vars(record), default=repr)


def operations(user: type[UserStore]) -> set[str]:
    return {name for name in vars(user) if not name.startswith("_")} - {"capabilities"}


def field(record: logging.LogRecord, name: str) -> Any:
    return vars(record)[name]


def test_the_operations_of_these_tests_are_all_that_there_are() -> None:
    assert set(OPERATIONS) == operations(UserStore)


async def test_every_operation_is_logged_by_name_with_its_owners_digest_and_no_secret(
    url: str, blobs: str | BlobStore, records: Records
) -> None:
    async with opened(url, blobs) as store:
        ann, kept = store.for_user(ANN.user, ANN.tenant), dict[str, Any]()
        for name, (operation, expected) in OPERATIONS.items():
            await operation(ann, kept)
            told = await records.all()
            assert {field(record, "operation") for record in told} >= expected, name
            assert {field(record, "owner") for record in told} <= {ANN.digest[:16], None}
            assert {record.levelno for record in told} == {logging.DEBUG}
            assert all(field(record, "duration_ms") > 0 and field(record, "attempts") == 1 for record in told)
            assert [text for text in map(whole, told) if SECRET in text] == [], name


async def test_a_call_that_fails_is_logged_by_the_kind_of_its_error_and_not_at_error(records: Records) -> None:
    async with open_store("memory://") as store:
        for name, call in OWNED.items():
            outcome = "ok"
            try:
                await call(store.store, ANN, Subject(f"{SECRET}1", f"{SECRET}2", f"{SECRET}3"))
            except ChatStoreError as error:
                outcome = type(error).__name__
            (record,) = await records.all()
            assert field(record, "outcome") == outcome, name
            assert record.levelno == logging.DEBUG
            assert SECRET not in whole(record)


async def test_what_a_source_raises_is_told_by_its_class_alone(records: Records) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x"
        raise RuntimeError(f"{SECRET}path")

    async with open_store("memory://", blobs="memory://") as store:
        with pytest.raises(RuntimeError, match=SECRET):
            await store.for_user("ann").add_attachment("a.txt", chunks())
        told = await records.all()
    assert "RuntimeError" in {field(record, "outcome") for record in told}
    assert [text for text in map(whole, told) if SECRET in text] == []


async def test_a_try_that_is_followed_by_another_is_a_warning_and_counted_in_the_calls_record(
    postgresql_url: str, records: Records
) -> None:
    async with Proxy.before(postgresql_url) as proxy, open_store(proxy.url(postgresql_url)) as store:
        ann = store.for_user(ANN.user, ANN.tenant)
        await ann.create_thread(id=f"{SECRET}t")
        await ann.add_thread_item(f"{SECRET}t", note("warm"))
        await records.all()
        proxy.cut()
        await ann.add_thread_item(f"{SECRET}t", note("again"))
        told = await records.all()
    warnings = [record for record in told if record.levelno == logging.WARNING]
    (ended,) = [record for record in told if record.levelno == logging.DEBUG]
    assert warnings
    assert {field(record, "operation") for record in warnings} == {"add_thread_item"}
    assert field(ended, "attempts") == len(warnings) + 1
    assert [text for text in map(whole, told) if SECRET in text] == []


async def test_an_error_while_connecting_does_not_log_the_password(records: Records) -> None:
    quick = Deadlines(pool=1, connect=1, command=1)
    store = open_store(f"postgresql://u:{SECRET}password@127.0.0.1:1/db", deadlines=quick)
    readiness = await store.check()
    await store.aclose()
    assert not readiness.ok
    told = await records.all()
    assert {field(record, "operation") for record in told} == {"connect", "check"}
    assert [text for text in [*map(whole, told), readiness.model_dump_json()] if SECRET in text] == []


async def test_a_record_is_made_where_the_call_was(records: Records) -> None:
    async with open_store("memory://") as store:
        with pytest.raises(NotFoundError):
            await store.for_user("ann").load_thread("t")
        (record,) = await records.all()
    assert record.threadName == "MainThread"
    assert record.name == "chatstore"


async def test_without_a_listener_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = Outlet("logs", logs.lost)
    monkeypatch.setattr(logs, "outlet", fresh)
    async with open_store("memory://", blobs="memory://") as store:
        ann = store.for_user("ann")
        await ann.create_thread(id="t")
        await ann.add_thread_item("t", Item(type="note", data={}))
        await ann.add_attachment("a.txt", b"x")
    assert fresh._events.qsize() == 0
    assert fresh._thread is None


async def test_the_tries_of_writes_that_were_sent_together_are_each_callers(
    postgresql_url: str, records: Records
) -> None:
    async with open_store(postgresql_url) as store:
        ann = store.for_user("ann")
        for id in map(str, range(8)):
            await ann.create_thread(id=id)
        await records.all()
        with hooked([(asyncpg.Connection, "fetch")]) as hook:
            hook.fail(1, ConnectionResetError, times=2)
            await asyncio.gather(*(ann.add_thread_item(id, note("a")) for id in map(str, range(8))))
        told = [record for record in await records.all() if record.levelno == logging.DEBUG]
    attempts = sorted(field(record, "attempts") for record in told)
    assert min(attempts[-4:]) > 1


async def test_housekeeping_that_fails_is_a_warning(
    sqlite_url: str, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*anything: object) -> None:
        raise StorageFullError("sweep: the disk is full")

    async with open_store(sqlite_url) as store:
        monkeypatch.setattr(stepwise, "sweep_some", fail)
        assert isinstance(store.store.wrapped, SQLStore)
        store.store.wrapped._sweep_soon()
        assert store.store.wrapped._sweeping is not None
        await store.store.wrapped._sweeping
        (warning,) = [record for record in await records.all() if record.levelno == logging.WARNING]
    assert warning.getMessage() == "sweep: the disk is full; left for later"
