"""Connected components of an image: its inked pixels, grouped by touching one another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_Integers = npt.NDArray[np.int64]


class Components(NamedTuple):
    """Groups of touching pixels, in the order in which their first rows begin.

    `labels` (H, W) int32 numbers the pixels of component k with k + 1, and all others with 0;
    `boxes` (N, 4) holds left, top, right, bottom, the latter two just outside.
    """

    labels: npt.NDArray[np.int32]
    boxes: _Integers


def find_components(mask: npt.NDArray[np.bool_]) -> Components:
    """Return the components of `mask` (H, W); pixels that meet at a corner touch.

    Rows are taken as runs of pixels, and runs that touch are united by their roots, all at once
    (Shiloach and Vishkin 1982): some tens of passes over arrays, however large the image.
    """
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    roots = _roots(len(rows), *_touching_runs(rows, starts, ends, mask.shape[1]))
    first, of_run = np.unique(roots, return_inverse=True)
    labels = np.zeros(mask.shape, np.int32)
    labels[mask] = np.repeat(of_run + 1, ends - starts)
    boxes = np.empty((len(first), 4), np.int64)
    boxes[:, :2] = max(mask.shape)
    boxes[:, 2:] = 0
    for column, values in ((0, starts), (1, rows)):
        np.minimum.at(boxes[:, column], of_run, values)
    for column, values in ((2, ends), (3, rows + 1)):
        np.maximum.at(boxes[:, column], of_run, values)
    return Components(labels, boxes)


def _touching_runs(
    rows: _Integers, starts: _Integers, ends: _Integers, width: int
) -> tuple[_Integers, _Integers]:
    """Return the pairs (upper, lower) of runs in neighbouring rows that touch."""
    stride = width + 2
    below = (rows + 1) * stride
    first = np.searchsorted(rows * stride + ends, below + starts, side="left")
    after = np.searchsorted(rows * stride + starts, below + ends, side="right")
    counts = after - first
    upper = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(len(upper)) - np.repeat(counts.cumsum() - counts, counts)
    return upper, np.repeat(first, counts) + within


def _roots(count: int, one: _Integers, other: _Integers) -> _Integers:
    """Return for each of `count` runs the least run that pairs lead to."""
    root = np.arange(count)
    while True:
        low, high = np.sort([root[one], root[other]], axis=0)
        if np.array_equal(low, high):
            return root
        np.minimum.at(root, high, low)
        while not np.array_equal(root, root[root]):
            root = root[root]
