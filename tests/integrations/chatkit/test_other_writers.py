"""Items that something else wrote are left out of pages, with a warning, and stay whole."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from chatkit.types import (
    EndOfTurnItem,
    HiddenContextItem,
    ThreadMetadata,
)

from chatstore import ChatStore, IntegrityError, Item
from chatstore.integrations.chatkit import ChatKitStore

if TYPE_CHECKING:
    from tests.integrations.chatkit.conftest import Context

NOON = datetime(2024, 5, 17, 12, 0, 0, 123456)
BASE: dict[str, Any] = {"thread_id": "thr_1", "created_at": NOON}


@pytest.fixture
async def kept(store: ChatKitStore[Any], thread: ThreadMetadata) -> ChatKitStore[Any]:
    return store


OTHERS: dict[str, Item] = {
    "a newer type": Item(type="hologram", id="other", data={"type": "hologram", "words": "secret"}),
    "another writer": Item(type="user_message", id="other", data={"text": "secret"}),
    "nothing": Item(type="assistant_message", id="other", data={}),
}


@pytest.mark.parametrize("name", OTHERS)
async def test_an_item_of_another_writer_is_left_out_of_the_page_and_stays_whole(
    kept: ChatKitStore[Any], chat: ChatStore, ann: Context, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    user = chat.for_user("ann")
    await kept.add_thread_item("thr_1", EndOfTurnItem(id="before", **BASE), ann)
    stored = await user.add_thread_item("thr_1", OTHERS[name])
    await kept.add_thread_item(
        "thr_1", EndOfTurnItem(id="after", thread_id="thr_1", created_at=datetime(2999, 1, 1)), ann
    )
    with caplog.at_level(logging.WARNING):
        page = await kept.load_thread_items("thr_1", None, 20, "asc", ann)
    assert [item.id for item in page.data] == ["before", "after"]
    assert "'other'" in caplog.text
    assert repr(OTHERS[name].type) in caplog.text
    assert "secret" not in caplog.text
    with pytest.raises(IntegrityError, match="other") as caught:
        await kept.load_item("thr_1", "other", ann)
    assert "secret" not in str(caught.value)
    assert await user.load_item("thr_1", "other") == stored


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_go_on_past_items_of_other_writers(
    kept: ChatKitStore[Any], chat: ChatStore, ann: Context, order: str
) -> None:
    for number in range(12):
        if number % 4:
            await chat.for_user("ann").add_thread_item("thr_1", Item(type="hologram", data={}))
        else:
            await kept.add_thread_item(
                "thr_1", EndOfTurnItem(id=f"i{number:02}", thread_id="thr_1", created_at=datetime.now()), ann
            )
    seen: list[str] = []
    after, pages = None, 0
    while pages == 0 or after:
        page = await kept.load_thread_items("thr_1", after, 2, order, ann)
        seen, after, pages = [*seen, *(item.id for item in page.data)], page.after, pages + 1
    assert sorted(seen) == ["i00", "i04", "i08"]
    assert pages == 6


async def test_an_item_copied_by_another_writer_has_the_id_it_is_stored_under(
    kept: ChatKitStore[Any], chat: ChatStore, ann: Context
) -> None:
    user = chat.for_user("ann")
    await kept.add_thread_item("thr_1", HiddenContextItem(id="i", **BASE, content=[1]), ann)
    original = await user.load_item("thr_1", "i")
    await user.add_thread_item("thr_1", Item(type=original.type, id="copy", data=original.data))
    assert [item.id for item in (await kept.load_thread_items("thr_1", None, 20, "asc", ann)).data] == ["i", "copy"]
    await kept.delete_thread_item("thr_1", "copy", ann)
    assert [item.id for item in (await kept.load_thread_items("thr_1", None, 20, "asc", ann)).data] == ["i"]
