"""Runs that kill themselves at one step: ``python killing.py`` takes a job a line and prints how each one ended.

A step is the moment before or after a statement, a request to S3 or an operation on a file. Each job runs in a fork
of its own, so that hundreds of them take no longer than they need.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any, TypeAlias

from inspecting import blobs_of, upload

from chatstore import aws, open_store
from chatstore.assembly import ChatStore
from chatstore.attachments import new_blob_key
from chatstore.blobs import sql as sql_blobs
from chatstore.blobs.local import store as local_blobs
from chatstore.blobs.s3 import parts
from chatstore.models import Attachment
from chatstore.protocols import Limits
from chatstore.sql.connections import Unit
from chatstore.stores import sql as sql_stores
from chatstore.users import UserStore

DATA = bytes(range(256)) * 2400
"""Three chunks in the database, one request to S3."""

PART_BYTES = 5 * 1024 * 1024
"""The smallest part that S3 takes: what is true of parts is true of these."""

KEYS = [b"k" * 32]

LOADED_BEFORE_THE_FORKS = (sql_blobs, sql_stores)

Scenario: TypeAlias = Callable[[ChatStore, UserStore], AsyncIterator[None]]
"""Prepares, yields, and does what is to be survived."""


async def _add(chat: ChatStore, user: UserStore) -> AsyncIterator[None]:
    thread = await user.create_thread()
    yield
    await user.add_attachment("a.bin", DATA, thread_id=thread.id)


async def _add_in_parts(chat: ChatStore, user: UserStore) -> AsyncIterator[None]:
    yield
    await user.add_attachment("a.bin", bytes(PART_BYTES) + DATA)


async def _receive(chat: ChatStore, user: UserStore) -> AsyncIterator[None]:
    begun = await user.begin_upload("a.bin", mime_type="x/y", size=len(DATA))
    assert chat.attachments is not None
    yield
    await chat.attachments.receive(begun.attachment.id, DATA, owner=user.owner)


async def _complete(chat: ChatStore, user: UserStore) -> AsyncIterator[None]:
    begun = await user.begin_upload("a.bin", mime_type="x/y", size=len(DATA))
    await upload(chat, user, begun.attachment.id, DATA)
    yield
    await user.complete_upload(begun.attachment.id)


async def _copy(chat: ChatStore, user: UserStore) -> AsyncIterator[None]:
    added = await user.add_attachment("a.bin", DATA)
    thread = await user.create_thread()
    yield
    await user.copy_attachment(added.id, thread_id=thread.id)
    await user.delete_attachment(added.id)


async def _delete_attachment(chat: ChatStore, user: UserStore) -> AsyncIterator[None]:
    added = await user.add_attachment("a.bin", DATA)
    yield
    await user.delete_attachment(added.id)


async def _delete_thread(chat: ChatStore, user: UserStore) -> AsyncIterator[None]:
    thread = await user.create_thread()
    for _ in range(2):
        await user.add_attachment("a.bin", b"gone", thread_id=thread.id)
    yield
    await user.delete_thread(thread.id)


async def _sweep(chat: ChatStore, user: UserStore) -> AsyncIterator[None]:
    late = Attachment(id="atc_late", name="a.bin", mime_type="x/y")
    key = new_blob_key(user.owner)
    await chat.store.begin_upload(late, owner=user.owner, key=key, size=3, expires_in=timedelta(0), limits=Limits())
    await upload(chat, user, late.id, b"old")
    await user.delete_attachment((await user.add_attachment("a.bin", b"gone")).id)
    await blobs_of(chat).put(new_blob_key(user.owner), b"nobody's", content_type="x/y")
    yield
    await chat.admin().sweep(grace=timedelta(0))


SCENARIOS: dict[str, Scenario] = {
    "add": _add,
    "receive": _receive,
    "complete": _complete,
    "copy": _copy,
    "delete attachment": _delete_attachment,
    "delete thread": _delete_thread,
    "sweep": _sweep,
    "add in parts": _add_in_parts,
}


class Steps:
    """Counts the steps that are watched, and kills the process at the last one it may take."""

    def __init__(self, last: int) -> None:
        self.count = 0
        self.watched = False
        self._last = last

    def take(self) -> None:
        if self.watched:
            self.count += 1
            if self.count == self._last:
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """Take a step around every statement, request and operation on a file."""
        self._around(Unit, "_run")
        self._around(aws.Client, "ask")
        self._around(aws.Client, "receive")
        self._around(local_blobs, "_done")
        for name in ("fsync", "replace", "unlink", "mkdir"):
            self._before(name)

    def _around(self, place: Any, name: str) -> None:
        original = getattr(place, name)

        async def watched(*given: Any, **options: Any) -> Any:
            self.take()
            answer = await original(*given, **options)
            self.take()
            return answer

        setattr(place, name, watched)

    def _before(self, name: str) -> None:
        original = getattr(os, name)

        def watched(*given: Any, **options: Any) -> Any:
            self.take()
            return original(*given, **options)

        setattr(os, name, watched)


async def _run(job: dict[str, Any], steps: Steps) -> None:
    options: dict[str, Any] = {"signing_keys": KEYS, "public_url": "https://chat.example/files"}
    async with open_store(job["url"], blobs=job["blobs"], **options) as chat:
        user = chat.for_user(job["user"])
        await user.add_attachment("kept.bin", b"kept")
        scenario = SCENARIOS[job["scenario"]](chat, user)
        await anext(scenario)
        steps.watched = True
        await anext(scenario, None)
        steps.watched = False


def _forked(job: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        steps = Steps(job["step"])
        steps.watch()
        parts.PART_BYTES = PART_BYTES
        asyncio.run(_run(job, steps))
        os.write(writing, str(steps.count).encode())
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return {"status": os.waitstatus_to_exitcode(status), "steps": int(pipe.read() or 0)}


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_forked(json.loads(line))) + "\n")
        sys.stdout.flush()
