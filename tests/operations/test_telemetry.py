"""Spans and metrics by the conventions for databases, through whatever providers the application has set."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from everything import ANN, OPERATIONS, SECRET, note, opened
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from chatstore import BlobStore, NotFoundError, open_store
from chatstore.deadlines import POOL_SIZE
from chatstore.observing import calls, telemetry
from chatstore.observing.outlets import Outlet
from chatstore.testing.faults.proxy import Proxy


@dataclass
class Telemetry:
    """What was exported."""

    spans: InMemorySpanExporter
    reader: InMemoryMetricReader
    tracer_provider: TracerProvider

    async def finished(self) -> list[ReadableSpan]:
        await telemetry.outlet.flush()
        spans = list(self.spans.get_finished_spans())
        self.spans.clear()
        return spans

    async def points(self, name: str) -> list[Any]:
        await telemetry.outlet.flush()
        return [point for metric in self._metrics() if metric.name == name for point in metric.data.data_points]

    def _metrics(self) -> Iterator[Any]:
        data = self.reader.get_metrics_data()
        for resource in [] if data is None else data.resource_metrics:
            for scope in resource.scope_metrics:
                yield from scope.metrics


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Telemetry]:
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    meters = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    monkeypatch.setattr(metrics._internal, "_METER_PROVIDER", meters)
    telemetry.look_again()
    yield Telemetry(spans, reader, provider)
    monkeypatch.undo()
    telemetry.look_again()
    assert telemetry.current() is None
    provider.shutdown()
    meters.shutdown()


async def test_every_operation_has_a_span_and_a_measured_duration_and_no_secret(
    url: str, blobs: str | BlobStore, told: Telemetry
) -> None:
    async with opened(url, blobs) as store:
        ann, kept = store.for_user(ANN.user, ANN.tenant), dict[str, Any]()
        for name, (operation, expected) in OPERATIONS.items():
            await operation(ann, kept)
            spans = await told.finished()
            assert {span.name for span in spans} >= expected, name
            assert [span.name for span in spans if SECRET in span.to_json()] == []
            assert all(span.end_time > span.start_time for span in spans)  # type: ignore[operator]
    durations = await told.points("db.client.operation.duration")
    assert {point.attributes["db.system.name"] for point in durations} == {url.partition(":")[0]}
    measured = {point.attributes["db.operation.name"] for point in durations}
    assert measured >= {name for names in OPERATIONS.values() for name in names[1] if "." not in name} - {
        "add_attachment",
        "open_attachment",
        "attachment_url",
        "complete_upload",
    }
    assert list(durations[0].explicit_bounds) == [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]
    of_blobs = await told.points("chatstore.blobs.operation.duration")
    assert {point.attributes["chatstore.operation.name"] for point in of_blobs} >= {"blobs.put", "blobs.open"}
    data = told.reader.get_metrics_data()
    assert data is not None
    assert SECRET not in data.to_json()


async def test_a_span_is_named_after_the_operation_and_says_whose_by_a_digest(told: Telemetry) -> None:
    async with open_store("memory://") as store:
        await store.for_user(ANN.user, ANN.tenant).create_thread()
        (span,) = await told.finished()
    assert (span.name, span.kind) == ("create_thread", SpanKind.CLIENT)
    assert dict(span.attributes or {}) == {
        "db.system.name": "memory",
        "db.operation.name": "create_thread",
        "chatstore.owner": ANN.digest[:16],
    }
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.schema_url == telemetry.SCHEMA_URL


async def test_an_answer_that_something_is_absent_has_an_error_type_and_is_no_failure(told: Telemetry) -> None:
    async with open_store("memory://") as store:
        with pytest.raises(NotFoundError):
            await store.for_user("ann").load_thread("t")
        (span,) = await told.finished()
        assert (span.attributes or {})["error.type"] == "NotFoundError"
        assert span.status.status_code is StatusCode.UNSET
        (point,) = await told.points("db.client.operation.duration")
        assert point.attributes["error.type"] == "NotFoundError"


async def test_a_failure_of_the_store_has_the_status_error(told: Telemetry) -> None:
    store = open_store("memory://")
    await store.aclose()
    with pytest.raises(Exception, match="closed"):
        await store.for_user("ann").load_thread("t")
    (span,) = await told.finished()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ClosedError")


async def test_spans_stand_below_those_of_the_application_and_of_the_call_that_they_are_part_of(
    told: Telemetry,
) -> None:
    tracer = told.tracer_provider.get_tracer("application")
    async with open_store("memory://", blobs="memory://") as store:
        with tracer.start_as_current_span("request"):
            await store.for_user("ann").add_attachment("a.txt", b"x")
            async with store.for_user("ann").transaction() as tx:
                await tx.create_thread(id="t")
                with tracer.start_as_current_span("inner"):
                    await tx.load_thread("t")
        spans = {(span.name, span.kind): span for span in await told.finished()}

    def above(name: str, kind: SpanKind = SpanKind.CLIENT) -> str:
        parent = spans[name, kind].parent
        return next(span.name for span in spans.values() if span.context and span.context == parent)

    assert above("add_attachment", SpanKind.INTERNAL) == "request"
    assert above("begin_upload") == above("blobs.put") == above("finish_upload") == "add_attachment"
    assert above("transaction") == "request"
    assert above("create_thread") == "transaction"
    assert above("load_thread") == "inner"


async def test_a_try_that_is_followed_by_another_is_counted_by_what_it_failed_of(
    postgresql_url: str, told: Telemetry
) -> None:
    async with Proxy.before(postgresql_url) as proxy, open_store(proxy.url(postgresql_url)) as store:
        ann = store.for_user(ANN.user)
        await ann.create_thread(id="t")
        await ann.add_thread_item("t", note("warm"))
        await told.finished()
        proxy.cut()
        await ann.add_thread_item("t", note("again"))
        (span,) = await told.finished()
        (point,) = await told.points("chatstore.operation.retries")
    assert point.attributes["db.operation.name"] == "add_thread_item"
    assert (span.attributes or {})["chatstore.attempts"] == point.value + 1


async def test_a_wait_for_a_connection_is_measured(postgresql_url: str, told: Telemetry) -> None:
    async with open_store(postgresql_url) as store:
        all_held, released = asyncio.Barrier(POOL_SIZE + 1), asyncio.Event()

        async def hold() -> None:
            async with store.for_user("ann").transaction():
                await all_held.wait()
                await released.wait()

        async with asyncio.TaskGroup() as group:
            for _ in range(POOL_SIZE):
                group.create_task(hold())
            await all_held.wait()
            group.create_task(store.for_user("ben").load_threads())
            asyncio.get_running_loop().call_later(0.05, released.set)
        (point,) = await told.points("chatstore.connection.wait_time")
    assert point.count == 1
    assert point.sum >= 0.04


async def test_reading_a_stream_counts_the_stores_time_and_not_the_readers(told: Telemetry, sqlite_url: str) -> None:
    async with open_store(sqlite_url, blobs="sql") as store:
        ann = store.for_user("ann")
        file = await ann.add_attachment("a.bin", b"x" * 300_000)
        async with ann.open_attachment(file.id) as chunks:
            async for _ in chunks:
                await asyncio.sleep(0.1)
        (point,) = [
            point
            for point in await told.points("chatstore.blobs.operation.duration")
            if point.attributes["chatstore.operation.name"] == "blobs.open"
        ]
    assert 0 < point.sum < 0.2


class Raising(SpanProcessor, SpanExporter):
    """Fails whatever it is asked."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise RuntimeError("of the processor")

    def on_end(self, span: ReadableSpan) -> None:
        raise RuntimeError("of the processor")

    def export(self, spans: Any) -> SpanExportResult:
        raise RuntimeError("of the exporter")

    def shutdown(self) -> None:
        pass


async def test_a_processor_or_an_exporter_that_raises_fails_no_call(told: Telemetry) -> None:
    told.tracer_provider.add_span_processor(SimpleSpanProcessor(Raising()))
    told.tracer_provider.add_span_processor(Raising())
    async with open_store("memory://") as store:
        for _ in range(20):
            await store.for_user("ann").create_thread()
        assert len((await store.for_user("ann").load_threads(limit=100)).data) == 20
    assert len(await told.points("db.client.operation.duration")) > 0


async def test_an_exporter_that_hangs_holds_up_no_call(told: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    class Hanging(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            released.wait()
            return SpanExportResult.FAILURE

        def shutdown(self) -> None:
            pass

    monkeypatch.setattr(telemetry, "outlet", Outlet("telemetry", lambda name, count: None))
    telemetry.look_again()
    told.tracer_provider.add_span_processor(SimpleSpanProcessor(Hanging()))
    began = time.monotonic()
    async with open_store("memory://") as store:
        for _ in range(50):
            await store.for_user("ann").create_thread()
        assert time.monotonic() - began < 0.9
    assert time.monotonic() - began < 2.5
    released.set()


async def test_no_provider_is_no_listener(told: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    assert calls.listens()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(metrics._internal, "_METER_PROVIDER", None)
    telemetry.look_again()
    assert not calls.listens()
