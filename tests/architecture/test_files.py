"""Rules about the source files that no linter states."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "chatstore"
FILES = sorted(PACKAGE.rglob("*.py"))
DATABASES = ("postgres", "sqlite", "asyncpg", "aiosqlite", "mysql")
MAY_ASK = {"sql/dialects.py", "sql/engines.py", "sql/failures.py"}
"""``dialects`` holds the differences; a URL and a driver's error are read before there is a dialect to ask."""


def _relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _names_a_database(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.lower().startswith(DATABASES)
    if isinstance(node, ast.Name | ast.Attribute):
        name = node.id if isinstance(node, ast.Name) else node.attr
        return name.lower().startswith(DATABASES) and not name.isupper()
    return isinstance(node, ast.Tuple | ast.Set | ast.List) and any(map(_names_a_database, node.elts))


def _asks_which_database(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        return any(map(_names_a_database, (node.left, *node.comparators)))
    if isinstance(node, ast.MatchValue):
        return _names_a_database(node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in ("startswith", "endswith") and any(map(_names_a_database, node.args))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in ("isinstance", "issubclass") and _names_a_database(node.args[1])
    return False


def _questions(source: str) -> Iterator[int]:
    return (getattr(node, "lineno", 0) for node in ast.walk(ast.parse(source)) if _asks_which_database(node))


@pytest.mark.parametrize("path", FILES, ids=_relative)
def test_a_file_is_short_and_opens_with_one_sentence(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= 500
    assert (ast.get_docstring(ast.parse(source)) or "").split("\n")[0].endswith((".", ":"))


def test_half_of_the_files_have_fewer_than_200_lines() -> None:
    lengths = sorted(len(path.read_text().splitlines()) for path in FILES)
    assert lengths[len(lengths) // 2] < 200


@pytest.mark.parametrize("path", [path for path in FILES if _relative(path) not in MAY_ASK], ids=_relative)
def test_only_dialects_asks_which_database_this_is(path: Path) -> None:
    assert list(_questions(path.read_text())) == []


@pytest.mark.parametrize(
    "question",
    [
        'engine.dialect.name == "postgresql"',
        '"sqlite" != name',
        'name in ("sqlite", "other")',
        'url.startswith("sqlite")',
        "isinstance(dialect, PostgreSQL)",
        "isinstance(dialect, dialects.SQLite)",
        'match name:\n    case "sqlite": pass',
    ],
)
def test_the_rule_knows_a_question_when_it_sees_one(question: str) -> None:
    assert len(list(_questions(question))) == 1


@pytest.mark.parametrize("harmless", ['scheme == "memory"', "isinstance(value, str)", '{"sqlite": open_sql}'])
def test_the_rule_lets_other_code_alone(harmless: str) -> None:
    assert list(_questions(harmless)) == []
