"""``chatstore sweep`` and ``chatstore verify`` say what they found and exit as a script expects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from inspecting import blobs_of, record

from chatstore import open_store
from chatstore.assembly import ChatStore
from chatstore.cli import main


@pytest.fixture
def places(empty_sqlite_url: str, tmp_path: Path) -> tuple[str, str]:
    return empty_sqlite_url, f"file:{tmp_path}/blobs"


def _prepare(places: tuple[str, str], work: Callable[[ChatStore], Awaitable[None]]) -> None:
    async def run() -> None:
        async with open_store(places[0], blobs=places[1]) as chat:
            await work(chat)

    asyncio.run(run())


async def _delete_one(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    await user.delete_attachment((await user.add_attachment("a.bin", b"gone")).id)
    await user.add_attachment("b.bin", b"kept")
    await blobs_of(chat).put("ab/orphan", b"x", content_type="x/y")


async def _damage_two(chat: ChatStore) -> None:
    user = chat.for_user("ann", "one")
    for data in (None, b"other"):
        stored = await record(chat, user, (await user.add_attachment("a.bin", b"bytes")).id)
        if data is None:
            await blobs_of(chat).delete(stored.key)
        else:
            await blobs_of(chat).put(stored.key, data, content_type="x/y")


def test_a_sweep_counts_what_it_deleted(places: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    _prepare(places, _delete_one)
    assert main(["sweep", places[0], "--blobs", places[1]]) == 0
    assert "1 blobs and 0 orphans deleted, 0 deletions failed" in capsys.readouterr().out
    assert main(["sweep", places[0], "--blobs", places[1], "--grace-hours", "0"]) == 0
    assert "0 blobs and 1 orphans deleted" in capsys.readouterr().out


def test_orphans_are_listed_and_no_failure(places: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    _prepare(places, _delete_one)
    assert main(["verify", places[0], "--blobs", places[1]]) == 0
    assert capsys.readouterr().out.splitlines() == ["orphan ab/orphan", "0 missing, 0 damaged, 1 orphans"]


def test_missing_and_damaged_bytes_fail(places: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    _prepare(places, _damage_two)
    assert main(["verify", places[0], "--blobs", places[1]]) == 1
    out, err = capsys.readouterr()
    assert sorted(line.split()[0] for line in out.splitlines()) == ["damaged", "missing"]
    assert all("attachment='atc_" in line and "tenant='one' user='ann'" in line for line in out.splitlines())
    assert "1 missing, 1 damaged, 0 orphans" in err


@pytest.mark.parametrize("hours", ["-1", "nan", "inf", "1e99"])
def test_a_grace_that_is_none_is_refused(
    places: tuple[str, str], hours: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _prepare(places, _delete_one)
    assert main(["sweep", places[0], "--blobs", places[1], f"--grace-hours={hours}"]) == 1
    assert "grace" in capsys.readouterr().err


def test_tables_that_are_missing_are_not_made(places: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", places[0], "--blobs", places[1]]) == 1
    assert "chatstore migrate" in capsys.readouterr().err


def test_the_database_and_the_blobs_must_be_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CHATSTORE_URL", raising=False)
    assert main(["verify", "--blobs", "memory://"]) == 1
    assert "CHATSTORE_URL" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["sweep", "sqlite://"])
    assert caught.value.code == 2
