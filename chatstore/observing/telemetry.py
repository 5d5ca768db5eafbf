"""Spans and metrics through OpenTelemetry's API, where an application has set up a provider.

The API is not imported here: only who has imported it can have set a provider. Names are those of the stable
conventions for databases; https://opentelemetry.io/docs/specs/semconv/db/
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from chatstore.observing import logs
from chatstore.observing.outlets import Outlet

if TYPE_CHECKING:
    from chatstore.observing.calls import Call

SCHEMA_URL = "https://opentelemetry.io/schemas/1.33.0"

BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""The boundaries, in seconds, that the conventions recommend for the duration of an operation."""

LOOK_SECONDS = 1.0
"""How long an answer to whether there are providers is taken as still right."""

SYSTEM = {"database": "db.system.name", "blobs": "chatstore.blobs.system"}
OPERATION = {"database": "db.operation.name", "blobs": "chatstore.operation.name"}

outlet: Outlet = Outlet("telemetry", logs.lost)
"""Where spans and measurements go: processors and exporters are somebody else's code."""


class Telemetry:
    """Instruments of the application's providers. All is called in the outlet's thread, one after another."""

    def prepare(self) -> None:
        """Make the instruments; before anything else."""
        self._trace: Any = import_module("opentelemetry.trace")
        self._tracer = self._trace.get_tracer("chatstore", schema_url=SCHEMA_URL)
        meter = import_module("opentelemetry.metrics").get_meter("chatstore", schema_url=SCHEMA_URL)
        self._durations = {
            "database": _histogram(meter, "db.client.operation.duration", "Duration of database client operations."),
            "blobs": _histogram(meter, "chatstore.blobs.operation.duration", "Duration of operations on blobs."),
        }
        self._waits = _histogram(
            meter, "chatstore.connection.wait_time", "Time that calls waited for a connection, where none was free."
        )
        self._retries = meter.create_counter(
            "chatstore.operation.retries", unit="{retry}", description="Tries that failed and were followed by another."
        )

    def began(self, call: Call) -> None:
        """Start the span of a call, below that of the call it is part of, unless the application began one since."""
        call.outer = self._trace.get_current_span()
        parent = call.parent
        is_inner = parent is not None and parent.span is not None and parent.outer is call.outer
        call.span = self._tracer.start_span(
            call.operation,
            self._trace.set_span_in_context(parent.span) if parent is not None and is_inner else None,
            kind=self._trace.SpanKind.INTERNAL if call.kind == "files" else self._trace.SpanKind.CLIENT,
            attributes=_attributes(call) | ({"chatstore.owner": call.owner} if call.owner is not None else {}),
            start_time=call.began_at,
        )

    def ended(self, call: Call, ended_at: int) -> None:
        """End the span of a call and measure it."""
        attributes = _attributes(call)
        if call.error is not None:
            attributes["error.type"] = call.error
        if call.kind in self._durations:
            context = None if call.span is None else self._trace.set_span_in_context(call.span)
            self._durations[call.kind].record(call.seconds, attributes, context)
        if call.span is None:
            return
        if call.error is not None:
            call.span.set_attribute("error.type", call.error)
        if call.failed:
            call.span.set_status(self._trace.StatusCode.ERROR, call.error)
        if call.attempts > 1:
            call.span.set_attribute("chatstore.attempts", call.attempts)
        call.span.end(ended_at)

    def retried(self, operation: str, error: str) -> None:
        """Count a try that is followed by another one."""
        self._retries.add(1, {"db.operation.name": operation, "error.type": error})

    def waited(self, seconds: float) -> None:
        """Measure a wait for a connection."""
        self._waits.record(seconds)


def current() -> Telemetry | None:
    """Return what the application's providers are told through, ``None`` where it has set none."""
    if time.monotonic() > _found.until:
        _found.look()
    return _found.telemetry


def look_again() -> None:
    """Forget whether there are providers."""
    _found.until = 0.0


class _Found:
    """The providers that were there when they were last looked for."""

    def __init__(self) -> None:
        self.until = 0.0
        self.telemetry: Telemetry | None = None
        self._providers: list[Any] = [None, None]

    def look(self) -> None:
        self.until = time.monotonic() + LOOK_SECONDS
        providers = [_provider("trace", "get_tracer_provider"), _provider("metrics", "get_meter_provider")]
        if providers == [None, None]:
            self.telemetry = None
        elif [id(provider) for provider in providers] != [id(provider) for provider in self._providers]:
            self.telemetry = Telemetry()
            outlet.put(self.telemetry.prepare)
        self._providers = providers


_found = _Found()


def _provider(module: str, getter: str) -> Any:
    """Return the provider that was set, ``None`` where the API answers with what stands for one to come."""
    api = sys.modules.get(f"opentelemetry.{module}")
    provider = None
    with suppress(Exception):  # it may load one that the environment names
        provider = None if api is None else getattr(api, getter)()
    return None if type(provider).__name__.lstrip("_").startswith("Proxy") else provider


def _histogram(meter: Any, name: str, description: str) -> Any:
    return meter.create_histogram(
        name, unit="s", description=description, explicit_bucket_boundaries_advisory=list(BUCKETS)
    )


def _attributes(call: Call) -> dict[str, Any]:
    if call.kind == "files":
        return {"chatstore.operation.name": call.operation}
    return {SYSTEM[call.kind]: call.system, OPERATION[call.kind]: call.operation}
