"""Strokes of a pen, from JSON to ink."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Self

import numpy as np
from PIL import Image, ImageDraw
from pydantic import Field, model_validator

from penstroke.config.settings import Settings
from penstroke.preprocessing.decoding import Intensities
from penstroke.preprocessing.ink import InkSettings, Preprocessed, normalize

MAX_POINTS = 10_000
_PEN = 0.07  # default width of the pen, as a share of the longer side of the canvas
_SUPERSAMPLING = 4
_CHARACTER_SIDE = 100  # pixels of a character's longer side when it is drawn to be scaled to 20
_WIDEST_PEN = 10  # in longer sides of the ink: beyond, drawing one point takes milliseconds
_LARGEST_DRAWN = 4800  # pixels a side, supersampled: 23 MB

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
    points = np.array([point[:2] for stroke in drawing.strokes for point in stroke]).reshape(-1, 2)
    low = np.maximum(points.min(axis=0, initial=np.inf) - drawing.pen, 0)
    high = points.max(axis=0, initial=-np.inf) + drawing.pen
    high = np.minimum(high, [drawing.width, drawing.height])
    if (low >= high).any():  # there is no ink on the canvas
        return normalize(np.zeros((1, 1), np.float32), settings)
    box = (*low.tolist(), *high.tolist())
    # Of ink that lies almost wholly beyond the edge, at least a pixel of the canvas is used.
    longest = max(*(high - low).tolist(), 1.0, drawing.pen / _WIDEST_PEN)
    return normalize(_ink(drawing, box, _CHARACTER_SIDE / longest), settings)


def image_of(drawing: Drawing) -> Image.Image:
    """Return the canvas as an image, dark on white, in its own pixels."""
    ink = _ink(drawing, (0.0, 0.0, drawing.width, drawing.height), 1.0)
    return Image.fromarray(np.rint(255 * (1 - ink)).astype(np.uint8))


def _ink(drawing: Drawing, box: Sequence[float], scale: float) -> Intensities:
    """Return the ink (H, W) in 0..1 within `box` (left, top, right, bottom), enlarged by `scale`.

    It is drawn larger and averaged, so that edges come out as a camera would see them.
    """
    left, top, right, bottom = box
    longest = max(right - left, bottom - top) * scale
    times = max(1, min(_SUPERSAMPLING, int(_LARGEST_DRAWN / longest)))
    zoom = scale * times
    width, height = (times * max(1, round(s * scale)) for s in (right - left, bottom - top))
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    for stroke in drawing.strokes:
        points = []
        for x, y, pressure, *_ in ([*point, 0.5] for point in stroke):
            pen = drawing.pen * zoom * (0.5 + min(max(pressure, 0.0), 1.0))
            points.append(((x - left) * zoom, (y - top) * zoom, pen))
        _draw_stroke(draw, points)
    return np.asarray(image.reduce(times), np.float32) / np.float32(255)


def _draw_stroke(draw: ImageDraw.ImageDraw, points: list[tuple[float, float, float]]) -> None:
    """Draw a polyline of points (x, y, width) with round joins and caps."""
    for (x, y, width), (x_next, y_next, width_next) in pairwise(points):
        between = max(1, round((width + width_next) / 2))
        draw.line((x, y, x_next, y_next), fill=255, width=between)
    for x, y, width in points:
        radius = max(0.5, width / 2)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
