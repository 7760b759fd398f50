"""Strokes of a pen, from JSON to ink."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Self

import numpy as np
from PIL import Image, ImageDraw
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from penstroke.config.settings import Settings
from penstroke.preprocessing.components import count_characters
from penstroke.preprocessing.decoding import Intensities
from penstroke.preprocessing.ink import InkSettings, Preprocessed, normalize

MAX_POINTS = 10_000
_PEN = 0.07  # default width of the pen, as a share of the longer side of the canvas
_SUPERSAMPLING = 4
_CHARACTER_SIDE = 100  # pixels of a character's longer side when it is drawn to be scaled to 20
_WIDEST_PEN = 10  # in longer sides of the ink: beyond, drawing one point takes milliseconds
_MOST_DRAWN = 200_000_000  # pixels, each as often as the pen covers it: half a second
_LARGEST_DRAWN = 4800  # pixels a side, supersampled: 23 MB

_Coordinate = Annotated[float, Field(ge=-10_000, le=10_000)]
_LAYOUT = "a stroke is a list of points [x, y] or [x, y, pressure], not a list of x and one of y"


def _check_pressure(point: list[float]) -> list[float]:
    if len(point) == 3 and not 0 <= point[2] <= 1:
        raise ValueError(f"pressure {point[2]:g} is not in 0..1; {_LAYOUT}")
    return point


def _refuse_columns(stroke: Any) -> Any:
    """Refuse what can only be the coordinates of all points, as Quick, Draw! has them."""
    rows = stroke if isinstance(stroke, list) and len(stroke) in (2, 3) else [None]
    if all(isinstance(row, list) and len(row) > 3 for row in rows):
        raise ValueError(_LAYOUT)
    return stroke


_Point = Annotated[
    list[_Coordinate], Field(min_length=2, max_length=3), AfterValidator(_check_pressure)
]
_Stroke = Annotated[
    list[_Point], Field(min_length=1, max_length=MAX_POINTS), BeforeValidator(_refuse_columns)
]


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
    ink = _ink(drawing, box, _CHARACTER_SIDE / longest)
    return normalize(ink, settings)._replace(characters=count_characters(ink))


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
    size = [max(1, round(side * scale)) for side in (right - left, bottom - top)]
    times: float = max(1, min(_SUPERSAMPLING, int(_LARGEST_DRAWN / longest)))
    # Broad pens that cover the canvas again and again are drawn smaller, and enlarged.
    times *= min(1.0, (_MOST_DRAWN / _drawn_pixels(drawing, scale * times, longest * times)) ** 0.5)
    zoom = scale * times
    width, height = (max(1, round(side * times)) for side in size)
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    for stroke in drawing.strokes:
        points = []
        for x, y, pressure, *_ in ([*point, 0.5] for point in stroke):
            pen = drawing.pen * zoom * (0.5 + pressure)
            points.append(((x - left) * zoom, (y - top) * zoom, pen))
        _draw_stroke(draw, points)
    is_smaller = times != round(times)
    drawn = image.resize((size[0], size[1])) if is_smaller else image.reduce(round(times))
    return np.asarray(drawn, np.float32) / np.float32(255)


def _drawn_pixels(drawing: Drawing, zoom: float, longest: float) -> float:
    """Return about how many pixels are drawn at `zoom`, on a canvas of `longest` pixels a side."""
    pen = min(1.5 * drawing.pen * zoom, longest) + 1
    total = 1.0
    for stroke in drawing.strokes:
        steps = np.diff([point[:2] for point in stroke], axis=0).reshape(-1, 2)
        lengths = np.minimum(np.hypot(*steps.T) * zoom, 2 * longest)
        total += pen * (pen * len(stroke) + float(lengths.sum()))
    return total


def _draw_stroke(draw: ImageDraw.ImageDraw, points: list[tuple[float, float, float]]) -> None:
    """Draw a polyline of points (x, y, width) with round joins and caps."""
    for (x, y, width), (x_next, y_next, width_next) in pairwise(points):
        between = max(1, round((width + width_next) / 2))
        draw.line((x, y, x_next, y_next), fill=255, width=between)
    for x, y, width in points:
        radius = max(0.5, width / 2)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
