"""A library that was changed: one statement without one of its owner conditions, and whether anybody notices."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

from attacks import Attack
from conditions import Mutant
from stages import STRANGERS, VICTIM, Outcome, Stage, attempt
from ways import Way
from worlds import World, multiset

from chatstore.owners import Owner
from chatstore.sql.statements import Statement, Statements
from chatstore.testing.faults.failing import Hook


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

    async def look(self, ways: Sequence[Way], havings: Collection[str] | None = None) -> None:
        """Make the attacks of these ways on the library as it is, and note which statements each sends."""
        await self.world.set_up(VICTIM, self.stage.victims)
        for way in ways:
            for attack, having in itertools.product(way.attacks, havings or _worth_while(way, self.stage)):
                with _sent() as sent:
                    outcome = await self._attempt(way, attack, having, STRANGERS[0])
                for template in sent:
                    self.probes[template].append(Probe(way, attack, having, outcome))

    async def notices(self, mutant: Mutant, probes: Sequence[Probe] | None = None) -> bool:
        """Return whether some attack on the changed library ends otherwise, for the attacker or the victim."""
        strangers = [one for one in STRANGERS if _reaches(mutant, one)]
        candidates = list(itertools.product(strangers, self.probes[mutant.template] if probes is None else probes))
        sharp = self._sharp[mutant.condition]
        candidates.sort(key=lambda one: sharp.get(one[1].name, 0), reverse=True)
        for stranger, probe in candidates:
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
        try:
            return await attempt(self.world, way, attack, stranger, loot, marks, self.hook)
        finally:  # a statement without its owner must meet the victim's rows, not those of earlier attackers
            await self.stage.clear(self.world, way, stranger)


def _worth_while(way: Way, stage: Stage) -> Collection[str]:
    """Return what attackers should have on a way that takes long: connecting anew, or waiting for locks."""
    if way.breaks:
        return ("same", "own")
    return ("nothing", "same") if way.beside else list(stage.attackers)


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
