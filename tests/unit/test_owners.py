"""Whose data it is, and how an owner is found in a context."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, given

from chatstore.errors import InvalidInputError
from chatstore.owners import Owner, check_owner, resolve_owner, user_id_of
from chatstore.testing.factories import REFUSED_KEYS, keys

BLANK = [" ", "\u3000", "\u2003 "]


@given(keys(), keys())
def test_owners_are_equal_when_both_parts_are(user: str, tenant: str) -> None:
    assume(user.strip() and tenant.strip())
    assert Owner(user, tenant) == Owner(user, tenant)
    assert hash(Owner(user, tenant)) == hash(Owner(user, tenant))
    assert Owner(user) != Owner(user, tenant)


def test_the_empty_tenant_is_the_default() -> None:
    assert Owner("ann") == Owner("ann", "")


@pytest.mark.parametrize("user", [*REFUSED_KEYS, *BLANK, None, 0, True, b"ann"])
def test_whoever_has_no_usable_id_is_refused(user: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^user: "):
        Owner(user)


@pytest.mark.parametrize("tenant", [*(key for key in REFUSED_KEYS if key != ""), *BLANK, None, 0, b"acme"])
def test_a_tenant_that_is_not_usable_is_refused(tenant: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^tenant: "):
        Owner("ann", tenant)


def test_an_owner_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Owner("ann").user = "bob"  # type: ignore[misc]


@pytest.mark.parametrize("value", [None, "ann", ("ann", ""), {"user": "ann"}, Owner, SimpleNamespace(user="ann")])
def test_only_an_owner_is_an_owner(value: object) -> None:
    with pytest.raises(InvalidInputError, match=r"^owner: "):
        check_owner(value)
    assert check_owner(Owner("ann")) == Owner("ann")


def test_a_user_id_is_read_as_a_key_or_as_an_attribute() -> None:
    assert user_id_of({"user_id": "ann"}) == "ann"
    assert user_id_of(SimpleNamespace(user_id="ann")) == "ann"
    assert user_id_of({}) is None
    assert user_id_of(None) is None


async def test_the_owner_of_a_context_is_found_by_its_user_id() -> None:
    assert await resolve_owner({"user_id": "ann"}) == Owner("ann")
    assert await resolve_owner(SimpleNamespace(user_id="ann")) == Owner("ann")


async def test_a_function_finds_the_owner_in_its_own_way() -> None:
    async def later(context: dict[str, str]) -> Owner:
        return Owner(context["sub"], context["org"])

    context = {"sub": "ann", "org": "acme"}
    assert await resolve_owner(context, later) == Owner("ann", "acme")
    assert await resolve_owner(context, lambda found: found["sub"]) == Owner("ann")
    assert await resolve_owner(context, lambda found: Owner(found["sub"])) == Owner("ann")


@pytest.mark.parametrize("context", [None, {}, {"user_id": None}, {"user_id": ""}, {"user_id": " "}, {"user_id": 5}])
async def test_a_context_without_a_user_is_refused(context: Any) -> None:
    with pytest.raises(InvalidInputError):
        await resolve_owner(context)
