"""Whose data it is: the owner, and how to find it in the context of a request."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from chatstore.errors import InvalidInputError
from chatstore.ids import check_key

OwnerOf: TypeAlias = Callable[[Any], "Owner | str | Awaitable[Owner | str]"]
"""Finds the owner of a request in its context: an :class:`Owner`, or the user's id alone."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A tenant and a user: the first part of every key.

    Both are opaque strings of at most 255 bytes of UTF-8 without control characters, compared byte for byte.
    The user is never blank; the empty tenant is the default one. Raises ``InvalidInputError`` otherwise.
    """

    user: str
    tenant: str = ""

    def __post_init__(self) -> None:
        check_key(self.user, "user")
        if not self.user.strip():
            raise InvalidInputError("user: must not be blank; every call needs the id of a user")
        if self.tenant != "":
            check_key(self.tenant, "tenant")
            if not self.tenant.strip():
                raise InvalidInputError('tenant: must not be blank; leave it out, or "", for the default tenant')

    @property
    def digest(self) -> str:
        """The SHA-256 of tenant and user in hex: what stands for the owner in blob keys and, cut short, in logs.

        A pseudonym and not a secret: who knows a user's id can compute it.
        """
        parts = f"{len(self.tenant.encode())}:{self.tenant}{self.user}"
        return hashlib.sha256(parts.encode()).hexdigest()


def check_owner(owner: object) -> Owner:
    """Return ``owner`` when it is an :class:`Owner`; raise ``InvalidInputError`` for anything else."""
    if type(owner) is not Owner:
        raise InvalidInputError(f"owner: must be an Owner, not {type(owner).__name__}")
    return owner


def user_id_of(context: Any) -> Any:
    """Return the ``user_id`` of a context, read as a mapping key or as an attribute; ``None`` where there is none."""
    if isinstance(context, Mapping):
        return context.get("user_id")
    return getattr(context, "user_id", None)


async def resolve_owner(context: Any, owner_of: OwnerOf = user_id_of) -> Owner:
    """Return the owner that ``owner_of`` finds in ``context``; it may be a coroutine function.

    Raises ``InvalidInputError`` where it finds nothing: a request without a user is never answered.
    """
    found = owner_of(context)
    if inspect.isawaitable(found):
        found = await found
    return found if isinstance(found, Owner) else Owner(found)
