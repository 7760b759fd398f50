"""Images unlike any other of their class, without ink, or with ink that runs into the border."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import median_abs_deviation

from penstroke.data.dataset import Images, Labels
from penstroke.preprocessing.ink import DEFAULT_INK
from penstroke.quality.audit_images import Rows
from penstroke.quality.neighbours import Neighbours

_DEVIATIONS = 3.5
"""Robust standard deviations of the logarithm, as Iglewicz and Hoaglin (1993) advise."""
_FARTHEST = 0.95
"""And farther than this share of all images: ones are so alike that any serif stands out."""
_LEAST_INK = 5
"""Pixels at half of full ink; the faintest of MNIST's images has 15."""
_CUT_PIXELS = 2
"""The least width of a stroke that is cut off; a single pixel is a tip that just touches."""


def find_outliers(labels: Labels, neighbours: Neighbours, ignored: Rows) -> list[tuple[int, float]]:
    """Return (row, mean distance to the nearest) of the outliers, the farthest first.

    `ignored` are the rows of images that are never outliers: blank ones.
    """
    if not neighbours.distances.size:
        return []
    distances = neighbours.distances.mean(axis=1, dtype=np.float64)
    is_outlier = distances > np.quantile(distances, _FARTHEST)
    is_outlier[ignored] = False
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        logs = np.log(np.maximum(distances[members], 1e-6))
        deviation = max(float(median_abs_deviation(logs, scale="normal")), 1e-6)
        is_outlier[members] &= (logs - np.median(logs)) / deviation > _DEVIATIONS
    rows = np.flatnonzero(is_outlier)
    return [(int(row), float(distances[row])) for row in rows[np.argsort(-distances[rows])]]


def blank(images: Images) -> Rows:
    """Return the rows of images (N, 28, 28) with too little contrast or hardly a pixel of ink."""
    has_contrast = np.ptp(images, axis=(1, 2)) / 255 >= DEFAULT_INK.min_contrast
    return np.flatnonzero(~has_contrast | (_is_ink(images).sum(axis=(1, 2)) < _LEAST_INK))


def clipped(images: Images) -> Rows:
    """Return the rows of images whose ink runs into the border, the widest there first.

    Two pixels or more of a border are at least half as bright as the brightest.
    """
    ink = _is_ink(images)
    borders = (ink[:, 0], ink[:, -1], ink[:, :, 0], ink[:, :, -1])
    widths = np.max([border.sum(axis=1) for border in borders], axis=0)
    order = np.argsort(-widths, kind="stable")
    rows = order[widths[order] >= _CUT_PIXELS]
    return np.asarray(rows[~np.isin(rows, blank(images))])


def _is_ink(images: Images) -> npt.NDArray[np.bool_]:
    peak = images.max(axis=(1, 2), keepdims=True).astype(np.int64)
    return np.asarray((images * np.int64(2) >= peak) & (peak > 0))
