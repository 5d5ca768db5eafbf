"""What could not come back as it is, is refused before anything is written."""

from __future__ import annotations

import enum
from datetime import datetime
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from chatkit.actions import ActionConfig
from chatkit.types import (
    Annotation,
    AssistantMessageContent,
    AssistantMessageItem,
    ClientToolCallItem,
    EndOfTurnItem,
    EntitySource,
    FileAttachment,
    HiddenContextItem,
    InferenceOptions,
    ThreadItem,
    ThreadMetadata,
    ToolChoice,
    UserMessageItem,
    UserMessageTagContent,
    WidgetItem,
)
from chatkit.widgets import Button, Card, Chart, DynamicWidgetRoot

from chatstore import InvalidInputError
from chatstore.integrations.chatkit import ChatKitStore
from chatstore.testing.factories import nested

if TYPE_CHECKING:
    from tests.integrations.chatkit.conftest import Context

NOON = datetime(2024, 5, 17, 12, 0, 0, 123456)
BASE: dict[str, Any] = {"thread_id": "thr_1", "created_at": NOON}
ATTACHMENT = {"id": "atc_1", "name": "cat.png", "mime_type": "image/png", "thread_id": "thr_1"}
ENTITY = EntitySource(title="Ann", id="ent_1")
CALL = ClientToolCallItem(id="i", **BASE, call_id="c", name="n", arguments={})


class Color(enum.StrEnum):
    RED = "red"


UNCARRIABLE: dict[str, Any] = {
    "NaN": float("nan"),
    "infinity": float("-inf"),
    "a set": {1},
    "a tuple": (1, 2),
    "a datetime": NOON,
    "bytes": b"x",
    "int keys": {1: "one"},
    "an enum": Color.RED,
    "a model": ToolChoice(id="x"),
    "a lone surrogate": "\ud800",
    "65 levels": nested(65),
}


def holders(value: Any) -> dict[str, ThreadItem]:
    """Return an item for each place where the SDK lets ``value`` in."""
    user: dict[str, Any] = {"id": "i", **BASE, "inference_options": InferenceOptions(), "content": []}
    tag = UserMessageTagContent.model_construct(
        id="t", text="t", data={"v": value}, group=None, interactive=False, type="input_tag"
    )
    upload = FileAttachment.model_validate(ATTACHMENT).model_copy(update={"metadata": {"v": value}})
    entity = ENTITY.model_copy(update={"data": {"v": value}})
    said = AssistantMessageContent(text="t", annotations=[Annotation(source=entity)])
    action = ActionConfig.model_construct(
        type="a", payload={"v": value}, handler="server", loadingBehavior="auto", streaming=True
    )
    dynamic = DynamicWidgetRoot(type="Card", children=None).model_copy(update={"value": value})
    dynamic.__pydantic_extra__ = {"value": value}
    return {
        "hidden context": HiddenContextItem(id="i", **BASE, content={"v": [value]}),
        "tool arguments": CALL.model_copy(update={"arguments": {"v": value}}),
        "tool output": CALL.model_copy(update={"output": [value]}),
        "tag data": UserMessageItem.model_construct(**user | {"content": [tag]}, attachments=[], type="user_message"),
        "attachment metadata": UserMessageItem.model_construct(**user, attachments=[upload], type="user_message"),
        "entity data": AssistantMessageItem(id="i", **BASE, content=[said]),
        "action payload": WidgetItem(
            id="i",
            **BASE,
            widget=Card(children=[Button(label="Go")]).model_copy(
                update={"children": [Button(label="Go").model_copy(update={"onClickAction": action})]}
            ),
        ),
        "dynamic widget": WidgetItem(id="i", **BASE, widget=Card(children=[])).model_copy(update={"widget": dynamic}),
    }


PLACES = list(holders(None))


@pytest.fixture
async def kept(store: ChatKitStore[Any], thread: ThreadMetadata) -> ChatKitStore[Any]:
    return store


# In a dynamic widget a model stands for an object, as it does in any other.
@pytest.mark.parametrize(
    ("place", "value"),
    [pair for pair in product(PLACES, UNCARRIABLE) if pair != ("dynamic widget", "a model")],
)
@pytest.mark.parametrize("chat_store_url", ["memory"], indirect=True)
async def test_what_json_cannot_carry_is_refused_and_nothing_is_written(
    kept: ChatKitStore[Any], ann: Context, place: str, value: str
) -> None:
    item = holders(UNCARRIABLE[value])[place]
    with pytest.raises(InvalidInputError):
        await kept.add_thread_item("thr_1", item, ann)
    with pytest.raises(InvalidInputError):
        await kept.save_item("thr_1", item, ann)
    assert (await kept.load_thread_items("thr_1", None, 20, "asc", ann)).data == []


@pytest.mark.parametrize("place", PLACES)
async def test_what_json_carries_is_taken_in_the_same_places(kept: ChatKitStore[Any], ann: Context, place: str) -> None:
    item = holders({"a": [1, 1.5, "x", True]})[place]
    await kept.add_thread_item("thr_1", item, ann)
    assert (await kept.load_item("thr_1", "i", ann)).model_dump_json() == item.model_dump_json()


@pytest.mark.parametrize(
    "item",
    [
        AssistantMessageItem(id="i", **BASE, content=[AssistantMessageContent(text="x")]).model_copy(
            update={"content": 7}
        ),
        EndOfTurnItem(id="i", **BASE).model_copy(update={"thread_id": None}),
        AssistantMessageItem(id="i", **BASE, content=[AssistantMessageContent.model_construct(text="\ud800")]),
        WidgetItem(id="i", **BASE, widget=Card(children=[])).model_copy(
            update={"widget": Chart(data=[{"x": float("nan")}], series=[], xAxis="x")}
        ),
    ],
    ids=["wrong content", "no thread", "a lone surrogate", "NaN in a chart"],
)
async def test_an_item_that_could_not_be_loaded_again_is_refused(
    kept: ChatKitStore[Any], ann: Context, item: ThreadItem
) -> None:
    with pytest.raises(InvalidInputError):
        await kept.add_thread_item("thr_1", item, ann)
    assert (await kept.load_thread_items("thr_1", None, 20, "asc", ann)).data == []


async def test_a_refusal_does_not_repeat_what_was_said(kept: ChatKitStore[Any], ann: Context) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await kept.add_thread_item("thr_1", HiddenContextItem(id="i", **BASE, content={"secret", "words"}), ann)
    assert "secret" not in str(caught.value)
    assert "hidden_context_item.content" in str(caught.value)
