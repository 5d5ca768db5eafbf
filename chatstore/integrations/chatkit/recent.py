"""What the running request has loaded or saved last, remembered beside the SDK's objects."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Generic, TypeVar

T = TypeVar("T")

KEPT = 32

_NOTHING: Mapping[Any, Any] = MappingProxyType({})


class Recent(Generic[T]):
    """The last 32 values of the running context, by key.

    Each change makes a new mapping, so that a task begins with what its parent knows and what it learns stays
    with it: two requests never see each other's values, whatever was loaded before either was started.
    """

    def __init__(self, name: str) -> None:
        self._values: ContextVar[Mapping[Hashable, T]] = ContextVar(name, default=_NOTHING)

    def get(self, key: Hashable) -> T | None:
        """Return the value of ``key``, ``None`` where there is none."""
        return self._values.get().get(key)

    def put(self, key: Hashable, value: T) -> None:
        """Remember ``value`` as the newest; beyond 32 the oldest is forgotten."""
        values = {**self._without(key), key: value}
        if len(values) > KEPT:
            del values[next(iter(values))]
        self._values.set(values)

    def forget(self, key: Hashable) -> None:
        """Forget the value of ``key``, if there is one."""
        if key in self._values.get():
            self._values.set(self._without(key))

    def _without(self, key: Hashable) -> dict[Hashable, T]:
        return {known: value for known, value in self._values.get().items() if known != key}
