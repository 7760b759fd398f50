"""Ten digits as hands write them, stroke by stroke, in a square of 100 by 100, y downwards."""

from __future__ import annotations

import math
from collections.abc import Iterator

Point = tuple[float, float]
Stroke = list[Point]


def arc(x: float, y: float, across: float, down: float, start: int, end: int) -> Stroke:
    """Points each 15° around (x, y); 0° is to the right, 90° below."""
    step = 15 if end > start else -15
    angles = [math.radians(degrees) for degrees in range(start, end + step, step)]
    return [(x + across * math.cos(a), y + down * math.sin(a)) for a in angles]


DIGITS: dict[str, list[Stroke]] = {
    "0": [arc(50, 50, 21, 32, -75, -435)],
    "1": [[(54, 17), (51, 50), (48, 84)]],
    "1 with a flag": [[(34, 40), (44, 29), (53, 16), (52, 50), (51, 85)]],
    "2": [[*arc(49, 35, 18, 18, 195, 390), (52, 60), (31, 81), (50, 80), (72, 80)]],
    "3": [[*arc(47, 33, 18, 16, 210, 435), *arc(46, 66, 21, 18, 285, 510)]],
    "4": [[(45, 17), (36, 37), (27, 57), (50, 57), (74, 55)], [(61, 35), (59, 60), (57, 85)]],
    "5": [[(40, 20), (38, 32), (36, 46), *arc(48, 63, 20, 20, 240, 510)], [(40, 20), (68, 18)]],
    "6": [[(62, 16), (49, 28), (38, 45), *arc(49, 66, 17, 18, 180, -180)]],
    "7": [[(28, 22), (50, 22), (72, 21), (60, 50), (46, 85)]],
    "7 with a bar": [[(28, 22), (50, 22), (72, 21), (60, 50), (46, 85)], [(40, 54), (68, 51)]],
    "8": [
        [*arc(50, 33, 16, 16, -30, -270), *arc(50, 67, 19, 18, -90, 270),
         *arc(50, 33, 16, 16, 90, -30)]
    ],
    "9": [[*arc(49, 36, 17, 18, -15, -360), (66, 36), (64, 60), (61, 85)]],
    "9 with a curved foot": [
        [*arc(50, 34, 17, 17, -30, -375), (67, 40), (66, 58), *arc(49, 66, 17, 17, 0, 135)]
    ],
}  # fmt: skip
"""What is to be read is the first sign of the name."""


def placed(strokes: list[Stroke], left: float, top: float, side: float) -> Iterator[Stroke]:
    """Yield the strokes of a digit as they lie in a square of `side` at (left, top)."""
    for stroke in strokes:
        yield [(left + x * side / 100, top + y * side / 100) for x, y in stroke]
