"""Which blocks are open around the running code."""

from __future__ import annotations

import asyncio

import pytest

from chatstore.errors import ConfigurationError
from chatstore.transactions import block_of, check_outside_block


def test_outside_every_block_all_is_allowed() -> None:
    check_outside_block(object(), "save_thread")


def test_inside_its_own_block_a_store_is_refused_by_the_name_of_the_call() -> None:
    store, other = object(), object()
    with block_of(store):
        check_outside_block(other, "save_thread")
        with pytest.raises(ConfigurationError, match=r"^save_thread: "):
            check_outside_block(store, "save_thread")
    check_outside_block(store, "save_thread")


def test_every_enclosing_block_counts() -> None:
    outer, inner = object(), object()
    with block_of(outer):
        with block_of(inner):
            for store in (outer, inner):
                with pytest.raises(ConfigurationError):
                    check_outside_block(store, "save_thread")
        check_outside_block(inner, "save_thread")
        with pytest.raises(ConfigurationError):
            check_outside_block(outer, "save_thread")


def test_a_block_that_ended_in_an_exception_is_over() -> None:
    store = object()
    with pytest.raises(KeyError), block_of(store):
        raise KeyError
    check_outside_block(store, "save_thread")


async def test_a_task_started_inside_is_inside_until_the_block_ends() -> None:
    store = object()
    ended = asyncio.Event()

    async def check_twice() -> bool:
        with pytest.raises(ConfigurationError):
            check_outside_block(store, "save_thread")
        checked.set()
        await ended.wait()
        check_outside_block(store, "save_thread")
        return True

    checked = asyncio.Event()
    with block_of(store):
        task = asyncio.create_task(check_twice())
        await checked.wait()
    ended.set()
    assert await task


async def test_a_task_that_runs_beside_is_not_inside() -> None:
    store = object()
    opened, checked = asyncio.Event(), asyncio.Event()

    async def beside() -> bool:
        await opened.wait()
        check_outside_block(store, "save_thread")
        checked.set()
        return True

    task = asyncio.create_task(beside())
    with block_of(store):
        opened.set()
        await checked.wait()
    assert await task


async def test_blocks_that_end_in_another_order_are_both_over() -> None:
    first, second = object(), object()
    outer, inner = block_of(first), block_of(second)
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    check_outside_block(first, "save_thread")
    with pytest.raises(ConfigurationError):
        check_outside_block(second, "save_thread")
    inner.__exit__(None, None, None)
    check_outside_block(second, "save_thread")
