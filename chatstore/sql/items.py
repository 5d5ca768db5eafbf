"""Writes of items in one statement, those of several callers together, for a database that can: PostgreSQL.

Ownership check, position, insert and the touch of the threads are one round trip in autocommit. The statement locks
the threads' rows first, in the order of their keys, so that none can deadlock with another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeAlias

from chatstore.errors import ChatStoreError, ConflictError, NotFoundError, UnavailableError
from chatstore.inputs import NewItem
from chatstore.positions import STEP
from chatstore.sql.connections import Unit
from chatstore.sql.dialects import Row, Values
from chatstore.sql.single import NOW, TOUCHED
from chatstore.sql.statements import LIVE_THREAD


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


ThreadKey: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class ItemWrite:
    """One caller's items for one thread; ``keys`` are owner and thread, ``at`` asks for a place by time."""

    operation: str
    kind: Kind
    keys: Values
    items: Sequence[NewItem]
    at: int | None = None

    @property
    def thread(self) -> ThreadKey:
        """Tenant, user and thread."""
        return self.keys["tenant"], self.keys["user_id"], self.keys["thread_id"]

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
    f" latest_instant = greatest(t.latest_instant, w.instant), {TOUCHED}%s FROM %s AS w"
    " WHERE t.tenant = w.tenant AND t.user_id = w.user_id AND t.key = w.thread_key)"
)
_WRITTEN_MANY = (
    "(SELECT tenant, user_id, thread_key, max(position) AS position, max(instant) AS instant, count(*) AS items"
    " FROM written GROUP BY tenant, user_id, thread_key)"
)
_APPENDED = ", appended = t.appended + "

_OF_THREAD = "i.tenant = thread.tenant AND i.user_id = thread.user_id AND i.thread_key = thread.key"

_INTO = "INSERT INTO {items} AS i (tenant, user_id, thread_key, id, position, type, created_at, instant, size, payload)"
_OR_CHANGE = "ON CONFLICT (tenant, user_id, thread_key, id) DO UPDATE SET %(change)s"

_INSERT_MANY = (
    f"WITH {_INPUT}, {_THREADS},"
    " gate AS MATERIALIZED (SELECT thread.*,"
    f" greatest({NOW} * {STEP}, last_position + {STEP}) AS first,"
    " CAST(:all_or_none AS boolean) AND last_position <> (SELECT s.last_position FROM {threads} AS s"
    " WHERE s.tenant = thread.tenant AND s.user_id = thread.user_id AND s.key = thread.key) AS stale,"
    " CAST(:all_or_none AS boolean) AND EXISTS (SELECT 1 FROM input JOIN {items} AS i ON i.id = input.id"
    f" WHERE {_OF_THREAD} AND (input.dated AND i.created_at <> input.created_at%(changed)s)) AS clash FROM thread),"
    f" written AS ({_INTO}"
    f" SELECT gate.tenant, gate.user_id, gate.key, input.id, gate.first + input.step * {STEP}, input.type,"
    " input.created_at, input.instant, input.size, CAST(input.payload AS json)"
    " FROM input JOIN gate ON gate.place = input.place"
    " WHERE (input.at < gate.latest_instant) IS NOT TRUE AND NOT gate.stale AND NOT gate.clash"
    f" {_OR_CHANGE}"
    " RETURNING tenant, user_id, thread_key, id, position, created_at, instant),"
    f" {_TOUCH % (f'{_APPENDED}w.items', _WRITTEN_MANY)}"
    " SELECT gate.key IS NULL, input.at < gate.latest_instant OR gate.stale, gate.clash,"
    " written.position, written.created_at, written.instant"
    " FROM input LEFT JOIN gate ON gate.place = input.place"
    " LEFT JOIN written ON written.tenant = gate.tenant AND written.user_id = gate.user_id"
    " AND written.thread_key = gate.key AND written.id = input.id ORDER BY input.n"
)

_REPLACE_MANY = (
    f"WITH {_INPUT}, {_THREADS},"
    " written AS (UPDATE {items} AS i SET type = input.type, size = input.size,"
    " payload = CAST(input.payload AS json),"
    " created_at = CASE WHEN input.dated THEN input.created_at ELSE i.created_at END,"
    " instant = CASE WHEN input.dated AND i.created_at <> input.created_at THEN input.instant ELSE i.instant END"
    f" FROM input JOIN thread ON thread.place = input.place WHERE {_OF_THREAD} AND i.id = input.id"
    " RETURNING input.n, i.tenant, i.user_id, i.thread_key, i.position, i.created_at, i.instant),"
    f" {_TOUCH % ('', _WRITTEN_MANY)}"
    " SELECT thread.key IS NULL, false, false, written.position, written.created_at, written.instant"
    " FROM input LEFT JOIN thread ON thread.place = input.place LEFT JOIN written ON written.n = input.n"
    " ORDER BY input.n"
)

_THREAD = (
    "thread AS MATERIALIZED (SELECT tenant, user_id, key, last_position, latest_instant"
    f" FROM {{threads}} WHERE {LIVE_THREAD} {{lock}} %(waits)s)"
)
_RETURNED_ONE = " RETURNING i.tenant, i.user_id, i.thread_key, i.position, i.created_at, i.instant)"
_ANSWER_ONE = (
    " SELECT thread.key IS NULL, CAST(:at AS bigint) < latest_instant, false,"
    " written.position, written.created_at, written.instant"
    " FROM (SELECT 1) AS one LEFT JOIN thread ON true LEFT JOIN written ON true"
)

_INSERT_ONE = (
    f"WITH {_THREAD}, written AS ({_INTO}"
    f" SELECT tenant, user_id, key, :item_id, greatest({NOW} * {STEP}, last_position + {STEP}), :type,"
    " :created_at, :instant, :size, CAST(CAST(:payload AS text) AS json) FROM thread"
    f" WHERE (CAST(:at AS bigint) < latest_instant) IS NOT TRUE {_OR_CHANGE}{_RETURNED_ONE},"
    f" {_TOUCH % (f'{_APPENDED}1', 'written')}{_ANSWER_ONE}"
)

_REPLACE_ONE = (
    f"WITH {_THREAD}, written AS (UPDATE {{items}} AS i SET type = :type, size = :size,"
    " payload = CAST(CAST(:payload AS text) AS json),"
    " created_at = CASE WHEN CAST(:dated AS boolean) THEN CAST(:created_at AS text) ELSE i.created_at END,"
    " instant = CASE WHEN CAST(:dated AS boolean) AND i.created_at <> CAST(:created_at AS text)"
    " THEN CAST(:instant AS bigint) ELSE i.instant END"
    f" FROM thread WHERE {_OF_THREAD} AND i.id = :item_id{_RETURNED_ONE},"
    f" {_TOUCH % ('', 'written')}{_ANSWER_ONE}"
)

_ONE_UNDATED = "NOT CAST(:dated AS boolean)"
_UNDATED = (
    "EXISTS (SELECT 1 FROM input JOIN thread ON thread.place = input.place WHERE input.id = excluded.id"
    " AND thread.tenant = excluded.tenant AND thread.user_id = excluded.user_id"
    " AND thread.key = excluded.thread_key AND NOT input.dated)"
)
_AS_GIVEN = "i.type = {0}.type AND CAST(i.payload AS text) = CAST({0}.payload AS text)"
_REPLACED = "type = excluded.type, size = excluded.size, payload = excluded.payload"


def _change(kind: Kind, repeated: bool, undated: str) -> str:
    """Return what becomes of a row that is there already, and where."""
    if kind is Kind.SAVE:
        return (
            f"{_REPLACED}, created_at = CASE WHEN {undated} THEN i.created_at ELSE excluded.created_at END,"
            f" instant = CASE WHEN {undated} OR i.created_at = excluded.created_at"
            " THEN i.instant ELSE excluded.instant END"
        )
    same = f" WHERE (i.created_at = excluded.created_at OR {undated})"
    if not repeated:
        return _REPLACED + same
    # The library's own retry of an add: a row that is there already stays as it is, and is its own if it is equal.
    return f"size = i.size{same} AND {_AS_GIVEN.format('excluded')}"


def _statement(kind: Kind, *, repeated: bool, waits: bool, one: bool) -> str:
    changed = f" OR NOT ({_AS_GIVEN.format('input')})" if kind is Kind.ADD and repeated else ""
    words = {"waits": "" if waits else "SKIP LOCKED", "changed": changed}
    if kind is Kind.REPLACE:
        return (_REPLACE_ONE if one else _REPLACE_MANY) % words
    change = _change(kind, repeated, _ONE_UNDATED if one else _UNDATED)
    return (_INSERT_ONE if one else _INSERT_MANY) % (words | {"change": change})


_STATEMENTS = {
    (kind, repeated, waits, one): _statement(kind, repeated=repeated, waits=waits, one=one)
    for kind in Kind
    for repeated in (False, True)
    for waits in (False, True)
    for one in (False, True)
}


async def write_items(unit: Unit, writes: Sequence[ItemWrite], *, waits: bool) -> list[Outcome]:
    """Write the items of callers whose writes are of one kind, and return what became of each.

    Where a thread's lock is held by somebody, ``waits`` says whether to wait for it; without waiting, its writes
    are left undone, as are those that must be placed by time before others.
    """
    one = len(writes) == 1 and len(writes[0].items) == 1
    template = _STATEMENTS[writes[0].kind, unit.repeated, waits, one]
    rows = await unit.fetch(template, _one(writes[0]) if one else _many(writes))
    outcomes: list[Outcome] = []
    done = 0
    for write in writes:
        outcome = _outcome(write, rows[done : done + len(write.items)], waits=waits)
        outcomes.append(write.lost() if unit.repeated and isinstance(outcome, ConflictError) else outcome)
        done += len(write.items)
    return outcomes


def _one(write: ItemWrite) -> dict[str, Any]:
    (item,) = write.items
    return {
        **write.keys,
        "item_id": item.id,
        "type": item.type,
        "payload": item.payload,
        "size": item.size,
        "created_at": item.created_at,
        "instant": item.instant,
        "dated": item.dated,
        "at": write.at,
    }


def _many(writes: Sequence[ItemWrite]) -> dict[str, Any]:
    threads = sorted({write.thread for write in writes})
    tenants, users, thread_ids = zip(*threads, strict=True)
    places = {thread: place for place, thread in enumerate(threads, 1)}
    taken = [0] * (len(threads) + 1)
    rows = []
    for write in writes:
        place = places[write.thread]
        for item in write.items:
            rows.append((place, item, write.at, taken[place]))
            taken[place] += 1
    return {
        "tenants": tenants,
        "users": users,
        "threads": thread_ids,
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
