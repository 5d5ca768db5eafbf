"""The stage of an attack: what the victim has, what the attacker has, and what is seen of it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from attacks import BYTES, DAY, LIMITS, SHA256, Attack, Loot
from ways import Way
from worlds import STATEMENTS, Rows, World, refused

from chatstore.errors import ChatStoreError
from chatstore.instants import to_microseconds
from chatstore.links import Upload
from chatstore.models import Attachment, Item, Page, Thread
from chatstore.owners import Owner
from chatstore.positions import STEP
from chatstore.protocols import FileRecord, Store
from chatstore.testing.factories import message, minutes, upload
from chatstore.testing.faults.failing import Hook, hooked
from chatstore.testing.suites.reading import exactly

VICTIM = Owner("ann", "m")
STRANGERS = [Owner("bob", "m"), Owner("abe", "m"), Owner("ann", "z"), Owner("ann", "a"), Owner("ann")]
"""Another user of the tenant, and the same user of another tenant: before and after the victim in every index."""


HAVING = ["nothing", "same", "own"]
"""What an attacker may have: the same ids as the victim with other content, or ids of their own."""

HOUR = 3_600_000_000 * STEP
"""In positions."""

PATIENCE = 1.0
"""Seconds after which a call that waits for somebody's lock is said to wait."""

THEIRS = Loot()
OWN = THEIRS.renamed("own-")


async def seed(store: Store, owner: Owner, names: Loot, word: str, minute: int, delay: timedelta) -> None:
    """Store threads, items and files of every state."""
    for number, id in enumerate((names.thread, names.other)):
        await store.create_thread(
            owner=owner, id=id, title=word, metadata={"n": 1}, created_at=minutes(minute + number)
        )
    count = 4 if delay else 5
    for id, many in ((names.thread, count), (names.other, 3 if delay else 1)):
        texts = [
            message(word * (3 if delay else 1), id=f"{names.item}{n or ''}", created_at=minutes(minute + 1 + n))
            for n in range(many)
        ]
        await store.add_thread_items(id, texts, owner=owner)
    gone = [message(word, id=f"gone-{n}", created_at=minutes(minute)) for n in range(3)]
    await store.add_thread_items(names.other, gone, owner=owner)  # few items are left where more than few were added
    await store.delete_thread_items(names.other, [item.id for item in gone], owner=owner)
    for _ in range(2 if delay else 1):
        await store.update_thread(names.thread, owner=owner, title=f"{word}!")
        await store.update_thread(names.thread, owner=owner, title=word)
    await store.save_attachment(upload(names.loose, name=word), owner=owner)
    for id, key in (
        (names.file, names.key),
        (names.pending, names.pending_key),
        (names.expired, f"{names.key}-expired"),
    ):
        await store.begin_upload(
            upload(id, name=word, thread_id=names.thread, metadata={word: 1}),
            owner=owner,
            key=key,
            size=3,
            expires_in=delay if id == names.expired else DAY,
            limits=LIMITS,
        )
    await store.finish_upload(
        names.file, owner=owner, key=names.key, size=3, sha256=SHA256, sniffed=word, limits=LIMITS
    )
    await store.queue_deletion(names.waiting_key, owner=owner, delay=delay)


async def _gathered(store: Store, owner: Owner, names: Loot) -> Loot:
    """Return names with what their owner loads under them, and the cursors of pages."""
    return replace(
        names,
        loaded_thread=await store.load_thread(names.thread, owner=owner),
        loaded_other=await store.load_thread(names.other, owner=owner),
        loaded_item=await store.load_item(names.thread, names.item, owner=owner),
        loaded_last=await store.load_item(names.thread, f"{names.item}3", owner=owner),
        loaded_file=await store.load_attachment(names.file, owner=owner),
        threads_cursor=(await store.load_threads(owner=owner, limit=1)).after,
        items_cursor=(await store.load_thread_items(names.thread, owner=owner, limit=1)).after,
        files_cursor=(await store.load_thread_attachments(names.thread, owner=owner, limit=1)).after,
    )


@dataclass(frozen=True)
class Stage:
    """What there is before an attack: the victim's rows and loot, and rows that attackers may have."""

    victims: Rows
    loot: Loot
    attackers: dict[str, Rows | None]

    def loot_for(self, attack: Attack, having: str) -> Loot:
        """Return what an attack is given: all of it the victim's, or, of somebody with data of their own, its part."""
        if having != "own":
            return self.loot
        return replace(OWN, **{name: getattr(self.loot, name) for name in attack.names.split()})

    async def set(self, world: World, way: Way, owner: Owner, having: str) -> None:
        """Give the attacker, and who else writes then, what they have."""
        for party in way.parties(owner):
            await world.set_up(party, self.attackers[having])

    async def clear(self, world: World, way: Way, owner: Owner) -> None:
        """Take away what the attacker and the others have."""
        for party in way.parties(owner):
            await world.set_up(party, None)

    def marks(self, having: str) -> Marks:
        """Return what tells the numbers of an attacker from the victim's."""
        return Marks(frozenset(_numbers(self.attackers[having] or {})), frozenset(_numbers(self.victims)))


async def staged(world: World) -> Stage:
    """Return a stage made in ``world``, and leave nothing of it there but the bytes."""
    store, blobs = world.store.store, world.store.blobs
    assert blobs is not None
    owner = Owner("stage hand")
    await seed(store, owner, THEIRS, "theirs", 20, DAY)
    await world.age(owner)
    loot = await _gathered(store, owner, THEIRS)
    victims = await world.rows(owner)
    attackers: dict[str, Rows | None] = {"nothing": None}
    for having, names in (("same", THEIRS), ("own", OWN)):
        await world.set_up(owner, None)
        await seed(store, owner, names, "mine", 10, timedelta())
        await store.queue_deletion(f"{names.key}-expired", owner=owner, delay=DAY)
        if having == "own":
            await store.queue_deletion(THEIRS.key, owner=owner)
        await world.age(owner)
        rows = await world.rows(owner)
        attackers[having] = _with_keys_of(victims, rows) if world.has_columns else rows
        if having == "same" and world.has_columns:
            attackers["same ids, other keys"] = _earlier(rows, most=2)
            attackers["same, earlier"] = _earlier(_with_keys_of(victims, rows))
        for key in (names.key, names.pending_key):
            await blobs.put(key, BYTES, content_type="text/plain")
    await world.set_up(owner, None)
    return Stage(victims, loot, attackers)


def _earlier(rows: Rows, most: int | None = None) -> Rows:
    """Move positions, at the most those of the first items, an hour back: before those of the victim."""
    moved = set(sorted(row["position"] for row in rows["items"])[:most])
    items = [row | {"position": row["position"] - HOUR * (row["position"] in moved)} for row in rows["items"]]
    return rows | {"items": items}


def _with_keys_of(victims: Rows, rows: Rows) -> Rows:
    """Give threads the victim's numbers: random ones, but nothing forbids two owners to draw the same."""
    drawn = sorted(rows["threads"], key=lambda row: str(row["id"]))
    given = sorted(victims["threads"], key=lambda row: str(row["id"]))
    same = {mine["key"]: theirs["key"] for mine, theirs in zip(drawn, given, strict=True)}
    columns = ("key", "thread_key")
    return {
        table: [row | {name: same[row[name]] for name in columns if row.get(name) in same} for row in kept]
        for table, kept in rows.items()
    }


MADE = {
    *("key", "thread_key", "position", "last_position", "latest_instant"),
    *("updated", "due", "expires", "created_at", "instant"),
}
"""Columns of numbers and times, which a store may make by itself."""


@dataclass(frozen=True)
class Marks:
    """Tells what the attacker had before, and what the victim has, from what the store has made since."""

    mine: frozenset[Any]
    theirs: frozenset[Any]

    def of(self, value: Any, kept: frozenset[Any]) -> Any:
        """Return a number or time that was there before; of another one, only whose it is."""
        if value is None or value in self.mine:
            return value
        return "made" if value in kept else "theirs" if value in self.theirs else "nobody's"


@dataclass(frozen=True)
class Outcome:
    """What an attacker can see of an attack: the answer, the statements that it took, and their own rows afterwards.

    And how many statements the database ``refused``, and whether it ``waited`` for a lock.
    """

    answers: list[Any]
    statements: int
    refused: int
    rows: list[list[str]]
    waited: bool


async def attempt(
    world: World, way: Way, attack: Attack, owner: Owner, loot: Loot, marks: Marks, hook: Hook
) -> Outcome:
    """Make an attack, alone or while others make the same one, and return what came of it."""
    parties = way.parties(owner)
    hook.rest()
    if way.breaks:
        hook.fail(way.breaks, ConnectionResetError)
    with way.prepared(world.store), hooked(STATEMENTS) as sent, refused() as errors:
        calls = asyncio.gather(*way.calls(world.store, owner, attack, loot), return_exceptions=True)
        async with world.locked(VICTIM) if way.beside else nullcontext():
            waited = not (await asyncio.wait([calls], timeout=PATIENCE))[0]
        answers = (await calls)[-len(parties) :]
        await world.settle()
    hook.rest()
    rows = [await world.rows(party) for party in parties]
    return Outcome(
        [_Seen(marks, one).answer(answer) for answer, one in zip(answers, rows, strict=True)],
        sent.calls if way.counts else 0,
        len(errors),
        [_Seen(marks, one).rows() for one in rows],
        waited and way.beside,
    )


class _Seen:
    """Puts answers and rows so that they can be compared: of what a store makes by itself, only whose it is."""

    def __init__(self, marks: Marks, rows: Rows) -> None:
        self._marks = marks
        self._rows = rows
        self._kept = frozenset(_numbers(rows))

    def rows(self) -> list[str]:
        order = sorted(row["position"] for row in self._rows["items"])
        shown = [
            (table, {name: self._number(value) if name in MADE else _generated(value) for name, value in row.items()})
            + ((order.index(row["position"]),) if table == "items" else ())
            for table, kept in self._rows.items()
            for row in kept
        ]
        return sorted(map(repr, shown))

    def answer(self, value: Any) -> Any:
        if isinstance(value, ChatStoreError):
            return (type(value), str(value), value.retryable)
        if isinstance(value, BaseException):
            raise value
        if isinstance(value, Thread):
            return (*exactly(value)[:-1], value.revision, self._number(to_microseconds(value.updated_at)))
        if isinstance(value, Item):
            return (*exactly(value)[:-1], self._number(value.position))
        if isinstance(value, Attachment):
            return tuple(_generated(part) for part in exactly(value)[:-1])
        if isinstance(value, Page):
            return (self.answer(value.data), value.has_more, value.after is not None)
        if isinstance(value, FileRecord):
            return (self.answer(value.attachment), _generated(value.key), value.declared_size, value.sniffed)
        if isinstance(value, Upload):
            return (self.answer(value.attachment), value.method)
        if isinstance(value, list):
            return [self.answer(one) for one in value]
        return _generated(value)

    def _number(self, value: Any) -> Any:
        return self._marks.of(value, self._kept)


def _numbers(rows: Rows) -> Iterable[Any]:
    return (value for kept in rows.values() for row in kept for name, value in row.items() if name in MADE)


def _generated(value: Any) -> Any:
    """Return a value, but for ids, keys and URLs of the library's own making."""
    if isinstance(value, str) and (value.startswith(("atc_", "https://")) or len(value) > 90):
        return "generated"
    return value
