"""What row security costs: the same calls with it and without, in turns, on a PostgreSQL server of the program's own.

``python -m benchmarks.row_security`` prints calls a second, and their ratio, for one caller and for sixteen owners.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from chatstore import Item, open_store
from chatstore.assembly import ChatStore
from chatstore.cli import main
from chatstore.testing.servers import PostgreSQLServer
from chatstore.users import UserStore

ROUNDS, CALLS, OWNERS = 7, 400, 16

Call = Callable[[UserStore], Awaitable[object]]

CALLS_MEASURED: dict[str, Call] = {
    "append": lambda user: user.add_thread_item("t", Item(type="user_message", data={"text": "x" * 200})),
    "newest 50": lambda user: user.load_thread_items("t", limit=50, order="desc"),
}


async def rate(store: ChatStore, call: Call, owners: int) -> float:
    """Return how many calls a second ``owners`` make, each one call after another."""

    async def work(user: UserStore) -> None:
        for _ in range(CALLS // owners):
            await call(user)

    started = time.perf_counter()
    await asyncio.gather(*(work(store.for_user(f"user {number}")) for number in range(owners)))
    return CALLS / (time.perf_counter() - started)


async def measured(plain_url: str, guarded_url: str) -> None:
    """Print the medians of all rounds."""
    async with open_store(plain_url) as plain, open_store(guarded_url, row_security=True) as guarded:
        for store in (plain, guarded):
            for number in range(OWNERS):
                user = store.for_user(f"user {number}")
                await user.create_thread(id="t")
                await user.add_thread_items("t", [Item(type="user_message", data={"text": "x" * 200})] * 100)
        for name, call in CALLS_MEASURED.items():
            for owners in (1, OWNERS):
                rates = [[await rate(store, call, owners) for store in (plain, guarded)] for _ in range(ROUNDS)]
                without, with_it = (statistics.median(column) for column in zip(*rates, strict=True))
                ratio = statistics.median(with_it / without for without, with_it in rates)
                print(f"{name}, {owners} owners: {without:,.0f}/s without, {with_it:,.0f}/s with, ratio {ratio:.2f}")


def run() -> None:
    """Make two databases, one of them with row security, and measure."""
    with PostgreSQLServer() as server:
        plain, guarded = (asyncio.run(server.create_database(name)) for name in ("plain", "guarded"))
        asyncio.run(_execute(guarded, "CREATE ROLE app LOGIN"))
        main(["migrate", guarded, "--row-security", "--role", "app"])
        asyncio.run(measured(plain, guarded.replace("postgres@", "app@")))


async def _execute(url: str, sql: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(url)
    await connection.execute(sql)
    await connection.close()


if __name__ == "__main__":
    run()
