"""Hostile values in every field: each comes back as it was, or is refused alike by every store with nothing written."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import asyncpg
import pytest
from hostile_fields import OWNERS, fields, owned, seed
from hostile_values import VALUES
from scale import tell

from chatstore import Attachment, Item, Thread, ThreadStatus, UserStore, open_store
from chatstore.errors import ChatStoreError
from chatstore.instants import plain
from chatstore.models import Page
from chatstore.sql.tables import make_tables
from chatstore.stores.memory import MemoryStore

Outcome: TypeAlias = tuple[str, ...]
"""``kept``, ``answered`` with what, or ``raised`` with the error's class and text."""
Case: TypeAlias = tuple[str, str]
"""The names of a field and of a value."""

REFUSED = ("raised", "InvalidInputError")
AT_ONCE = 64
SHOWN = 20
LONGEST_MESSAGE = 600
SWEPT = {"chatstore_deletions", "chatstore_usage"}
"""Where bytes that were refused once they had been seen are queued to be deleted."""
TABLES = [table.name for table in make_tables().metadata.sorted_tables if table.name not in SWEPT]
MADE_ID = re.compile("atc_[0-9a-f]{32}")
FIELDS = {field.name: field for field in fields()}


class Scene:
    """A store with an owner for each field, where every call finds what it is about."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = open_store(
            url, blobs="memory://", signing_keys=[b"k" * 32], public_url="https://chat.example/attachments"
        )

    async def prepare(self) -> None:
        await asyncio.gather(*(seed(self._user(name)) for name in FIELDS))

    async def outcomes(self, cases: Sequence[Case]) -> dict[Case, Outcome]:
        """Make the calls, some at the same time; any error that is not the store's own ends it."""
        left = iter(enumerate(cases))
        found: dict[Case, Outcome] = {}

        async def some() -> None:
            for number, case in left:
                try:
                    found[case] = await self._outcome(case, str(number))
                except ChatStoreError as error:
                    found[case] = ("raised", type(error).__name__, MADE_ID.sub("made", str(error)))
                except Exception as error:
                    raise AssertionError(f"{case} raised what is no error of the store") from error

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
        return found

    async def content(self) -> Any:
        """Return every row of every table."""
        wrapped = self.store.store.wrapped
        if isinstance(wrapped, MemoryStore):
            return {owner: repr((space.threads, space.files)) for owner, space in wrapped._spaces.items()}
        if self.url.startswith("sqlite"):
            with sqlite3.connect(self.url.removeprefix("sqlite:///")) as connection:
                rows = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}
            connection.close()
            return rows
        other = await asyncpg.connect(self.url)
        rows = {table: sorted(map(repr, await other.fetch(f"SELECT * FROM {table}"))) for table in TABLES}
        await other.close()
        return rows

    def _user(self, name: str) -> UserStore:
        return self.store.for_user("ann", name)

    async def _outcome(self, case: Case, number: str) -> Outcome:
        name, value = case[0], VALUES[case[1]]
        if name in OWNERS:
            assert value in await owned(OWNERS[name](self.store, value), number)
            return ("kept",)
        field = FIELDS[name]
        answer = await field.call(self._user(name), value, number)
        if not field.kept:
            return ("answered", told(answer))
        assert value in (None, ...) or same(value, answer), f"{case} came back as something else"
        return ("kept",)


def same(given: Any, back: Any) -> bool:
    """Say whether a value came back exactly: 1 is not True, and 0.0 not -0.0."""
    if isinstance(given, datetime):
        return plain(given).isoformat() == plain(back).isoformat()
    if isinstance(given, str) and isinstance(back, datetime):  # a model reads a time as JSON has it
        return datetime.fromisoformat(given) == back
    if isinstance(given, str):  # a model makes a plain one of it
        return type(back) is str and given == back
    if isinstance(given, ThreadStatus):
        return bool(given == back)
    return type(given) is type(back) and repr(given) == repr(back)


def told(answer: Any) -> str:
    """Return what an answer says, without what a store numbers and times by itself."""
    if isinstance(answer, Page):
        return f"{len(answer.data)} and {'more' if answer.has_more else 'no more'}"
    if isinstance(answer, list):
        return f"{len(answer)} in a list"
    return type(answer).__name__ if isinstance(answer, Thread | Item | Attachment) else repr(answer)


def cases() -> Iterator[Case]:
    for field in (*OWNERS, *FIELDS):
        for name, value in VALUES.items():
            if not field.endswith("a key") or is_hashable(value):
                yield field, name


def is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except (TypeError, ValueError):
        return False
    return True


@pytest.fixture(scope="module")
def expected() -> dict[Case, Outcome]:
    """What the store in memory makes of every value in every field."""

    async def ask() -> dict[Case, Outcome]:
        scene = Scene("memory://")
        async with scene.store:
            await scene.prepare()
            return await scene.outcomes(list(cases()))

    return asyncio.run(ask())


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory://"
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


async def test_a_hostile_value_comes_back_or_is_refused_alike_and_nothing_is_written(
    url: str, expected: dict[Case, Outcome]
) -> None:
    begun = time.monotonic()
    refused = [case for case, outcome in expected.items() if outcome[:2] == REFUSED]
    others = [case for case, outcome in expected.items() if outcome[:2] != REFUSED]
    scene = Scene(url)
    async with scene.store:
        await scene.prepare()
        before = await scene.content()
        found = await scene.outcomes(refused)
        after = await scene.content()
        assert [table for table in before if after[table] != before[table]] == []
        found |= await scene.outcomes(others)
    different = [(case, found[case], outcome) for case, outcome in expected.items() if found[case] != outcome]
    assert not different, different[:SHOWN]
    kinds = Counter(outcome[1] if outcome[0] == "raised" else outcome[0] for outcome in found.values())
    tell(f"{len(VALUES)} values, {len(found)} calls in {time.monotonic() - begun:.0f} s: {dict(kinds)}")


def test_there_are_enough_values_and_every_field_keeps_some(expected: dict[Case, Outcome]) -> None:
    assert len(VALUES) >= 300
    kept = {field for (field, _), outcome in expected.items() if outcome == ("kept",)}
    assert kept == {*OWNERS, *(field.name for field in FIELDS.values() if field.kept)}


def test_what_is_refused_is_told_in_few_words(expected: dict[Case, Outcome]) -> None:
    texts = {outcome[2] for outcome in expected.values() if outcome[0] == "raised"}
    assert max(map(len, texts)) <= LONGEST_MESSAGE
    kinds = {outcome[1] for outcome in expected.values() if outcome[0] == "raised"}
    assert kinds <= {"InvalidInputError", "NotFoundError", "ConflictError", "LimitError"}
