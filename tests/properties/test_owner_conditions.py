"""A statement that forgets its owner is noticed: each owner condition of each statement is taken away, one by one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from changing import Noticer
from conditions import Mutant, all_statements, conditions, mutants, sources
from scale import scaled, tell
from stages import staged
from ways import DEEPER, WAYS
from worlds import CALLS_TO_DRIVERS, opened_world

from chatstore.sql import files, statements
from chatstore.testing.faults.failing import hooked

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
    ("SELECT EXISTS (SELECT 1 FROM mark)", "tenant = :tenant AND user_id = :user_id"): (
        "its rows go on only with items and threads whose owner is asked for again, under a random key of the thread;"
        " at the most, a row of another owner with the same id is locked for a moment"
    ),
}
"""Conditions that nothing can miss: a part of the statement's text, the condition, and why."""

LOST = scaled(["both"], ["both", "tenant", "user_id"])

WAYS_TO_NOTICE = [
    WAYS["company"],
    *DEEPER.values(),
    *(way for name, way in WAYS.items() if name not in ("company", "user", "savepoint", "block")),
]
"""The others send no further statements. First the batches, whose statements have the most conditions."""


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


@pytest.mark.timeout(scaled(300, 3600))
async def test_every_owner_condition_is_missed_when_it_is_gone(noticer: Noticer, url: str) -> None:
    await noticer.look(WAYS_TO_NOTICE)
    sent = [template for template in all_statements() if template in noticer.probes]
    lost = [one for template in sent for one in mutants(template) if one.lost in LOST and not _is_equivalent(one)]
    unnoticed = [str(one) for one in lost if not await noticer.notices(one)]
    assert unnoticed == []
    tell(f"{url.partition(':')[0]}: {len(lost)} statements without an owner condition, all noticed")


async def test_every_statement_with_an_owner_is_sent_by_some_attack(sqlite_url: str, postgresql_url: str) -> None:
    sent = set()
    for url in (sqlite_url, postgresql_url):
        with hooked(CALLS_TO_DRIVERS) as hook:
            async with opened_world(url) as world:
                noticer = Noticer(world, await staged(world), hook)
                await noticer.look(WAYS_TO_NOTICE)
                sent |= set(noticer.probes)
    assert {template for template in all_statements() if conditions(template)} <= sent


def test_what_nothing_can_miss_is_still_there() -> None:
    found = {reason for template in all_statements() for one in mutants(template) if (reason := _is_equivalent(one))}
    assert found == set(EQUIVALENT)


def _is_equivalent(mutant: Mutant) -> tuple[str, str] | None:
    return next((one for one in EQUIVALENT if one[0] in mutant.template and one[1] == mutant.condition), None)
