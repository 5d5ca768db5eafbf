"""A statement that forgets its owner is noticed: each owner condition of each statement is taken away, one at a time."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

import pytest
from attacks import Attack
from conditions import Mutant, all_statements, conditions, mutants, sources
from scale import tell
from stages import STRANGERS, VICTIM, Outcome, Stage, attempt, staged
from ways import DEEPER, WAYS, Way
from worlds import CALLS_TO_DRIVERS, World, multiset, opened_world

from chatstore.errors import ChatStoreError
from chatstore.owners import Owner
from chatstore.sql import files, statements
from chatstore.sql.statements import Statement, Statements
from chatstore.testing.faults.failing import Hook, hooked

OF_ALL_OWNERS = {
    statements.READ_DATABASE: "asks whether any deleted thread left items behind, and answers with a bool to the store",
    statements.HIDDEN_THREAD: "finds a deleted thread for the sweeper, whose further statements name that thread's owner",
    files._EXPIRED: "finds uploads past their time for the sweeper, which deletes each under its owner",
    files._TAKE: "finds deletions that are due, for the sweeper: its other two sources do have conditions",
    files.KNOWN_KEYS: "asks of keys in the blob store whether anybody has them, for the search for orphans",
    files.list_files(continued=False): "lists the files of all owners, for verify",
}
"""Statements that read a table of owners without a condition on the owner, and why they may. No user reaches one."""

EQUIVALENT: dict[tuple[str, str], str] = {}

WAYS_TO_NOTICE = [way for name, way in (WAYS | DEEPER).items() if name not in ("user", "savepoint")]
"""The others send no further statements."""


@dataclass(frozen=True)
class Probe:
    """An attack with what came of it as the library is."""

    way: Way
    attack: Attack
    having: str
    outcome: Outcome

    @property
    def name(self) -> str:
        """The way, the attack and what the attacker has."""
        return f"{self.way} {self.attack} {self.having}"


@dataclass
class Noticer:
    """Makes attacks again on a library that was changed, and tells whether anything is different."""

    world: World
    stage: Stage
    hook: Hook
    probes: dict[str, list[Probe]] = field(default_factory=lambda: defaultdict(list))
    _sharp: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    """Which probes have noticed that a condition was gone, in statements before: these are made first."""

    async def look(self) -> None:
        """Make every attack on the library as it is, and note which statements each sends."""
        await self.world.set_up(VICTIM, self.stage.victims)
        for way in WAYS_TO_NOTICE:
            for attack, having in itertools.product(way.attacks, self.stage.attackers):
                if way.breaks and having != "same":
                    continue  # connecting anew is slow
                with _sent() as sent:
                    outcome = await self._attempt(way, attack, having, STRANGERS[0])
                for template in sent:
                    self.probes[template].append(Probe(way, attack, having, outcome))

    async def notices(self, mutant: Mutant) -> bool:
        """Return whether some attack on the changed library ends otherwise, for the attacker or the victim."""
        strangers = [one for one in STRANGERS if _reaches(mutant, one)]
        candidates = list(itertools.product(self.probes[mutant.template], strangers))
        sharp = self._sharp[mutant.condition]
        candidates.sort(key=lambda one: sharp.get(one[0].name, 0), reverse=True)
        for probe, stranger in candidates:
            if await self._differs(mutant, probe, stranger):
                await self.world.set_up(VICTIM, self.stage.victims)
                sharp[probe.name] = sharp.get(probe.name, 0) + 1
                return True
        return False

    async def _differs(self, mutant: Mutant, probe: Probe, stranger: Owner) -> bool:
        try:
            with _instead(mutant):
                outcome = await self._attempt(probe.way, probe.attack, probe.having, stranger)
        except Exception:  # code that finds two rows where there can be one may raise anything
            return True
        return outcome != probe.outcome or multiset(await self.world.rows(VICTIM)) != multiset(self.stage.victims)

    async def _attempt(self, way: Way, attack: Attack, having: str, stranger: Owner) -> Outcome:
        await self.stage.set(self.world, way, stranger, having)
        loot, marks = self.stage.loot_for(attack, having), self.stage.marks(having)
        return await attempt(self.world, way, attack, stranger, loot, marks, self.hook)


def _reaches(mutant: Mutant, stranger: Owner) -> bool:
    if mutant.lost == "tenant":
        return stranger.user == VICTIM.user
    return mutant.lost == "both" or stranger.tenant == VICTIM.tenant


@contextmanager
def _sent() -> Iterator[set[str]]:
    sent: set[str] = set()
    original = Statements.__getitem__

    def noted(self: Statements, template: str) -> Statement:
        sent.add(template)
        return original(self, template)

    with patch.object(Statements, "__getitem__", noted):
        yield sent


@contextmanager
def _instead(mutant: Mutant) -> Iterator[None]:
    original = Statements.__getitem__

    def changed(self: Statements, template: str) -> Statement:
        return original(self, mutant.text if template == mutant.template else template)

    with patch.object(Statements, "__getitem__", changed):
        yield


@pytest.fixture(params=["sqlite_url", "postgresql_url"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
async def noticer(url: str) -> AsyncIterator[Noticer]:
    with hooked(CALLS_TO_DRIVERS) as hook:
        async with opened_world(url) as world:
            yield Noticer(world, await staged(world), hook)


def test_every_statement_has_an_owner_condition_for_each_table_it_reads() -> None:
    bare = {template for template in all_statements() if sources(template) > conditions(template)}
    assert bare == set(OF_ALL_OWNERS)


async def test_every_owner_condition_is_missed_when_it_is_gone(noticer: Noticer) -> None:
    import time

    t = time.time()
    await noticer.look()
    print("look", time.time() - t)
    found = [mutant for template in all_statements() if template in noticer.probes for mutant in mutants(template)]
    unnoticed = [mutant for mutant in found if not await noticer.notices(mutant)]
    print("all", time.time() - t, len(found), len(unnoticed))
    for one in unnoticed:
        print("SURVIVES", one.lost, one.number, one.condition, "||", one.template[:60], "...", one.template[-70:])
    print("NEVER", *[t for t in all_statements() if t not in noticer.probes], sep="\n   ")
    assert 0
