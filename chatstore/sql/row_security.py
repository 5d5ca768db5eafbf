"""Row security: the policies of PostgreSQL behind which each owner's rows are, and who they hold for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncEngine

from chatstore.deadlines import Deadlines
from chatstore.errors import ConfigurationError, SchemaError
from chatstore.sql.connections import Unit
from chatstore.sql.dialects import Dialect
from chatstore.sql.tables import Tables, make_tables

SETTINGS = ("chatstore.tenant", "chatstore.user_id", "chatstore.all_owners")
"""What a transaction says of whom it serves; empty where it says nothing, and no user is."""

_TENANT, _USER, _ALL = (f"current_setting('{name}', true)" for name in SETTINGS)

_POLICIES = {
    "chatstore_owner": f"tenant = {_TENANT} AND user_id = {_USER}",
    "chatstore_all_owners": f"{_ALL} = 'on'",
}

_STATE = (
    "SELECT c.relrowsecurity AND c.relforcerowsecurity AND CAST(:policies AS text[])"
    " <@ ARRAY(SELECT CAST(p.polname AS text) FROM pg_policy AS p WHERE p.polrelid = c.oid),"
    " r.rolsuper OR r.rolbypassrls, pg_has_role(c.relowner, 'MEMBER'), r.rolname"
    " FROM pg_class AS c CROSS JOIN pg_roles AS r WHERE r.rolname = current_user"
    " AND c.oid = ANY(CAST(CAST(:tables AS text[]) AS regclass[]))"
)

_preparer = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]


def ddl(tables: Tables, role: str | None) -> Iterator[str]:
    """Return the statements that switch row security on, as often as one likes, and grant ``role`` what it needs."""
    for table in _owned(tables):
        name = _preparer.format_table(table)
        yield f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY"
        yield f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY"
        for policy, condition in _POLICIES.items():
            yield f"DROP POLICY IF EXISTS {policy} ON {name}"
            yield f"CREATE POLICY {policy} ON {name} USING ({condition})"
    if role is not None:
        yield from _grants(tables, _preparer.quote_identifier(role))


def row_security_sql(role: str | None, *, prefix: str = "chatstore_", schema: str | None = None) -> str:
    """Return the same as text, for people who may not run it themselves."""
    return "".join(f"{sql};\n" for sql in ddl(make_tables(prefix, schema), role))


def _grants(tables: Tables, role: str) -> Iterator[str]:
    schema = tables.metadata.schema
    if schema is not None:
        yield f"GRANT USAGE ON SCHEMA {_preparer.quote_schema(schema)} TO {role}"
    place = "" if schema is None else f"{_preparer.quote_schema(schema)}."
    yield f"GRANT SELECT ON {place}{_preparer.quote(tables.version)} TO {role}"
    for table in tables.metadata.sorted_tables:
        rights = "SELECT" if table is tables.database else "SELECT, INSERT, UPDATE, DELETE"
        yield f"GRANT {rights} ON {_preparer.format_table(table)} TO {role}"


async def switch_on(
    engine: AsyncEngine, dialect: Dialect, tables: Tables, deadlines: Deadlines, role: str | None
) -> None:
    """Switch row security on and grant ``role`` what it needs; raise ``ConfigurationError`` for an unknown role."""
    async with engine.begin() as connection:
        for sql in dialect.migration_start(deadlines):
            await connection.exec_driver_sql(sql)
        if role is not None:
            found = await connection.exec_driver_sql("SELECT 1 FROM pg_roles WHERE rolname = $1", (role,))
            if found.first() is None:
                raise ConfigurationError(f"--role: there is no role {role!r}; create it first: CREATE ROLE ... LOGIN")
        for sql in ddl(tables, role):
            await connection.exec_driver_sql(sql)


async def check(unit: Unit, tables: Tables) -> None:
    """Raise ``ConfigurationError`` where the role is above the policies, ``SchemaError`` where policies are missing."""
    names = [_preparer.format_table(table) for table in _owned(tables)]
    rows = await unit.fetch(_STATE, {"tables": names, "policies": list(_POLICIES)})
    role = rows[0][3]
    if any(row[1] for row in rows):
        raise _above(role, "is a superuser or has BYPASSRLS")
    if any(row[2] for row in rows):
        raise _above(role, "owns the tables or may act as their owner, who can switch it off")
    if not all(row[0] for row in rows):
        raise SchemaError("the tables have no row security; run `chatstore migrate URL --row-security` as their owner")


def _above(role: Any, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"row_security: the role {role!r} {why}; connect as an application role"
        " (CREATE ROLE app LOGIN; chatstore migrate URL --row-security --role app)"
    )


def _owned(tables: Tables) -> list[Table]:
    return [table for table in tables.metadata.sorted_tables if "user_id" in table.columns]
