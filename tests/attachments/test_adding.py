"""A file is stored whole, from any source, or nothing is left of it."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from inspecting import BIG, HeldSource, content, findings, keys, sweep, usage

from chatstore import open_store
from chatstore.assembly import ChatStore
from chatstore.errors import ConfigurationError, InvalidInputError, LimitError, NotFoundError, UnavailableError
from chatstore.models import Attachment
from chatstore.protocols import BlobSource, Limits
from chatstore.users import UserStore

Open = Callable[..., ChatStore]


def _as_file(data: bytes, folder: Path) -> BlobSource:
    path = folder / "source.bin"
    path.write_bytes(data)
    return path


def _in_chunks(data: bytes, folder: Path) -> BlobSource:
    return (data[start : start + 1000] for start in range(0, len(data), 1000))


async def _arriving(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 70_000):
        await asyncio.sleep(0)
        yield data[start : start + 70_000]


SOURCES: dict[str, Callable[[bytes, Path], BlobSource]] = {
    "bytes": lambda data, folder: data,
    "path": _as_file,
    "file": lambda data, folder: io.BytesIO(data),
    "chunks": _in_chunks,
    "async": lambda data, folder: _arriving(data),
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("data", [b"", b"one", BIG], ids=["empty", "small", "big"])
async def test_every_source_comes_back_whole(chat: ChatStore, kind: str, data: bytes, tmp_path: Path) -> None:
    user = chat.for_user("ann")
    added = await user.add_attachment("notes.txt", SOURCES[kind](data, tmp_path), size=len(data))
    assert (added.state, added.size, added.sha256) == ("ready", len(data), hashlib.sha256(data).hexdigest())
    assert added.mime_type == "text/plain"
    assert await user.load_attachment(added.id) == added
    assert await content(user, added.id) == data
    assert await findings(chat) == []


def _fails() -> Iterator[bytes]:
    yield BIG
    raise RuntimeError("the sender went away")


REFUSED: dict[str, tuple[BlobSource, dict[str, Any], type[Exception]]] = {
    "another checksum": (BIG, {"sha256": "0" * 64}, InvalidInputError),
    "fewer bytes than declared": (BIG, {"size": len(BIG) + 1}, InvalidInputError),
    "more bytes than declared": (BIG, {"size": len(BIG) - 1}, InvalidInputError),
    "a negative size": (BIG, {"size": -1}, InvalidInputError),
    "a size that is no number": (BIG, {"size": "many"}, InvalidInputError),
    "no such thread": (BIG, {"thread_id": "thr_absent"}, NotFoundError),
    "a source that is none": (5, {}, InvalidInputError),  # type: ignore[dict-item]
    "a file that is not there": (Path("/nonexistent/file"), {}, FileNotFoundError),
    "metadata that JSON cannot hold": (BIG, {"metadata": {"when": {1, 2}}}, InvalidInputError),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_nothing_is_left_of_a_file_that_is_refused(open_chat: Open, case: str) -> None:
    source, options, error = REFUSED[case]
    chat = open_chat(limits=Limits(owner_files=1, owner_bytes=len(BIG) + 1))
    user = chat.for_user("ann")
    with pytest.raises(error):
        await user.add_attachment("a.bin", source, **options)
    await _assert_nothing_left(chat)
    assert (await user.add_attachment("a.bin", BIG)).state == "ready"


async def test_nothing_is_left_of_a_source_that_fails(chat: ChatStore) -> None:
    with pytest.raises(RuntimeError, match="went away"):
        await chat.for_user("ann").add_attachment("a.bin", _fails())
    await _assert_nothing_left(chat)


async def test_an_error_stays_what_it_is_when_the_store_is_away_for_its_undoing(
    open_chat: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = open_chat(limits=Limits(owner_files=1))
    user = chat.for_user("ann")
    monkeypatch.setattr("chatstore.attachments.PENDING", timedelta(0))

    async def away(*given: Any, **options: Any) -> None:
        raise UnavailableError("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(chat.store, "delete_attachment", away)
        with pytest.raises(RuntimeError, match="went away"):
            await user.add_attachment("a.bin", _fails())
    assert (await sweep(chat)).expired_uploads == 1
    assert (await user.add_attachment("a.bin", BIG)).state == "ready"


async def test_an_endless_source_is_stopped_at_the_limit(open_chat: Open) -> None:
    chat = open_chat(limits=Limits(file_bytes=300_000))
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 50_000
            yield b"x" * 50_000

    with pytest.raises(LimitError) as caught:
        await chat.for_user("ann").add_attachment("a.bin", endless())
    assert caught.value.limit == "file_bytes"
    assert given == 350_000
    await _assert_nothing_left(chat)


async def test_a_file_of_exactly_the_limit_is_taken(open_chat: Open) -> None:
    chat = open_chat(limits=Limits(file_bytes=len(BIG), owner_bytes=len(BIG), owner_files=1))
    assert (await chat.for_user("ann").add_attachment("a.bin", BIG, size=len(BIG))).size == len(BIG)


async def test_a_type_that_is_not_allowed_is_refused_before_a_byte_is_read(open_chat: Open) -> None:
    user = open_chat(limits=Limits(types=frozenset({"image/*", "text/plain"}))).for_user("ann")
    source = iter([b"never read"])
    for mime_type in ("application/pdf", "text/html", "images/png", "image"):
        with pytest.raises(LimitError) as caught:
            await user.add_attachment("a.bin", source, mime_type=mime_type)
        assert caught.value.limit == "types"
    assert next(source) == b"never read"
    for mime_type in ("image/png", "IMAGE/PNG", "text/plain; charset=utf-8"):
        assert (await user.add_attachment("a.bin", b"x", mime_type=mime_type)).mime_type == mime_type


@pytest.mark.parametrize("size", [1000, None], ids=["declared", "unknown"])
async def test_uploads_side_by_side_never_exceed_an_owners_limits(open_chat: Open, size: int | None) -> None:
    user = open_chat(limits=Limits(owner_bytes=3500)).for_user("ann")
    uploads = [user.add_attachment("a.bin", _arriving(b"x" * 1000), size=size) for _ in range(8)]
    done = await asyncio.gather(*uploads, return_exceptions=True)
    errors = [one for one in done if isinstance(one, BaseException)]
    assert len(done) - len(errors) == 3
    assert {(type(error), getattr(error, "limit", None)) for error in errors} == {(LimitError, "owner_bytes")}


async def test_uploads_side_by_side_never_exceed_the_number_of_files(open_chat: Open) -> None:
    chat = open_chat(limits=Limits(owner_files=3))
    user = chat.for_user("ann")
    done = await asyncio.gather(*(user.add_attachment("a", b"x") for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(one, LimitError) for one in done) == 5
    assert (await chat.for_user("bob").add_attachment("a", b"x")).state == "ready"
    await sweep(chat)
    assert len(await keys(chat)) == 4


async def test_what_an_owner_has_stored_is_counted_exactly(open_chat: Open) -> None:
    chance = random.Random(7)
    chat = open_chat()
    user = chat.for_user("ann")
    stored: dict[str, int] = {}
    for _ in range(25):
        if stored and chance.random() < 0.4:
            gone = chance.choice(list(stored))
            await user.delete_attachment(gone)
            await user.delete_attachment(gone)
            del stored[gone]
            continue
        data = b"x" * chance.randrange(2000)
        added = await user.add_attachment("a", data, size=chance.choice([None, len(data)]))
        stored[added.id] = len(data)
        with suppress(InvalidInputError):
            await user.add_attachment("a", data, size=len(data) + 1)
    limits = Limits(owner_files=len(stored) + 1, owner_bytes=sum(stored.values()) + 10)
    await _assert_room(chat, limits)


async def _assert_room(chat: ChatStore, limits: Limits) -> None:
    """Prove with the same stores under other limits that there is room for one file of ten bytes, exactly."""
    narrow = ChatStore(chat.store, chat.blobs, limits=limits).for_user("ann")
    with pytest.raises(LimitError, match="bytes"):
        await narrow.add_attachment("a", b"x" * 11)
    await narrow.add_attachment("a", b"x" * 10)
    with pytest.raises(LimitError, match="files"):
        await narrow.add_attachment("a", b"")


async def _upload(user: UserStore, number: int) -> Attachment:
    """Upload in one of the ways that end well, or in one of those that do not."""
    data = b"x" * (500 + 100 * (number % 10))
    match number % 8:
        case 5:
            return await user.add_attachment("a", _arriving(data), size=len(data) + 1)
        case 6:
            return await user.add_attachment("a", _fails())
        case 7:
            uploading = asyncio.create_task(user.add_attachment("a", _arriving(data * 200)))
            for _ in range(number):
                await asyncio.sleep(0)
            uploading.cancel()
            return await uploading
        case _:
            return await user.add_attachment("a", _arriving(data), size=len(data) if number % 2 else None)


async def test_thirty_two_uploads_at_once_never_exceed_the_limits_and_give_back_what_they_do_not_use(
    open_chat: Open,
) -> None:
    limits = Limits(owner_files=14, owner_bytes=10_000)
    chat = open_chat(limits=limits)
    user = chat.for_user("ann")
    await user.load_threads()
    most = [(0, 0)]
    uploads = asyncio.gather(*(_upload(user, number) for number in range(32)), return_exceptions=True)
    while not uploads.done():
        await asyncio.sleep(0.01)
        if hasattr(chat.store, "database"):
            most.append(await usage(chat, user.owner))
    done = await uploads
    ready = [one for one in done if isinstance(one, Attachment)]
    failed = {type(one) for one in done if isinstance(one, BaseException)}
    assert failed <= {LimitError, InvalidInputError, RuntimeError, asyncio.CancelledError}
    assert LimitError in failed
    total = sum(one.size or 0 for one in ready)
    assert 0 < len(ready) <= 14
    assert total <= 10_000
    assert max(files for files, _ in most) <= 14
    assert max(size for _, size in most) <= 10_000
    assert (await sweep(chat)).expired_uploads == 0
    assert len(await keys(chat)) == len(ready)
    await _assert_room(chat, Limits(owner_files=len(ready) + 1, owner_bytes=total + 10))


HOSTILE = [
    "../../etc/passwd",
    "C:\\con",
    "a/b",
    "%2e%2e%2f",
    "'; DROP TABLE x",
    "\u202egnp.exe",
    "📎" * 1000,
    "",
    ".",
    'a\r\nX-Evil: "1"',
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_hostile_name_comes_back_and_is_no_part_of_a_key(chat: ChatStore, name: str) -> None:
    user = chat.for_user("../ann")
    added = await user.add_attachment(name, b"x")
    assert (await user.load_attachment(added.id)).name == name
    (key,) = await keys(chat)
    assert set(key) <= set("0123456789abcdef/")


@pytest.mark.parametrize("name", ["nul\0", "\ud800", "x" * 1025, 7, None], ids=range(5))
async def test_a_name_that_nothing_accepts_leaves_nothing(chat: ChatStore, name: Any) -> None:
    with pytest.raises(InvalidInputError):
        await chat.for_user("ann").add_attachment(name, b"x")
    await _assert_nothing_left(chat)


async def test_an_upload_whose_thread_is_deleted_meanwhile_leaves_nothing(chat: ChatStore) -> None:
    user = chat.for_user("ann")
    thread = await user.create_thread()
    source = HeldSource(BIG, BIG)
    adding = asyncio.create_task(user.add_attachment("a.bin", source, thread_id=thread.id))
    await source.started.wait()
    await user.delete_thread(thread.id)
    source.released.set()
    with pytest.raises(NotFoundError):
        await adding
    await _assert_nothing_left(chat)


@pytest.mark.parametrize("turns", [*range(12), 15, 20, 30, 45, 70, 100])
async def test_an_upload_cancelled_at_any_turn_is_ready_or_gone(open_chat: Open, turns: int) -> None:
    chat = open_chat(limits=Limits(owner_files=1))
    user = chat.for_user("ann")
    thread = await user.create_thread()
    adding = asyncio.create_task(user.add_attachment("a.bin", _arriving(BIG), thread_id=thread.id))
    for _ in range(turns):
        await asyncio.sleep(0)
    adding.cancel()
    with suppress(asyncio.CancelledError):
        await adding
    await sweep(chat)
    found = (await user.load_thread_attachments(thread.id)).data
    assert [one.state for one in found] in ([], ["ready"])
    assert len(await keys(chat)) == len(found)
    assert await findings(chat) == []
    if not found:
        await user.add_attachment("b.bin", b"x")


async def test_files_need_blobs_and_no_transaction(chat: ChatStore) -> None:
    async with chat.for_user("ann").transaction() as inside:
        with pytest.raises(ConfigurationError, match="transaction"):
            await inside.add_attachment("a", b"x")
    async with open_store("memory://") as without:
        with pytest.raises(ConfigurationError, match="blobs="):
            await without.for_user("ann").add_attachment("a", b"x")
        with pytest.raises(ConfigurationError, match="blobs="):
            without.admin()


async def _assert_nothing_left(chat: ChatStore) -> None:
    swept = await sweep(chat)
    assert swept.failed_deletions == 0
    assert swept.expired_uploads == 0
    assert await keys(chat) == []
    assert await chat.store.list_files(after=None, limit=10) == []
    assert await findings(chat) == []
