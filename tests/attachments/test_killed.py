"""A process that is killed at any step of an upload, a deletion or a sweep leaves no half file, and no orphan."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from inspecting import findings, keys, pass_time, sweep, unfinished, usage
from killing import SCENARIOS

from chatstore import open_store
from chatstore.assembly import ChatStore
from chatstore.owners import Owner

ROUNDS = int(os.environ.get("CHATSTORE_KILL_ROUNDS", "4"))
"""How many times a process is killed at random, and at how many steps of each scenario: 200 is all of them."""

STEPS = 1 if ROUNDS < 10 else ROUNDS
HERE = Path(__file__).parent
KILLED = -9

PLACES = [
    ("sqlite", "file"),
    ("sqlite", "sql"),
    ("sqlite", "s3"),
    ("postgresql", "file"),
    ("postgresql", "sql"),
]

Run: TypeAlias = Callable[[dict[str, Any]], dict[str, int]]


@pytest.fixture(params=PLACES, ids="-".join)
def places(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Where records and bytes are that outlive a process."""
    store, blobs = request.param
    url = request.getfixturevalue(f"{store}_url")
    if blobs == "s3":
        return url, request.getfixturevalue("s3_url")
    return url, f"file:{tmp_path}/blobs" if blobs == "file" else blobs


@pytest.mark.timeout(120 + 20 * STEPS)
async def test_a_process_killed_at_a_step_leaves_nothing_half_done(places: tuple[str, str], tmp_path: Path) -> None:
    url, blobs = places
    names = [name for name in SCENARIOS if name != "add in parts" or blobs.startswith("s3:")]
    ends: list[int] = []
    async with open_store(url, blobs=blobs) as chat:
        with _forking() as run:
            for name in names:
                job = {"url": url, "blobs": blobs, "scenario": name, "user": "ann"}
                for step in await _steps(run, job):
                    ended = await asyncio.to_thread(run, {**job, "step": step})
                    ends.append(ended["status"])
                    await _check(chat, tmp_path / "blobs", f"{name}, step {step}", ended["status"] == 0)
    assert set(ends) <= {0, KILLED}
    assert KILLED in ends


async def _steps(run: Run, job: dict[str, Any]) -> list[int]:
    """Choose some of the steps that a scenario takes, or all of them; its whole run is the last one."""
    if STEPS == 1:
        return [random.randint(1, 25)]
    whole = await asyncio.to_thread(run, {**job, "step": 0, "user": "counted"})
    assert whole["status"] == 0
    steps = range(1, whole["steps"] + 2)
    return random.sample(steps, min(STEPS, len(steps)))


async def _check(chat: ChatStore, folder: Path, when: str, is_done: bool) -> None:
    """Whatever was begun is whole or gone, once its time is over; what was there before is there; then clear up."""
    assert {finding.kind for finding in await findings(chat)} <= {"orphan"}, when
    await pass_time(chat, folder)
    await sweep(chat)
    assert await findings(chat) == [], when
    assert await unfinished(chat, folder) == 0, when
    files = await chat.store.list_files(after=None, limit=1000)
    assert sorted(await keys(chat)) == sorted({record.key for _, record in files}), when
    mine = [record.attachment for owner, record in files if owner == Owner("ann")]
    names = sorted(one.name for one in mine)
    assert names in (["kept.bin"], ["a.bin", "kept.bin"], ["a.bin", "a.bin", "kept.bin"]), when
    assert not is_done or when.startswith(("delete", "sweep")) == (names == ["kept.bin"]), when
    assert await usage(chat, Owner("ann")) == (len(mine), sum(one.size or 0 for one in mine)), when
    for owner, record in files:
        await chat.store.delete_attachment(record.attachment.id, owner=owner)
    await sweep(chat)
    assert await keys(chat) == [], when


@contextmanager
def _forking() -> Iterator[Run]:
    command = [sys.executable, str(HERE / "killing.py")]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        sending, answers = process.stdin, process.stdout

        def run(job: dict[str, Any]) -> dict[str, int]:
            sending.write(json.dumps(job) + "\n")
            sending.flush()
            ended: dict[str, int] = json.loads(answers.readline())
            return ended

        try:
            yield run
        finally:
            process.kill()


@pytest.mark.timeout(60 + 5 * ROUNDS)
def test_a_process_killed_at_random_leaves_ready_files_whole_and_no_orphans(sqlite_url: str, tmp_path: Path) -> None:
    blobs = f"file:{tmp_path}/blobs"
    for _ in range(ROUNDS):
        _upload_until_killed(random.uniform(0, 0.4), sqlite_url, blobs)
    asyncio.run(_check_many(sqlite_url, blobs))


def _upload_until_killed(seconds: float, url: str, blobs: str) -> None:
    command = [sys.executable, str(HERE / "uploader.py"), url, blobs]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(seconds)
        finally:
            process.kill()


async def _check_many(url: str, blobs: str) -> None:
    async with open_store(url, blobs=blobs) as chat:
        assert {finding.kind for finding in await findings(chat)} <= {"orphan"}
        await sweep(chat)
        assert await findings(chat) == []
        ready = {record.key for _, record in await chat.store.list_files(after=None, limit=100_000)}
        assert len(ready) >= ROUNDS / 3
        assert ready <= set(await keys(chat))
