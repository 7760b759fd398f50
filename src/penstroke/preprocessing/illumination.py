"""The paper under the ink: its light taken away, so that one threshold fits a whole page."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from penstroke.preprocessing.decoding import Intensities

_BLOCKS = 48
"""The longer side is told by so many levels of paper: light changes slowly."""
_WIDEST = 9
"""Blocks. What is narrower is ink, or may be; what is wider is shadow."""
MARGIN = 8
"""Pixels of blank paper laid around, so that ink at the border is not taken for paper."""


def flattened(grey: Intensities) -> Intensities:
    """Return `grey` (H, W) in 0..1 as dark ink on even white paper, with a margin of `MARGIN`.

    The paper's level is the closing of bright quantiles of small blocks (Serra 1982); light on dark
    is turned round first.
    """
    if _is_light_on_dark(grey):
        grey = 1 - grey
    paper = np.maximum(_paper(grey), np.float32(0.02))
    return np.pad(np.minimum(grey / paper, 1), MARGIN, constant_values=1)


def _is_light_on_dark(grey: Intensities) -> bool:
    """Return whether what deviates most from its surroundings is brighter: ink is the rarer."""
    middles = np.median(_blocks(grey), axis=(1, 3))
    padded = np.pad(middles, _WIDEST // 2, mode="edge")
    surroundings = np.median(sliding_window_view(padded, (_WIDEST, _WIDEST)), axis=(2, 3))
    return float(((grey - _upsampled(surroundings, grey.shape)) ** 3).sum()) > 0


def _paper(grey: Intensities) -> Intensities:
    bright = np.quantile(_blocks(grey), 0.8, axis=(1, 3)).astype(np.float32)
    # A closing lifts the dark end of a slope at the border: what is even of the fall goes first.
    plane = _plane(bright)
    closed = -_widest(-_widest(bright - plane))
    return _upsampled(closed + plane, grey.shape)


def _plane(levels: Intensities) -> Intensities:
    """Return the plane nearest to `levels` (rows, columns), by least squares."""
    down, across = np.indices(levels.shape, np.float32)
    sides = np.stack([np.ones(levels.size), down.ravel(), across.ravel()], axis=1)
    found = np.linalg.lstsq(sides, levels.ravel(), rcond=None)[0]
    return np.asarray(sides @ found, np.float32).reshape(levels.shape)


def _blocks(grey: Intensities) -> Intensities:
    """Return `grey` as (rows, block, columns, block), its border repeated to fill the last."""
    block = -(-max(grey.shape) // _BLOCKS)
    fill = [(0, -side % block) for side in grey.shape]
    whole = np.pad(grey, fill, mode="edge")
    return whole.reshape(whole.shape[0] // block, block, whole.shape[1] // block, block)


def _upsampled(levels: Intensities, shape: tuple[int, ...]) -> Intensities:
    block = -(-max(shape) // _BLOCKS)
    size = (levels.shape[1] * block, levels.shape[0] * block)
    image = Image.fromarray(levels.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)[: shape[0], : shape[1]]


def _widest(values: Intensities) -> Intensities:
    """Return the maximum of each square of `_WIDEST` blocks around a block."""
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (_WIDEST // 2, _WIDEST // 2)
        padded = np.pad(values, pad, constant_values=-np.inf)
        values = sliding_window_view(padded, _WIDEST, axis).max(axis=-1)
    return values
