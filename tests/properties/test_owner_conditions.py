"""A statement that forgets its owner is noticed: each owner condition of each statement is taken away, one by one."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

import pytest
from attacks import Attack
from conditions import Mutant, all_statements, conditions, mutants, sources
from scale import scaled, tell
from stages import STRANGERS, VICTIM, Outcome, Stage, attempt, staged
from ways import DEEPER, WAYS, Way
from worlds import CALLS_TO_DRIVERS, World, multiset, opened_world

from chatstore.owners import Owner
from chatstore.sql import files, statements
from chatstore.sql.statements import Statement, Statements
from chatstore.testing.faults.failing import Hook, hooked

OF_ALL_OWNERS = {
    statements.READ_DATABASE: "asks whether any deleted thread left items behind, and tells the store yes or no",
    statements.HIDDEN_THREAD: "finds a deleted thread for the sweeper, which then names that thread's owner",
    files._EXPIRED: "finds uploads past their time for the sweeper, which deletes each under its owner",
    files._TAKE: "finds deletions that are due, for the sweeper; its other two sources do have conditions",
    files.KNOWN_KEYS: "asks of keys in the blob store whether anybody has them, for the search for orphans",
    files.list_files(continued=False): "lists the files of all owners, for verify",
    files.list_files(continued=True): "the same",
}
"""Statements of all owners, and why they are. No user reaches one, and row security lets no other see all rows."""

_SAVE = "THEN i.created_at ELSE excluded.created_at"
"""What only the statement has that saves an item."""

EQUIVALENT = {
    (_SAVE, "s.tenant = thread.tenant AND s.user_id = thread.user_id"): (
        "asked only where several items must be stored or none, after an AND that is false before: a save writes one"
    ),
    (_SAVE, "i.tenant = thread.tenant AND i.user_id = thread.user_id"): "the same",
}
"""Conditions that nothing can miss: a part of the statement's text, the condition, and why."""

LOST = scaled(["both"], ["both", "tenant", "user_id"])

WAYS_TO_NOTICE = [way for name, way in (WAYS | DEEPER).items() if name not in ("user", "savepoint", "block", "single")]
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
                if having not in _worth_while(way, self.stage):
                    continue
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


def _worth_while(way: Way, stage: Stage) -> Iterable[str]:
    """Return what attackers should have on a way that takes long: connecting anew, or waiting for locks."""
    if way.breaks:
        return ("same", "own")
    return ("nothing",) if way.beside else stage.attackers


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


def test_every_statement_has_an_owner_condition_for_each_table_it_reads_or_says_that_it_is_of_all() -> None:
    of_all = {template for template in all_statements() if template.startswith(statements.ALL_OWNERS)}
    assert of_all == set(OF_ALL_OWNERS)
    bare = {template for template in all_statements() if sources(template) > conditions(template)}
    assert bare <= of_all


@pytest.mark.timeout(scaled(120, 3600))
async def test_every_owner_condition_is_missed_when_it_is_gone(noticer: Noticer, url: str) -> None:
    await noticer.look()
    lost = [one for template in noticer.probes for one in mutants(template) if one.lost in LOST]
    unnoticed = [str(one) for one in lost if not _is_equivalent(one) and not await noticer.notices(one)]
    assert unnoticed == []
    tell(f"{url.partition(':')[0]}: {len(lost)} statements without an owner condition, all noticed")


async def test_every_statement_with_an_owner_is_sent_by_some_attack(sqlite_url: str, postgresql_url: str) -> None:
    sent = set()
    for url in (sqlite_url, postgresql_url):
        with hooked(CALLS_TO_DRIVERS) as hook:
            async with opened_world(url) as world:
                noticer = Noticer(world, await staged(world), hook)
                await noticer.look()
                sent |= set(noticer.probes)
    assert {template for template in all_statements() if conditions(template)} <= sent


def test_what_nothing_can_miss_is_still_there() -> None:
    found = {reason for template in all_statements() for one in mutants(template) if (reason := _is_equivalent(one))}
    assert found == set(EQUIVALENT)


def _is_equivalent(mutant: Mutant) -> tuple[str, str] | None:
    return next((one for one in EQUIVALENT if one[0] in mutant.template and one[1] == mutant.condition), None)
