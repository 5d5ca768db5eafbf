"""Refuse what JSON cannot carry, in those fields of the SDK's models that may hold it.

pydantic writes NaN as null, a set as a list and an int key as a string, without a word. Only fields of type
``Any``, of floats and of further models can hold such values, so only those are looked at.
"""

from __future__ import annotations

import math
from datetime import datetime
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AnyUrl, BaseModel

from chatstore import payloads
from chatstore.errors import InvalidInputError

_PLAIN = (str, int, bool, NoneType, datetime, AnyUrl)


def check(model: BaseModel, what: str) -> None:
    """Raise ``InvalidInputError`` where a field of ``model``, at any depth, would come back as another value."""
    for name, is_any in _fields_to_check(type(model)):
        value = model.__dict__.get(name)
        if is_any:
            payloads.encode({name: value}, f"{what}.{name}")
        else:
            _check_typed(value, f"{what}.{name}")
    for name, value in (model.model_extra or {}).items():
        _check_extra(value, f"{what}.{name}")


@cache
def _fields_to_check(model: type[BaseModel]) -> tuple[tuple[str, bool], ...]:
    """Return the fields that may hold more than plain values, and whether they may hold anything at all."""
    annotations = {name: set(_parts(field.annotation)) for name, field in model.model_fields.items()}
    return tuple((name, Any in parts) for name, parts in annotations.items() if not parts <= set(_PLAIN))


def _parts(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Literal:
        return []
    if get_origin(annotation) is Annotated:
        return _parts(get_args(annotation)[0])
    if not get_args(annotation):
        return [annotation]
    return [part for argument in get_args(annotation) for part in _parts(argument)]


def _check_typed(value: object, what: str) -> None:
    """Check a value whose shape pydantic knows: only what it holds of floats and models matters."""
    if isinstance(value, BaseModel):
        check(value, what)
    elif isinstance(value, dict):
        for child in value.values():
            _check_typed(child, what)
    elif isinstance(value, list):
        for child in value:
            _check_typed(child, what)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidInputError(f"{what}: holds NaN or an infinity, which JSON cannot carry")


def _check_extra(value: object, what: str) -> None:
    """Check a value that no field describes, as in a dynamic widget: JSON, or models in the place of objects."""
    if isinstance(value, BaseModel):
        check(value, what)
    elif type(value) is dict and all(type(key) is str for key in value):
        for child in value.values():
            _check_extra(child, what)
    elif type(value) is list:
        for child in value:
            _check_extra(child, what)
    else:
        payloads.encode({"value": value}, what)
