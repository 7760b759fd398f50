"""Connected components of an image: its inked pixels, grouped by touching one another."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

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

_Numbers = npt.NDArray[np.int64]


@dataclass
class Components:
    """Groups of touching pixels, in the order in which their first rows begin.

    `numbers` (R,) of the R runs of pixels, from 1, row by row: each from one of `starts` to just
    before one of `ends`, which count the pixels of rows that are one longer than those of `mask`.
    """

    mask: npt.NDArray[np.bool_]
    numbers: _Numbers
    starts: _Numbers
    ends: _Numbers

    def __len__(self) -> int:
        """Return how many there are."""
        return int(self.numbers.max(initial=0))

    @cached_property
    def labels(self) -> npt.NDArray[np.int32]:
        """Of each pixel (H, W), the number of its component; 0 of all others."""
        labels = np.zeros(self.mask.shape, np.int32)
        labels[self.mask] = np.repeat(self.numbers, self.ends - self.starts)
        return labels

    @cached_property
    def boxes(self) -> _Numbers:
        """Left, top, right, bottom (N, 4); the latter two just outside."""
        height, width = self.mask.shape
        rows, left = np.divmod(self.starts, width + 1)
        boxes = np.full((len(self), 4), (width, height, 0, 0), np.int64)
        for column, values in ((0, left), (1, rows)):
            np.minimum.at(boxes[:, column], self.numbers - 1, values)
        for column, values in ((2, left + self.ends - self.starts), (3, rows + 1)):
            np.maximum.at(boxes[:, column], self.numbers - 1, values)
        return boxes


def find_components(mask: npt.NDArray[np.bool_]) -> Components:
    """Return the components of `mask` (H, W); pixels that meet at a corner touch.

    Rows are taken as runs of pixels, and runs that touch are united by their roots, all at once
    (Shiloach and Vishkin 1982): some tens of passes over arrays, however large the image.
    """
    height, width = mask.shape
    padded = np.zeros((height, width + 2), np.bool_)
    padded[:, 1:-1] = mask
    edges = np.flatnonzero(padded[:, 1:] != padded[:, :-1])
    starts, ends = edges[::2], edges[1::2]
    # The runs `lower` in the row below each of `upper` that touch it.
    first = np.searchsorted(ends, starts + width + 1, side="left")
    counts = np.searchsorted(starts, ends + width + 1, side="right") - first
    runs = np.arange(len(starts))
    upper = np.repeat(runs, counts)
    lower = np.arange(len(upper)) + np.repeat(first - counts.cumsum() + counts, counts)
    root = runs.copy()  # of each run, the least that pairs lead to
    while True:
        one, other = root[upper], root[lower]
        if (one == other).all():
            break
        np.minimum.at(root, np.maximum(one, other), np.minimum(one, other))
        while (root != root[root]).any():
            root = root[root]
    return Components(mask, (root == runs).cumsum()[root], starts, ends)


def count_characters(ink: npt.NDArray[np.float32]) -> int:
    """Return how many characters seem to stand side by side in `ink` (H, W).

    Parts above one another are one character, and so are parts that a gap in a stroke separates:
    two are characters side by side only if both are large, and far apart or together as wide as
    they are high.
    """
    components = find_components(ink > 0)
    if len(components) < 2:
        return len(components)
    boxes, mass = components.boxes, np.bincount(components.labels.ravel(), ink.ravel())[1:]
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
