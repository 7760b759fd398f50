"""Connected components of an image: its inked pixels, grouped by touching one another."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SPECK = 0.03
"""Of the ink of the largest component: a component with less is dirt."""
_ABOVE = 0.25
"""Of the narrower of two parts: one that shares more of its columns is above or below the other."""
_TALL, _HEAVY = 0.5, 0.2
"""Of the highest and the heaviest part: one with less is no character beside it."""
_BESIDE = 0.5
"""Of the lower of two parts: the rows that characters of a line share."""
_APART, _WIDE = 0.15, 1.0
"""Of the height: a gap that no broken stroke leaves, and the width of two characters."""


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


def count_characters(ink: npt.NDArray[np.float32]) -> int:
    """Return how many characters seem to stand side by side in `ink` (H, W).

    Parts above one another are one character, and so are parts that a gap in a stroke separates:
    two are characters side by side only if both are large, and far apart or together as wide as
    they are high.
    """
    labels, boxes = find_components(ink > 0)
    if len(boxes) < 2:
        return len(boxes)
    mass = np.bincount(labels.ravel(), ink.ravel())[1:]
    parts: list[list[float]] = []  # left, top, right, bottom, mass
    is_kept = mass > SPECK * mass.max()
    order = np.argsort(boxes[is_kept, 0], kind="stable")
    for left, top, right, bottom, weight in np.column_stack([boxes, mass])[is_kept][order].tolist():
        last = parts[-1] if parts else [0.0, 0.0, left, 0.0, 0.0]
        if last[2] - left > _ABOVE * min(right - left, last[2] - last[0]):
            last[:] = (last[0], min(last[1], top), max(last[2], right), max(last[3], bottom),
                       last[4] + weight)  # fmt: skip
        else:
            parts.append([left, top, right, bottom, weight])
    height = max(part[3] - part[1] for part in parts)
    heaviest = max(part[4] for part in parts)

    def is_large(part: list[float]) -> bool:
        return part[3] - part[1] >= _TALL * height and part[4] >= _HEAVY * heaviest

    def are_apart(one: list[float], other: list[float]) -> bool:
        shared = min(one[3], other[3]) - max(one[1], other[1])
        is_beside = shared >= _BESIDE * min(one[3] - one[1], other[3] - other[1])
        gap, width = other[0] - one[2], other[2] - one[0]
        return is_beside and (gap >= _APART * height or width >= _WIDE * height)

    return 1 + sum(
        is_large(one) and is_large(other) and are_apart(one, other)
        for one, other in pairwise(parts)
    )
