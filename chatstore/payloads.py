"""JSON objects to text and back, value for value; what cannot come back is refused."""

from __future__ import annotations

import math
from typing import Any, cast

from pydantic_core import PydanticSerializationError, from_json, to_json

from chatstore.errors import IntegrityError, InvalidInputError

MAX_DEPTH = 64
"""Levels of nesting, the object itself counted."""

_INT_BOUND = 10**4300
"""Python refuses to read a longer integer from text (``sys.int_info.default_max_str_digits``)."""


def encode(data: object, what: str = "data") -> str:
    """Return the JSON text of ``data``, a dict of str keys, lists, str, int, finite float, bool and None.

    Raises ``InvalidInputError`` for anything that would not come back as exactly the same value: other types
    and subclasses, NaN, infinities, lone surrogates, more than 64 levels, an int of more than 4,300 digits.
    """
    if type(data) is not dict:
        raise InvalidInputError(f"{what}: must be a dict, not {type(data).__name__}")
    _check(data, what, 1)
    try:
        return to_json(data).decode()
    except PydanticSerializationError:
        raise InvalidInputError(f"{what}: text holds a lone surrogate, which UTF-8 cannot carry") from None


def decode(payload: str) -> dict[str, Any]:
    """Return the object that ``payload`` describes.

    Raises ``IntegrityError`` where the text is not a JSON object.
    """
    try:
        data = from_json(payload, allow_inf_nan=False)
    except ValueError as error:
        raise IntegrityError("a stored payload is not JSON text") from error
    if type(data) is not dict:
        raise IntegrityError("a stored payload is not a JSON object")
    return cast("dict[str, Any]", data)


def check_payload(payload: object, what: str = "payload") -> str:
    """Return ``payload`` when it is the JSON text of an object that :func:`encode` would accept."""
    if type(payload) is not str:
        raise InvalidInputError(f"{what}: must be a str, not {type(payload).__name__}")
    try:
        data = from_json(payload, allow_inf_nan=False)
    except (ValueError, TypeError):  # a lone surrogate is a TypeError here
        raise InvalidInputError(f"{what}: must be JSON text") from None
    if type(data) is not dict:
        raise InvalidInputError(f"{what}: must be the JSON text of an object")
    _check(data, what, 1)
    return payload


def _check(value: object, what: str, depth: int) -> None:
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return
    if kind is dict or kind is list:
        if depth > MAX_DEPTH:
            raise InvalidInputError(f"{what}: at most {MAX_DEPTH} levels of nesting")
        _check_children(value, what, depth + 1)
    elif kind is int:
        if not -_INT_BOUND < cast(int, value) < _INT_BOUND:
            raise InvalidInputError(f"{what}: an int of more than 4,300 digits")
    elif kind is not float:
        raise InvalidInputError(f"{what}: holds a {kind.__name__}, which JSON cannot bring back as it is")
    elif not math.isfinite(cast(float, value)):
        raise InvalidInputError(f"{what}: holds NaN or an infinity, which JSON cannot carry")


def _check_children(value: object, what: str, depth: int) -> None:
    if type(value) is list:
        for child in value:
            _check(child, what, depth)
        return
    for key, child in cast("dict[object, object]", value).items():
        if type(key) is not str:
            raise InvalidInputError(f"{what}: a key is a {type(key).__name__}; keys must be str")
        _check(child, what, depth)
