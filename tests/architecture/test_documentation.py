"""Every Python block of the README, its neighbours and the docs runs, each file's blocks one after the other."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
NOT_RUN = re.compile(r"<!-- not run:(?P<reason>.*?)-->\s*$")


@dataclass(frozen=True)
class Block:
    """A Python block of a page, and why it is not run, if it is not."""

    code: str
    line: int
    reason: str | None

    def compiled(self, page: str) -> CodeType:
        """Compile the block so that its lines count from the page's top, with await allowed outside functions."""
        code = "\n" * self.line + self.code
        compiled: CodeType = compile(code, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        return compiled


def blocks_of(text: str) -> Iterator[Block]:
    """Yield the Python blocks of a page in order."""
    for found in FENCE.finditer(text):
        if found["language"] not in ("python", "py"):
            continue
        before = NOT_RUN.search(text[: found.start()])
        indent = len(found["indent"])
        code = "".join(line[indent:] or "\n" for line in found["code"].splitlines(keepends=True))
        yield Block(code, text.count("\n", 0, found.start("code")), before and before["reason"].strip())


def run(text: str, page: str, module: ModuleType) -> int:
    """Run a page's blocks in the namespace of ``module``; return how many there were."""
    blocks = [block for block in blocks_of(text) if block.reason is None]
    with asyncio.Runner() as runner:
        for block in blocks:
            result = eval(block.compiled(page), vars(module))
            if inspect.iscoroutine(result):
                runner.run(result)
    return len(blocks)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """An importable namespace, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_blocks_of_a_page_run(page: Path, module: ModuleType) -> None:
    text = page.read_text()
    assert run(text, str(page), module) == sum(block.reason is None for block in blocks_of(text))


def test_a_block_is_left_out_only_with_a_reason() -> None:
    assert [block for page in PAGES for block in blocks_of(page.read_text()) if block.reason == ""] == []


PAGE = """
```python
numbers = [1]
```

```console
not python
```

<!-- not run: it never ends -->
```python
while True: pass
```

- a list

  ```python
  import asyncio

  await asyncio.sleep(0)
  numbers.append(2)
  ```
"""


def test_blocks_share_names_and_may_await(module: ModuleType) -> None:
    assert run(PAGE, "page.md", module) == 2
    assert vars(module)["numbers"] == [1, 2]


def test_the_reason_of_a_block_that_is_not_run_is_kept() -> None:
    assert [block.reason for block in blocks_of(PAGE)] == [None, "it never ends", None]


def test_a_block_that_fails_names_the_line_of_its_page(module: ModuleType) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run("text\n\n```python\n1 / 0\n```\n", "page.md", module)
    place = caught.traceback[-1]
    assert (str(place.path).rpartition("/")[2], place.lineno + 1) == ("page.md", 4)
