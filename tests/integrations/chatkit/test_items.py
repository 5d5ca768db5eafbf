"""Every item comes back as it was given, where it belongs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, get_args

import pytest
from chatkit.actions import ActionConfig
from chatkit.store import NotFoundError
from chatkit.types import (
    Annotation,
    AssistantMessageContent,
    AssistantMessageItem,
    ClientToolCallItem,
    CustomSummary,
    CustomTask,
    DurationSummary,
    EndOfTurnItem,
    EntitySource,
    FileAttachment,
    FileSource,
    FileTask,
    GeneratedImage,
    GeneratedImageItem,
    HiddenContextItem,
    ImageAttachment,
    ImageTask,
    InferenceOptions,
    SDKHiddenContextItem,
    SearchTask,
    StructuredInputAnswer,
    StructuredInputFreeform,
    StructuredInputItem,
    StructuredInputMultipleChoice,
    StructuredInputMultipleChoiceOption,
    TaskItem,
    ThoughtTask,
    ThreadItem,
    ThreadMetadata,
    ToolChoice,
    URLSource,
    UserMessageItem,
    UserMessageTagContent,
    UserMessageTextContent,
    WidgetItem,
    Workflow,
    WorkflowItem,
)
from chatkit.widgets import Button, Card, Chart, DatePicker, DynamicWidgetRoot, ListView, ListViewItem, Text

from chatstore import ChatStore
from chatstore.integrations.chatkit import ChatKitStore
from chatstore.testing.factories import MOMENTS

if TYPE_CHECKING:
    from tests.integrations.chatkit.conftest import Context

NOON = datetime(2024, 5, 17, 12, 0, 0, 123456)
BASE: dict[str, Any] = {"thread_id": "thr_1", "created_at": NOON}
ANYTHING: dict[str, Any] = {
    "int": 10**40,
    "float": -0.0,
    "bool": True,
    "none": None,
    "text": "NUL \x00, é, 👩‍👩‍👧, </script>",
    "list": [[], {}, [None, 1, 1.0, "1", False]],
}
URL = URLSource(title="A page", url="https://example.org/?a=b", attribution="Example", timestamp="2024", group="g")
FILE = FileSource(title="A file", filename="a b.pdf", description="d")
ENTITY = EntitySource(title="Ann", id="ent_1", icon="profile", label="L", interactive=True, data=ANYTHING)
ATTACHMENT = {"id": "atc_1", "name": "cat.png", "mime_type": "image/png", "thread_id": "thr_1", "metadata": ANYTHING}
DESCRIPTOR = {"url": "https://up.example/1?sig=x", "method": "PUT", "headers": {"x-a": "b"}}
QUESTION = StructuredInputMultipleChoice(
    id="q1", question="Which?", options=[StructuredInputMultipleChoiceOption(value="a")], multiple=True
)
CARD = Card(
    key="k",
    children=[
        Text(value="hi", id="t", streaming=True),
        DatePicker(name="when", min=datetime(2024, 5, 17)),
        Button(label="Go", onClickAction=ActionConfig(type="go", payload={"n": [1, 2.5, "x"], "b": True})),
        Chart(data=[{"x": "a", "y": 1}, {"x": "b", "y": 2.5}], series=[], xAxis="x"),
    ],
)

SAMPLES: dict[str, ThreadItem] = {
    "user message": UserMessageItem(
        id="i",
        **BASE,
        content=[
            UserMessageTextContent(text="hi \x00 there"),
            UserMessageTagContent(id="tag", text="@ann", data=ANYTHING, group="people", interactive=True),
        ],
        attachments=[
            FileAttachment.model_validate(ATTACHMENT | {"upload_descriptor": DESCRIPTOR}),
            ImageAttachment.model_validate(ATTACHMENT | {"preview_url": "https://example.org/p?x=1", "metadata": None}),
        ],
        quoted_text="quoted",
        inference_options=InferenceOptions(tool_choice=ToolChoice(id="t"), model="m"),
    ),
    "empty user message": UserMessageItem(id="i", **BASE, content=[], inference_options=InferenceOptions()),
    "assistant message": AssistantMessageItem(
        id="i",
        **BASE,
        content=[
            AssistantMessageContent(
                text="text",
                annotations=[
                    Annotation(source=URL, index=3),
                    Annotation(source=FILE),
                    Annotation(source=ENTITY, index=0),
                ],
            )
        ],
    ),
    "pending tool call": ClientToolCallItem(id="i", **BASE, call_id="c", name="n", arguments=ANYTHING),
    "completed tool call": ClientToolCallItem(
        id="i", **BASE, status="completed", call_id="c", name="n", arguments={}, output=[ANYTHING, None]
    ),
    "widget": WidgetItem(id="i", **BASE, widget=CARD, copy_text="copied"),
    "list widget": WidgetItem(
        id="i", **BASE, widget=ListView(children=[ListViewItem(children=[Text(value="one")])], status={"text": "ok"})
    ),
    "generated image": GeneratedImageItem(
        id="i", **BASE, image=GeneratedImage(id="ig_1", url="data:image/png;base64,AA")
    ),
    "image not generated yet": GeneratedImageItem(id="i", **BASE),
    "structured input": StructuredInputItem(
        id="i", **BASE, inputs=[QUESTION, StructuredInputFreeform(id="q2", question="Why?", description="d")]
    ),
    "answered input": StructuredInputItem(
        id="i",
        **BASE,
        status="answered",
        inputs=[
            QUESTION.model_copy(update={"answer": StructuredInputAnswer(values=["a", "other"])}),
            StructuredInputFreeform(id="q2", question="Why?", answer=StructuredInputAnswer(skipped=True)),
        ],
    ),
    "workflow": WorkflowItem(
        id="i",
        **BASE,
        workflow=Workflow(
            type="custom",
            expanded=True,
            summary=CustomSummary(title="s", icon="search"),
            tasks=[
                CustomTask(title="t", icon="bolt", content="c", status_indicator="loading"),
                SearchTask(title_query="q", queries=["a", "b"], sources=[URL]),
                ThoughtTask(content="hm"),
                FileTask(sources=[FILE]),
                ImageTask(title="i", status_indicator="complete"),
            ],
        ),
    ),
    "reasoning": WorkflowItem(
        id="i", **BASE, workflow=Workflow(type="reasoning", tasks=[], summary=DurationSummary(duration=3))
    ),
    "task": TaskItem(id="i", **BASE, task=ThoughtTask(title="t", content="c")),
    "hidden context": HiddenContextItem(id="i", **BASE, content=ANYTHING),
    "empty hidden context": HiddenContextItem(id="i", **BASE, content=None),
    "the SDK's hidden context": SDKHiddenContextItem(id="i", **BASE, content="cancelled"),
    "end of turn": EndOfTurnItem(id="i", **BASE),
}


@pytest.fixture
async def kept(store: ChatKitStore[Any], thread: ThreadMetadata) -> ChatKitStore[Any]:
    return store


def test_the_samples_are_of_every_type() -> None:
    union = get_args(get_args(ThreadItem)[0])
    assert {type(sample) for sample in SAMPLES.values()} == set(union)
    assert len(union) == 11


@pytest.mark.parametrize("name", SAMPLES)
async def test_an_item_comes_back_exactly(kept: ChatKitStore[Any], ann: Context, name: str) -> None:
    given = SAMPLES[name].model_copy(deep=True)
    await kept.add_thread_item("thr_1", given, ann)
    loaded = await kept.load_item("thr_1", "i", ann)
    assert loaded == SAMPLES[name]
    assert type(loaded) is type(SAMPLES[name])
    assert loaded.model_dump_json() == SAMPLES[name].model_dump_json()
    assert (await kept.load_thread_items("thr_1", None, 20, "asc", ann)).data == [SAMPLES[name]]


@pytest.mark.parametrize("name", SAMPLES)
async def test_an_item_comes_back_exactly_after_a_save(kept: ChatKitStore[Any], ann: Context, name: str) -> None:
    await kept.add_thread_item("thr_1", EndOfTurnItem(id="i", **BASE), ann)
    await kept.save_item("thr_1", SAMPLES[name], ann)
    assert (await kept.load_thread_items("thr_1", None, 20, "asc", ann)).data == [SAMPLES[name]]


@pytest.mark.parametrize("name", MOMENTS)
async def test_a_creation_time_comes_back_naive_or_aware_as_it_was(
    kept: ChatKitStore[Any], ann: Context, name: str
) -> None:
    item = EndOfTurnItem(id="i", thread_id="thr_1", created_at=MOMENTS[name])
    await kept.add_thread_item("thr_1", item, ann)
    await kept.save_item("thr_1", await kept.load_item("thr_1", "i", ann), ann)
    loaded = await kept.load_item("thr_1", "i", ann)
    assert loaded.created_at.isoformat() == MOMENTS[name].isoformat()
    await kept.add_thread_item("thr_1", item, ann)
    assert len((await kept.load_thread_items("thr_1", None, 20, "asc", ann)).data) == 1


async def test_what_is_stored_is_the_json_of_the_sdk(kept: ChatKitStore[Any], chat: ChatStore, ann: Context) -> None:
    for name, sample in SAMPLES.items():
        await kept.add_thread_item("thr_1", sample.model_copy(update={"id": name}), ann)
    for name, sample in SAMPLES.items():
        stored = await chat.for_user("ann").load_item("thr_1", name)
        assert stored.payload == sample.model_copy(update={"id": name}).model_dump_json()
        assert stored.type == sample.type
        assert stored.created_at == NOON


async def test_a_preview_that_became_a_data_url_is_taken(kept: ChatKitStore[Any], ann: Context) -> None:
    image = ImageAttachment.model_validate(ATTACHMENT | {"preview_url": "https://example.org/p"})
    shown = image.model_copy(update={"preview_url": "data:image/png;base64,AAAA"})
    item = UserMessageItem(id="i", **BASE, content=[], attachments=[], inference_options=InferenceOptions())
    item.attachments.append(shown)
    await kept.add_thread_item("thr_1", item, ann)
    loaded = await kept.load_item("thr_1", "i", ann)
    assert isinstance(loaded, UserMessageItem)
    assert isinstance(loaded.attachments[0], ImageAttachment)
    assert str(loaded.attachments[0].preview_url) == "data:image/png;base64,AAAA"


TEMPLATE: dict[str, Any] = {
    "type": "Card",
    "size": "md",
    "children": [
        {"type": "Text", "value": "hi"},
        {"type": "Button", "label": "b", "onClickAction": {"type": "a", "payload": {"k": 1}}},
    ],
}


async def test_a_templates_widget_comes_back_with_every_value(kept: ChatKitStore[Any], ann: Context) -> None:
    item = WidgetItem(id="i", **BASE, widget=DynamicWidgetRoot.model_validate(TEMPLATE))
    await kept.add_thread_item("thr_1", item, ann)
    loaded = await kept.load_item("thr_1", "i", ann)
    assert isinstance(loaded, WidgetItem)
    assert isinstance(loaded.widget, Card)
    shown = loaded.widget.model_dump(mode="json")
    assert shown["children"][1]["onClickAction"].items() >= TEMPLATE["children"][1]["onClickAction"].items()
    assert (shown["size"], shown["children"][0]) == ("md", {"type": "Text", "value": "hi"})


@pytest.mark.parametrize(
    "unknown",
    [
        TEMPLATE | {"madeUp": {"z": [1, 2]}},
        TEMPLATE | {"children": [{"type": "Text", "value": "hi", "madeUp": 1}]},
        TEMPLATE | {"children": [{"type": "Hologram", "depth": 3}]},
    ],
    ids=["of the root", "of a child", "a component"],
)
async def test_properties_that_the_sdk_does_not_know_are_not_dropped(
    kept: ChatKitStore[Any], ann: Context, unknown: dict[str, Any]
) -> None:
    item = WidgetItem(id="i", **BASE, widget=DynamicWidgetRoot.model_validate(unknown))
    await kept.add_thread_item("thr_1", item, ann)
    loaded = await kept.load_item("thr_1", "i", ann)
    assert loaded.model_dump(mode="json") == item.model_dump(mode="json")
    await kept.save_item("thr_1", loaded, ann)
    assert await kept.load_item("thr_1", "i", ann) == loaded


async def test_what_is_changed_after_saving_or_loading_changes_nothing_stored(
    kept: ChatKitStore[Any], ann: Context
) -> None:
    given = SAMPLES["completed tool call"].model_copy(deep=True)
    assert isinstance(given, ClientToolCallItem)
    await kept.add_thread_item("thr_1", given, ann)
    given.arguments["changed"] = True
    first = await kept.load_item("thr_1", "i", ann)
    assert isinstance(first, ClientToolCallItem)
    assert isinstance(first.output, list)
    first.output[0]["changed"] = True
    assert await kept.load_item("thr_1", "i", ann) == SAMPLES["completed tool call"]


async def test_items_are_placed_by_their_creation_time(kept: ChatKitStore[Any], ann: Context) -> None:
    for minutes in (0, 30, 10, 20, 5):
        created_at = NOON + timedelta(minutes=minutes)
        await kept.add_thread_item(
            "thr_1", EndOfTurnItem(id=f"i{minutes}", thread_id="thr_1", created_at=created_at), ann
        )
    page = await kept.load_thread_items("thr_1", None, 20, "asc", ann)
    assert [item.id for item in page.data] == ["i0", "i5", "i10", "i20", "i30"]
    page = await kept.load_thread_items("thr_1", None, 20, "desc", ann)
    assert [item.id for item in page.data] == ["i30", "i20", "i10", "i5", "i0"]


async def test_aware_and_naive_times_are_placed_by_their_instant(kept: ChatKitStore[Any], ann: Context) -> None:
    now = datetime.now(UTC)
    zone = timezone(timedelta(hours=9))
    times = {
        "third": now.astimezone(zone) + timedelta(seconds=2),
        "first": now,
        "second": (now + timedelta(seconds=1)).astimezone().replace(tzinfo=None),
    }
    for id, created_at in times.items():
        await kept.add_thread_item("thr_1", EndOfTurnItem(id=id, thread_id="thr_1", created_at=created_at), ann)
    page = await kept.load_thread_items("thr_1", None, 20, "asc", ann)
    assert [item.id for item in page.data] == ["first", "second", "third"]


async def test_a_saved_item_keeps_its_place_and_a_new_one_gets_its_own(kept: ChatKitStore[Any], ann: Context) -> None:
    for minutes in (0, 10, 20):
        created_at = NOON + timedelta(minutes=minutes)
        await kept.add_thread_item(
            "thr_1", EndOfTurnItem(id=f"i{minutes}", thread_id="thr_1", created_at=created_at), ann
        )
    replaced = HiddenContextItem(id="i0", thread_id="thr_1", created_at=NOON + timedelta(minutes=5), content=1)
    never_stored = HiddenContextItem(id="new", thread_id="thr_1", created_at=NOON + timedelta(minutes=15), content=1)
    await kept.save_item("thr_1", replaced, ann)
    await kept.save_item("thr_1", never_stored, ann)
    page = await kept.load_thread_items("thr_1", None, 20, "asc", ann)
    assert [item.id for item in page.data] == ["i0", "i10", "new", "i20"]
    assert page.data[0] == replaced


@pytest.mark.parametrize("name", ["add_thread_item", "save_item"])
async def test_an_item_needs_its_thread(store: ChatKitStore[Any], chat: ChatStore, ann: Context, name: str) -> None:
    with pytest.raises(NotFoundError):
        await getattr(store, name)("thr_1", SAMPLES["end of turn"], ann)
    assert (await chat.for_user("ann").load_threads()).data == []


async def test_items_added_at_once_are_all_kept(kept: ChatKitStore[Any], ann: Context) -> None:
    items = [EndOfTurnItem(id=f"i{number:02}", **BASE) for number in range(50)]
    await asyncio.gather(*(kept.add_thread_item("thr_1", item, ann) for item in items))
    page = await kept.load_thread_items("thr_1", None, 100, "asc", ann)
    assert sorted(item.id for item in page.data) == [item.id for item in items]
