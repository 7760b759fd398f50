"""Illumination correction: takes the light off a page, so that one threshold fits all of it."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from penstroke.preprocessing.decoding import Intensities

MARGIN = 8
"""Pixels of blank paper laid around, so that ink at the border is not taken for paper."""
_BLOCKS = 48
"""Levels of paper along the longer side: light changes slowly."""
_WIDEST = 9
"""Blocks. What is narrower is ink, or may be; what is wider is shadow."""


def correct_illumination(grey: Intensities) -> Intensities:
    """Return `grey` (H, W) in 0..1 as dark ink on even white paper, with a margin of `MARGIN`.

    The paper's level is the closing of bright quantiles of small blocks; light ink on dark paper is
    inverted first.
    """
    medians = np.pad(np.median(_blocks(grey), axis=(1, 3)), _WIDEST // 2, mode="edge")
    around = np.median(sliding_window_view(medians, (_WIDEST, _WIDEST)), axis=(2, 3))
    if float(((grey - _upsampled(around, grey.shape)) ** 3).sum()) > 0:
        grey = 1 - grey  # what deviates most is brighter than what is around it: ink is the rarer
    bright = np.quantile(_blocks(grey), 0.8, axis=(1, 3)).astype(np.float32)
    # A closing lifts the dark end of a slope at the border, so the nearest plane is removed first.
    down, across = np.indices(bright.shape, np.float32)
    terms = np.stack([np.ones(bright.size), down.ravel(), across.ravel()], axis=1)
    factors = np.linalg.lstsq(terms, bright.ravel(), rcond=None)[0]
    plane = np.asarray(terms @ factors, np.float32).reshape(bright.shape)
    paper = _upsampled(closing(bright - plane, _WIDEST) + plane, grey.shape)
    return np.pad(np.minimum(grey / np.maximum(paper, np.float32(0.02)), 1), MARGIN,
                  constant_values=1)  # fmt: skip


def closing(values: Intensities, side: int) -> Intensities:
    """Return `values` (H, W) with dark parts narrower than `side` pixels filled up (Serra 1982)."""
    return -_dilated(-_dilated(values, side), side)


def _dilated(values: Intensities, side: int) -> Intensities:
    """Return the maximum of a square of `side` pixels around each pixel."""
    for axis in (0, 1):
        around = [(0, 0), (0, 0)]
        around[axis] = (side // 2, (side - 1) // 2)
        padded = np.pad(values, around, constant_values=-np.inf)
        values = sliding_window_view(padded, side, axis).max(axis=-1)
    return values


def _blocks(grey: Intensities) -> Intensities:
    """Return `grey` as (rows, block, columns, block), its border repeated to fill the last."""
    block = -(-max(grey.shape) // _BLOCKS)
    fill = [(0, -side % block) for side in grey.shape]
    whole = np.pad(grey, fill, mode="edge")
    return whole.reshape(whole.shape[0] // block, block, whole.shape[1] // block, block)


def _upsampled(levels: Intensities, shape: tuple[int, ...]) -> Intensities:
    """Return the levels of blocks (rows, columns) as those of an image of `shape` (H, W)."""
    block = -(-max(shape) // _BLOCKS)
    size = (levels.shape[1] * block, levels.shape[0] * block)
    image = Image.fromarray(levels.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)[: shape[0], : shape[1]]
