"""Signed permissions to upload or download one attachment, for blob stores that cannot presign.

A browser follows such a URL without a session, so the token alone says who may do what, to which attachment, until
when. Its claims are signed, not encrypted: whoever holds the URL can read the tenant and the user in it. That adds
little to what the URL itself gives away (the file, until it expires), and hiding them would need either a cipher
or a lookup across all owners. Treat the URL as a password, keep it out of logs, and choose user ids that are no
personal data where logs are kept.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from chatstore import instants
from chatstore.errors import ConfigurationError, InvalidInputError
from chatstore.ids import check_key
from chatstore.owners import Owner, check_owner

MIN_KEY_BYTES = 32
MAX_LIFETIME = timedelta(days=7)
LEEWAY = timedelta(seconds=60)
"""How far the clocks of two servers may be apart."""

Bound: TypeAlias = Mapping[str, str | int]
"""What else is signed: the size and type of an upload, the name of a download."""

_PURPOSE = b"chatstore signed URL 1\n"
_MAX_LENGTH = 8192


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token permits: one action on one attachment of one owner, until it expires."""

    action: str
    owner: Owner
    attachment_id: str
    expires_at: datetime
    bound: Bound = field(default_factory=dict)


class UrlSigner:
    """Signs with the first of its keys and accepts all of them, so that keys can be rotated.

    Each is at least 32 random bytes, shared by all processes and by nothing else; otherwise
    ``ConfigurationError``. A new key is first added at the end everywhere, then moved to the front.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or isinstance(keys, str | bytes) or not all(_is_key(key) for key in keys):
            raise ConfigurationError(f"signing keys: a list of one or more, each at least {MIN_KEY_BYTES} random bytes")
        self._keys = tuple(keys)

    def sign(
        self,
        action: str,
        owner: Owner,
        attachment_id: str,
        expires_at: datetime,
        bound: Bound | None = None,
        *,
        now: datetime | None = None,
    ) -> str:
        """Return a token of letters, digits, ``-``, ``_`` and one dot.

        Raises ``InvalidInputError`` when it would have expired, or be good for more than seven days.
        """
        claims = Claims(check_key(action, "action"), check_owner(owner), attachment_id, expires_at, _checked(bound))
        left = _until(expires_at, now)
        if not timedelta() < left <= MAX_LIFETIME:
            raise InvalidInputError("expires_at: must be in the future, at most seven days from now")
        body = _encoded(claims)
        token = f"{body}.{_mac(self._keys[0], body)}"
        if len(token) > _MAX_LENGTH:
            raise InvalidInputError("bound: too long for a URL")
        return token

    def verify(self, token: str, action: str, *, now: datetime | None = None) -> Claims:
        """Return the claims of a token that :meth:`sign` made for this action and that has not expired.

        Raises ``InvalidInputError`` for any other text, in the same words whatever is wrong, unless it is only the
        time. A token is good for up to 60 seconds more, so that clocks may differ.
        """
        if not self.has_signed(token):
            raise _refused()
        claims = _decoded(token.partition(".")[0])
        if claims.action != action:
            raise _refused()
        if not -LEEWAY < _until(claims.expires_at, now) <= MAX_LIFETIME + LEEWAY:
            raise InvalidInputError("token: expired; ask for a new URL")
        return claims

    def has_signed(self, token: str) -> bool:
        """Say whether one of the keys made ``token``, whatever it permits and however long ago it expired."""
        if not isinstance(token, str) or len(token) > _MAX_LENGTH or not token.isascii():
            return False
        body, _, signature = token.partition(".")
        given = signature.encode()
        return any(hmac.compare_digest(_mac(key, body).encode(), given) for key in self._keys)


def _is_key(key: object) -> bool:
    return isinstance(key, bytes) and len(key) >= MIN_KEY_BYTES


def _checked(bound: Bound | None) -> Bound:
    bound = {} if bound is None else dict(bound)
    for name, value in bound.items():
        if type(name) is not str or type(value) not in (str, int) or (type(value) is int and abs(value) >= 2**63):
            raise InvalidInputError("bound: names are str, values str or int of at most 64 bits")
    return bound


def _until(expires_at: datetime, now: datetime | None) -> timedelta:
    if not isinstance(expires_at, datetime):
        raise InvalidInputError(f"expires_at: must be a datetime, not {type(expires_at).__name__}")
    current = instants.now_microseconds() if now is None else instants.to_microseconds(now)
    return timedelta(microseconds=instants.to_microseconds(expires_at) - current)


def _encoded(claims: Claims) -> str:
    owner = claims.owner
    fields = [
        claims.action,
        owner.tenant,
        owner.user,
        check_key(claims.attachment_id, "attachment_id"),
        instants.to_microseconds(claims.expires_at),
        claims.bound,
    ]
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    try:
        return _base64(text.encode())
    except UnicodeEncodeError:
        raise InvalidInputError("bound: must not hold lone surrogates") from None


def _decoded(body: str) -> Claims:
    raw = urlsafe_b64decode(body + "=" * (-len(body) % 4))
    action, tenant, user, attachment_id, expires_at, bound = json.loads(raw)
    return Claims(action, Owner(user, tenant), attachment_id, instants.from_microseconds(expires_at), bound)


def _mac(key: bytes, body: str) -> str:
    """Return the code of the encoded claims: of the text itself, so that no two sets of claims share one."""
    return _base64(hmac.new(key, _PURPOSE + body.encode(), hashlib.sha256).digest())


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _refused() -> InvalidInputError:
    return InvalidInputError("token: not made by this server for this action, or altered")
