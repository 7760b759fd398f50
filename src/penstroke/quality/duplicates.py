"""The same image twice: byte for byte, or nearly so; within a data set and across two.

Two forms (neighbours.py) are nearly the same where they are near and stand out: much nearer than
other images are. Nearness alone would not do, since upright ones are all alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from penstroke.data.dataset import Images
from penstroke.quality.collection import Rows
from penstroke.quality.neighbours import Neighbours

NEAR = 0.2
"""Farther apart no two are the same. MNIST's test digits that EMNIST holds too lie at 0.05 to 0.2,
those that it does not at 0.2 to 0.6."""
STANDS_OUT_WITHIN = 0.35
"""Share of the distance to the fifth neighbour. At 0.35 no pair of MNIST's 70,000 images is
found, and it holds no copies; at 0.4 two alike are. A copy with a pixel changed lies below 0.31."""
STANDS_OUT_ACROSS = 0.55
"""Of another data set, differently scaled and thickened, more is let through. Of 5,000 test digits
of MNIST 1,399 are found in 126,896 of EMNIST, and 3 among MNIST's own for training."""
SAME = 0.05
"""So near is the same image, however many copies there are; of MNIST's ones no two are."""


class Pair(NamedTuple):
    """Two images by their rows, and how far apart they are: 0 byte for byte."""

    first: int
    second: int
    distance: float

    @property
    def is_exact(self) -> bool:
        """Whether they are the same byte for byte."""
        return self.distance == 0


def pairs_within(images: Images, neighbours: Neighbours, without: Rows) -> list[Pair]:
    """Return the pairs among `images` by rows, first < second, the nearest first.

    Of a group that is the same byte for byte, the first is paired with each later one. `without`
    are rows that are left alone: blank images.
    """
    groups = _groups(images)
    found: dict[tuple[int, int], float] = {}
    for row, other, distance in near(neighbours, STANDS_OUT_WITHIN):
        if groups[row] != groups[other]:
            found[min(row, other), max(row, other)] = distance
    firsts = _first_of_group(groups)
    for later in np.flatnonzero(firsts[groups] != np.arange(len(images))):
        found[int(firsts[groups[later]]), int(later)] = 0.0
    alone = set(without.tolist())
    pairs = [Pair(*rows, distance) for rows, distance in found.items() if not alone & set(rows)]
    return sorted(pairs, key=lambda pair: (pair.distance, pair))


def near(neighbours: Neighbours, stands_out: float) -> list[tuple[int, int, float]]:
    """Return (row, neighbour, distance) of all that are nearly the same."""
    distances = neighbours.distances
    if not distances.shape[1]:
        return []
    crowd = distances[:, -1:]
    is_near = (distances < NEAR) & (distances < stands_out * crowd) | (distances < SAME)
    rows, ranks = np.nonzero(is_near)
    return [
        (int(row), int(neighbours.rows[row, rank]), float(distances[row, rank]))
        for row, rank in zip(rows, ranks, strict=True)
    ]


def pairs_across(query: Images, gallery: Images, neighbours: Neighbours) -> list[Pair]:
    """Return the pairs of an image in `query` and one in `gallery`, the nearest first."""
    pairs = [
        Pair(row, other, 0.0 if np.array_equal(query[row], gallery[other]) else distance)
        for row, other, distance in near(neighbours, STANDS_OUT_ACROSS)
    ]
    return sorted(pairs, key=lambda pair: (pair.distance, pair))


def groups_of(pairs: Iterable[Pair]) -> list[list[int]]:
    """Return the rows of each group of copies, sorted.

    Copies of copies belong to one group: of many, not each is among the neighbours of each.
    """
    before: dict[int, int] = {}
    for pair in pairs:
        first, later = sorted((_first(pair.first, before), _first(pair.second, before)))
        if first != later:
            before[later] = first
    groups: dict[int, list[int]] = {}
    for row in sorted({*before, *before.values()}):
        groups.setdefault(_first(row, before), []).append(row)
    return list(groups.values())


def _first(row: int, before: dict[int, int]) -> int:
    while row in before:
        row = before[row]
    return row


def _groups(images: Images) -> Rows:
    """Return a number for each image; the same for the same bytes."""
    if not len(images):
        return np.arange(0)
    flat = np.ascontiguousarray(images.reshape(len(images), -1))
    whole = flat.view(np.dtype((np.void, flat.shape[1]))).ravel()
    return np.asarray(np.unique(whole, return_inverse=True)[1], np.int64)


def _first_of_group(groups: Rows) -> Rows:
    return np.unique(groups, return_index=True)[1]
