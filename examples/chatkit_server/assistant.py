"""What the server answers: an Agents SDK agent with a widget and two tools that run in the browser."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Literal, TypeAlias

from agents import Agent, RunConfig, RunContextWrapper, Runner, StopAtTools, function_tool
from chatkit.agents import AgentContext, ClientToolCall, ThreadItemConverter, stream_agent_response
from chatkit.types import (
    ThreadItem,
    ThreadItemReplacedEvent,
    ThreadStreamEvent,
    UserMessageItem,
    UserMessageTextContent,
    WidgetItem,
)
from chatkit.widgets import DynamicWidgetRoot, WidgetTemplate

from examples.chatkit_server.offline_model import SECONDS_PER_WORD, OfflineModel

_Context: TypeAlias = AgentContext[dict[str, str]]

_OFFLINE = RunConfig(tracing_disabled=True)
"""Without this the Agents SDK sends traces to its maker."""

_CARD = WidgetTemplate(
    {
        "version": "1.0",
        "name": "card",
        "template": """{"type": "Card", "children": [
            {"type": "Row", "justify": "between", "children": [
                {"type": "Title", "value": {{ subject | tojson }}},
                {"type": "Badge", "label": {{ ("Done" if done else "Open") | tojson }}}
            ]},
            {"type": "Text", "id": "summary", "value": {{ text | tojson }}, "streaming": {{ streaming | tojson }}}
            {% if not done %}, {"type": "Button", "label": "Mark as done", "onClickAction": {
                "type": "finish", "payload": {"subject": {{ subject | tojson }}}
            }}{% endif %}
        ]}""",
    }
)


def _summary(subject: str) -> str:
    return f"Three things to know about {subject}: where it is, what it costs, and who to ask."


def _card(subject: str, text: str, *, done: bool = False) -> DynamicWidgetRoot:
    streaming = text != _summary(subject)
    return _CARD.build({"subject": subject, "text": text, "done": done, "streaming": streaming})


async def _growing_card(subject: str) -> AsyncGenerator[DynamicWidgetRoot, None]:
    words = _summary(subject).split(" ")
    for count in range(1, len(words) + 1):
        yield _card(subject, " ".join(words[:count]))
        await asyncio.sleep(SECONDS_PER_WORD)


def finish_card(sender: WidgetItem, payload: Any) -> ThreadItemReplacedEvent:
    """Replace a card with itself, marked as done."""
    subject = str(payload["subject"])
    card = _card(subject, _summary(subject), done=True)
    return ThreadItemReplacedEvent(item=sender.model_copy(update={"widget": card}))


def title_of(message: UserMessageItem | None) -> str | None:
    """Return the beginning of a message, or the names of its files, as the title of its thread."""
    if message is None:
        return None
    said = [part.text for part in message.content if isinstance(part, UserMessageTextContent)]
    text = " ".join(said or [file.name for file in message.attachments])
    return " ".join(text.replace("\0", " ").split())[:60] or None


@function_tool
async def show_card(wrapper: RunContextWrapper[_Context], subject: str) -> str:
    """Show a card about a subject."""
    await wrapper.context.stream_widget(_growing_card(subject), copy_text=f"A card about {subject}")
    return f"Shown: {subject}"


@function_tool
async def get_browser_time(wrapper: RunContextWrapper[_Context]) -> None:
    """Ask the browser what time it is where the user is."""
    wrapper.context.client_tool_call = ClientToolCall(name="get_browser_time", arguments={})


@function_tool
async def set_theme(wrapper: RunContextWrapper[_Context], theme: Literal["light", "dark"]) -> None:
    """Make the page light or dark."""
    wrapper.context.client_tool_call = ClientToolCall(name="set_theme", arguments={"theme": theme})


_assistant = Agent[_Context](
    name="Assistant",
    instructions="Answer in a friendly and brief way.",
    model=OfflineModel(),
    tools=[show_card, get_browser_time, set_theme],
    tool_use_behavior=StopAtTools(stop_at_tool_names=["get_browser_time", "set_theme"]),
)
"""Give ``model`` the name of a real model and this agent is a real one."""


async def answer(
    context: _Context, conversation: Sequence[ThreadItem], reader: ThreadItemConverter
) -> AsyncIterator[ThreadStreamEvent]:
    """Let the agent answer the end of a conversation; the agent stops when the listener does."""
    given = await reader.to_agent_input(conversation)
    result = Runner.run_streamed(_assistant, given, context=context, run_config=_OFFLINE)
    queue: asyncio.Queue[ThreadStreamEvent | None] = asyncio.Queue()
    # In a task of its own: a cancellation inside stream_agent_response would leave its inner tasks behind.
    listening = asyncio.create_task(_listen(stream_agent_response(context, result), queue))
    try:
        while (event := await queue.get()) is not None:
            yield event
        await listening
    finally:
        result.cancel()


async def _listen(events: AsyncIterator[ThreadStreamEvent], queue: asyncio.Queue[ThreadStreamEvent | None]) -> None:
    try:
        async for event in events:
            queue.put_nowait(event)
    finally:
        queue.put_nowait(None)
