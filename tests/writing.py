"""Strokes as ink, for tests of lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from penstroke.preprocessing.decoding import Intensities

Strokes = Sequence[Sequence[tuple[float, float]]]


def drawn(strokes: Strokes, size: tuple[int, int] = (400, 120), width: int = 6) -> Intensities:
    """Return ink (H, W) of lines through the points given."""
    image = Image.new("L", size)
    for points in strokes:
        ImageDraw.Draw(image).line(list(points), fill=255, width=width)
    return np.asarray(image, np.float32) / np.float32(255)


def stems(*columns: float, top: float = 30, bottom: float = 90) -> Strokes:
    return [[(x, top), (x, bottom)] for x in columns]
