"""Reads while 32 writers in two processes append, their clocks three seconds apart: each extends the ones before."""

from __future__ import annotations

from pathlib import Path

import pytest
from scale import scaled, tell

from chatstore import open_store
from chatstore.testing.faults.crew import Crew
from chatstore.testing.faults.history import check
from chatstore.testing.faults.workload import Workload, thread_values

ROUNDS = scaled(1, 20)
READS = 500
PROCESSES, READERS, THREADS = 2, 2, 2


@pytest.fixture(params=["sqlite_url", "postgresql_url"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


async def test_a_read_extends_every_read_that_ended_before_it(url: str, tmp_path: Path) -> None:
    reads = appends = 0
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        crew = Crew(url, folder)
        options = ["--writers", "16", "--pace", "0.05", "--threads", str(THREADS), "--room", f"round-{number}"]
        options += ["--readers", str(READERS), "--reads", str(READS // PROCESSES // READERS), "--pause", "0.001"]
        async with crew.at_work([*options, "--clock", "-1.5"], [*options, "--clock", "1.5"]) as processes:
            for process in processes:
                await process.wait()
        seen = crew.seen()
        rooms = [Workload("", 32, THREADS, room=f"round-{number}").thread_id(thread) for thread in range(THREADS)]
        async with open_store(url) as store:
            final = {room: await thread_values(store.store, room) for room in rooms}
        assert not check(seen.appends, seen.reads, final)
        assert seen.failures == []
        assert {append.value.partition(".")[0] for append in seen.appends} == {"p0", "p1"}
        reads += len(seen.reads)
        appends += len(seen.appends)
    assert reads == ROUNDS * READS
    tell(f"{reads} reads beside {appends} appends: 0 that do not extend an earlier one")
