"""Stores that each break one promise on purpose, as stores in the wild were seen to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC
from typing import Any, TypeVar

from chatstore import inputs, instants
from chatstore.errors import ConflictError, NotFoundError
from chatstore.models import Attachment, Item, Page, Thread
from chatstore.owners import Owner
from chatstore.protocols import Capability, Store
from chatstore.stores.memory import MemoryStore

T = TypeVar("T")


class LeaksAcrossOwners(MemoryStore):
    """Finds an item by its ids alone where its owner has none."""

    async def load_item(self, thread_id: str, item_id: str, *, owner: Owner) -> Item:
        for anyone in (owner, *self._spaces):
            try:
                return await super().load_item(thread_id, item_id, owner=anyone)
            except NotFoundError as error:
                absent = error
        raise absent


class TellsOfOthers(MemoryStore):
    """Answers a delete of another owner's thread differently from one of a thread that nobody has."""

    async def delete_thread(self, thread_id: str, *, owner: Owner) -> None:
        await super().delete_thread(thread_id, owner=owner)
        if any(thread_id in space.threads for anyone, space in self._spaces.items() if anyone != owner):
            raise NotFoundError(f"delete_thread: no thread {thread_id!r}")


class JoinsOwnerNames(MemoryStore):
    """Keeps the owner as one text, ``tenant/user``, which cannot be taken apart again."""

    def _read(self, owner: Owner) -> Any:
        return super()._read(_joined(owner))

    @asynccontextmanager
    async def _write(self, owner: Owner, operation: str) -> AsyncIterator[Any]:
        async with super()._write(_joined(owner), operation) as space:
            yield space


def _joined(owner: Any) -> Any:
    return Owner(f"{owner.tenant}/{owner.user}"[:250]) if isinstance(owner, Owner) and owner.tenant else owner


class LosesTies(MemoryStore):
    """Goes on after the last thread's time instead of after the thread, and so skips those of the same time."""

    async def load_threads(self, **options: Any) -> Page[Thread]:
        after, by = options.get("after"), options.get("by", "activity")
        page = await super().load_threads(**options)
        if by == "created" and isinstance(after, str):
            last = self.__dict__.setdefault("times", {}).get(after)
            page = page.model_copy(update={"data": [one for one in page.data if _instant(one) != last]})
        if page.after is not None and page.data:
            self.__dict__.setdefault("times", {})[page.after] = _instant(page.data[-1])
        return page


def _instant(thread: Thread) -> int:
    return instants.to_microseconds(thread.created_at)


class LosesTheLastPage(MemoryStore):
    """Says that nothing follows where fewer items are left than fill a page."""

    async def load_thread_items(self, thread_id: str, *, limit: int = 50, **options: Any) -> Page[Item]:
        page = await super().load_thread_items(thread_id, limit=limit, **options)
        if page.has_more:
            rest = await super().load_thread_items(thread_id, limit=limit, **(options | {"after": page.after}))
            if len(rest.data) < limit:
                return Page(data=page.data)
        return page


class ForgetsOrder(MemoryStore):
    """Sorts a page by what the clocks of the writers said."""

    async def load_thread_items(self, thread_id: str, **options: Any) -> Page[Item]:
        page = await super().load_thread_items(thread_id, **options)
        page.data.sort(
            key=lambda item: instants.to_microseconds(item.created_at), reverse=options.get("order") == "desc"
        )
        return page


class SwallowsErrors(MemoryStore):
    """Answers an absent thread with an empty page, and an absent attachment with none."""

    async def load_thread_items(self, thread_id: str, **options: Any) -> Page[Item]:
        try:
            return await super().load_thread_items(thread_id, **options)
        except NotFoundError:
            return Page(data=[])

    async def load_attachments(self, attachment_ids: Sequence[str], *, owner: Owner) -> list[Attachment]:
        try:
            return await super().load_attachments(attachment_ids, owner=owner)
        except NotFoundError:
            return []

    async def load_attachment(self, attachment_id: str, *, owner: Owner) -> Attachment:
        return next(iter(await self.load_attachments([attachment_id], owner=owner)), None)  # type: ignore[return-value]


class SharesWhatItLoads(MemoryStore):
    """Keeps decoded items and gives the same one to every caller."""

    async def load_item(self, thread_id: str, item_id: str, *, owner: Owner) -> Item:
        item = await super().load_item(thread_id, item_id, owner=owner)
        kept: dict[Any, Item] = self.__dict__.setdefault("kept", {})
        return kept.setdefault((owner, thread_id, item_id, item.payload), item)


class SharesWhatItIsGiven(MemoryStore):
    """Returns the caller's own data from an add."""

    async def add_thread_item(self, thread_id: str, item: Item, **options: Any) -> Item:
        added = await super().add_thread_item(thread_id, item, **options)
        return added.model_copy(update={"data": item.data})


class OverwritesOnRepeatedId(MemoryStore):
    """Takes another item under an id that is in use for the same one."""

    async def add_thread_item(self, thread_id: str, item: Item, **options: Any) -> Item:
        try:
            return await super().add_thread_item(thread_id, item, **options)
        except ConflictError:
            return await super().save_item(thread_id, item, owner=options["owner"])


class DuplicatesOnRetry(MemoryStore):
    """Stores a repeated add as another item, under an id of its own."""

    async def add_thread_item(self, thread_id: str, item: Item, **options: Any) -> Item:
        if isinstance(item, Item) and isinstance(item.id, str):
            thread = self._read(options["owner"]).threads.get(thread_id)
            if thread is not None and item.id in thread.items:
                item = item.model_copy(update={"id": None})
        return await super().add_thread_item(thread_id, item, **options)


class ResurrectsWhatIsGone(MemoryStore):
    """Upserts whatever is saved, loaded before or not."""

    async def save_item(self, thread_id: str, item: Item, *, owner: Owner) -> Item:
        if isinstance(item, Item) and item.thread_id in (None, thread_id):
            item = item.model_copy(update={"position": None})
        return await super().save_item(thread_id, item, owner=owner)

    async def save_thread(self, thread: Thread, *, owner: Owner) -> Thread:
        try:
            return await super().save_thread(thread, owner=owner)
        except NotFoundError:
            return await super().save_thread(thread.model_copy(update={"revision": None}), owner=owner)


class TakesNaN(MemoryStore):
    """Stores null for a number that JSON does not have."""

    async def add_thread_item(self, thread_id: str, item: Item, **options: Any) -> Item:
        if isinstance(item, Item) and isinstance(item.data, dict):
            item = item.model_copy(update={"data": {key: _finite(value) for key, value in item.data.items()}})
        return await super().add_thread_item(thread_id, item, **options)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value


class SortsKeys(MemoryStore):
    """Decodes and encodes on the way, and tidies up."""

    async def add_thread_item(self, thread_id: str, item: Item, **options: Any) -> Item:
        added = await super().add_thread_item(thread_id, item, **options)
        tidy = json.loads(json.dumps(added.data, sort_keys=True))
        return await super().add_thread_item(thread_id, added.model_copy(update={"data": tidy}), owner=options["owner"])


class ForgetsOffsets(MemoryStore):
    """Keeps the time of an item in UTC."""

    async def load_item(self, thread_id: str, item_id: str, *, owner: Owner) -> Item:
        item = await super().load_item(thread_id, item_id, owner=owner)
        try:
            return item.model_copy(update={"created_at": item.created_at.astimezone(UTC)})
        except OverflowError:
            return item


class CommitsAnyway(MemoryStore):
    """Takes a block that ends in an exception for one that ends well."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Store]:
        raised: BaseException | None = None
        async with super().transaction() as inner:
            try:
                yield inner
            except BaseException as error:
                raised = error
        if raised is not None:
            raise raised


class ShowsUncommitted(MemoryStore):
    """Writes a block's changes where everybody reads, and takes them back if it must."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Store]:
        async with super().transaction() as inner:
            before = self._spaces
            assert isinstance(inner, MemoryStore)
            self._spaces = inner._spaces
            try:
                yield inner
            except BaseException:
                self._spaces = before
                raise


class HalvesBatches(MemoryStore):
    """Adds a batch one by one, once it was looked through."""

    async def add_thread_items(self, thread_id: str, items: Sequence[Item], *, owner: Owner) -> list[Item]:
        inputs.new_items(items, self._max_item_bytes)
        added = []
        for item in items:
            added.append(await self.add_thread_item(thread_id, item, owner=owner))
            await asyncio.sleep(0)
        return added or await super().add_thread_items(thread_id, items, owner=owner)


class IsCutOff(MemoryStore):
    """Lets a cancelled scope stop a write that was begun."""

    @asynccontextmanager
    async def _write(self, owner: Owner, operation: str) -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        async with super()._write(owner, operation) as space:
            yield space


class LastWriterWins(MemoryStore):
    """Does not look at the revision that was loaded."""

    async def save_thread(self, thread: Thread, *, owner: Owner) -> Thread:
        if isinstance(thread, Thread) and thread.revision is not None:
            now = (await self.load_thread(thread.id, owner=owner)).revision
            thread = thread.model_copy(update={"revision": now})
            thread.model_fields_set.discard("revision")
        return await super().save_thread(thread, owner=owner)


class BelievesUploads(MemoryStore):
    """Takes state, size and checksum of a file from whoever saves its record."""

    async def save_attachment(self, attachment: Attachment, *, owner: Owner) -> Attachment:
        saved = await super().save_attachment(attachment, owner=owner)
        claimed = {name: getattr(attachment, name) for name in ("state", "size", "sha256")}
        return saved.model_copy(update=claimed)


class KeepsItemsOfDeletedThreads(MemoryStore):
    """Deletes the thread's row and leaves its items, which a new thread of the same id then has."""

    async def delete_thread(self, thread_id: str, *, owner: Owner) -> None:
        thread = self._read(owner).threads.get(str(thread_id))
        await super().delete_thread(thread_id, owner=owner)
        if thread is not None:
            self.__dict__.setdefault("left", {})[owner, thread_id] = thread

    async def create_thread(self, *, owner: Owner, **values: Any) -> Thread:
        thread = await super().create_thread(owner=owner, **values)
        left = self.__dict__.get("left", {}).pop((owner, thread.id), None)
        if left is not None:
            conversation = self._spaces[owner].threads[thread.id]
            conversation.items, conversation.order = left.items, left.order
        return thread


class TakesAnyCursor(MemoryStore):
    """Makes cursors of items that are a bare position."""

    async def load_thread_items(self, thread_id: str, *, after: Any = None, **options: Any) -> Page[Item]:
        if isinstance(after, str) and after.isdigit():
            after = Item.of_payload(type="any", payload="{}", thread_id=thread_id, position=int(after))
        page = await super().load_thread_items(thread_id, after=after, **options)
        return page.model_copy(update={"after": str(page.data[-1].position) if page.has_more else None})


class AnswersAfterTheClose(MemoryStore):
    """Forgets that it was closed."""

    async def aclose(self) -> None:
        pass


class LeavesItsProbe(MemoryStore):
    """Checks itself by a thread in the name of whoever it knows, and leaves it there."""

    async def check(self) -> str | None:
        self._lifetime.enter()
        for owner in list(self._spaces):
            await self.create_thread(owner=owner, title="probe")
        return None


class ClaimsToBeDurable(MemoryStore):
    """Declares what it does not do, whether or not it can be opened again."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.DURABLE})
