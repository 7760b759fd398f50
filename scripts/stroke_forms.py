"""Digits drawn as strokes, in forms that much of the world writes and NIST's writers did not.

A form is a skeleton: strokes through points (x to the right, y down), bent at random, slanted, and
drawn with a pen. A 1 with a long upstroke or a foot, a barred 7, a crossed 0, a 2 with a loop,
a 4 like a lightning or an h, a 9 with an S-tail or a straight foot are a line each.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from penstroke.preprocessing.ink import normalize

Floats = npt.NDArray[np.float64]

_SIDE = 28
_BOX = 20
_SAMPLES = 10
"""Points between two of a skeleton's."""
_STRETCHED = 0.1
"""Share of digits stretched to a square, as some sources store them."""


FORMS: dict[str, tuple[str, ...]] = {
    "0": (
        "50,0 10,25 5,60 40,100 75,75 75,30 50,0 30,8",
        "55,5 15,20 5,65 35,100 72,70 70,25 45,2 / 85,-2 -5,102",
        "40,6 10,40 15,85 45,100 75,60 65,15 30,0 20,12",
        "55,10 20,10 3,55 30,98 68,75 72,30 45,5 50,22 80,2",
        "38,0 6,30 8,75 38,100 70,72 66,22 36,0 / 0,50 74,50",
        "50,8 25,0 5,40 15,90 45,100 70,60 60,22",
    ),
    "1": (
        "0,60 55,0! 45,100",
        "0,95 62,0! 60,100",
        "-15,75 50,0! 25,100",
        "-25,100 55,0! 52,100",
        "10,25 40,0! 40,100 / 10,100 72,100",
        "-5,55 45,0! 42,100 / 12,100 78,98",
        "0,45 30,25 50,0! 45,50 40,100",
        "2,90 30,50 60,0! 55,50 50,100",
        "40,0 35,100",
        "20,20 42,0! 30,100",
        "10,30 45,0! 36,90 52,100 70,92",
        "40,0 38,100 / 8,100 70,98",
        "12,2 62,0 / 38,0 36,100 / 10,100 66,100",
        "2,38 30,12 / 60,0 38,100",
        "-12,50 22,18 / 55,0 50,100",
        "5,90 48,25 44,0 34,20 38,100",
    ),
    "2": (
        "5,25 35,0 65,20 45,60 0,100! 75,95",
        "5,20 40,0 65,25 40,65 10,95 2,80 25,78 50,98 80,90",
        "15,30 10,8 45,0 65,25 35,70 5,97 0,82 20,80 45,100 78,92",
        "5,8 65,2! 0,100! 72,98",
        "30,42 6,25 20,3 50,2 64,26 45,62 14,94 0,88 12,76 42,95 78,98",
        "5,25 30,0 62,15 50,50 5,98! 35,92 55,100 80,90",
        "5,8 65,2! 0,100! 72,98 / 12,52 62,46",
        "25,25 12,10 38,0 60,22 35,68 12,95 5,80 22,75 35,90 45,105 75,110",
    ),
    "3": (
        "8,12 40,0 62,20 30,45! 65,70 35,100 0,88",
        "5,3 62,2! 25,40! 60,55 60,88 25,100 0,90",
        "5,15 35,0 60,18 35,42 25,50 40,48 65,72 35,100 2,85",
        "8,12 40,0 60,22 30,45 60,68 40,98 5,95 -2,85 10,80",
    ),
    "4": (
        "35,0 0,62! 78,60 / 55,25 50,100",
        "45,0 0,70! 75,66 / 62,0 50,100",
        "10,0 5,48! 70,45 / 70,0 62,100",
        "55,100 60,0! 0,68! 80,66",
        "12,0 2,40 2,50 30,52 68,42 / 72,0 55,100",
        "40,0 12,70! 85,55 / 62,40 42,105",
        "25,0 0,55! 50,50! 62,15! 42,100",
        "32,0 3,60! 55,50! 36,105",
        "20,0 8,60 20,66 45,50 58,48 52,75 50,105",
        "15,0 4,45 12,56 38,50 60,32! 66,5! 54,105",
        "30,0 2,55 20,62 75,55 / 58,28 40,100",
        "55,0 5,50! 10,62! 80,60 / 55,0 55,100",
    ),
    "5": (
        "60,0 12,2! 8,42! 50,40 65,70 35,100 0,90",
        "12,2 8,42! 50,40 65,70 35,100 0,90 / 12,3 72,0",
        "65,2 30,0 10,20 25,42 60,60 50,92 20,100 0,90",
        "8,8 6,45! 48,42 65,70 35,100 0,92 / 25,2 80,-6",
        "55,6 20,4! 6,46! 50,46 58,78 20,100 2,94 / 55,6 85,-4",
    ),
    "6": (
        "55,0 20,25 3,65 25,100 60,85 50,58 20,60 6,75",
        "15,0 5,40 5,80 30,100 62,80 45,55 8,70",
        "68,8 40,2 10,40 5,80 32,100 62,78 40,55 8,72",
        "10,0 6,55 12,94 40,100 62,80 50,58 25,58 8,76",
        "45,0 15,40 5,80 25,102 48,88 40,68 15,75",
    ),
    "7": (
        "0,5 65,0! 25,100 / 15,50 65,48",
        "0,20 2,2! 68,0! 30,100",
        "0,20 5,2! 68,0! 30,100 / 12,52 68,48",
        "0,15 10,2 35,10 70,0! 40,45 30,100 / 20,50 65,45",
        "0,10 20,0 50,6 72,0! 45,40 28,100",
        "0,4 65,2! 60,30! 20,100 / 10,55 70,55",
        "5,0 70,5! 35,100 / 12,62 66,40",
        "8,22 18,0 62,8! 38,55 32,100 / 18,54 62,48",
        "22,14 36,2 58,6! 36,100 / 8,46 68,42",
        "10,14 56,2! 44,50 38,100 / 2,54 76,48",
    ),
    "8": (
        "55,12 30,0 10,20 35,45 60,75 30,100 5,78 35,45 60,20 50,5",
        "60,10 30,0 12,22 40,50 55,80 28,100 8,75 30,50 65,5",
        "35,2 12,20 35,44 58,22 35,2 / 33,44 5,70 33,100 62,72 33,44",
        "66,4 40,28 14,58 8,86 34,100 60,80 40,50 14,25 32,0 62,10",
    ),
    "9": (
        "60,20 35,0 5,22 25,50 58,30 60,15! 58,60 55,100",
        "62,15 35,0 5,25 28,50 60,20! 60,65 40,100 5,92",
        "55,12 25,0 5,25 25,48 55,30 60,10 55,55 30,95 -5,100",
        "60,22 35,0 5,22 25,50 58,25 / 62,5 50,100",
        "50,8 15,5 5,35 35,48 60,20 50,2 62,40 58,80 25,102 -2,85",
        "30,102 22,14! / 6,22 28,0 60,6 66,34 42,52 20,46",
        "42,50 10,40 8,10 35,0 62,12 60,40 42,50 36,75 32,105",
        "35,48 10,35 15,8 42,0 62,18 54,42 34,50! 18,105",
        "60,20 35,0 5,22 25,48 58,24! 62,80 40,106 10,96 22,76 62,60",
        "60,8 30,0 5,25 25,48 60,28! 58,62 52,100",
        "15,55 8,15 35,0 60,15 50,45 15,52! 45,60 50,105",
    ),
}
"""Points "x,y" in hundredths, "!" where a stroke has a corner, "/" between strokes."""


def draw(label: str, random: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return a digit in one of its forms, (28, 28) uint8, placed as MNIST's are."""
    forms = FORMS[label]
    slant, aspect = random.normal(0.12, 0.22), np.exp(random.normal(0, 0.25))
    turn, proportion = random.normal(0, 0.08), np.exp(random.normal(0, 0.25))
    frequencies = random.normal(0, 2.2, (3, 2))
    phases, depths = random.uniform(0, 2 * np.pi, 3), random.normal(0, 0.035, (3, 2))
    cosine, sine = np.cos(turn), np.sin(turn)
    strokes = []
    for stroke in forms[random.integers(len(forms))].split("/"):
        words = stroke.split()
        points = np.array([word.rstrip("!").split(",") for word in words], float) / 100
        points += random.normal(0, 0.035, points.shape)
        line = _smooth(points, [k for k, word in enumerate(words) if word.endswith("!")])
        line = line[random.integers(4) : len(line) - random.integers(4)]
        line[:, 1] = np.sign(line[:, 1]) * np.abs(line[:, 1]) ** proportion
        line += random.normal(0, 0.025, 2)
        waves = np.sin(line @ frequencies.T + phases)
        x, y = ((line + waves @ depths) - (0.35, 0.5)).T
        x = x * aspect - slant * y
        strokes.append(np.stack([x * cosine - y * sine, x * sine + y * cosine], axis=1))
    everything = np.concatenate(strokes)
    low, high = everything.min(axis=0), everything.max(axis=0)
    radius = np.exp(random.uniform(np.log(0.6), np.log(2.2)))
    scale = np.full(2, (_BOX - 2 * radius) / (high - low).max())
    if random.random() < _STRETCHED:
        scale = (_BOX - 2 * radius) / np.maximum(high - low, 0.4 * (high - low).max())
    placed = [(stroke - (low + high) / 2) * scale + _SIDE / 2 for stroke in strokes]
    ink = np.clip((radius - _distances(placed)) / random.uniform(0.6, 1.6) + 0.5, 0, 1)
    return normalize(ink.astype(np.float32)).pixels


def _smooth(points: Floats, corners: Sequence[int]) -> Floats:
    """Return a Catmull-Rom spline (1974) through `points` (N, 2), broken at `corners`."""
    t = np.linspace(0, 1, _SAMPLES, endpoint=False)[:, None]
    curves = []
    for first, last in pairwise([0, *corners, len(points) - 1]):
        part = points[first : last + 1]
        around = np.concatenate([2 * part[:1] - part[1:2], part, 2 * part[-1:] - part[-2:-1]])
        for a, b, c, d in zip(around, around[1:], around[2:], around[3:], strict=False):
            curve = 2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
            curves.append((curve + (3 * b - a - 3 * c + d) * t**3) / 2)
        curves.append(part[-1:])
    return np.concatenate(curves)


def _distances(strokes: Sequence[Floats]) -> Floats:
    """Return how far each pixel (28, 28) is from the nearest stroke, in pixels."""
    places = np.stack(np.meshgrid(*[np.arange(_SIDE) + 0.5] * 2), axis=2)[:, :, None]
    nearest = np.full((_SIDE, _SIDE), np.inf)
    for stroke in strokes:
        start, step = stroke[:-1], np.diff(stroke, axis=0)
        is_long = (step**2).sum(axis=1) > 1e-9
        start, step = start[is_long], step[is_long]
        away = places - start
        along = ((away * step).sum(axis=3) / (step**2).sum(axis=1)).clip(0, 1)
        distance = np.hypot(*np.moveaxis(away - along[..., None] * step, 3, 0)).min(axis=2)
        nearest = np.minimum(nearest, distance)
    return nearest
