"""When a store may be used."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from chatstore.errors import ClosedError, ConfigurationError
from chatstore.lifetime import Lifetime


async def _enter(lifetime: Lifetime) -> None:
    lifetime.enter()


async def test_the_first_call_binds_and_the_next_ones_are_let_in() -> None:
    lifetime = Lifetime()
    assert not lifetime.is_bound
    lifetime.enter()
    lifetime.enter()
    assert lifetime.is_bound


async def test_after_the_close_nobody_is_let_in() -> None:
    lifetime = Lifetime()
    lifetime.enter()
    lifetime.closed = True
    with pytest.raises(ClosedError, match="open_store"):
        lifetime.enter()


async def test_one_never_used_can_be_closed() -> None:
    lifetime = Lifetime()
    lifetime.closed = True
    with pytest.raises(ClosedError):
        lifetime.enter()


def test_a_second_event_loop_is_refused_and_the_error_says_what_to_do() -> None:
    lifetime = Lifetime()
    asyncio.run(_enter(lifetime))
    with pytest.raises(ConfigurationError, match="one store in each loop"):
        asyncio.run(_enter(lifetime))


def test_a_loop_that_has_ended_is_not_taken_for_a_new_one() -> None:
    lifetime = Lifetime()
    asyncio.run(_enter(lifetime))
    for _ in range(20):
        with pytest.raises(ConfigurationError):
            asyncio.run(_enter(lifetime))


_FORK = """
import asyncio, os, sys
from chatstore import ConfigurationError, open_store

store = open_store("memory://")

async def use():
    await store.for_user("ann").load_threads()

if sys.argv[1] == "used":
    loop = asyncio.new_event_loop()
    loop.run_until_complete(use())
child = os.fork()
if child == 0:
    try:
        if sys.argv[1] == "used":
            loop.run_until_complete(use())
        else:
            asyncio.run(use())
    except ConfigurationError as error:
        os.write(1, str(error).encode())
    else:
        os.write(1, b"let in")
    os._exit(0)
os.waitpid(child, 0)
"""


def _in_a_forked_child(state: str) -> str:
    command = [sys.executable, "-c", _FORK, state]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_store_that_was_used_is_refused_in_a_forked_child() -> None:
    assert "after the fork" in _in_a_forked_child("used")


def test_a_store_that_was_not_used_yet_can_be_forked() -> None:
    assert _in_a_forked_child("unused") == "let in"
