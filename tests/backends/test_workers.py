"""Several processes, workers forked from one, and several event loops on one database."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from chatstore import ConfigurationError, Item, UserStore, open_store

WORKERS = 4
APPENDS = 25

APPENDING = f"""
import asyncio, multiprocessing, os, sys
from chatstore import ConfigurationError, Item, open_store

async def append(store, worker):
    async with store:
        for number in range({APPENDS}):
            await store.for_user("ann").add_thread_item("t", Item(type=str(worker), data={{"number": number}}))

def work(worker):
    asyncio.run(append(make(), worker))
"""

EACH_OPENS_ITS_OWN = """
def make():
    return open_store(sys.argv[1])
"""

ONE_WAS_OPENED_BEFORE = """
store = open_store(sys.argv[1])
def make():
    return store
"""

RUN = f"""
if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=work, args=(worker,)) for worker in range({WORKERS})]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sys.exit(sum(worker.exitcode != 0 for worker in workers))
"""

USED_BEFORE_THE_FORK = """
async def use():
    await store.for_user("ann").load_threads()

with asyncio.Runner() as runner:
    runner.run(use())
    child = os.fork()
    if child == 0:
        try:
            runner.run(use())
        except ConfigurationError as error:
            os.write(1, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    runner.run(use())
    runner.run(store.aclose())
"""


@pytest.fixture(params=["postgresql_url", "sqlite_url"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


async def run_program(program: str, url: str) -> str:
    """Run a program of its own and return what it says; fail with its last words."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        said, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return said.decode()


async def append(user: UserStore, name: str) -> None:
    for number in range(APPENDS):
        await user.add_thread_item("t", Item(type=name, data={"number": number}))


async def check_all_are_there(url: str, writers: int) -> None:
    async with open_store(url) as store:
        items = [item async for item in store.for_user("ann").iter_thread_items("t")]
    assert len(items) == writers * APPENDS
    for writer in range(writers):
        assert [item.data["number"] for item in items if item.type == str(writer)] == list(range(APPENDS))


@pytest.mark.parametrize("opened", [EACH_OPENS_ITS_OWN, ONE_WAS_OPENED_BEFORE], ids=["in each", "before the fork"])
async def test_forked_workers_share_a_database(url: str, opened: str) -> None:
    async with open_store(url) as store:
        await store.for_user("ann").create_thread(id="t")
        appending = asyncio.ensure_future(run_program(APPENDING + opened + RUN, url))
        await append(store.for_user("ann"), str(WORKERS))
        await appending
    await check_all_are_there(url, WORKERS + 1)


async def test_a_store_that_was_used_before_the_fork_names_the_cause_and_the_fix(url: str) -> None:
    said = await run_program(APPENDING + ONE_WAS_OPENED_BEFORE + USED_BEFORE_THE_FORK, url)
    assert said == "the store was used before this process was forked; open one in each worker, after the fork"


async def test_a_store_in_each_event_loop_shares_a_database(url: str) -> None:
    async def use(number: int) -> None:
        async with open_store(url) as store:
            await append(store.for_user("ann"), str(number))

    def run(number: int) -> None:
        asyncio.run(use(number))

    async with open_store(url) as store:
        await store.for_user("ann").create_thread(id="t")
    with ThreadPoolExecutor() as threads:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(threads, run, number) for number in range(3)))
    await check_all_are_there(url, 3)


CALLS: dict[str, Callable[[UserStore], Awaitable[object]]] = {
    "read": lambda user: user.load_threads(),
    "write": lambda user: user.create_thread(),
    "run": lambda user: user.run(lambda tx: tx.load_threads()),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_a_store_of_another_loop_names_the_fix(url: str, call: Callable[[UserStore], Awaitable[object]]) -> None:
    async with open_store(url) as store:
        user = store.for_user("ann")

        async def use() -> None:
            await call(user)

        await asyncio.to_thread(_refused, use)


def _refused(use: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        with pytest.raises(ConfigurationError, match="belongs to another event loop; open one store in each loop"):
            await use()

    asyncio.run(run())
