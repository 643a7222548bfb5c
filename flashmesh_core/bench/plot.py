"""The picture of a benchmark: speed-up with its quartiles, and tokens per pass, a bar a row."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from flashmesh_core.picture import _font

SCALE = 2  # drawn at twice the size, then halved: smooth edges
STEP, BAR, PANEL, GAP, TOP, BOTTOM = 34, 18, 360, 40, 74, 34  # pixels
INK, FAINT, GRID, WHITE = (38, 42, 50), (112, 118, 130), (226, 229, 234), (255, 255, 255)
COLORS = {"none": (150, 156, 168), "half_edge": (46, 125, 184), "heads": (214, 132, 52), "united": (64, 150, 96)}


def draw(rows: Sequence[dict[str, Any]], title: str) -> bytes:
    """A PNG of the rows' speed-ups and tokens per pass, plain decoding first, `title` above."""
    from PIL import Image, ImageDraw

    fonts = {size: _font(size * SCALE) for size in (11, 13, 16)}
    labels = 32 + max(int(fonts[13].getlength(row["name"]) / SCALE) for row in rows)
    width = max(labels + 2 * (PANEL + GAP) + 20, int(fonts[16].getlength(title) / SCALE) + 40)
    height = TOP + STEP * len(rows) + BOTTOM
    image = Image.new("RGB", (width * SCALE, height * SCALE), WHITE)
    pen = _Pen(ImageDraw.Draw(image), fonts)
    pen.text(20, 22, title, 16, INK, "lm")
    for number, row in enumerate(rows):
        pen.text(labels - 8, TOP + STEP * number + STEP / 2, row["name"], 13, INK, "rm")
    panels = (
        ("times as fast as plain decoding: median, quartiles", "speedup"),
        ("tokens per pass", "tokens_per_pass"),
    )
    for index, (name, key) in enumerate(panels):
        _panel(pen, labels + index * (PANEL + GAP), name, key, rows)
    buffer = io.BytesIO()
    image.resize((width, height), Image.Resampling.LANCZOS).save(buffer, format="PNG")
    return buffer.getvalue()


class _Pen:
    """Draws in final pixels."""

    def __init__(self, canvas: Any, fonts: dict[int, Any]) -> None:
        self.canvas, self.fonts = canvas, fonts

    def text(self, x: float, y: float, text: str, size: int, fill: tuple[int, int, int], anchor: str) -> None:
        self.canvas.text((x * SCALE, y * SCALE), text, font=self.fonts[size], fill=fill, anchor=anchor)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: tuple[int, int, int]) -> None:
        self.canvas.rectangle((x0 * SCALE, y0 * SCALE, x1 * SCALE, y1 * SCALE), fill=fill)


def _step_of(largest: float) -> float:
    """A round distance between grid lines."""
    return next(step for step in (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0) if largest / step <= 6 or step == 20.0)


def _panel(pen: _Pen, left: float, name: str, key: str, rows: Sequence[dict[str, Any]]) -> None:
    def parts(row: dict[str, Any]) -> tuple[float, float, float]:
        value = row[key]
        if not isinstance(value, dict):
            value = {"median": value, "q1": value, "q3": value}
        return tuple(value[part] or 0.0 for part in ("q1", "median", "q3"))  # type: ignore[return-value]

    largest = max(1.0, *(parts(row)[2] for row in rows))
    room = PANEL - 60
    bottom = TOP + STEP * len(rows)
    pen.text(left, TOP - 18, name, 13, FAINT, "lm")
    step = _step_of(largest)
    for mark in range(int(largest / step) + 1):
        x = left + room * mark * step / largest
        pen.box(x, TOP, x + 0.5, bottom, GRID)
        pen.text(x, bottom + 12, f"{mark * step:g}", 11, FAINT, "mm")
    for number, row in enumerate(rows):
        q1, median, q3 = parts(row)
        y = TOP + STEP * number + STEP / 2
        pen.box(left, y - BAR / 2, left + max(1.0, room * median / largest), y + BAR / 2, COLORS[row["drafter"]])
        low, high = left + room * q1 / largest, left + room * q3 / largest
        if q3 > q1:
            pen.box(low, y - 0.75, high, y + 0.75, INK)
            for x in (low, high):
                pen.box(x - 0.75, y - 5, x + 0.75, y + 5, INK)
        pen.text(max(high, left + room * median / largest) + 6, y, f"{median:.2f}", 13, INK, "lm")
