"""Duplicate images, byte for byte or nearly so, within a data set and across two.

Two images are nearly the same where their distance (neighbours.py) is small and they stand out:
much nearer than other images are. Nearness alone would not do, since upright ones are all alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from penstroke.data.dataset import Images
from penstroke.quality.audit_images import OnProgress, Rows
from penstroke.quality.neighbours import Neighbours, descriptors, nearest

NEAR = 0.2
"""Images farther apart are not the same. MNIST's test digits that EMNIST also contains lie at 0.05
to 0.2, those that it does not contain at 0.2 to 0.6."""
STANDS_OUT_WITHIN = 0.35
"""Share of the distance to the fifth neighbour. At 0.35 no pair of MNIST's 70,000 images is
found, and it holds no copies; at 0.4 two alike are. A copy with a pixel changed lies below 0.31."""
STANDS_OUT_ACROSS = 0.55
"""Across data sets, scaled and thickened differently, more is accepted. Of 5,000 test digits of
MNIST 1,399 are found in 126,896 of EMNIST, and 3 among MNIST's own for training."""
SAME = 0.05
"""Images this near are the same, however many copies there are; no two of MNIST's ones are."""


class Pair(NamedTuple):
    """Two images by their rows, and their distance: 0 byte for byte."""

    first: int
    second: int
    distance: float

    @property
    def is_exact(self) -> bool:
        """Whether they are the same byte for byte."""
        return self.distance == 0


def pairs_within(images: Images, neighbours: Neighbours, ignored: Rows) -> list[Pair]:
    """Return the duplicates among `images` by rows, first < second, the nearest first.

    In a group of exact copies, the first is paired with each later one. `ignored` are the rows of
    images that are not compared: blank ones.
    """
    first_with: dict[bytes, int] = {}
    firsts = [first_with.setdefault(image.tobytes(), row) for row, image in enumerate(images)]
    distances: dict[tuple[int, int], float] = {}
    for row, other, distance in near(neighbours, STANDS_OUT_WITHIN):
        if firsts[row] != firsts[other]:
            distances[min(row, other), max(row, other)] = distance
    distances |= {(first, row): 0.0 for row, first in enumerate(firsts) if first != row}
    skipped = set(ignored.tolist())
    pairs = [Pair(*rows, d) for rows, d in distances.items() if not skipped & set(rows)]
    return sorted(pairs, key=lambda pair: (pair.distance, pair))


def pairs_across(query: Images, gallery: Images, on_progress: OnProgress) -> list[Pair]:
    """Return the pairs of an image in `query` and its duplicate in `gallery`, the nearest first.

    It is the image in `query` that must stand out among those in `gallery`.
    """
    neighbours = nearest(descriptors(query), descriptors(gallery), on_progress)
    pairs = [
        Pair(row, other, 0.0 if np.array_equal(query[row], gallery[other]) else distance)
        for row, other, distance in near(neighbours, STANDS_OUT_ACROSS)
    ]
    return sorted(pairs, key=lambda pair: (pair.distance, pair))


def near(neighbours: Neighbours, stands_out: float) -> list[tuple[int, int, float]]:
    """Return (row, neighbour, distance) of all that are nearly the same."""
    distances = neighbours.distances
    is_near = (distances < NEAR) & (distances < stands_out * distances[:, -1:])
    rows, ranks = np.nonzero(is_near | (distances < SAME))
    others, apart = neighbours.rows[rows, ranks], distances[rows, ranks]
    return list(zip(rows.tolist(), others.tolist(), apart.tolist(), strict=True))


def groups_of(pairs: Sequence[Pair]) -> list[list[int]]:
    """Return the rows of each group of duplicates, sorted; copies of copies are one group."""
    if not pairs:
        return []
    rows, nodes = np.unique([pair[:2] for pair in pairs], return_inverse=True)
    edges = np.ones(len(pairs)), nodes.reshape(-1, 2).T
    graph = coo_array(edges, shape=(len(rows), len(rows)))
    count, group = connected_components(graph, directed=False)
    return [rows[group == number].tolist() for number in range(count)]
