"""Two hundred users on one store for a while: their calls stay quick, and its memory does not grow with them."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from asyncio.subprocess import PIPE

import pytest
from scale import scaled, tell

from chatstore.sql import schema
from chatstore.testing.faults.soak import MEBIBYTE, SoakReport, Times, growth, main
from chatstore.testing.processes import environment

pytestmark = pytest.mark.timeout(scaled(120, 3600))

SECONDS = scaled(10, 1_800)
"""For each database."""
P99 = scaled(10.0, 1.0)
"""Seconds; the short form may share its machine with other tests."""
GROWTH = scaled(16 * MEBIBYTE * 600 / (SECONDS / 2), 1e6)
"""Bytes in 10 minutes: in the short form, 16 MiB in its second half, while caches still fill."""


@pytest.fixture(params=["sqlite_url", "postgresql_url"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


async def test_two_hundred_users_are_answered_in_time_and_memory_does_not_grow(url: str) -> None:
    module = ["-m", "chatstore.testing.faults.soak", url, "--seconds", str(SECONDS), "--json"]
    surroundings = environment() | {"PYTHONPATH": str(schema.MIGRATIONS.parent)}
    process = await asyncio.create_subprocess_exec(sys.executable, *module, env=surroundings, stdout=PIPE)
    said, _ = await process.communicate()
    assert process.returncode == 0
    report = SoakReport(**json.loads(said))
    tell("\n".join(report.lines()))
    assert report.users == 200
    assert report.calls >= 200
    assert report.failed == 0, report.errors
    assert report.p99 <= P99
    assert report.growth < GROWTH


def test_times_are_told_to_a_twentieth_whatever_their_number() -> None:
    chance = random.Random(3)
    seconds = sorted(chance.lognormvariate(-5, 1) for _ in range(20_000))
    times = Times()
    for one in seconds:
        times.add(one)
    assert times.count == 20_000
    assert times.slowest == seconds[-1]
    for share in (0.5, 0.99):
        real = seconds[int(share * 20_000) - 1]
        assert real <= times.quantile(share) <= real * 1.05
    assert times.quantile(1.0) == seconds[-1]


def test_growth_is_that_of_the_second_half_in_ten_minutes() -> None:
    warming = [(float(second), 100 * MEBIBYTE + second * MEBIBYTE) for second in range(50)]
    leaking = [(float(second), 150 * MEBIBYTE + (second - 50) * 1_000) for second in range(50, 100)]
    assert growth(warming + leaking) == pytest.approx(600_000)


def test_a_store_that_cannot_be_opened_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sqlite:////nowhere/at/all.db", "--seconds", "1"]) == 2
    assert "cannot be opened" in capsys.readouterr().err


def test_the_figures_are_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory://", "--users", "3", "--seconds", "0.5", "--pause", "0.01"]) == 0
    said = capsys.readouterr().out
    assert "users    3" in said
    assert "0 failed" in said
