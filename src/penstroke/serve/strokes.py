"""Strokes of a pen, from JSON to ink."""

from itertools import pairwise
from typing import Annotated, Self

import numpy as np
from PIL import Image, ImageDraw
from pydantic import Field, model_validator

from penstroke.config.settings import Settings
from penstroke.preprocessing.decoding import Intensities
from penstroke.preprocessing.ink import InkSettings, Preprocessed, normalize

MAX_POINTS = 10_000
_PEN = 0.07
"""Default width of the pen, as a share of the longer side of the canvas."""
_SUPERSAMPLING = 4
_CHARACTER_SIDE = 100
"""Pixels of a character's longer side when it is drawn to be scaled to 20."""
_WIDEST_PEN = 10
"""In units of the longer side of the ink: beyond, drawing one point takes milliseconds."""
_LARGEST_DRAWN = 4800
"""Pixels a side, supersampled: 23 MB."""

_Coordinate = Annotated[float, Field(ge=-10_000, le=10_000)]
_Point = Annotated[list[_Coordinate], Field(min_length=2, max_length=3)]
_Stroke = Annotated[list[_Point], Field(min_length=1, max_length=MAX_POINTS)]


class Drawing(Settings):
    """Strokes on a canvas, in its pixels, y downwards."""

    strokes: list[_Stroke] = Field(
        max_length=MAX_POINTS,
        description="each a list of points [x, y] or [x, y, pressure]; pressure in 0..1, where 0.5 "
        "is the width of the pen; 10,000 points in all at most",
    )
    width: float = Field(ge=1, le=4096, description="width of the canvas, pixels")
    height: float = Field(ge=1, le=4096, description="height of the canvas, pixels")
    pen_width: float | None = Field(
        None, ge=0.1, le=1000, description="pixels; 0.07 of the longer side if left out"
    )

    @model_validator(mode="after")
    def _count(self) -> Self:
        points = sum(map(len, self.strokes))
        if points > MAX_POINTS:
            raise ValueError(f"strokes: {points} points, {MAX_POINTS} are allowed")
        return self

    @property
    def pen(self) -> float:
        """Width of the pen, pixels."""
        return self.pen_width or _PEN * max(self.width, self.height)


def preprocess_drawing(drawing: Drawing, settings: InkSettings) -> Preprocessed:
    """Return the character that was drawn, as MNIST would have stored it."""
    box = _ink_box(drawing)
    if box is None:
        return normalize(np.zeros((1, 1), np.float32), settings)
    left, top, right, bottom = box
    # Of ink that lies almost wholly beyond the edge, at least a pixel of the canvas is used.
    longest = max(right - left, bottom - top, 1.0, drawing.pen / _WIDEST_PEN)
    return normalize(_ink(drawing, box, _CHARACTER_SIDE / longest), settings)


def image_of(drawing: Drawing) -> Image.Image:
    """Return the canvas as an image, dark on white, in its own pixels."""
    canvas = (0.0, 0.0, drawing.width, drawing.height)
    ink = _ink(drawing, canvas, 1.0)
    return Image.fromarray(np.rint(255 * (1 - ink)).astype(np.uint8))


def _ink_box(drawing: Drawing) -> tuple[float, float, float, float] | None:
    """Return (left, top, right, bottom) of the ink on the canvas; None if there is none."""
    points = np.array([point[:2] for stroke in drawing.strokes for point in stroke])
    if not len(points):
        return None
    canvas = np.array([drawing.width, drawing.height])
    low = np.maximum(points.min(axis=0) - drawing.pen, 0)
    high = np.minimum(points.max(axis=0) + drawing.pen, canvas)
    if (low >= high).any():
        return None
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _ink(drawing: Drawing, box: tuple[float, float, float, float], scale: float) -> Intensities:
    """Return the ink (H, W) in 0..1 of the canvas within `box`, enlarged by `scale`.

    It is drawn larger and averaged, so that edges come out as a camera would see them.
    """
    left, top, right, bottom = box
    longest = max(right - left, bottom - top) * scale
    times = max(1, min(_SUPERSAMPLING, int(_LARGEST_DRAWN / longest)))
    zoom = scale * times
    size = [times * max(1, round(side * scale)) for side in (right - left, bottom - top)]
    image = Image.new("L", (size[0], size[1]))
    draw = ImageDraw.Draw(image)
    for stroke in drawing.strokes:
        _draw_stroke(draw, [
            ((p[0] - left) * zoom, (p[1] - top) * zoom, drawing.pen * zoom * _pressed(p))
            for p in stroke
        ])  # fmt: skip
    return np.asarray(image.reduce(times), np.float32) / np.float32(255)


def _pressed(point: list[float]) -> float:
    """Return the width of the stroke at `point`, in widths of the pen."""
    return 0.5 + min(max(point[2], 0.0), 1.0) if len(point) == 3 else 1.0


def _draw_stroke(draw: ImageDraw.ImageDraw, points: list[tuple[float, float, float]]) -> None:
    """Draw a polyline of points (x, y, width) with round joins and caps."""
    for (x, y, width), (x_next, y_next, width_next) in pairwise(points):
        between = max(1, round((width + width_next) / 2))
        draw.line((x, y, x_next, y_next), fill=255, width=between)
    for x, y, width in points:
        radius = max(0.5, width / 2)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
