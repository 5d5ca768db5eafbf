"""The stage of an attack: what the victim has, what the attacker has, and what is seen of it afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from attacks import BYTES, DAY, LIMITS, OF_ADMINS, OF_STORES, OF_USERS, SHA256, SHARED, Attack, Bound, Loot
from worlds import Rows, World

from chatstore.assembly import ChatStore
from chatstore.errors import ChatStoreError
from chatstore.instants import to_microseconds
from chatstore.links import Upload
from chatstore.models import Attachment, Item, Page, Thread
from chatstore.owners import Owner
from chatstore.protocols import FileRecord, Store
from chatstore.testing.factories import message, minutes, upload
from chatstore.testing.faults.failing import Hook
from chatstore.testing.suites.reading import exactly

VICTIM = Owner("ann", "m")
STRANGERS = [Owner("bob", "m"), Owner("abe", "m"), Owner("ann", "z"), Owner("ann", "a"), Owner("ann")]
"""Another user of the tenant, and the same user of another tenant: before and after the victim in every index."""


async def _through_store(store: ChatStore, owner: Owner, attack: Attack, loot: Loot) -> Any:
    return await attack.call(Bound(store.store, owner), loot)


async def _through_user(store: ChatStore, owner: Owner, attack: Attack, loot: Loot) -> Any:
    return await attack.call(store.for_user(owner.user, owner.tenant), loot)


async def _in_block(store: ChatStore, owner: Owner, attack: Attack, loot: Loot) -> Any:
    async with store.store.transaction() as inner:
        return await attack.call(Bound(inner, owner), loot)


async def _in_savepoint(store: ChatStore, owner: Owner, attack: Attack, loot: Loot) -> Any:
    async with store.for_user(owner.user, owner.tenant).transaction() as user, user.transaction() as inner:
        return await attack.call(inner, loot)


async def _in_run(store: ChatStore, owner: Owner, attack: Attack, loot: Loot) -> Any:
    return await store.for_user(owner.user, owner.tenant).run(lambda inner: attack.call(inner, loot))


WAYS: dict[str, tuple[Callable[..., Awaitable[Any]], list[Attack]]] = {
    "store": (_through_store, SHARED + OF_STORES),
    "user": (_through_user, SHARED + OF_USERS),
    "block": (_in_block, SHARED + OF_STORES),
    "savepoint": (_in_savepoint, SHARED),
    "run": (_in_run, SHARED),
    "admin": (_through_store, OF_ADMINS),
}
"""How an attack reaches the data, and which attacks can go that way."""

THEIRS = Loot()
OWN = THEIRS.renamed("own-")


async def seed(store: Store, owner: Owner, names: Loot, word: str, minute: int, delay: timedelta) -> None:
    """Store threads, items and files of every state."""
    for number, id in enumerate((names.thread, names.other)):
        await store.create_thread(
            owner=owner, id=id, title=word, metadata={"n": 1}, created_at=minutes(minute + number)
        )
    count = 4 if delay else 5
    texts = [
        message(f"{word} {n}", id=f"{names.item}{n or ''}", created_at=minutes(minute + 1 + n)) for n in range(count)
    ]
    await store.add_thread_items(names.thread, texts, owner=owner)
    await store.add_thread_item(names.other, message(word, id=names.item, created_at=minutes(minute + 9)), owner=owner)
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
        loaded_item=await store.load_item(names.thread, names.item, owner=owner),
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


async def staged(world: World) -> Stage:
    """Return a stage made in ``world``, and leave nothing of it there but the bytes."""
    store, blobs = world.store.store, world.store.blobs
    assert blobs is not None
    owner = Owner("stage hand")
    await seed(store, owner, THEIRS, "theirs", 0, DAY)
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
        attackers[having] = _with_keys_of(victims, await world.rows(owner))
        for key in (names.key, names.pending_key):
            await blobs.put(key, BYTES, content_type="text/plain")
    await world.set_up(owner, None)
    return Stage(victims, loot, attackers)


def _with_keys_of(victims: Rows, rows: Rows) -> Rows:
    """Give threads the victim's numbers: random ones, but nothing forbids two owners to draw the same."""
    if "key" not in victims["threads"][0]:
        return rows
    drawn = sorted(rows["threads"], key=lambda row: str(row["id"]))
    given = sorted(victims["threads"], key=lambda row: str(row["id"]))
    same = {mine["key"]: theirs["key"] for mine, theirs in zip(drawn, given, strict=True)}
    columns = ("key", "thread_key")
    return {
        table: [row | {name: same[row[name]] for name in columns if row.get(name) in same} for row in kept]
        for table, kept in rows.items()
    }


@dataclass(frozen=True)
class Outcome:
    """What an attacker can see of an attack: the answer, the statements that it took, their own rows afterwards."""

    answer: Any
    statements: int
    rows: list[str]


MADE = {
    *("key", "thread_key", "position", "last_position", "latest_instant"),
    *("updated", "due", "expires", "created_at", "instant"),
}
"""Columns of numbers and times, which a store may make by itself."""


@dataclass(frozen=True)
class Marks:
    """Tells what the attacker had before and what the victim has from what the store has just made."""

    mine: frozenset[Any]
    theirs: frozenset[Any]

    def of(self, value: Any) -> Any:
        """Return a number or time that was there before; of another one, only whether it is the victim's."""
        if value is None or value in self.mine:
            return value
        return "theirs" if value in self.theirs else "made"

    def seen(self, value: Any) -> Any:
        """Return an answer as it can be compared."""
        if isinstance(value, Thread):
            return (*exactly(value)[:-1], value.revision, self.of(to_microseconds(value.updated_at)))
        if isinstance(value, Item):
            return (*exactly(value)[:-1], self.of(value.position))
        if isinstance(value, Attachment):
            return tuple(_generated(part) for part in exactly(value)[:-1])
        if isinstance(value, Page):
            return (self.seen(value.data), value.has_more, value.after is not None)
        if isinstance(value, FileRecord):
            return (self.seen(value.attachment), _generated(value.key), value.declared_size, value.sniffed)
        if isinstance(value, Upload):
            return (self.seen(value.attachment), value.method)
        if isinstance(value, list):
            return [self.seen(one) for one in value]
        return _generated(value)

    def rows(self, rows: Rows) -> list[str]:
        """Return rows as they can be compared."""
        shown = [
            (table, {name: self.of(value) if name in MADE else _generated(value) for name, value in row.items()})
            for table, kept in rows.items()
            for row in kept
        ]
        return sorted(map(repr, shown))


def marks(mine: Rows | None, theirs: Rows) -> Marks:
    """Return the marks of two owners' rows."""
    return Marks(frozenset(_numbers(mine or {})), frozenset(_numbers(theirs)))


def _numbers(rows: Rows) -> Iterable[Any]:
    return (value for kept in rows.values() for row in kept for name, value in row.items() if name in MADE)


def _generated(value: Any) -> Any:
    """Return a value, but for ids, keys and URLs of the library's own making."""
    if isinstance(value, str) and (value.startswith(("atc_", "https://")) or len(value) > 90):
        return "generated"
    return value


async def attempt(
    world: World, way: str, attack: Attack, owner: Owner, loot: Loot, marks: Marks, hook: Hook
) -> Outcome:
    """Make an attack and return what came of it."""
    go, _ = WAYS[way]
    hook.calls = 0
    try:
        answer = marks.seen(await go(world.store, owner, attack, loot))
    except ChatStoreError as error:
        answer = (type(error), str(error), error.retryable)
    await world.settle()
    statements = hook.calls if way != "admin" else 0
    hook.rest()
    return Outcome(answer, statements, marks.rows(await world.rows(owner)))
