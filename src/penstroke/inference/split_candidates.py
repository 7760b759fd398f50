"""Where ink may be split between two characters that touch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from penstroke.preprocessing.decoding import Intensities

_REACH = 0.2
"""How far a split may stray from its straight line, in heights of a character."""
_STEP = 0.05
"""Distance between the lines that are tried, in heights."""
_NARROWEST = 0.5
"""Of the height: no two characters are looked for in less."""
_EDGE = 0.12
"""Least width of a part that is split off, in heights."""
_DEEPEST = 3.2
"""Splits through more strokes than this are not offered."""
_STRAYING = 0.1
"""What a step to the side costs, in pixels of full ink."""


class SplitCandidate(NamedTuple):
    """A path from top to bottom: in row y all before column `path[y]` is on the left of it.

    `cost` is the ink on the path, in widths of the stroke.
    """

    path: npt.NDArray[np.int64]
    cost: float


def find_splits(
    ink: Intensities, height: float, stroke: float, slant: float
) -> list[SplitCandidate]:
    """Return the cheapest paths through the `ink` (H, W) of one component, from left to right.

    `height`, `stroke` and `slant` are those of its line (see `segments.TextLine`).
    """
    rows = np.arange(ink.shape[0])
    lean = np.round(slant * (ink.shape[0] / 2 - rows)).astype(np.int64)
    across = np.nonzero(ink)[1] - lean[np.nonzero(ink)[0]]
    first, last = int(across.min()), int(across.max()) + 1
    if last - first < _NARROWEST * height:
        return []
    edge, step = _EDGE * height, max(1, round(_STEP * height))
    middles = np.arange(round(first + edge), round(last - edge) + 1, step)
    if not len(middles):
        return []
    paths, crossed = _cheapest_paths(ink, middles[:, None] + lean, max(1, round(_REACH * height)))
    costs = crossed / stroke
    beside = np.concatenate([[np.inf], costs, [np.inf]])
    is_valley = (costs <= beside[:-2]) & (costs <= beside[2:]) & (costs <= _DEEPEST)
    valleys = zip(paths[is_valley], costs[is_valley].tolist(), strict=True)
    return _apart([SplitCandidate(path, cost) for path, cost in valleys], ink, edge)


def split_ink(ink: Intensities, splits: Sequence[SplitCandidate]) -> list[Intensities]:
    """Return the ink (H, W) of each part between `splits`, from left to right; none is blank."""
    columns = np.arange(ink.shape[1])
    number = np.zeros(ink.shape, np.int64)
    for split in splits:
        number += columns >= split.path[:, None]
    return [np.where(number == k, ink, 0) for k in range(len(splits) + 1)]


def _cheapest_paths(
    ink: Intensities, lines: npt.NDArray[np.int64], reach: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return for each of `lines` (N, H) the cheapest path within `reach` of it, and its ink.

    A path moves by one column a row at most beside its line: dynamic programming from the top down.
    """
    count, height = lines.shape
    offsets = np.arange(-reach, reach + 1)
    columns = lines[:, :, None] + offsets
    inside = (columns >= 0) & (columns < ink.shape[1])
    taken = ink[np.arange(height)[None, :, None], columns.clip(0, ink.shape[1] - 1)] * inside
    total = taken[:, 0].astype(np.float64) + 1e-3 * np.abs(offsets)
    steps = np.empty(taken.shape, np.int64)
    for row in range(1, height):
        padded = np.pad(total, ((0, 0), (1, 1)), constant_values=np.inf)
        choices = np.stack([padded[:, :-2] + _STRAYING, padded[:, 1:-1], padded[:, 2:] + _STRAYING])
        steps[:, row] = choices.argmin(0) - 1
        total = choices.min(0) + taken[:, row] + 1e-3 * np.abs(offsets)
    places = np.empty((count, height), np.int64)
    places[:, -1] = total.argmin(1)
    rows = np.arange(count)
    for row in range(height - 1, 0, -1):
        places[:, row - 1] = places[:, row] + steps[rows, row, places[:, row]]
    crossed = np.take_along_axis(taken, places[:, :, None], 2)[:, :, 0].sum(axis=1)
    return np.take_along_axis(columns, places[:, :, None], 2)[:, :, 0], crossed.astype(np.float64)


def _apart(splits: Sequence[SplitCandidate], ink: Intensities, edge: float) -> list[SplitCandidate]:
    """Return splits of which none crosses another and none splits off next to nothing."""
    kept: list[SplitCandidate] = []
    for split in splits:
        if kept:
            split = split._replace(path=np.maximum(split.path, kept[-1].path))
        if _width(split_ink(ink, [split])[1]) < edge:
            continue
        if _width(split_ink(ink, [*kept[-1:], split])[-2]) >= edge:
            kept.append(split)
        elif kept and split.cost < kept[-1].cost:
            kept[-1] = split
    return kept


def _width(ink: Intensities) -> int:
    return int((ink > 0.4).any(axis=0).sum())
