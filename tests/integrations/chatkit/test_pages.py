"""Pages are keyset pages over the ids of records: nothing is lost in ties, nothing is read without end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from chatkit.store import NotFoundError
from chatkit.types import EndOfTurnItem, Page, ThreadMetadata

from chatstore import ChatStore, InvalidInputError
from chatstore.integrations.chatkit import ChatKitStore

if TYPE_CHECKING:
    from tests.integrations.chatkit.conftest import Context

NOON = datetime(2024, 5, 17, 12, 0)
BOTH = pytest.mark.parametrize("order", ["asc", "desc"])
KINDS = pytest.mark.parametrize("kind", ["items", "threads"])

Load = Callable[[str, Any, Any, str], Awaitable[Page[Any]]]


@pytest.fixture
def load(store: ChatKitStore[Any], ann: Context) -> Load:
    """Load a page of either kind."""

    async def load(kind: str, after: Any, limit: Any, order: str) -> Page[Any]:
        if kind == "items":
            return await store.load_thread_items("t00", after, limit, order, ann)
        return await store.load_threads(limit, after, order, ann)

    return load


@pytest.fixture
async def ids(store: ChatKitStore[Any], ann: Context) -> list[str]:
    """Fifty threads and, in the first of them, fifty items, in five groups of one creation time each."""
    ids = [f"t{number:02}" for number in range(50)]
    for number, id in enumerate(ids):
        created_at = NOON + timedelta(minutes=number // 10)
        await store.save_thread(ThreadMetadata(id=id, created_at=created_at), ann)
        await store.add_thread_item("t00", EndOfTurnItem(id=id, thread_id="t00", created_at=created_at), ann)
    return ids


@BOTH
@KINDS
async def test_following_the_pages_meets_every_record_once_in_order(
    load: Load, ids: list[str], kind: str, order: str
) -> None:
    seen: list[str] = []
    page = await load(kind, None, 7, order)
    while page.has_more:
        assert page.after == page.data[-1].id
        seen += [record.id for record in page.data]
        page = await load(kind, page.after, 7, order)
    seen += [record.id for record in page.data]
    assert page.after is None
    assert seen == (ids if order == "asc" else ids[::-1])


@KINDS
async def test_a_page_that_holds_the_rest_has_no_more(load: Load, ids: list[str], kind: str) -> None:
    page = await load(kind, ids[-11], 10, "asc")
    assert ([record.id for record in page.data], page.has_more, page.after) == (ids[-10:], False, None)
    page = await load(kind, ids[-1], 10, "asc")
    assert page == Page()


@KINDS
@pytest.mark.parametrize("after", [None, ""])
async def test_no_after_is_the_first_page(load: Load, ids: list[str], kind: str, after: str | None) -> None:
    assert [record.id for record in (await load(kind, after, 3, "asc")).data] == ids[:3]


@BOTH
@KINDS
async def test_a_cursor_of_chatstore_is_taken_too(
    load: Load, ids: list[str], chat: ChatStore, kind: str, order: Any
) -> None:
    user = chat.for_user("ann")
    cursor = (
        (await user.load_thread_items("t00", limit=3, order=order)).after
        if kind == "items"
        else (await user.load_threads(limit=3, order=order, by="created")).after
    )
    expected = ids[3:6] if order == "asc" else ids[-4:-7:-1]
    assert [record.id for record in (await load(kind, cursor, 3, order)).data] == expected


@KINDS
@pytest.mark.parametrize("after", ["nothing", "t99", "../t00", "\x00", "x" * 1_000_000, "\ud800"])
async def test_an_unknown_after_is_not_found(load: Load, ids: list[str], kind: str, after: Any) -> None:
    with pytest.raises(NotFoundError):
        await load(kind, after, 3, "asc")


@KINDS
async def test_the_after_of_another_listing_is_not_found(
    load: Load, ids: list[str], store: ChatKitStore[Any], chat: ChatStore, kind: str
) -> None:
    bob = {"user_id": "bob"}
    user = chat.for_user("bob")
    for id in ("of_bob", "of_bob_2"):
        await store.save_thread(ThreadMetadata(id=id, created_at=NOON), bob)
        await store.add_thread_item("of_bob", EndOfTurnItem(id=id, thread_id="of_bob", created_at=NOON), bob)
    cursors = {
        "items": (await user.load_thread_items("of_bob", limit=1)).after,
        "threads": (await user.load_threads(limit=1, order="asc", by="created")).after,
    }
    for after in ("of_bob", cursors[kind]):
        with pytest.raises(NotFoundError):
            await load(kind, after, 3, "asc")


async def test_an_item_that_was_deleted_is_not_found_as_after(
    load: Load, ids: list[str], store: ChatKitStore[Any], ann: Context
) -> None:
    await store.delete_thread_item("t00", ids[3], ann)
    with pytest.raises(NotFoundError):
        await load("items", ids[3], 3, "asc")


@KINDS
@pytest.mark.parametrize(
    ("limit", "count"), [(0, 1), (-1, 1), (-(10**30), 1), (False, 1), (True, 1), (2, 2), (10**9, 50), (2**70, 50)]
)
async def test_a_limit_is_clamped_and_never_an_error(
    load: Load, ids: list[str], kind: str, limit: int, count: int
) -> None:
    assert len((await load(kind, None, limit, "desc")).data) == count


async def test_a_page_has_at_most_a_thousand_records(
    store: ChatKitStore[Any], thread: ThreadMetadata, chat: ChatStore, ann: Context
) -> None:
    items = [EndOfTurnItem(id=f"i{number:04}", thread_id="thr_1", created_at=NOON) for number in range(1001)]
    for item in items:
        await store.add_thread_item("thr_1", item, ann)
    page = await store.load_thread_items("thr_1", None, 5000, "asc", ann)
    assert (len(page.data), page.has_more, page.after) == (1000, True, "i0999")


@KINDS
@pytest.mark.parametrize("order", ["", "ASC", "created_at", "asc; drop table", None])
async def test_an_unknown_order_is_refused(load: Load, ids: list[str], kind: str, order: Any) -> None:
    with pytest.raises(InvalidInputError, match="order"):
        await load(kind, None, 3, order)


@pytest.mark.parametrize("after", [None, "t00", "nothing"])
async def test_the_page_of_an_unknown_thread_is_empty(
    store: ChatKitStore[Any], ids: list[str], ann: Context, after: str | None
) -> None:
    assert await store.load_thread_items("absent", after, 20, "desc", ann) == Page()
