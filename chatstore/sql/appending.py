"""Writes of several callers in one transaction, for a database that is written to in steps: SQLite.

What only appends takes four statements for all of it; the rest goes one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chatstore import positions
from chatstore.errors import ChatStoreError
from chatstore.sql import statements, stepwise
from chatstore.sql.connections import Unit
from chatstore.sql.items import ItemWrite, Kind, Outcome, ThreadKey, Written
from chatstore.sql.single import COARSE

_TENANT, _USER, _THIRD, _FOURTH = (f"json_extract(given.value, '$[{place}]')" for place in range(4))

_THREADS = (
    "SELECT given.key, t.key, t.last_position, t.latest_instant, t.updated, {now}"
    " FROM json_each(:threads) AS given CROSS JOIN {threads} AS t"
    f" WHERE t.tenant = {_TENANT} AND t.user_id = {_USER} AND t.id = {_THIRD} AND t.deleted IS NULL"
)

_STORED = (
    "SELECT i.thread_key, i.id FROM json_each(:items) AS given CROSS JOIN {items} AS i"
    f" WHERE i.tenant = {_TENANT} AND i.user_id = {_USER} AND i.thread_key = {_THIRD} AND i.id = {_FOURTH}"
)


@dataclass(slots=True)
class _Thread:
    """The row of a locked thread, as it will be after the appends."""

    key: int
    last_position: int
    latest_instant: int
    updated: int
    now: int
    added: int = 0

    def append(self, instant: int) -> int:
        """Return the position of one more item."""
        self.last_position = positions.appended(self.now, self.last_position)
        self.latest_instant = max(self.latest_instant, instant)
        self.added += 1
        return self.last_position

    def row(self, thread: ThreadKey) -> dict[str, Any]:
        """Return what is stored of the thread."""
        return {
            "tenant": thread[0],
            "user_id": thread[1],
            "key": self.key,
            "last_position": self.last_position,
            "latest_instant": self.latest_instant,
            "updated": self.now if self.updated < self.now - COARSE else self.updated,
            "added": self.added,
        }


async def write_each(unit: Unit, writes: Sequence[ItemWrite]) -> list[Outcome]:
    """Write the items of several callers, and return what became of each: a refusal is its caller's alone."""
    appended = {} if unit.repeated else await _append(unit, [write for write in writes if write.kind is Kind.ADD])
    return [appended[id(write)] if id(write) in appended else await _write_in_steps(unit, write) for write in writes]


async def _write_in_steps(unit: Unit, write: ItemWrite) -> Outcome:
    try:
        return await stepwise.write_items(unit, write)
    except ChatStoreError as error:
        return error


async def _append(unit: Unit, writes: Sequence[ItemWrite]) -> dict[int, Outcome]:
    """Write those that only append, and return what became of them by the identity of the write."""
    if not writes:
        return {}
    threads = await _lock(unit, {write.thread for write in writes})
    stored = await _stored(unit, writes, threads)
    outcomes: dict[int, Outcome] = {}
    rows: list[dict[str, Any]] = []
    touched: dict[ThreadKey, _Thread] = {}
    for write in writes:
        thread = threads.get(write.thread)
        if thread is None:
            outcomes[id(write)] = write.not_found()
        elif _only_appends(write, thread, stored):
            touched[write.thread] = thread
            first = len(rows)
            rows += [
                {**stepwise.item_values(write.keys, thread.key, item), "position": thread.append(item.instant)}
                for item in write.items
            ]
            outcomes[id(write)] = [Written(row["position"], row["created_at"], row["instant"]) for row in rows[first:]]
    await unit.execute_many(statements.INSERT_ITEM, rows)
    await unit.execute_many(statements.TOUCH_THREAD, [row.row(thread) for thread, row in touched.items()])
    return outcomes


async def _lock(unit: Unit, threads: set[ThreadKey]) -> dict[ThreadKey, _Thread]:
    given = sorted(threads)
    rows = await unit.fetch(_THREADS, {"threads": unit.dialect.array(given)})
    return {given[row[0]]: _Thread(*row[1:]) for row in rows}


async def _stored(unit: Unit, writes: Sequence[ItemWrite], threads: dict[ThreadKey, _Thread]) -> set[tuple[int, str]]:
    """Return thread and id of the named items that are there already."""
    named = [
        (write.keys["tenant"], write.keys["user_id"], threads[write.thread].key, item.id)
        for write in writes
        for item in write.items
        if item.named and write.thread in threads
    ]
    if not named:
        return set()
    rows = await unit.fetch(_STORED, {"items": unit.dialect.array(named)})
    return {(row[0], row[1]) for row in rows}


def _only_appends(write: ItemWrite, thread: _Thread, stored: set[tuple[int, str]]) -> bool:
    if write.at is not None and write.at < thread.latest_instant:
        return False
    return not stored or all((thread.key, item.id) not in stored for item in write.items)
