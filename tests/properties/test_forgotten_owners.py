"""Behind row security a statement that forgot its owner finds what is its owner's, and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from changing import Noticer
from conditions import all_statements, mutants
from guarded import guarded_database
from scale import tell
from stages import staged
from ways import WAYS
from worlds import CALLS_TO_DRIVERS, opened_world

from chatstore.sql.statements import ALL_OWNERS
from chatstore.testing.faults.failing import hooked
from chatstore.testing.servers import PostgreSQLServer

SENDING = ("store", "single", "company", "broken", "broken, single", "admin")
"""Ways that together send nearly all statements that are sent behind row security."""

PROBES = 2
"""How many attacks are made with each statement that has forgotten its owner."""


@pytest.fixture
def guarded_url(postgresql_server: PostgreSQLServer) -> Iterator[str]:
    with guarded_database(postgresql_server) as guarded:
        yield guarded.url


async def test_a_statement_that_forgot_its_owner_changes_nothing_for_anybody(guarded_url: str) -> None:
    """What everywhere else is noticed, each owner condition taken away, makes no difference here."""
    with hooked(CALLS_TO_DRIVERS) as hook:
        async with opened_world(guarded_url, row_security=True) as world:
            noticer = Noticer(world, await staged(world), hook)
            await noticer.look([WAYS[name] for name in SENDING], ("nothing", "same"))
            forgotten = [
                mutant
                for template in all_statements()
                if template in noticer.probes
                for mutant in mutants(template)
                if mutant.lost == "both" and not template.startswith(ALL_OWNERS) and " = " in mutant.condition
            ]
            for mutant, number in itertools.product(forgotten, range(PROBES)):
                assert not await noticer.notices(mutant, noticer.probes[mutant.template][number : number + 1]), mutant
    assert len(forgotten) > 40
    tell(f"{len(forgotten)} statements that forgot their owner: none found or changed another's rows")
