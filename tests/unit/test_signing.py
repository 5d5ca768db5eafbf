"""A signed URL permits one thing to whoever holds it, for a while, and nothing else to anybody."""

from __future__ import annotations

import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chatstore import signing
from chatstore.errors import ConfigurationError, InvalidInputError
from chatstore.owners import Owner
from chatstore.signing import LEEWAY, MAX_LIFETIME, Claims, UrlSigner
from chatstore.testing.factories import keys

NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=15)
OLD, NEW, FOREIGN = b"o" * 32, b"n" * 32, b"f" * 32
SIGNER = UrlSigner([NEW, OLD])
CLAIMS = Claims("put", Owner("ann", "acme"), "atc_1", LATER, {"size": 5, "content_type": "image/png"})
EXPIRED = "expired"


def _sign(claims: Claims = CLAIMS, signer: UrlSigner = SIGNER, now: datetime = NOW) -> str:
    return signer.sign(claims.action, claims.owner, claims.attachment_id, claims.expires_at, claims.bound, now=now)


def _with_body(token: str, change: Callable[[list[Any]], None]) -> str:
    """Change the claims within a token and keep its signature."""
    body, _, signature = token.partition(".")
    fields = json.loads(urlsafe_b64decode(body + "=="))
    change(fields)
    changed = urlsafe_b64encode(json.dumps(fields, separators=(",", ":")).encode()).rstrip(b"=").decode()
    assert changed != body
    return f"{changed}.{signature}"


@given(
    keys(),
    st.one_of(st.just(""), keys()),
    keys(),
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=50) | st.integers(-(2**63) + 1, 2**63 - 1),
        max_size=4,
    ),
)
def test_a_token_brings_its_claims_back(user: str, tenant: str, id: str, bound: dict[str, str | int]) -> None:
    assume(user.strip() and (not tenant or tenant.strip()))
    claims = Claims("get", Owner(user, tenant), id, LATER, bound)
    token = _sign(claims)
    assert re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}", token)
    assert SIGNER.verify(token, "get", now=NOW) == claims


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("value", ["get", "bob", "", 2_000_000_000_000_000, None, {}])
def test_no_claim_can_be_changed(place: int, value: object) -> None:
    def change(fields: list[Any]) -> None:
        fields[place] = value

    with pytest.raises(InvalidInputError, match="altered"):
        SIGNER.verify(_with_body(_sign(), change), "put", now=NOW)


@pytest.mark.parametrize("bound", [{"size": 6}, {"content_type": "text/html"}, {"size": "5"}, {"more": 1}])
def test_no_bound_value_can_be_changed(bound: dict[str, str | int]) -> None:
    token = _with_body(_sign(), lambda fields: fields[5].update(bound))
    with pytest.raises(InvalidInputError, match="altered"):
        SIGNER.verify(token, "put", now=NOW)


@pytest.mark.parametrize("name", ["size", "content_type"])
def test_no_bound_value_can_be_left_out(name: str) -> None:
    token = _with_body(_sign(), lambda fields: fields[5].pop(name))
    with pytest.raises(InvalidInputError, match="altered"):
        SIGNER.verify(token, "put", now=NOW)


def test_not_one_character_can_be_changed_added_or_left_out() -> None:
    token = _sign()
    for place in range(len(token)):
        other = "A" if token[place] != "A" else "B"
        for altered in (token[:place] + other + token[place + 1 :], token[:place] + token[place + 1 :]):
            with pytest.raises(InvalidInputError, match="altered"):
                SIGNER.verify(altered, "put", now=NOW)
    for altered in (token + "A", token + "=", token + ".", "." + token, token + "\n", " " + token, token.upper()):
        with pytest.raises(InvalidInputError, match="altered"):
            SIGNER.verify(altered, "put", now=NOW)


def test_a_signature_has_one_spelling() -> None:
    token = _sign()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    accepted = 0
    for last in alphabet:
        try:
            SIGNER.verify(token[:-1] + last, "put", now=NOW)
            accepted += 1
        except InvalidInputError:
            pass
    assert accepted == 1


@given(st.text(max_size=100) | st.text("AZaz09-_.", max_size=100))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        SIGNER.verify(text, "put", now=NOW)


@pytest.mark.parametrize("token", [None, 5, b"bytes", "x" * 100_000, "é.é", "\ud800", ".", ""])
def test_what_is_no_token_is_refused_in_the_same_words(token: Any) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        SIGNER.verify(token, "put", now=NOW)
    with pytest.raises(InvalidInputError) as other_action:
        SIGNER.verify(_sign(), "get", now=NOW)
    assert str(refusal.value) == str(other_action.value)


@pytest.mark.parametrize(
    "other",
    [
        replace(CLAIMS, action="get"),
        replace(CLAIMS, owner=Owner("acme", "ann")),
        replace(CLAIMS, owner=Owner("ann")),
        replace(CLAIMS, owner=Owner('ann","acme')),
        replace(CLAIMS, attachment_id="atc_2"),
        replace(CLAIMS, expires_at=LATER + timedelta(microseconds=1)),
        replace(CLAIMS, bound={}),
        replace(CLAIMS, bound={"size": 5, "content_type": "image/pn", "g": ""}),
    ],
)
def test_other_claims_have_another_signature(other: Claims) -> None:
    assert _sign(other).partition(".")[2] != _sign().partition(".")[2]


@pytest.mark.parametrize("past", [timedelta(), timedelta(seconds=1), LEEWAY - timedelta(microseconds=1)])
def test_a_clock_may_be_a_minute_ahead(past: timedelta) -> None:
    assert SIGNER.verify(_sign(), "put", now=LATER + past) == CLAIMS


@pytest.mark.parametrize("past", [LEEWAY, LEEWAY + timedelta(microseconds=1), timedelta(days=400)])
def test_an_expired_token_is_refused_and_says_so(past: timedelta) -> None:
    with pytest.raises(InvalidInputError, match=EXPIRED):
        SIGNER.verify(_sign(), "put", now=LATER + past)


def test_an_expired_token_of_another_action_does_not_say_that_it_expired() -> None:
    with pytest.raises(InvalidInputError, match="altered"):
        SIGNER.verify(_sign(), "get", now=LATER + timedelta(days=1))


def test_a_token_signed_by_a_clock_that_ran_ahead_is_not_good_for_longer() -> None:
    ahead = NOW + timedelta(days=30)
    token = _sign(replace(CLAIMS, expires_at=ahead + timedelta(days=1)), now=ahead)
    with pytest.raises(InvalidInputError, match=EXPIRED):
        SIGNER.verify(token, "put", now=NOW)


@pytest.mark.parametrize(
    "expires_at",
    [
        NOW,
        NOW - timedelta(seconds=1),
        NOW + MAX_LIFETIME + timedelta(microseconds=1),
        datetime.max,
        datetime.min,
        None,
        7,
    ],
)
def test_no_token_is_made_that_is_over_or_good_for_more_than_a_week(expires_at: Any) -> None:
    with pytest.raises(InvalidInputError, match="expires_at"):
        _sign(replace(CLAIMS, expires_at=expires_at))


def test_a_week_is_allowed_and_the_zone_does_not_count() -> None:
    week = (NOW + MAX_LIFETIME).astimezone(timezone(timedelta(hours=9)))
    assert SIGNER.verify(_sign(replace(CLAIMS, expires_at=week)), "put", now=NOW).expires_at == week


def test_the_clock_is_the_processes_own_where_none_is_given() -> None:
    soon = datetime.now(UTC) + timedelta(minutes=1)
    token = SIGNER.sign("get", Owner("ann"), "atc_1", soon)
    assert SIGNER.verify(token, "get").expires_at == soon


def test_keys_are_rotated_without_refusing_what_was_signed_before() -> None:
    old, both_old_first, both, new = UrlSigner([OLD]), UrlSigner([OLD, NEW]), UrlSigner([NEW, OLD]), UrlSigner([NEW])
    assert both_old_first.verify(_sign(signer=old), "put", now=NOW) == CLAIMS
    assert both.verify(_sign(signer=both_old_first), "put", now=NOW) == CLAIMS
    assert new.verify(_sign(signer=both), "put", now=NOW) == CLAIMS
    for signer, token in ((new, _sign(signer=old)), (both, _sign(signer=UrlSigner([FOREIGN])))):
        with pytest.raises(InvalidInputError, match="altered"):
            signer.verify(token, "put", now=NOW)


def test_a_code_made_with_the_same_key_for_another_purpose_is_refused() -> None:
    body = _sign().partition(".")[0]
    code = urlsafe_b64encode(hmac.digest(NEW, body.encode(), "sha256")).rstrip(b"=").decode()
    with pytest.raises(InvalidInputError, match="altered"):
        SIGNER.verify(f"{body}.{code}", "put", now=NOW)


def test_codes_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    class Watched:
        new = staticmethod(hmac.new)
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(signing, "hmac", Watched)
    SIGNER.verify(_sign(), "put", now=NOW)
    assert compared == [(_sign().partition(".")[2].encode(),) * 2]


@pytest.mark.parametrize("weak", [[], [b"short"], [NEW, b"x" * 31], [b""], ["k" * 32], "k" * 32, b"k" * 32, [None]])
def test_weak_keys_are_refused_and_never_shown(weak: Any) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        UrlSigner(weak)
    assert "short" not in str(refusal.value)
    assert "kkk" not in str(refusal.value)


def test_a_signer_does_not_show_its_keys() -> None:
    assert "nnn" not in repr(SIGNER) + str(SIGNER)


@pytest.mark.parametrize(
    "bound",
    [
        {"size": 1.5},
        {"size": True},
        {"size": None},
        {5: "x"},
        {"a": 2**63},
        {"a": 10**5000},
        {"a": "\ud800"},
        {"a": "x" * 9000},
    ],
)
def test_what_cannot_be_bound_is_refused_before_anything_is_signed(bound: Any) -> None:
    with pytest.raises(InvalidInputError, match="bound"):
        _sign(replace(CLAIMS, bound=bound))


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": ""},
        {"action": None},
        {"owner": "ann"},
        {"owner": None},
        {"attachment_id": ""},
        {"attachment_id": "a\0"},
    ],
)
def test_claims_that_no_store_accepts_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        _sign(replace(CLAIMS, **wrong))


def test_a_token_is_known_again_after_it_expired_and_by_every_key() -> None:
    token = _sign()
    assert SIGNER.has_signed(token)
    assert UrlSigner([FOREIGN, NEW]).has_signed(token)
    assert not UrlSigner([FOREIGN]).has_signed(token)
    for other in ("", ".", token[:-1], token + "x", token.upper(), token + "\u00e9", "a" * 9000, None, 7):
        assert not SIGNER.has_signed(other)  # type: ignore[arg-type]
