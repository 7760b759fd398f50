"""Connected components of an image: its inked pixels, grouped by touching one another."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Components(NamedTuple):
    """Groups of touching pixels, in the order in which their first rows begin.

    `labels` (H, W) int32 numbers the pixels of component k with k + 1, and all others with 0;
    `boxes` (N, 4) holds left, top, right, bottom, the latter two just outside.
    """

    labels: npt.NDArray[np.int32]
    boxes: npt.NDArray[np.int64]


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
    # The runs `lower` in the row below each of `upper` that touch it.
    stride = mask.shape[1] + 2
    below = (rows + 1) * stride
    first = np.searchsorted(rows * stride + ends, below + starts, side="left")
    counts = np.searchsorted(rows * stride + starts, below + ends, side="right") - first
    upper = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(len(upper)) - np.repeat(counts.cumsum() - counts, counts)
    lower = np.repeat(first, counts) + within
    root = np.arange(len(rows))  # of each run, the least that pairs lead to
    while True:
        low, high = np.sort([root[upper], root[lower]], axis=0)
        if np.array_equal(low, high):
            break
        np.minimum.at(root, high, low)
        while not np.array_equal(root, root[root]):
            root = root[root]
    first, of_run = np.unique(root, return_inverse=True)
    labels = np.zeros(mask.shape, np.int32)
    labels[mask] = np.repeat(of_run + 1, ends - starts)
    side = max(mask.shape)
    boxes = np.full((len(first), 4), (side, side, 0, 0), np.int64)
    for column, values in ((0, starts), (1, rows)):
        np.minimum.at(boxes[:, column], of_run, values)
    for column, values in ((2, ends), (3, rows + 1)):
        np.maximum.at(boxes[:, column], of_run, values)
    return Components(labels, boxes)
