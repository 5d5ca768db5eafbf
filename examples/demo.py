"""Two people chat with the example server; then everything is closed, opened anew and read back.

What is printed on standard output comes from the reopened store alone. It is compared with what went over HTTP
before it is printed: a difference is an error, and the exit status says so.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
from chatkit.types import ThreadItem
from pydantic import TypeAdapter

from chatstore import ChatStore, ChatStoreError, NotFoundError, UserStore
from chatstore.integrations.chatkit import ChatKitStore
from examples.chatkit_server.files import open_with_files
from examples.made_files import RECORDING_BYTES, picture, recording
from examples.visitor import File, Visitor

DATABASE = Path("demo.db").resolve()
FILES = Path("demo.files").resolve()
URL, BLOBS = f"sqlite:///{DATABASE}", FILES.as_uri()
SECONDS = 60

_ITEM: TypeAdapter[Any] = TypeAdapter(ThreadItem)


class DemoError(Exception):
    """What was read back is not what was sent and streamed, or there was nothing to read."""


async def ann_chats(ann: Visitor) -> None:
    await ann.say("Hello! I am planning a weekend away.")
    await ann.say("Show me Lisbon")
    await ann.press("finish")
    await ann.say("What time is it?")
    await ann.answer_tool({"time": "10:32", "zone": "Europe/Lisbon"})
    await ann.rename("A weekend in Lisbon")
    heard = await ann.upload("waves.wav", "audio/wav", RECORDING_BYTES, recording())
    seen = await ann.upload("sunset.png", "image/png", len(picture()), only(picture()))
    await ann.say("This is what the sea sounded like, and what it looked like.", [heard, seen])


async def only(block: bytes) -> AsyncIterator[bytes]:
    yield block


async def ben_chats(ben: Visitor) -> None:
    await ben.say("Tell me a story about a notebook")
    await ben.say("Does it remember me?")
    await ben.retry()
    await ben.say("Go dark")
    await ben.answer_tool({"theme": "dark"})


@contextmanager
def serving() -> Iterator[str]:
    """Run the example server in a process of its own and yield its address; afterwards it has closed its store."""
    command = [sys.executable, "-m", "examples.chatkit_server", "--port", "0", "--url", URL, "--blobs", BLOBS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            greeting = server.stdout.readline()
            if not greeting:
                raise DemoError("the example server did not start")
            yield greeting.split(" ")[0]
        finally:
            server.terminate()


async def hold_conversations(address: str) -> list[Visitor]:
    """Let both chat at the same time, and return them with what was streamed to each."""
    # Loopback needs no proxy, whatever the environment says.
    async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=SECONDS) as http:
        ann, ben = Visitor(http, "ann"), Visitor(http, "ben")
        await asyncio.gather(ann_chats(ann), ben_chats(ben))
        if await ben.status_of(ann.thread_id) != 404:
            raise DemoError("the server shows Ben a conversation of Ann's")
        for file in ann.files:
            if await ben.statuses_of_file(file.id) != {404}:
                raise DemoError("the server shows Ben a file of Ann's")
    return [ann, ben]


async def read_back(store: ChatKitStore, visitor: Visitor) -> tuple[str | None, list[Any]]:
    """Return the title and all items of a visitor's conversation, having compared them with what was streamed."""
    context = {"user_id": visitor.user}
    thread = await store.load_thread(visitor.thread_id, context)
    items: list[Any] = []
    after = None
    while True:
        page = await store.load_thread_items(visitor.thread_id, after, 5, "asc", context)
        items += page.data
        if not page.has_more:
            break
        after = page.after
    expect("title", thread.title, visitor.title)
    expect("number of items", len(items), len(visitor.items))
    for item, streamed in zip(items, visitor.items.values(), strict=True):
        expect(f"item {item.id}", without_previews(item), without_previews(_ITEM.validate_python(streamed)))
    return thread.title, items


def without_previews(item: Any) -> Any:
    """Return an item without the URLs of its images, which are others each time they are loaded."""
    if item.type != "user_message":
        return item
    plain = [file.model_copy(update={"preview_url": ""}) for file in item.attachments]
    return item.model_copy(update={"attachments": plain})


async def read_file_back(store: ChatStore, visitor: Visitor, sent: File) -> list[str]:
    """Return what there is to print of a file, having compared it with what was sent."""
    mine = store.for_user(visitor.user)
    record = await mine.load_attachment(sent.id)
    expect(f"thread of {sent.name}", record.thread_id, visitor.thread_id)
    digest, size = sha256(), 0
    async with mine.open_attachment(record.id) as chunks:
        async for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
    kept = File(record.id, record.name, record.mime_type, size, digest.hexdigest())
    expect(f"file {sent.name}", kept, sent)
    place = await place_of(store, mine, kept)
    return [
        *paragraph("file", f"{kept.name}, {kept.mime_type}, {kept.size:,} bytes: equal to what was sent"),
        f"{'':13}SHA-256 {kept.sha256}",
        f"{'':13}in {place}",
    ]


async def place_of(store: ChatStore, mine: UserStore, file: File) -> Path:
    """Return which file the bytes are in; its name is the end of their key, and has nothing of what they are called."""
    key = (await store.store.load_file(file.id, owner=mine.owner)).key
    (place,) = FILES.rglob(key.rpartition("/")[2])
    expect(f"size on disk of {file.name}", place.stat().st_size, file.size)
    return place.relative_to(FILES.parent)


def expect(what: str, kept: object, sent: object) -> None:
    if kept != sent:
        raise DemoError(f"{what}: over HTTP it was {sent!r}, but kept is {kept!r}")


async def not_found(loading: Any) -> bool:
    try:
        await loading
    except NotFoundError:
        return True
    return False


async def sees_nothing_of(me: UserStore, other: Visitor) -> bool:
    """Try every way to somebody else's conversation and files: the list, and the exact ids."""
    listed = [thread.id for thread in (await me.load_threads(limit=1000)).data]
    return (
        other.thread_id not in listed
        and await not_found(me.load_thread(other.thread_id))
        and await not_found(me.load_thread_items(other.thread_id))
        and await not_found(me.load_item(other.thread_id, next(iter(other.items))))
        and all([await not_found(me.load_attachment(file.id)) for file in other.files])
        and all([await not_found(first_chunk(me, file)) for file in other.files])
    )


async def first_chunk(me: UserStore, file: File) -> bytes:
    async with me.open_attachment(file.id) as chunks:
        return await anext(chunks)


async def report(visitors: list[Visitor]) -> list[str]:
    """Open the store anew and return what there is to print."""
    lines: list[str] = []
    async with open_with_files(URL, BLOBS, "http://127.0.0.1") as store:
        for visitor in visitors:
            title, items = await read_back(ChatKitStore(store), visitor)
            lines += conversation(visitor.user, title, items)
            for sent in visitor.files:
                lines += await read_file_back(store, visitor, sent)
            lines.append("")
        for me, other in zip(visitors, reversed(visitors), strict=True):
            if not await sees_nothing_of(store.for_user(me.user), other):
                raise DemoError(f"{me.user} can see something of {other.user}")
            lines.append(f"{me.user} asks for {everything_of(other)} by exact ids: not found.")
    size = sum(place.stat().st_size for place in database_files())
    places = f"{DATABASE} ({size / 1024:.0f} KiB) and {FILES}"
    return [*lines, "", f"All of this was read back from {places} after the server was gone."]


def everything_of(visitor: Visitor) -> str:
    return " and ".join([f"the conversation of {visitor.user}", *(file.name for file in visitor.files)])


def conversation(user: str, title: str | None, items: list[Any]) -> list[str]:
    kinds = Counter(item.type for item in items)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    told = [line for item in items for line in paragraph(*speech(user, item))]
    return [bold(f"{user}: {title}"), *told, quiet(f"  {len(items)} items: {counts}")]


def speech(user: str, item: Any) -> tuple[str, str]:
    """Return who says an item, and what."""
    if item.type == "client_tool_call":
        return "browser", f"{item.name} {item.arguments} -> {item.output}"
    if item.type == "widget":
        return "widget", " | ".join(words_in(item.widget))
    return (user if item.type == "user_message" else "assistant"), " ".join(part.text for part in item.content)


def words_in(component: Any) -> list[str]:
    own = [word for name in ("value", "label") if (word := getattr(component, name, None))]
    return own + [word for child in getattr(component, "children", None) or [] for word in words_in(child)]


def paragraph(who: str, text: str) -> list[str]:
    width = min(shutil.get_terminal_size().columns, 110)
    return textwrap.wrap(text, width, initial_indent=f"  {who:<11}", subsequent_indent=" " * 13)


def bold(text: str) -> str:
    return f"\033[1m{text}\033[0m" if colours() else text


def quiet(text: str) -> str:
    return f"\033[2m{text}\033[0m" if colours() else text


def colours() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def database_files() -> list[Path]:
    """Return the file and what SQLite keeps beside it, as far as they exist."""
    places = [DATABASE.with_name(DATABASE.name + ending) for ending in ("", "-wal", "-shm")]
    return [place for place in places if place.exists()]


async def main() -> None:
    for place in database_files():
        place.unlink()
    shutil.rmtree(FILES, ignore_errors=True)
    with serving() as address:
        print(f"Two people chat with {address} ...", file=sys.stderr)
        visitors = await hold_conversations(address)
    print(*await report(visitors), sep="\n")


def run() -> None:
    try:
        asyncio.run(asyncio.wait_for(main(), SECONDS))
    except (DemoError, ChatStoreError, httpx.HTTPError, TimeoutError) as error:
        sys.exit(f"The demo failed: {error or type(error).__name__}")


if __name__ == "__main__":
    run()
