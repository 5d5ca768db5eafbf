"""What users must not write: each ignored line is an error that the type checker finds, else it is an error itself."""

from __future__ import annotations

from chatstore import Item, Page, Thread, ThreadStatus, UserStore, open_store
from chatstore.protocols import Store


async def forget_the_owner(store: Store) -> None:
    await store.load_thread("thr_1")  # type: ignore[call-arg]
    await store.load_thread("thr_1", owner="ann")  # type: ignore[arg-type]
    open_store("memory://").load_thread("thr_1")  # type: ignore[attr-defined]


async def give_an_owner_to_a_bound_store(ann: UserStore) -> None:
    await ann.load_thread("thr_1", owner="bob")  # type: ignore[call-arg]


async def pass_options_by_place(ann: UserStore, item: Item) -> None:
    await ann.load_thread_items("thr_1", 50)  # type: ignore[call-arg]
    await ann.create_thread("title")  # type: ignore[call-arg]
    open_store("memory://", "auto")  # type: ignore[call-arg]


async def misspell_an_option(ann: UserStore) -> None:
    open_store("memory://", migrate="yes")  # type: ignore[arg-type]
    await ann.load_threads(order="newest")  # type: ignore[arg-type]
    await ann.load_threads(by="title")  # type: ignore[arg-type]
    ThreadStatus(type="archived")  # type: ignore[arg-type]


async def take_one_thing_for_another(ann: UserStore, thread: Thread) -> None:
    await ann.add_thread_item("thr_1", {"text": "hi"})  # type: ignore[arg-type]
    await ann.load_threads(after=await ann.load_item("thr_1", "msg_1"))  # type: ignore[arg-type]
    await ann.update_thread(thread.id, status="locked")  # type: ignore[arg-type]
    Item(type="user_message", data=["hi"])  # type: ignore[arg-type]
    thread.title = "changed in place"  # type: ignore[misc]


async def use_a_none(ann: UserStore, page: Page[Item]) -> None:
    page.after.upper()  # type: ignore[union-attr]
    (await ann.load_thread("thr_1")).title.upper()  # type: ignore[union-attr]


async def forget_to_await(ann: UserStore) -> None:
    _ = ann.load_thread("thr_1").id  # type: ignore[attr-defined]
