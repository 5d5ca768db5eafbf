"""Every statement of the library, and what it becomes when one of its owner conditions is taken away."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import EnumMeta
from importlib import import_module
from inspect import isfunction
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import chatstore
from chatstore.sql.statements import ALL_OWNERS, ALONE, for_each

_PACKAGE = Path(chatstore.__file__).parent
_OWNED = r"\{(?:threads|items|attachments|usage|deletions)\}"
_STATEMENT = re.compile(rf"(?:{re.escape(ALL_OWNERS)})?(?:SELECT|INSERT|UPDATE|DELETE|WITH)\s")
_UNFILLED = re.compile(r"%[(s]")
"""In text that is a part of statements, and no statement yet."""

_SOURCE = re.compile(rf"(?:FROM|JOIN|UPDATE|USING) {_OWNED}")
_COMPARED = r"(?:\w+\.)?(tenant|user_id) = (?::\w+|json_extract\([^)]*\)|\w+\.\w+)"
_CONDITION = re.compile(rf"{_COMPARED}(?: AND {_COMPARED})?")
_CONFLICT = re.compile(r"ON CONFLICT \(tenant, user_id(?:, )?")
_ROW = re.compile(
    r"\(tenant, user_id, (?P<name>\w+)\) (?:(?P<chosen>IN \(SELECT )d\.tenant, d\.user_id, |> \(:tenant, :user_id, )"
)
_ALWAYS = "1 = 1"


@dataclass(frozen=True)
class Mutant:
    """A statement that has lost a condition: the tenant's half of it, the user's, or both."""

    template: str
    text: str
    lost: Literal["tenant", "user_id", "both"]
    condition: str
    number: int

    def __str__(self) -> str:
        return f"without {self.lost} in condition {self.number}, {self.condition!r}, of {self.template}"


def all_statements() -> list[str]:
    """Return every statement on tables that have owners, as templates, found in the modules of the package."""
    texts: dict[str, None] = {}
    for path in sorted(_PACKAGE.rglob("*.py")):
        if re.search(_OWNED, path.read_text().replace("{{", "{").replace("}}", "}")):
            name = ".".join(path.relative_to(_PACKAGE.parent).with_suffix("").parts)
            texts |= dict.fromkeys(_texts(import_module(name)))
    whole = [text for text in texts if _STATEMENT.match(text) and not _UNFILLED.search(text)]
    return [text for text in [*whole, *_of_several(whole)] if re.search(_OWNED, text)]


def sources(template: str) -> int:
    """Return how often a statement reads or changes rows of tables that have owners."""
    return len(_SOURCE.findall(template))


def conditions(template: str) -> int:
    """Return how many owner conditions a statement has, the targets of ON CONFLICT aside."""
    return len(_CONDITION.findall(template)) + len(_ROW.findall(template))


def mutants(template: str) -> Iterator[Mutant]:
    """Return the statement without each of its owner conditions, one at a time."""
    places = itertools.chain(*(pattern.finditer(template) for pattern in (_CONDITION, _CONFLICT, _ROW)))
    for number, place in enumerate(sorted(places, key=lambda match: match.start()), 1):
        for lost, text in _without(place):
            changed = template[: place.start()] + text + template[place.end() :]
            yield Mutant(template, changed, lost, place[0], number)


def _without(place: re.Match[str]) -> Iterator[tuple[Literal["tenant", "user_id", "both"], str]]:
    if place.re is _CONFLICT:
        yield "both", "ON CONFLICT ("
        return
    if place.re is _ROW:
        yield "both", f"({place['name']}) {place['chosen']}" if place["chosen"] else f"({place['name']}) > ("
        return
    yield "both", _ALWAYS
    if " AND " in place[0]:
        tenant, user = place[0].split(" AND ")
        yield "tenant", f"{_ALWAYS} AND {user}"
        yield "user_id", f"{tenant} AND {_ALWAYS}"


def _of_several(templates: list[str]) -> Iterator[str]:
    """Return what is sent where the pages of several callers are read together."""
    return (for_each(template) for template in templates if ALONE in template)


def _texts(module: ModuleType) -> Iterator[str]:
    for value in vars(module).values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            yield from (text for text in value.values() if isinstance(text, str))
        elif isfunction(value) and value.__module__ == module.__name__:
            yield from _made_by(value)


def _made_by(function: Any) -> Iterator[str]:
    """Return the texts that a function makes, where all that it is given is one of a few values."""
    hints = get_type_hints(function)
    if hints.pop("return", None) is not str:
        return
    domains = [_domain(hint) for hint in hints.values()]
    if all(domains):
        for given in itertools.product(*domains):
            yield function(**dict(zip(hints, given, strict=True)))


def _domain(hint: Any) -> list[Any]:
    if hint is bool:
        return [False, True]
    if isinstance(hint, EnumMeta):
        return list(hint)
    return list(get_args(hint)) if get_origin(hint) is Literal else []
