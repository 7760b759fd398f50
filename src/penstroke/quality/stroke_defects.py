"""Images whose ink is missing, or runs into the border."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from penstroke.data.dataset import Images
from penstroke.preprocessing.ink import DEFAULT_INK
from penstroke.quality.collection import Rows

_LEAST_INK = 5
"""Pixels at half of full ink; the faintest of MNIST's images has 15."""
_CUT_PIXELS = 2
"""A stroke that is cut off is so wide; a single pixel is the tip of one that just touches."""


def blank(images: Images) -> Rows:
    """Return the rows of images (N, 28, 28) without ink: no contrast, or next to no pixel."""
    contrast = np.ptp(images, axis=(1, 2)) / 255
    has_ink = contrast >= DEFAULT_INK.min_contrast
    return np.flatnonzero(~has_ink | (_is_ink(images).sum(axis=(1, 2)) < _LEAST_INK))


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
