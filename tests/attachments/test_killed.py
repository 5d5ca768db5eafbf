"""A process that is killed while it uploads, deletes and sweeps leaves every ready file whole, and no orphan."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from inspecting import findings, keys, sweep

from chatstore import open_store

ROUNDS = int(os.environ.get("CHATSTORE_KILL_ROUNDS", "30"))
UPLOADER = Path(__file__).with_name("uploader.py")


@pytest.mark.timeout(60 + 5 * ROUNDS)
def test_a_killed_process_leaves_ready_files_whole_and_no_orphans(sqlite_url: str, tmp_path: Path) -> None:
    blobs = f"file:{tmp_path}/blobs"
    for _ in range(ROUNDS):
        _upload_until_killed(random.uniform(0, 0.4), sqlite_url, blobs)
    asyncio.run(_check(sqlite_url, blobs))


def _upload_until_killed(seconds: float, url: str, blobs: str) -> None:
    command = [sys.executable, str(UPLOADER), url, blobs]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(seconds)
        finally:
            process.kill()


async def _check(url: str, blobs: str) -> None:
    async with open_store(url, blobs=blobs) as chat:
        assert {finding.kind for finding in await findings(chat)} <= {"orphan"}
        await sweep(chat)
        assert await findings(chat) == []
        ready = {record.key for _, record in await chat.store.list_files(after=None, limit=100_000)}
        assert len(ready) >= ROUNDS / 3
        assert ready <= set(await keys(chat))
