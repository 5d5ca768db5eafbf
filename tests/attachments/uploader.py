"""A process that uploads and deletes until it is killed: ``python uploader.py URL BLOBS``."""

from __future__ import annotations

import asyncio
import random
import sys

from chatstore import open_store
from chatstore.users import UserStore


async def main(url: str, blobs: str) -> None:
    async with open_store(url, blobs=blobs) as chat:
        user = chat.for_user("ann")
        thread = await user.create_thread(id="thr_killed")
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            await asyncio.gather(*(_once(user, thread.id) for _ in range(3)))
            if random.random() < 0.2:
                await chat.admin().sweep()


async def _once(user: UserStore, thread_id: str) -> None:
    size = random.choice([0, 10, 100_000, 400_000])
    added = await user.add_attachment("a.bin", random.randbytes(size), thread_id=random.choice([thread_id, None]))
    if random.random() < 0.7:
        await user.delete_attachment(added.id)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
