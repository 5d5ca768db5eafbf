"""The statements that every database understands; no I/O.

Each names the owner first. ``{threads}`` and the like are filled in by :class:`Statements` for one store's
tables; what differs between databases (``{now}``, ``{lock}``, ``{ids}``, JSON as a parameter) is the dialect's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from chatstore.models import Order, ThreadOrder

_PARAMETER = re.compile(r"(?<!:):([a-z_][a-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with ``:named`` parameters, and the names in the order in which they first appear."""

    sql: str
    names: tuple[str, ...]
    numbered: str
    """The SQL with ``$1``, ``$2``, ... in place of the names."""


@lru_cache
def statement(sql: str) -> Statement:
    """Return ``sql`` as a statement."""
    names = tuple(dict.fromkeys(_PARAMETER.findall(sql)))
    return Statement(sql, names, _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", sql))


_TYPES = {
    "tenant": "text",
    "user_id": "text",
    "thread_id": "text",
    "after": "bigint",
    "after_id": "text",
    "value": "bigint",
    "until": "bigint",
    "candidates": "integer",
    "largest": "integer",
}
"""The parameters of the pages of items and threads, as a database that knows arrays calls their types."""


@lru_cache
def for_each(page: str) -> str:
    """Return the template that reads a page for each of the elements of its parameters, which are arrays.

    The rows come in the order of the elements; their last column is the element's number, from 1.
    """
    names = statement(page).names
    arrays = ", ".join(f"CAST(:{name} AS {_TYPES[name]}[])" for name in names)
    one = _PARAMETER.sub(r"given.\1", page).replace(ALONE, "given.place")
    return (
        f"SELECT page.* FROM unnest({arrays}) WITH ORDINALITY AS given({', '.join(names)}, place)"
        f" CROSS JOIN LATERAL ({one}) AS page ORDER BY given.place"
    )


ALONE = "0 AS alone"
"""The last column of a page that is read by itself."""
ALL_OWNERS = "/* all owners */ "
"""What a statement begins with that looks at rows of all owners on purpose: for the store itself and its sweeper."""

OWNED = "tenant = :tenant AND user_id = :user_id"
LIVE_THREAD = f"{OWNED} AND id = :thread_id AND deleted IS NULL"
THREAD_COLUMNS = "id, title, status, reason, CAST(metadata AS text) AS metadata, created_at, instant, updated, revision"
ATTACHMENT_COLUMNS = (
    "id, name, mime_type, size, sha256, state, thread_id, CAST(metadata AS text) AS metadata, created_at, instant"
)

READ_DATABASE = (
    f"{ALL_OWNERS}SELECT v.version_num, d.id, EXISTS (SELECT 1 FROM {{threads}} WHERE deleted IS NOT NULL), {{guarded}}"
    " FROM {version} v CROSS JOIN {database} d"
)
"""The revision, the database's identity, whether a deleted thread left items behind, and whether policies hold."""

INSERT_THREAD = (
    "INSERT INTO {threads} (tenant, user_id, key, id, title, status, reason, metadata, created_at, instant,"
    " updated, revision, title_revision, status_revision, metadata_revision, last_position, latest_instant,"
    " appended)"
    " VALUES (:tenant, :user_id, :key, :thread_id, :title, :status, :reason, {metadata}, :created_at, :instant,"
    " {now}, 1, 1, 1, 1, 0, :no_instant, 0)"
    " ON CONFLICT (tenant, user_id, id) WHERE deleted IS NULL DO NOTHING"
    f" RETURNING {THREAD_COLUMNS}"
)

LOAD_THREAD = f"SELECT {THREAD_COLUMNS} FROM {{threads}} WHERE {LIVE_THREAD}"

LOAD_ITEM = (
    "SELECT id, type, created_at, instant, position, CAST(payload AS text) FROM {items}"
    f" WHERE {OWNED} AND thread_key = (SELECT key FROM {{threads}} WHERE {LIVE_THREAD}) AND id = :item_id"
)

LOAD_ATTACHMENTS = f"SELECT {ATTACHMENT_COLUMNS} FROM {{attachments}} WHERE {OWNED} AND id {{ids}}"

INSERT_ATTACHMENT = (
    "INSERT INTO {attachments} (tenant, user_id, id, name, mime_type, state, metadata, created_at, instant)"
    " VALUES (:tenant, :user_id, :attachment_id, :name, :mime_type, 'pending', {metadata}, :created_at, :instant)"
    " ON CONFLICT (tenant, user_id, id) DO NOTHING"
)

UPDATE_ATTACHMENT = (
    "UPDATE {attachments} SET name = :name, metadata = {metadata}, thread_id = :thread_id,"
    f" thread_key = (SELECT key FROM {{threads}} WHERE {LIVE_THREAD})"
    f" WHERE {OWNED} AND id = :attachment_id"
)

LOCK_ATTACHMENT = f"SELECT {ATTACHMENT_COLUMNS} FROM {{attachments}} WHERE {OWNED} AND id = :attachment_id {{lock}}"

LOCK_THREAD = (
    "SELECT key, last_position, latest_instant, updated, {now} AS now,"
    " title, status, reason, CAST(metadata AS text), revision, title_revision, status_revision, metadata_revision"
    f" FROM {{threads}} WHERE {LIVE_THREAD} {{lock}}"
)

UPDATE_THREAD = (
    "UPDATE {threads} SET title = :title, status = :status, reason = :reason, metadata = {metadata},"
    " revision = :revision, title_revision = :title_revision, status_revision = :status_revision,"
    f" metadata_revision = :metadata_revision, updated = :updated WHERE {OWNED} AND key = :key"
)

TOUCH_THREAD = (
    "UPDATE {threads} SET last_position = :last_position, latest_instant = :latest_instant, updated = :updated,"
    " appended = appended + :added"
    f" WHERE {OWNED} AND key = :key"
)

EXISTING_ITEMS = (
    f"SELECT id, position, created_at, instant FROM {{items}} WHERE {OWNED} AND thread_key = :key AND id {{ids}}"
)

NEWEST_ITEMS = (
    f"SELECT position, instant FROM {{items}} WHERE {OWNED} AND thread_key = :key ORDER BY position DESC LIMIT :limit"
)

INSERT_ITEM = (
    "INSERT INTO {items} (tenant, user_id, thread_key, id, position, type, created_at, instant, size, payload)"
    " VALUES (:tenant, :user_id, :key, :item_id, :position, :type, :created_at, :instant, :size, {payload})"
)

REPLACE_ITEM = (
    "UPDATE {items} SET type = :type, created_at = :created_at, instant = :instant, size = :size,"
    f" payload = {{payload}} WHERE {OWNED} AND thread_key = :key AND id = :item_id"
)

DELETE_ITEMS = f"DELETE FROM {{items}} WHERE {OWNED} AND thread_key = :key AND id {{ids}} RETURNING id"

DELETE_ITEMS_AFTER = f"DELETE FROM {{items}} WHERE {OWNED} AND thread_key = :key AND position > :position RETURNING id"

IS_LONG = (
    "SELECT CASE WHEN appended <= :limit THEN false ELSE (SELECT count(*) > :limit FROM (SELECT 1 FROM {items}"
    f" WHERE {OWNED} AND thread_key = :key LIMIT :limit + 1) AS some_items) END"
    f" FROM {{threads}} WHERE {OWNED} AND key = :key"
)
"""Whether a thread has more items than ``limit``; they are counted only where it may."""

DELETE_THREAD = f"DELETE FROM {{threads}} WHERE {OWNED} AND key = :key"

HIDE_THREAD = f"UPDATE {{threads}} SET deleted = {{now}} WHERE {OWNED} AND key = :key"

HIDDEN_THREAD = (
    f"{ALL_OWNERS}SELECT tenant, user_id, key FROM {{threads}} WHERE deleted IS NOT NULL ORDER BY deleted LIMIT 1"
)
"""A deleted thread of any owner whose items are still there: for the sweeper alone."""

NTH_POSITION = (
    f"SELECT position FROM {{items}} WHERE {OWNED} AND thread_key = :key ORDER BY position LIMIT 1 OFFSET :limit"
)

DELETE_ITEMS_BEFORE = f"DELETE FROM {{items}} WHERE {OWNED} AND thread_key = :key AND position < :position"


@lru_cache
def item_page(order: Order, *, continued: bool) -> str:
    """Return the statement of a page of items; one larger than ``:largest`` comes without its payload."""
    return (
        "SELECT id, type, created_at, instant, position,"
        f" CASE WHEN size <= :largest THEN CAST(payload AS text) END, {ALONE}"
        f" FROM {{items}}{_page_of_items(order, continued)}"
    )


@lru_cache
def item_sizes(order: Order, *, continued: bool) -> str:
    """Return the statement of the sizes of a page of items."""
    return f"SELECT size, {ALONE} FROM {{items}}{_page_of_items(order, continued)}"


def _page_of_items(order: Order, continued: bool) -> str:
    direction, sign = _direction(order)
    start = f" AND position {sign} :after" if continued else ""
    return (
        f" WHERE {OWNED} AND thread_key = (SELECT key FROM {{threads}} WHERE {LIVE_THREAD}){start}"
        f" ORDER BY position {direction} LIMIT :candidates"
    )


@lru_cache
def thread_page(by: ThreadOrder, order: Order, *, continued: bool) -> str:
    """Return the statement of a page of threads; its last column is the database's time."""
    direction, sign = _direction(order)
    column = "instant" if by == "created" else "updated"
    start = f" AND ({column}, id) {sign} (:value, :after_id)" if continued else ""
    if continued and by == "activity":
        start += " AND updated <= :until"
    return (
        f"SELECT {THREAD_COLUMNS}, {column} AS sorted_by, {{now}} AS now, {ALONE} FROM {{threads}}"
        f" WHERE {OWNED} AND deleted IS NULL{start}"
        f" ORDER BY {column} {direction}, id {direction} LIMIT :candidates"
    )


@lru_cache
def attachment_page(*, continued: bool) -> str:
    """Return the statement of a page of a thread's attachments; a row without an id where there is none."""
    start = " AND (instant, id) > (:instant, :after_id)" if continued else ""
    columns = "page.id, name, mime_type, size, sha256, state, thread_id, metadata, created_at, instant"
    return (
        f"WITH thread AS (SELECT key FROM {{threads}} WHERE {LIVE_THREAD}),"
        f" page AS (SELECT {ATTACHMENT_COLUMNS} FROM {{attachments}}"
        f" WHERE {OWNED} AND thread_key = (SELECT key FROM thread){start}"
        " ORDER BY instant, id LIMIT :candidates)"
        f" SELECT {columns} FROM thread LEFT JOIN page ON 1 = 1 ORDER BY page.instant, page.id"
    )


def _direction(order: Order) -> tuple[str, str]:
    return ("ASC", ">") if order == "asc" else ("DESC", "<")


class Statements:
    """The statements of one store: templates filled in with its tables and its database's words, each once."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self._words = dict(words)
        self._made: dict[str, Statement] = {}

    def __getitem__(self, template: str) -> Statement:
        made = self._made.get(template)
        if made is None:
            made = self._made[template] = statement(template.format_map(self._words))
        return made
