"""ChatKit's thread items to stored items and back."""

from __future__ import annotations

from typing import Any

from chatkit.types import ThreadItem, WidgetItem
from chatkit.widgets import DynamicWidgetRoot
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, from_json

from chatstore import instants, payloads
from chatstore.errors import IntegrityError, InvalidInputError
from chatstore.ids import new_item_id
from chatstore.integrations.chatkit import exactness, ids
from chatstore.models import Item

PLACEHOLDER_IDS = frozenset({"__fake_id__"})
"""Ids that say nothing: the Agents SDK gives this one to every answer of a Chat Completions or LiteLLM model."""


class UnreadableItem(IntegrityError):
    """A whole item that the installed SDK has no type for, or that something else wrote."""


_ITEMS: TypeAdapter[ThreadItem] = TypeAdapter(ThreadItem)


def record_of(thread_id: str, item: ThreadItem, *, id: str, position: int | None = None) -> Item:
    """Return the item as it is stored under ``id``.

    Raises ``InvalidInputError`` for an item that would not come back as it is.
    """
    exactness.check(item, item.type)
    if id != item.id:
        item = item.model_copy(update={"id": id})
    return Item.of_payload(
        type=item.type,
        payload=_payload(item),
        id=id,
        created_at=item.created_at,
        thread_id=thread_id,
        position=position,
    )


def item_of(record: Item) -> ThreadItem:
    """Return a stored item as ChatKit's type; id and creation time are those it is stored under.

    Raises ``UnreadableItem`` for a type that the installed SDK does not know and data that something else wrote,
    ``IntegrityError`` for text that is not JSON.
    """
    payload = record.payload
    try:
        item = _ITEMS.validate_json(payload)
    except ValidationError as error:
        payloads.decode(payload)
        raise UnreadableItem(
            f"item {record.id!r} of type {record.type!r} is not one that the installed ChatKit SDK can read "
            f"({_first(error)}); it is unchanged in the store"
        ) from None
    item.id, item.created_at = record.id, record.created_at
    if isinstance(item, WidgetItem):
        _bring_back_properties(item, payload)
    return item


def derived_id(item: ThreadItem) -> str:
    """Return the id for an item whose own is in use: the same one every time, so that a retry meets it."""
    prefix = new_item_id(item.type).partition("_")[0]
    return ids.derived_id(prefix, item.type, item.id, instants.to_text(item.created_at))


def _payload(item: ThreadItem) -> str:
    try:
        # No serializer warnings: a preview URL that an app replaces by a data: URL is a str, and loads as a URL.
        payload = item.model_dump_json(warnings=False)
        _ITEMS.validate_json(payload)
    except PydanticSerializationError:
        raise InvalidInputError(f"{item.type}: holds a value that JSON cannot carry") from None
    except ValidationError as error:
        raise InvalidInputError(f"{item.type}: could not be loaded again ({_first(error)})") from None
    return payload


def _first(error: ValidationError) -> str:
    """Say where the first error is and what kind it is, not the value: that is somebody's message."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'item'}: {first['type']}"


def _bring_back_properties(item: WidgetItem, payload: str) -> None:
    """Keep the properties of a template's widget that the SDK's class for its type drops when it loads."""
    stored = from_json(payload)["widget"]
    if not _holds(item.widget.model_dump(mode="json"), stored):
        item.widget = DynamicWidgetRoot.model_validate(stored)


def _holds(kept: Any, stored: Any) -> bool:
    if isinstance(stored, dict):
        given = {name: value for name, value in stored.items() if value is not None}
        return isinstance(kept, dict) and all(_holds(kept.get(name), value) for name, value in given.items())
    if isinstance(stored, list):
        return isinstance(kept, list) and len(kept) == len(stored) and all(map(_holds, kept, stored))
    return bool(kept == stored)
