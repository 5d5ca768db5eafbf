"""``chatstore sweep`` and ``chatstore verify`` say what they found and exit as a script expects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from inspecting import blobs_of, record

from chatstore import open_store
from chatstore.assembly import ChatStore
from chatstore.cli import FOUND, main


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
    assert capsys.readouterr().out.splitlines() == [
        "orphan ab/orphan",
        "0 missing, 0 damaged, 1 orphans in 1 files",
    ]


def test_missing_and_damaged_bytes_fail(places: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    _prepare(places, _damage_two)
    assert main(["verify", places[0], "--blobs", places[1]]) == FOUND
    out, err = capsys.readouterr()
    *lines, total = out.splitlines()
    assert sorted(line.split()[0] for line in lines) == ["damaged", "missing"]
    assert all("attachment='atc_" in line and "tenant='one' user='ann'" in line for line in lines)
    assert (total, err) == ("1 missing, 1 damaged, 0 orphans in 2 files", "")


def test_json_is_one_object_a_line(places: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    _prepare(places, _damage_two)
    _prepare(places, _delete_one)
    assert main(["verify", places[0], "--blobs", places[1], "--json"]) == FOUND
    *found, total = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert total == {"missing": 1, "damaged": 1, "orphan": 1, "files": 3, "bytes": 9}
    assert sorted(one["kind"] for one in found) == ["damaged", "missing", "orphan"]
    assert {json.dumps(one["owner"]) for one in found} == {'{"user": "ann", "tenant": "one"}', "null"}
    assert main(["sweep", places[0], "--blobs", places[1], "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "expired_uploads": 0,
        "deleted_blobs": 1,
        "failed_deletions": 0,
        "orphans": 0,
        "unfinished_uploads": 0,
        "last_failure": None,
    }


def test_deletions_that_fail_are_told_with_the_reason(
    places: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _prepare(places, _delete_one)
    (deleted,) = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file() and path.read_bytes() == b"gone"]
    deleted.unlink()
    deleted.symlink_to(tmp_path)
    deleted.parent.rename(tmp_path / "elsewhere")
    deleted.parent.symlink_to(tmp_path / "elsewhere")
    assert main(["sweep", places[0], "--blobs", places[1]]) == FOUND
    out, err = capsys.readouterr()
    assert "0 blobs and 0 orphans deleted" in out
    assert "1 deletions failed and are tried again; the last one: delete" in out
    assert err == ""


def test_a_terminal_is_shown_one_line_that_counts(
    places: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def add(chat: ChatStore) -> None:
        for _ in range(3):
            await chat.for_user("ann").add_attachment("a.bin", b"x" * 600_000)

    _prepare(places, add)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    clock = iter(range(1000))
    monkeypatch.setattr("chatstore.cli.time.monotonic", lambda: next(clock))
    assert main(["verify", places[0], "--blobs", places[1]]) == 0
    out, err = capsys.readouterr()
    assert out == "0 missing, 0 damaged, 0 orphans in 3 files\n"
    assert "\r\x1b[K2 files, 1.2 MB read" in err
    assert "\n" not in err


@pytest.mark.parametrize("command", ["sweep", "verify"])
def test_what_cannot_be_done_is_one_sentence_without_secrets(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for url, blobs in (
        ("postgresql://ann:hunter2@host:port/chat", "sql"),
        ("sqlite://", "s3://key:hunter2@bucket"),
        ("sqlite://", "ftp://ann:hunter2@host"),
        ("oracle://ann:hunter2@host", "sql"),
    ):
        assert main([command, url, "--blobs", blobs]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("chatstore: ")
        assert err.count("\n") == 1
        assert "hunter2" not in err


def test_ctrl_c_ends_with_a_sentence(
    places: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chatstore.cli.open_store", interrupted)
    assert main(["verify", places[0], "--blobs", places[1]]) == 130
    assert capsys.readouterr().err == "chatstore: stopped; run it again to go on\n"


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
