"""The figures as plots: ratios as dots, rates as bars, growth as lines."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

from benchmarks.backends import BASE, OURS
from benchmarks.growth import Growth
from benchmarks.operations import OPERATIONS
from benchmarks.report import TITLES
from benchmarks.summary import Figures
from benchmarks.svg import FAINT, Drawing

STRONG, MIDDLE, WEAK = "#0b6e4f", "#8a93a6", "#d9a441"
ROW = 18
LEFT = 330
RIGHT = 760
RATIOS = (0.01, 0.1, 1, 10)


def color_of(backend: str) -> str:
    """Return the color of a backend: one for chatstore, one for the bare driver, one for all others."""
    name = backend.partition("/")[2]
    return {OURS: STRONG, BASE: MIDDLE}.get(name, WEAK)


def ratios(figures: Sequence[Figures], title: str) -> Drawing:
    """Return a row for each operation and number of tasks, a dot for each backend; the bare driver is at 1."""
    shown = [each for each in figures if each.ratio is not None and each.name != BASE]
    rows = list(dict.fromkeys((each.operation, each.tasks) for each in shown))
    drawing = Drawing(RIGHT + 30, 70 + ROW * len(rows), title)
    _legend(drawing, title, (STRONG, "chatstore"), (WEAK, "others"), (FAINT, "1: as fast as the bare driver"))
    for ratio in RATIOS:
        drawing.line([(_across(ratio), 50), (_across(ratio), 60 + ROW * len(rows))])
        drawing.text(_across(ratio), 46, f"{ratio:g}", anchor="middle", size=11)
    for row, (operation, tasks) in enumerate(rows):
        y = 66 + ROW * row
        drawing.text(8, y + 4, f"{OPERATIONS[operation].title}, x{tasks}", size=11)
        for each in sorted(shown, key=lambda each: each.name == OURS):
            if (each.operation, each.tasks) == (operation, tasks) and each.ratio:
                label = f"{TITLES[each.backend]}: {each.ratio:.2f}"
                drawing.dot(_across(each.ratio), y, 6 if each.name == OURS else 4, color_of(each.backend), label)
    return drawing


def rates(figures: Sequence[Figures], operation: str, title: str) -> Drawing:
    """Return a group of bars for each number of tasks, a bar for each backend."""
    shown = [each for each in figures if each.operation == operation and each.offered]
    tasks = sorted({each.tasks for each in shown})
    drawing = Drawing(RIGHT + 90, 50 + sum(26 + ROW * len(_of(shown, count)) for count in tasks), title)
    _legend(drawing, title, (STRONG, "chatstore"), (MIDDLE, "bare driver"), (WEAK, "others"))
    most = max((each.per_second for each in shown), default=1)
    y = 50
    for count in tasks:
        drawing.text(8, y, f"{count} at once", bold=True)
        for each in _of(shown, count):
            y += ROW
            drawing.text(8, y, TITLES[each.backend], size=11)
            width = (RIGHT - LEFT) * each.per_second / most
            drawing.bar(LEFT, y - 10, width, 11, color_of(each.backend))
            drawing.text(LEFT + width + 6, y, f"{each.per_second:,.0f}", size=11)
        y += 26
    return drawing


def growth(figures: Sequence[Growth], of: str, title: str) -> Drawing:
    """Return a line for each backend and operation: milliseconds of one call over the size, both by powers of ten."""
    shown = [each for each in figures if each.of == of and each.size]
    drawing = Drawing(RIGHT + 30, 360, title)
    _legend(drawing, title, (STRONG, "chatstore"), (MIDDLE, "bare driver"))
    sizes = sorted({each.size for each in shown})
    for size in sizes:
        x = _along(size, sizes)
        drawing.line([(x, 50), (x, 320)])
        drawing.text(x, 338, f"{size:,}", anchor="middle", size=11)
    for power in (0.1, 1, 10):
        drawing.line([(60, _up(power)), (RIGHT, _up(power))])
        drawing.text(52, _up(power) + 4, f"{power:g} ms", anchor="end", size=11)
    for key in dict.fromkeys((each.backend, each.operation) for each in shown):
        line = sorted((each.size, each.p50_ms) for each in shown if (each.backend, each.operation) == key)
        points = [(_along(size, sizes), _up(time)) for size, time in line]
        drawing.line(points, color_of(key[0]), 2)
        below = 14 if key[0].endswith(f"/{BASE}") else -6
        drawing.text(points[-1][0] - 4, points[-1][1] + below, key[1], anchor="end", size=11)
    return drawing


def _of(figures: Sequence[Figures], tasks: int) -> list[Figures]:
    return sorted((each for each in figures if each.tasks == tasks), key=lambda each: -each.per_second)


def _legend(drawing: Drawing, title: str, *entries: tuple[str, str]) -> None:
    drawing.text(8, 20, title, size=14, bold=True)
    x = LEFT
    for color, label in entries:
        drawing.dot(x, 16, 5, color, label)
        drawing.text(x + 10, 20, label, size=11)
        x += 30 + 7 * len(label)


def _across(ratio: float) -> float:
    low, high = log10(RATIOS[0]), log10(RATIOS[-1])
    return LEFT + (RIGHT - LEFT) * (min(max(log10(ratio), low), high) - low) / (high - low)


def _along(size: int, sizes: Sequence[int]) -> float:
    low, high = log10(sizes[0]), log10(sizes[-1])
    return 80 + (RIGHT - 100) * ((log10(size) - low) / (high - low) if high > low else 0.5)


def _up(milliseconds: float) -> float:
    return 320 - 270 * (min(max(log10(milliseconds), -1.5), 1.5) + 1.5) / 3
