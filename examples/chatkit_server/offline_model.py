"""A model that needs no network: it picks its answers from a script and types them word by word."""

import asyncio
import json
import re
from base64 import b64decode
from collections.abc import AsyncIterator
from hashlib import sha256
from itertools import cycle
from typing import Any
from uuid import uuid4

from agents import Model, ModelResponse, TResponseInputItem
from agents.items import TResponseStreamEvent
from agents.testing import ScriptedModel, assistant_message, function_call

SECONDS_PER_WORD = 0.02
SECONDS_PER_SLOW_WORD = 0.4

_OPENINGS = cycle(["Gladly.", "Of course.", "Let me see.", "Good question."])

_STORY = (
    "Once there was a notebook that forgot nothing. Every evening people told it about their day, and every "
    "morning it could read each line back to them, in the order in which they had said it. One night the lights "
    "went out in the middle of a sentence. When they came back, the half sentence was still there, and the "
    "notebook waited for the rest of it."
)


class OfflineModel(Model):
    """Answers from a script, and in other words each time, so that a retry can be told from the first try."""

    async def get_response(self, system_instructions: Any, input: Any, *settings: Any, **options: Any) -> ModelResponse:
        return await _script(input).get_response(system_instructions, input, *settings, **options)

    async def stream_response(
        self, system_instructions: Any, input: Any, *settings: Any, **options: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        pause = SECONDS_PER_SLOW_WORD if _asks(_question(input), r"\bslow") else SECONDS_PER_WORD
        async for event in _script(input).stream_response(system_instructions, input, *settings, **options):
            if event.type != "response.output_text.delta":
                yield event
                continue
            for word in re.findall(r"\s*\S+\s*", event.delta):
                yield event.model_copy(update={"delta": word})
                await asyncio.sleep(pause)


def _script(conversation: list[TResponseInputItem]) -> ScriptedModel:
    return ScriptedModel([[_reply(conversation)]])


def _reply(conversation: list[TResponseInputItem]) -> Any:
    last: Any = conversation[-1]
    if last.get("type") == "function_call_output":
        return _say(_after_tool(str(last["output"])))
    if seen := [_seen(part) for part in _files(conversation)]:
        return _say(" ".join([next(_OPENINGS), *seen]))
    question = _question(conversation)
    if wanted := _asks(question, r"^show me (.*?)[\s.!?]*$"):
        return _call("show_card", subject=wanted[1])
    if _asks(question, r"\btime\b"):
        return _call("get_browser_time")
    if theme := _asks(question, r"\b(dark|light)\b"):
        return _call("set_theme", theme=theme[0].lower())
    return _say(_STORY if _asks(question, r"\bstory\b") else _small_talk(question))


def _asks(question: str, for_what: str) -> re.Match[str] | None:
    return re.search(for_what, question, re.IGNORECASE)


def _question(conversation: list[TResponseInputItem]) -> str:
    last: Any = conversation[-1]
    content = last.get("content", "")
    return content if isinstance(content, str) else str(content[0].get("text", ""))


def _files(conversation: list[TResponseInputItem]) -> list[dict[str, Any]]:
    """Return the files of the last message: the parts of it that follow what was said."""
    last: Any = conversation[-1]
    return last["content"][1:] if isinstance(last.get("content"), list) else []


def _seen(part: dict[str, Any]) -> str:
    """Return what is to be said of a file by somebody who was given its bytes, or a sentence about it."""
    url = part.get("image_url") or part.get("file_data")
    if url is None:
        return str(part["text"])
    data = b64decode(url.partition(",")[2])
    return fingerprint(part.get("filename", "The image"), len(data), sha256(data).hexdigest())


def fingerprint(name: str, size: int, digest: str) -> str:
    """Return a sentence about a file that only somebody can say who has read it."""
    return f"{name} has {size:,} bytes, and its SHA-256 begins with {digest[:12]}."


def _after_tool(output: str) -> str:
    if output.startswith("Shown: "):
        return f"{next(_OPENINGS)} Here is a card about {output.removeprefix('Shown: ')}."
    result = json.loads(output)
    if "time" in result:
        return f"Your browser says that it is {result['time']}."
    return f"The page is {result['theme']} now." if "theme" in result else "The browser could not do that."


def _small_talk(question: str) -> str:
    return (
        f"{next(_OPENINGS)} You wrote {len(question.split())} words, and they are kept. Say “show me …” for a card, "
        "ask for the time, for a dark or a light page, or for a slow story that you can stop."
    )


def _say(text: str) -> Any:
    return assistant_message(text, item_id=f"msg_{uuid4().hex}")


def _call(name: str, **arguments: str) -> Any:
    return function_call(name, arguments, call_id=f"call_{uuid4().hex}", item_id=f"tc_{uuid4().hex}")
