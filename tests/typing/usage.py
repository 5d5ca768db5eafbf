"""What users write: it must pass ``mypy --strict`` and pyright without a cast or an ignored line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, assert_type

from chatstore import (
    Attachment,
    Capability,
    ChatStore,
    ChatStoreError,
    Item,
    NotFoundError,
    Owner,
    Page,
    Store,
    Thread,
    ThreadStatus,
    UnavailableError,
    UserStore,
    open_store,
)


async def keep_a_conversation() -> None:
    async with open_store("memory://", migrate="check", prefix="chat_") as store:
        assert_type(store, ChatStore)
        ann = store.for_user("ann", tenant="acme")
        assert_type(ann, UserStore)
        thread = await ann.create_thread(title="Hello", metadata={"topic": ["a", 1]})
        assert_type(thread, Thread)
        item = await ann.add_thread_item(
            thread.id, Item(type="user_message", data={"text": "hi"}), at=datetime.now(UTC)
        )
        assert_type(item.data, dict[str, Any])
        page = await ann.load_thread_items(thread.id, limit=50, order="desc")
        assert_type(page, Page[Item])
        assert_type(page.after, str | None)
        assert_type([each.type for each in page.data], list[str])


async def change_a_thread(ann: UserStore) -> Thread:
    thread = await ann.load_thread("thr_1")
    await ann.save_thread(thread.model_copy(update={"title": None}))
    await ann.update_thread(thread.id, title=None, revision=thread.revision)
    await ann.update_thread(thread.id, status=ThreadStatus(type="locked", reason="read only"))
    return await ann.update_thread(thread.id, metadata={})


async def walk(ann: UserStore) -> list[str]:
    threads = await ann.load_threads(by="created", order="asc", limit=10)
    assert_type(threads, Page[Thread])
    await ann.load_threads(after=threads.after)
    await ann.load_threads(after=threads.data[-1])
    return [item.id async for item in ann.iter_thread_items(threads.data[0].id, page_size=10)]


async def use_a_transaction(ann: UserStore) -> int:
    async with ann.transaction() as inner:
        assert_type(inner, UserStore)
        await inner.delete_thread_items("thr_1", ["msg_1"])

    async def count(store: UserStore) -> int:
        return len((await store.load_thread_items("thr_1")).data)

    return await ann.run(count)


async def keep_records_of_files(ann: UserStore) -> list[Attachment]:
    saved = await ann.save_attachment(Attachment(id="atc_1", name="a.png", mime_type="image/png"))
    assert_type(saved.size, int | None)
    await ann.load_thread_attachments("thr_1", limit=5)
    return await ann.load_attachments([saved.id])


async def handle_errors(ann: UserStore) -> Thread | None:
    try:
        return await ann.load_thread("thr_1")
    except NotFoundError:
        return None
    except UnavailableError as error:
        assert_type(error.retryable, bool)
        assert_type(error.may_have_committed, bool)
        raise
    except ChatStoreError as error:
        raise RuntimeError("the conversation could not be read") from error


async def use_the_protocol(store: Store) -> bool:
    owner = Owner("ann")
    thread = await store.create_thread(owner=owner)
    await store.delete_thread(thread.id, owner=owner)
    return Capability.DURABLE in store.capabilities


async def lend_a_store() -> AsyncIterator[Store]:
    async with open_store("memory://") as store:
        assert_type(await use_the_protocol(store.store), bool)
        yield store.store
