"""PostgreSQL with row security: every statement runs under the owner whose call it serves, and sees no other's rows.

The owner is set for one transaction and no longer. It comes from what the call is given, not from the statement's
text, so that a statement which forgot its owner finds nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from chatstore.sql.dialects import PostgreSQL, Row, Values
from chatstore.sql.row_security import SETTINGS
from chatstore.sql.statements import ALL_OWNERS, Statement

T = TypeVar("T")

Scope = tuple[str, str, bool]
"""Tenant and user, or that the statement is one of all owners."""


class GuardedPostgreSQL(PostgreSQL):
    """PostgreSQL through asyncpg, each statement under the policies of its owner."""

    async def fetch(self, driver: Any, statement: Statement, values: Values) -> Sequence[Row]:
        fetch = super().fetch
        return await _under(_scope(statement, values), driver, lambda: fetch(driver, statement, values))

    async def execute_many(self, driver: Any, statement: Statement, values: Sequence[Values]) -> None:
        execute = super().execute_many
        (scope,) = {_scope(statement, each) for each in values}
        await _under(scope, driver, lambda: execute(driver, statement, values))


def _scope(statement: Statement, values: Values) -> Scope | None:
    """Return whose rows a statement may see; ``None`` for one that reads no table of owners."""
    if statement.sql.startswith(ALL_OWNERS):
        return "", "", True
    if "tenants" in values:  # writes of several callers, who are one owner: see Database.lane
        ((tenant, user),) = set(zip(values["tenants"], values["users"], strict=True))
        return tenant, user, False
    if "user_id" in values:
        return values["tenant"], values["user_id"], False
    return None


async def _under(scope: Scope | None, driver: Any, run: Callable[[], Awaitable[T]]) -> T:
    """Return what a statement answers under its scope, in the open transaction or in one of its own."""
    if scope is None:
        return await run()
    if driver.is_in_transaction():
        await driver.execute(_set(scope))
        return await run()
    await driver.execute(f"BEGIN; {_set(scope)}")
    try:
        answer = await run()
    except Exception:
        if not driver.is_closed():
            await driver.execute("ROLLBACK")
        raise
    await driver.execute("COMMIT")
    return answer


def _set(scope: Scope) -> str:
    """Return the SQL that sets the scope until the transaction ends: a script takes no parameters, hence the hex."""
    tenant, user, is_all = scope
    values = [_text(tenant), _text(user), "'on'" if is_all else "'off'"]
    settings = zip(SETTINGS, values, strict=True)
    return "SELECT " + ", ".join(f"set_config('{name}', {value}, true)" for name, value in settings)


def _text(value: str) -> str:
    return f"convert_from(decode('{value.encode().hex()}', 'hex'), 'UTF8')"
