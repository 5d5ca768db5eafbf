"""Just enough SVG for plots that stay small and can be read as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.sax.saxutils import escape

INK, FAINT, PAPER = "#1f2430", "#c9ced8", "#ffffff"


@dataclass
class Drawing:
    """A white sheet of ``width`` by ``height`` on which shapes are put one after the other."""

    width: int
    height: int
    title: str
    _shapes: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, bold: bool = False) -> None:
        """Write a line of text; ``anchor`` is start, middle or end."""
        weight = ' font-weight="600"' if bold else ""
        self._shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{weight}>{escape(text)}</text>'
        )

    def line(self, points: list[tuple[float, float]], color: str = FAINT, width: float = 1) -> None:
        """Draw a line through the points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._shapes.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}"/>')

    def bar(self, x: float, y: float, width: float, height: float, color: str) -> None:
        """Draw a filled rectangle."""
        self._shapes.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height}" fill="{color}"/>'
        )

    def dot(self, x: float, y: float, radius: float, color: str, label: str) -> None:
        """Draw a dot that says what it is when it is pointed at."""
        self._shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{color}"><title>{escape(label)}</title></circle>'
        )

    def __str__(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}"'
            f' font-family="system-ui, sans-serif" fill="{INK}" role="img">'
            f'<title>{escape(self.title)}</title><rect width="100%" height="100%" fill="{PAPER}"/>'
        )
        return "\n".join([head, *self._shapes, "</svg>\n"])
