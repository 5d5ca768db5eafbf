"""Nobody reads, changes or even notices what another owner has, whichever call they try, and by whatever names."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from attacks import (
    FILES,
    LISTINGS,
    OF_ADMINS,
    OF_STORES,
    OF_USERS,
    ORDERS,
    SHARED,
    UNBOUND,
    Attack,
    Loot,
    naming_parameters,
)
from scale import scaled, tell
from stages import HAVING, OWN, STRANGERS, VICTIM, Marks, Outcome, Stage, attempt, staged
from ways import WAYS, Way
from worlds import CALLS_TO_DRIVERS, World, multiset, opened_world

from chatstore.protocols import Store
from chatstore.sql.coalescing import Lane
from chatstore.sql.reading import Pages
from chatstore.testing.factories import message
from chatstore.testing.faults.failing import Hook, hooked
from chatstore.users import UserStore

BACKENDS = ["memory", "sqlite_url", "postgresql_url"]
ATTEMPTS = {
    "memory": scaled(3_000, 60_000),
    "sqlite_url": scaled(1_000, 20_000),
    "postgresql_url": scaled(1_000, 20_000),
}

AT_RANDOM = [way for way in WAYS.values() if (way.counts or way.in_company) and not way.breaks and not way.beside]
"""The ways that are quick, and those of one owner alone or of several, not of all."""

ROUND = 1_000
"""Attempts after which all strangers begin anew: what they have should not grow with the number of attempts."""


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def url(backend: str, request: pytest.FixtureRequest) -> str:
    return "memory://" if backend == "memory" else str(request.getfixturevalue(backend))


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    async with opened_world(url) as world:
        yield world


@pytest.fixture
def hook() -> Iterator[Hook]:
    with hooked(CALLS_TO_DRIVERS) as hook:
        yield hook


def test_every_argument_that_names_something_has_an_attack() -> None:
    for kind, attacks in ((Store, SHARED + OF_STORES + OF_ADMINS), (UserStore, SHARED + OF_USERS)):
        attacked = {(attack.method, attack.argument) for attack in attacks}
        naming = naming_parameters(kind)
        assert {one for one in naming - attacked if one[0] not in UNBOUND} == set(), "write an attack for these"
        assert {one for one in attacked - naming if one[0] not in UNBOUND} == set(), "these are not there any more"


def test_only_maintenance_has_no_owner_and_no_user_reaches_it() -> None:
    unbound = {name for name in dir(Store) if not name.startswith("_")} - {
        attack.method for attack in SHARED + OF_STORES
    }
    assert unbound - {"transaction", "run", "aclose", "capabilities", "check"} == UNBOUND
    assert not any(hasattr(UserStore, name) for name in UNBOUND | {"admin"})
    assert {attack.method for attack in OF_USERS} == FILES


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_an_attack_is_answered_as_if_the_victim_never_was(way: Way, world: World, hook: Hook) -> None:
    stage = await staged(world)
    attacks = list(zip(itertools.product(way.attacks, HAVING), itertools.cycle(STRANGERS)))
    seen: list[Outcome] = []
    for victims in (None, stage.victims):
        await world.set_up(VICTIM, victims)
        for number, ((attack, having), stranger) in enumerate(attacks):
            await stage.set(world, way, stranger, having)
            loot = stage.loot_for(attack, having)
            outcome = await attempt(world, way, attack, stranger, loot, stage.marks(having), hook)
            if victims is None:
                seen.append(outcome)
                continue
            assert outcome == seen[number], f"{attack} by {stranger}, who has {having}"
            assert multiset(await world.rows(VICTIM)) == multiset(victims), f"{attack} by {stranger}, who has {having}"


async def test_owners_who_call_at_the_same_time_each_get_their_own(world: World) -> None:
    """The same ids, in one statement for all: of each owner's items, none of another's, in every listing."""
    owners = [VICTIM, *STRANGERS]
    users = [world.store.for_user(owner.user, owner.tenant) for owner in owners]
    for user, owner in zip(users, owners, strict=True):
        await user.create_thread(id="t", title=f"{owner}")
    with hooked([(Lane, "_send"), (Pages, "_send")]) as sent:
        writes = [
            user.add_thread_item("t", message(f"{number}", id=f"i{n}"))
            for n in range(len(users))
            for number, user in enumerate(users[n + 1 :], n + 1)
        ]
        written = [item.data for item in await asyncio.gather(*writes)]
        assert written == [{"text": f"{number}"} for n in range(len(users)) for number in range(n + 1, len(users))]
        for order in ORDERS:
            pages = await asyncio.gather(*(user.load_thread_items("t", limit=2, order=order) for user in users))
            texts = [[item.data["text"] for item in page.data] for page in pages]
            assert texts == [[f"{number}"] * min(number, 2) for number in range(len(users))]
        for order, by in LISTINGS:
            listings = await asyncio.gather(*(user.load_threads(order=order, by=by) for user in users))
            assert [[thread.title for thread in listed.data] for listed in listings] == [[f"{one}"] for one in owners]
    assert sent.calls == (1 + len(ORDERS) + len(LISTINGS) if world.has_columns else 0)


@pytest.mark.timeout(scaled(120, 1200))
async def test_random_attempts_find_nothing_and_break_nothing(world: World, url: str, backend: str, hook: Hook) -> None:
    """Many strangers who keep what they make, in any order; beside the victim and where the victim never was."""
    stage = await staged(world)
    await world.set_up(VICTIM, stage.victims)
    async with opened_world(url, prefix="elsewhere_") as elsewhere:
        await staged(elsewhere)  # the same bytes
        chance = random.Random(20_240_517)
        for number in range(ATTEMPTS[backend]):
            if number % ROUND == 0:
                await _begin_anew(elsewhere, world)
            drawn = _Drawn(chance, stage)
            outcomes = [await drawn.attempt(one, hook) for one in (elsewhere, world)]
            assert outcomes[1] == outcomes[0], f"attempt {number}: {drawn}"
            if number % 50 == 0 or number == ATTEMPTS[backend] - 1:
                assert multiset(await world.rows(VICTIM)) == multiset(stage.victims), f"attempt {number}: {drawn}"
    tell(f"{backend}: {ATTEMPTS[backend]:,} random attempts, 0 that noticed or changed anything")


async def _begin_anew(*worlds: World) -> None:
    everybody = {party for way in WAYS.values() for one in STRANGERS for party in way.parties(one)}
    for world, owner in itertools.product(worlds, everybody):
        await world.set_up(owner, None)


class _Drawn:
    """An attack drawn at random: who, how, what, and by which names."""

    def __init__(self, chance: random.Random, stage: Stage) -> None:
        self._owner = chance.choice(STRANGERS)
        self._way = chance.choice(AT_RANDOM)
        self._attack: Attack = chance.choice([attack for attack in self._way.attacks if not attack.may_lag])
        self._loot = replace(OWN, **{field.name: self._name(chance, stage.loot, field.name) for field in fields(Loot)})

    def _name(self, chance: random.Random, theirs: Loot, field: str) -> Any:
        if field == "key" or field.endswith("_key"):
            return getattr(chance.choice([theirs, OWN]), field)  # other bytes are not there
        drawn = getattr(theirs, field)
        if isinstance(drawn, str) and not field.endswith("_cursor"):
            return chance.choice([drawn, getattr(OWN, field), f"x-{chance.randrange(3)}"])
        if isinstance(drawn, str) and chance.random() < 0.5:
            return chance.choice([drawn[:-1], drawn[::-1], drawn + "A", theirs.items_cursor])
        return drawn

    async def attempt(self, world: World, hook: Hook) -> Outcome:
        everything = Marks(frozenset(), frozenset())
        return await attempt(world, self._way, self._attack, self._owner, self._loot, everything, hook)

    def __str__(self) -> str:
        return f"{self._attack} by {self._owner}, through {self._way}, with {self._loot}"
