"""Options about waiting: what is refused names the option and the way out."""

from __future__ import annotations

import math
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from chatstore import ConfigurationError, Deadlines, open_store

NAMES = ["pool", "connect", "command", "statement", "lock", "total"]
NO_SECONDS: list[Any] = [0, 0.0, -1, -0.001, math.nan, math.inf, -math.inf, True, False, "5", b"5", [5], 1j, 86_401]
POSTGRESQL = "postgresql://ann@localhost/chat"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seconds", [*NO_SECONDS, 10**5000], ids=[*map(repr, NO_SECONDS), "10**5000"])
def test_what_is_no_number_of_seconds_is_refused(name: str, seconds: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"^deadlines: {name} must be a number of seconds above 0"):
        Deadlines(**{name: seconds})


@pytest.mark.parametrize("name", ["pool", "connect", "command"])
def test_a_wait_of_the_clients_always_has_a_deadline(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^deadlines: {name} must be"):
        Deadlines(**{name: None})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"statement": 15}, "statement=15 never comes before command=15; lower statement, or raise command"),
        ({"statement": 20}, "statement=20 never comes before command=15"),
        ({"lock": 15}, "lock=15 never comes before command=15; lower lock, or raise command"),
        ({"lock": 4, "statement": 4}, "lock=4 never comes before statement=4; lower lock, or raise statement"),
    ],
)
def test_a_deadline_that_never_comes_first_is_refused(given: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Deadlines(**given)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("url", "given", "said"),
    [
        (POSTGRESQL, {"total": 29.9}, "total=29.9 is less than pool + connect + command, 30 s"),
        (POSTGRESQL, {"total": 10, "command": 9, "connect": 1, "pool": 0.5}, "total=10 is less than"),
        (f"{POSTGRESQL}?connect_timeout=6", {"total": 30}, "total=30 is less than pool + connect + command, 31 s"),
        ("sqlite:///chat.db", {"total": 1}, "raise total, or lower these"),
    ],
)
def test_a_total_with_no_room_for_one_try_is_refused(url: str, given: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_store(url, deadlines=Deadlines(**given))
    assert said in str(caught.value)


def test_a_total_is_what_one_try_may_take_unless_more_is_given() -> None:
    assert Deadlines().of_a_call == 30
    assert Deadlines(pool=1, connect=2, command=3).of_a_call == 6
    assert Deadlines(pool=1, connect=2, command=3, total=60).of_a_call == 60
    Deadlines(pool=0.1, connect=0.1, command=0.1, total=0.3).check_total()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("deadlines", 5, "deadlines: must be Deadlines(...), not int"),
        ("deadlines", {"command": 5}, "deadlines: must be Deadlines(...), not dict"),
        ("pool_size", 0, "pool_size: must be an int of 1 or more"),
        ("pool_size", -1, "pool_size: must be an int of 1 or more"),
        ("pool_size", True, "pool_size: must be an int of 1 or more"),
        ("pool_size", 2.0, "pool_size: must be an int of 1 or more"),
        ("pool_size", "10", "pool_size: must be an int of 1 or more"),
        ("pool_size", None, "pool_size: must be an int of 1 or more"),
        ("pgbouncer", 1, "pgbouncer: must be True or False"),
        ("pgbouncer", "true", "pgbouncer: must be True or False"),
        ("pgbouncer", None, "pgbouncer: must be True or False"),
    ],
)
@pytest.mark.parametrize("url", ["memory://", "sqlite:///chat.db", POSTGRESQL])
def test_an_option_of_another_kind_is_refused_by_every_backend(url: str, option: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_store(url, **{option: value})
    assert str(caught.value) == said


@pytest.mark.parametrize("name", ["statement", "lock"])
def test_what_pgbouncer_would_share_with_others_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"ALTER ROLE \.\.\. SET {name}_timeout"):
        open_store(POSTGRESQL, pgbouncer=True, deadlines=Deadlines(**{name: 3}))


def test_pgbouncer_before_a_file_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^pgbouncer: .*leave it out for SQLite"):
        open_store("sqlite:///chat.db", pgbouncer=True)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        *[({"deadlines": Deadlines(**{name: 3})}, f"deadlines: {name}") for name in NAMES if name != "total"],
        ({"pool_size": 20}, "pool_size"),
        ({"pgbouncer": True}, "pgbouncer"),
    ],
)
async def test_what_an_engine_of_the_callers_brings_itself_is_refused(option: dict[str, Any], said: str) -> None:
    engine = create_async_engine("postgresql+asyncpg://ann@localhost/chat")
    with pytest.raises(ConfigurationError) as caught:
        open_store(engine, **option)
    assert str(caught.value) == f"{said} cannot be set on an engine of your own; set it where you make the engine"
    await engine.dispose()


async def test_an_engine_of_the_callers_takes_a_total_and_on_sqlite_a_lock() -> None:
    engine = create_async_engine("postgresql+asyncpg://ann@localhost/chat")
    open_store(engine, deadlines=Deadlines(total=1))
    await engine.dispose()
    file = create_async_engine("sqlite+aiosqlite:///chat.db")
    open_store(file, deadlines=Deadlines(total=1, lock=0.5))
    await file.dispose()


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon", "1e9"])
def test_a_connect_timeout_of_the_url_is_a_number_of_seconds_too(seconds: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^url: connect_timeout must be a number of seconds above 0, at most 86400$"
    ):
        open_store(f"{POSTGRESQL}?connect_timeout={seconds}")
