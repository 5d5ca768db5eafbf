"""One tree of errors."""

from __future__ import annotations

import inspect

import pytest

import chatstore
from chatstore import errors
from chatstore.errors import (
    ChatStoreError,
    InvalidInputError,
    LimitError,
    NotFoundError,
    StorageError,
    UnavailableError,
)

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_in_the_tree_and_public(kind: type[Exception]) -> None:
    assert issubclass(kind, ChatStoreError)
    assert getattr(chatstore, kind.__name__) is kind
    assert kind.__name__ in str(errors.__doc__)


@pytest.mark.parametrize("kind", ALL)
def test_only_what_may_succeed_later_is_retryable(kind: type[ChatStoreError]) -> None:
    error = LimitError("x", "types") if kind is LimitError else kind("x")
    assert error.retryable is (kind is UnavailableError)


def test_errors_are_also_what_python_calls_them() -> None:
    assert issubclass(InvalidInputError, ValueError)
    assert issubclass(NotFoundError, LookupError)
    assert not issubclass(NotFoundError, StorageError)


def test_a_lost_answer_to_a_commit_is_said() -> None:
    assert UnavailableError("x").may_have_committed is False
    assert UnavailableError("x", may_have_committed=True).may_have_committed is True
    assert str(UnavailableError("x", may_have_committed=True)) == "x"
