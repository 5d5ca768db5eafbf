"""The public names: few, documented, and typed for whoever installs the package."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib.resources import files

import pytest

import chatstore

CLASSES = [name for name in chatstore.__all__ if inspect.isclass(getattr(chatstore, name))]


def _own_methods(cls: type) -> Iterator[tuple[str, object]]:
    """Yield what ``cls`` and its bases in chatstore define: functions, properties, class methods."""
    for base in cls.__mro__:
        if not base.__module__.startswith("chatstore."):
            continue
        for name, member in vars(base).items():
            function = getattr(member, "__func__", member)
            if not name.startswith("_") and (inspect.isfunction(function) or isinstance(member, property)):
                yield f"{base.__qualname__}.{name}", member


def test_the_public_names_are_about_twenty_five_and_sorted() -> None:
    assert 20 <= len(chatstore.__all__) <= 30
    assert sorted(chatstore.__all__) == chatstore.__all__
    assert all(hasattr(chatstore, name) for name in chatstore.__all__)


def test_nothing_else_is_public_in_the_package_itself() -> None:
    public = {name for name in vars(chatstore) if not name.startswith("_")}
    assert {name for name in public - set(chatstore.__all__) if not inspect.ismodule(getattr(chatstore, name))} == set()


@pytest.mark.parametrize("name", chatstore.__all__)
def test_every_public_name_says_what_it_is(name: str) -> None:
    documented = getattr(chatstore, name)
    own = documented.__doc__ or ""
    assert len(own.strip()) > 20
    assert own.strip().split("\n")[0].endswith((".", ":"))


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_method_says_what_happens(name: str) -> None:
    methods = dict(_own_methods(getattr(chatstore, name)))
    assert [method for method, member in methods.items() if not inspect.getdoc(member)] == []


def test_every_error_is_a_chatstore_error() -> None:
    errors = [each for each in vars(chatstore).values() if inspect.isclass(each) and issubclass(each, Exception)]
    assert len(errors) > 10
    assert all(issubclass(each, chatstore.ChatStoreError) for each in errors)


def test_the_package_says_that_it_is_typed() -> None:
    assert files("chatstore").joinpath("py.typed").is_file()
