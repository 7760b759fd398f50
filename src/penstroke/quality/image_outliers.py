"""Images unlike any other: far from their nearest, as their class goes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from penstroke.data.dataset import Labels
from penstroke.quality.collection import Rows
from penstroke.quality.neighbours import Neighbours

_DEVIATIONS = 3.5
"""Of the logarithm, robust ones, as Iglewicz and Hoaglin (1993) advise."""
_FARTHEST = 0.95
"""And farther than this share of all images: ones are so alike that any serif stands out."""
_MAD_TO_STD = 1.4826


def find_outliers(labels: Labels, neighbours: Neighbours, without: Rows) -> list[tuple[int, float]]:
    """Return (row, mean distance to the nearest) of the outliers, the farthest first.

    `without` are rows that are left alone: blank images.
    """
    if not neighbours.distances.size:
        return []
    distances = neighbours.distances.mean(axis=1, dtype=np.float64)
    seen = np.ones(len(labels), bool)
    seen[without] = False
    is_far = seen & (distances > np.quantile(distances, _FARTHEST))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        is_far[members] &= _deviations(distances[members]) > _DEVIATIONS
    rows = np.flatnonzero(is_far)
    return [(int(row), float(distances[row])) for row in rows[np.argsort(-distances[rows])]]


def _deviations(distances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how many robust standard deviations each lies above the median, by its logarithm."""
    logs = np.log(np.maximum(distances, 1e-6))
    above = logs - np.median(logs)
    return np.asarray(above / max(_MAD_TO_STD * float(np.median(np.abs(above))), 1e-6))
