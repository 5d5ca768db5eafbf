"""How a call reaches the data: through a store or a user's, in a block, together with others, on a lost connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from unittest.mock import patch

from attacks import OF_ADMINS, OF_STORES, OF_USERS, SHARED, Attack, Bound, Loot
from worlds import innermost

from chatstore.assembly import ChatStore
from chatstore.owners import Owner
from chatstore.sql import databases
from chatstore.sql.connections import Unit
from chatstore.sql.items import ItemWrite, Outcome, write_items
from chatstore.stores.sql import SQLStore
from chatstore.testing.factories import message
from chatstore.users import UserStore

Go: TypeAlias = Callable[[ChatStore, Owner, Attack, Loot], Awaitable[Any]]

ITEMS = [attack for attack in SHARED if attack.method in ("add_thread_item", "add_thread_items", "save_item")]
"""What is sent to a database together with the items that others write at the same time."""

PAGES = [attack for attack in SHARED if attack.method in ("load_threads", "load_thread_items", "iter_thread_items")]
"""What is read together with the pages that others read at the same time."""

FIRST = Owner("first")
"""Has nothing, and calls before the others, who gather meanwhile."""


@dataclass(frozen=True)
class Way:
    """What surrounds a call on its way to the data.

    Whether the number of statements ``counts``: not where it depends on who else is there. ``in_company`` others
    call at the same moment, into one batch. ``breaks`` is the call to the driver in which the connection does;
    ``beside`` means that somebody holds locks on all that the victim has.
    """

    go: Go = field(repr=False)
    attacks: list[Attack] = field(repr=False)
    counts: bool = True
    in_company: bool = False
    breaks: int = 0
    beside: bool = False
    coalesces: bool = True
    waits: bool = False

    def parties(self, owner: Owner) -> list[Owner]:
        """Return who calls: the attacker last, after others of the same tenant and of the same name elsewhere."""
        company = [Owner("carl", owner.tenant), Owner(owner.user, "y")] if self.in_company else []
        return [*company, owner]

    def calls(self, store: ChatStore, owner: Owner, attack: Attack, loot: Loot) -> list[Awaitable[Any]]:
        """Return the calls of all parties; those of the company go into the same batch, and say no time."""
        *company, _ = self.parties(owner)
        same = attack if "loaded_item" in attack.names else UNDATED.get(attack.method, attack)
        others = [self.go(store, one, same, loot) for one in [FIRST, *company]] if company else []
        return [*others, self.go(store, owner, attack, loot)]

    @contextmanager
    def prepared(self, store: ChatStore) -> Iterator[None]:
        """Let items go to the database one call at a time, or wait for locks as those do, if that is the way."""
        with ExitStack() as stack:
            inner = innermost(store)
            if not self.coalesces and isinstance(inner, SQLStore):
                stack.enter_context(patch.object(inner.database, "lanes", {}))
            if self.waits:
                stack.enter_context(patch.object(databases, "write_items", _waiting))
            yield


async def _waiting(unit: Unit, writes: Sequence[ItemWrite], *, waits: bool) -> list[Outcome]:
    return await write_items(unit, writes, waits=True)


_ADDED = Attack(
    "add_thread_item", "item", "item", lambda v, on: v.add_thread_item(on.thread, message("now", id=on.item))
)
_SAVED = Attack("save_item", "item", "item", lambda v, on: v.save_item(on.thread, message("now", id=on.item)))

UNDATED = {"add_thread_item": _ADDED, "add_thread_items": _ADDED, "save_item": _SAVED}
"""What the company does where the attacker writes."""


async def _through_store(store: ChatStore, owner: Owner, attack: Attack, loot: Loot) -> Any:
    return await attack.call(Bound(store.store, owner), loot)


async def _through_user(store: ChatStore, owner: Owner, attack: Attack, loot: Loot) -> Any:
    return await attack.call(store.for_user(owner.user, owner.tenant), loot)


async def _in_block(store: ChatStore, owner: Owner, attack: Attack, loot: Loot) -> Any:
    async with store.store.transaction() as inner:
        return await attack.call(Bound(inner, owner), loot)


async def _in_savepoint(store: ChatStore, owner: Owner, attack: Attack, loot: Loot) -> Any:
    async def work(user: UserStore) -> Any:
        async with user.transaction() as inner:
            return await attack.call(inner, loot)

    return await store.for_user(owner.user, owner.tenant).run(work)


WAYS = {
    "store": Way(_through_store, SHARED + OF_STORES),
    "user": Way(_through_user, SHARED + OF_USERS),
    "block": Way(_in_block, SHARED + OF_STORES),
    "savepoint": Way(_in_savepoint, SHARED),
    "company": Way(_through_store, ITEMS + PAGES, counts=False, in_company=True),
    "single": Way(_through_store, ITEMS, coalesces=False),
    "broken": Way(_through_store, ITEMS, breaks=1),
    "broken, single": Way(_through_store, ITEMS, breaks=1, coalesces=False),
    "beside": Way(_through_store, SHARED + OF_STORES, beside=True),
    "admin": Way(_through_store, OF_ADMINS, counts=False),
}

DEEPER = {
    "broken company": Way(_through_store, ITEMS, counts=False, in_company=True, breaks=2),
    "waiting company": Way(_through_store, ITEMS, counts=False, in_company=True, waits=True),
    "broken, waiting company": Way(_through_store, ITEMS, counts=False, in_company=True, breaks=2, waits=True),
}
"""Ways that reach statements which are sent otherwise for one owner alone, or hardly ever."""
