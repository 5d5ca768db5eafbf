"""Whether a store could serve a request now: each of its parts is asked to store something and read it back."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import ClassVar, TypeAlias

import anyio
from pydantic import BaseModel, ConfigDict

from chatstore.errors import ChatStoreError, IntegrityError, InvalidInputError
from chatstore.observing.calls import Call
from chatstore.protocols import BlobStore
from chatstore.sweeping import PROBES

PATIENCE = timedelta(seconds=3)

_BYTES = b"chatstore" * 2000
"""More than a block or two, for which there may be room on a disk that is full."""


class Part(BaseModel):
    """One part of a store: whether it is ``ok``, how long it took to say so, and what is wrong and what to do.

    ``message`` may be set where all is well, too: something that an operator should know.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, defer_build=True)

    name: str
    ok: bool
    latency_ms: float
    message: str | None = None


class Readiness(BaseModel):
    """What :meth:`ChatStore.check` found: ``ok`` where all parts are. ``model_dump()`` is ready for JSON."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, defer_build=True)

    ok: bool
    parts: tuple[Part, ...]


Ask: TypeAlias = Callable[[], Awaitable[str | None]]
"""Raises what is wrong with a part, or returns what an operator should know."""


class Checks:
    """Asks the parts of a store, all at the same time; what is asked already is not asked once more beside it."""

    def __init__(self, parts: Mapping[str, Ask]) -> None:
        self._probes = [_Probe(name, ask) for name, ask in parts.items()]

    async def check(self, within: timedelta) -> Readiness:
        """Return what each part says ``within`` this time."""
        if not isinstance(within, timedelta) or within <= timedelta():
            raise InvalidInputError("within: must be a timedelta above zero")
        seconds = within.total_seconds()
        parts = await asyncio.gather(*(probe.part(seconds) for probe in self._probes))
        return Readiness(ok=all(part.ok for part in parts), parts=tuple(parts))


class _Probe:
    """One part, asked in a task: a write that has begun is not cut off where the answer does not come in time."""

    def __init__(self, name: str, ask: Ask) -> None:
        self._name = name
        self._ask = ask
        self._call = Call("check", "files", name)
        self._task: asyncio.Task[str | None] | None = None

    async def part(self, seconds: float) -> Part:
        began = time.perf_counter()
        task = self._begun()
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            task.cancel()
        ok, message = self._outcome(task, seconds)
        latency = round((time.perf_counter() - began) * 1000, 3)
        return Part(name=self._name, ok=ok, latency_ms=latency, message=message)

    def _begun(self) -> asyncio.Task[str | None]:
        task = self._task
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            self._call = Call("check", "files", self._name)
            task = self._task = asyncio.ensure_future(self._asked(self._call))
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return task

    async def _asked(self, call: Call) -> str | None:
        with call.running():
            return await self._ask()

    def _outcome(self, task: asyncio.Task[str | None], seconds: float) -> tuple[bool, str | None]:
        if not task.done() or task.cancelled():
            problem = "" if self._call.problem is None else f"{self._call.problem}; "
            return False, f"{problem}no answer within {seconds:g} s"
        error = task.exception()
        if error is None:
            return True, task.result()
        # what a third party's error says may be a secret
        return False, str(error) if isinstance(error, ChatStoreError) else type(error).__qualname__


async def probe_blobs(blobs: BlobStore) -> None:
    """Put a small blob under a key of its own, read it and delete it; raise what is in the way."""
    key = f"{PROBES}{secrets.token_hex(16)}"
    try:
        await blobs.put(key, _BYTES, content_type="application/octet-stream")
        if await blobs.read(key) != _BYTES:
            raise IntegrityError("check: the blob store gave other bytes than it was given")
    except BaseException:
        with anyio.CancelScope(shield=True), suppress(Exception):
            await blobs.delete(key)
        raise
    await blobs.delete(key)
