"""chatstore, as an application uses it: one URL, default options."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from benchmarks.protocol import Payload
from chatstore import Item, open_store


class Chatstore:
    """chatstore over SQLite or PostgreSQL."""

    async def open(self, url: str) -> None:
        self._store = await open_store(url).__aenter__()

    async def close(self) -> None:
        await self._store.aclose()

    async def create_threads(self, user: str, thread_ids: Sequence[str]) -> None:
        async with self._store.for_user(user).transaction() as block:
            for thread_id in thread_ids:
                await block.create_thread(id=thread_id, title="A conversation")

    async def fill(self, user: str, thread_id: str, payloads: Sequence[Payload]) -> None:
        items = [Item(type="message", data=payload) for payload in payloads]
        await self._store.for_user(user).add_thread_items(thread_id, items)

    async def append(self, user: str, thread_id: str, payload: Payload) -> Item:
        return await self._store.for_user(user).add_thread_item(thread_id, Item(type="message", data=payload))

    async def update(self, user: str, thread_id: str, item: Item, payload: Payload) -> None:
        await self._store.for_user(user).save_item(thread_id, item.model_copy(update={"data": payload}))

    async def newest(self, user: str, thread_id: str, limit: int) -> int:
        page = await self._store.for_user(user).load_thread_items(thread_id, limit=limit, order="desc")
        return len(page.data)

    async def pages(self, user: str, thread_id: str, limit: int) -> AsyncIterator[int]:
        after: str | None = None
        has_more = True
        while has_more:
            page = await self._store.for_user(user).load_thread_items(thread_id, limit=limit, after=after)
            yield len(page.data)
            after, has_more = page.after, page.has_more

    async def threads(self, user: str, limit: int) -> int:
        return len((await self._store.for_user(user).load_threads(limit=limit)).data)

    async def delete(self, user: str, thread_id: str) -> None:
        await self._store.for_user(user).delete_thread(thread_id)
