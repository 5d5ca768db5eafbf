"""Writes of items in one statement, those of several callers together, for a database that can: PostgreSQL.

Ownership check, position, insert and the touch of the threads are one round trip in autocommit. The statement locks
the threads' rows first, in the order of their keys, so that none can deadlock with another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from chatstore.errors import ChatStoreError, ConflictError, NotFoundError, UnavailableError
from chatstore.inputs import NewItem
from chatstore.positions import STEP
from chatstore.sql.connections import Unit
from chatstore.sql.dialects import Row, Values
from chatstore.sql.single import NOW, TOUCHED


class Kind(Enum):
    """What a write does with an item whose id is there already, or is not."""

    ADD = auto()
    """Insert; the same item again is replaced in its place, another one of its id is a conflict."""
    SAVE = auto()
    """Insert or replace, whatever its time."""
    REPLACE = auto()
    """Replace; an item that is gone is not found."""


@dataclass(frozen=True, slots=True)
class Written:
    """Where an item was written, and the creation time that is stored with it."""

    position: int
    created_at: str
    instant: int


@dataclass(frozen=True, slots=True)
class ItemWrite:
    """One caller's items for one thread; ``keys`` are owner and thread, ``at`` asks for a place by time."""

    operation: str
    kind: Kind
    keys: Values
    items: Sequence[NewItem]
    at: int | None = None

    @property
    def all_or_none(self) -> bool:
        """Whether one item in conflict must keep the others from being written."""
        return len(self.items) > 1 and any(item.named for item in self.items)

    def not_found(self) -> NotFoundError:
        """Return the error of a write without its thread."""
        return NotFoundError(f"{self.operation}: no thread {self.keys['thread_id']!r}")

    def lost(self) -> UnavailableError:
        """Return the error of a repeated write that finds other items in the place of its own.

        They were there before, or somebody changed them since: nobody knows whether the first try was stored.
        """
        return UnavailableError(
            f"{self.operation}: the connection was lost, and what is stored now is not what was given",
            may_have_committed=True,
        )


Outcome = Sequence[Written] | ChatStoreError | None
"""What became of a write: its items, why it was refused, or nothing yet: it must wait for its thread's lock."""

_INPUT = (
    "input AS MATERIALIZED (SELECT * FROM unnest(CAST(:places AS integer[]), CAST(:ids AS text[]),"
    " CAST(:types AS text[]), CAST(:payloads AS text[]), CAST(:sizes AS integer[]), CAST(:times AS text[]),"
    " CAST(:instants AS bigint[]), CAST(:dated AS boolean[]), CAST(:ats AS bigint[]), CAST(:steps AS integer[]))"
    " WITH ORDINALITY AS given(place, id, type, payload, size, created_at, instant, dated, at, step, n))"
)

_THREADS = (
    "thread AS MATERIALIZED (SELECT given.place, t.* FROM unnest(CAST(:tenants AS text[]), CAST(:users AS text[]),"
    " CAST(:threads AS text[])) WITH ORDINALITY AS given(tenant, user_id, id, place)"
    " CROSS JOIN LATERAL (SELECT tenant, user_id, key, last_position, latest_instant FROM {threads} AS t"
    " WHERE t.tenant = given.tenant AND t.user_id = given.user_id AND t.id = given.id AND t.deleted IS NULL"
    " {lock} %(waits)s) AS t)"
)

_TOUCH = (
    "touched AS (UPDATE {threads} AS t SET last_position = greatest(t.last_position, w.position),"
    f" latest_instant = greatest(t.latest_instant, w.instant), {TOUCHED}"
    " FROM (SELECT tenant, user_id, thread_key, max(position) AS position, max(instant) AS instant"
    " FROM written GROUP BY tenant, user_id, thread_key) AS w"
    " WHERE t.tenant = w.tenant AND t.user_id = w.user_id AND t.key = w.thread_key)"
)

_OF_THREAD = "i.tenant = thread.tenant AND i.user_id = thread.user_id AND i.thread_key = thread.key"

_INSERT = (
    f"WITH {_INPUT}, {_THREADS},"
    " gate AS MATERIALIZED (SELECT thread.*,"
    f" greatest({NOW} * {STEP}, last_position + {STEP}) AS first,"
    " CAST(:all_or_none AS boolean) AND last_position <> (SELECT s.last_position FROM {threads} AS s"
    " WHERE s.tenant = thread.tenant AND s.user_id = thread.user_id AND s.key = thread.key) AS stale,"
    " CAST(:all_or_none AS boolean) AND EXISTS (SELECT 1 FROM input JOIN {items} AS i ON i.id = input.id"
    f" WHERE {_OF_THREAD} AND (input.dated AND i.created_at <> input.created_at%(changed)s)) AS clash FROM thread),"
    " written AS (INSERT INTO {items} AS i (tenant, user_id, thread_key, id, position, type, created_at, instant,"
    " size, payload)"
    f" SELECT gate.tenant, gate.user_id, gate.key, input.id, gate.first + input.step * {STEP}, input.type,"
    " input.created_at, input.instant, input.size, CAST(input.payload AS json)"
    " FROM input JOIN gate ON gate.place = input.place"
    " WHERE (input.at < gate.latest_instant) IS NOT TRUE AND NOT gate.stale AND NOT gate.clash"
    " ON CONFLICT (tenant, user_id, thread_key, id) DO UPDATE SET %(change)s"
    " RETURNING tenant, user_id, thread_key, id, position, created_at, instant),"
    f" {_TOUCH}"
    " SELECT gate.key IS NULL, input.at < gate.latest_instant OR gate.stale, gate.clash,"
    " written.position, written.created_at, written.instant"
    " FROM input LEFT JOIN gate ON gate.place = input.place"
    " LEFT JOIN written ON written.tenant = gate.tenant AND written.user_id = gate.user_id"
    " AND written.thread_key = gate.key AND written.id = input.id ORDER BY input.n"
)

_REPLACE = (
    f"WITH {_INPUT}, {_THREADS},"
    " written AS (UPDATE {items} AS i SET type = input.type, size = input.size,"
    " payload = CAST(input.payload AS json),"
    " created_at = CASE WHEN input.dated THEN input.created_at ELSE i.created_at END,"
    " instant = CASE WHEN input.dated AND i.created_at <> input.created_at THEN input.instant ELSE i.instant END"
    f" FROM input JOIN thread ON thread.place = input.place WHERE {_OF_THREAD} AND i.id = input.id"
    " RETURNING input.n, i.tenant, i.user_id, i.thread_key, i.position, i.created_at, i.instant),"
    f" {_TOUCH}"
    " SELECT thread.key IS NULL, false, false, written.position, written.created_at, written.instant"
    " FROM input LEFT JOIN thread ON thread.place = input.place LEFT JOIN written ON written.n = input.n"
    " ORDER BY input.n"
)

_UNDATED = (
    "EXISTS (SELECT 1 FROM input JOIN thread ON thread.place = input.place WHERE input.id = excluded.id"
    " AND thread.tenant = excluded.tenant AND thread.user_id = excluded.user_id"
    " AND thread.key = excluded.thread_key AND NOT input.dated)"
)
_SAME = f" WHERE (i.created_at = excluded.created_at OR {_UNDATED})"

_AS_GIVEN = "i.type = {0}.type AND CAST(i.payload AS text) = CAST({0}.payload AS text)"

_CHANGES = {
    (Kind.ADD, False): "type = excluded.type, size = excluded.size, payload = excluded.payload" + _SAME,
    # The library's own retry of an add: a row that is there already stays as it is, and is its own if it is equal.
    (Kind.ADD, True): f"size = i.size{_SAME} AND {_AS_GIVEN.format('excluded')}",
}
_SAVED = (
    "type = excluded.type, size = excluded.size, payload = excluded.payload,"
    f" created_at = CASE WHEN {_UNDATED} THEN i.created_at ELSE excluded.created_at END,"
    f" instant = CASE WHEN {_UNDATED} OR i.created_at = excluded.created_at"
    " THEN i.instant ELSE excluded.instant END"
)


def _statement(kind: Kind, repeated: bool, waits: bool) -> str:
    changed = f" OR NOT ({_AS_GIVEN.format('input')})" if kind is Kind.ADD and repeated else ""
    change = _CHANGES.get((kind, repeated), _SAVED)
    words = {"waits": "" if waits else "SKIP LOCKED", "change": change, "changed": changed}
    return (_REPLACE if kind is Kind.REPLACE else _INSERT) % words


_STATEMENTS = {
    (kind, repeated, waits): _statement(kind, repeated, waits)
    for kind in Kind
    for repeated in (False, True)
    for waits in (False, True)
}


async def write_items(unit: Unit, writes: Sequence[ItemWrite], *, waits: bool) -> list[Outcome]:
    """Write the items of callers whose writes are of one kind, and return what became of each.

    Where a thread's lock is held by somebody, ``waits`` says whether to wait for it; without waiting, its writes
    are left undone, as are those that must be placed by time before others.
    """
    threads = sorted({(write.keys["tenant"], write.keys["user_id"], write.keys["thread_id"]) for write in writes})
    template = _STATEMENTS[writes[0].kind, unit.repeated, waits]
    rows = await unit.fetch(template, _threads(threads) | _items(writes, threads))
    outcomes: list[Outcome] = []
    done = 0
    for write in writes:
        outcome = _outcome(write, rows[done : done + len(write.items)], waits=waits)
        outcomes.append(write.lost() if unit.repeated and isinstance(outcome, ConflictError) else outcome)
        done += len(write.items)
    return outcomes


def _threads(threads: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    tenants, users, ids = zip(*threads, strict=True)
    return {"tenants": tenants, "users": users, "threads": ids}


def _items(writes: Sequence[ItemWrite], threads: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    places = {thread: place for place, thread in enumerate(threads, 1)}
    taken = [0] * (len(threads) + 1)
    rows = []
    for write in writes:
        place = places[write.keys["tenant"], write.keys["user_id"], write.keys["thread_id"]]
        for item in write.items:
            rows.append((place, item, write.at, taken[place]))
            taken[place] += 1
    return {
        "places": [place for place, _, _, _ in rows],
        "ids": [item.id for _, item, _, _ in rows],
        "types": [item.type for _, item, _, _ in rows],
        "payloads": [item.payload for _, item, _, _ in rows],
        "sizes": [item.size for _, item, _, _ in rows],
        "times": [item.created_at for _, item, _, _ in rows],
        "instants": [item.instant for _, item, _, _ in rows],
        "dated": [item.dated for _, item, _, _ in rows],
        "ats": [at for _, _, at, _ in rows],
        "steps": [step for _, _, _, step in rows],
        "all_or_none": writes[0].all_or_none,
    }


def _outcome(write: ItemWrite, rows: Sequence[Row], *, waits: bool) -> Outcome:
    missing, undecided, clash = rows[0][:3]
    if missing:
        return write.not_found() if waits else None
    if undecided:
        return None
    if not clash and all(row[3] is not None for row in rows):
        return [Written(*row[3:6]) for row in rows]
    name = repr(write.items[0].id) if len(rows) == 1 else "one of the items"
    if write.kind is Kind.REPLACE:
        return NotFoundError(f"{write.operation}: no item {name} in thread {write.keys['thread_id']!r}")
    return ConflictError(f"{write.operation}: item {name} exists with another created_at")
