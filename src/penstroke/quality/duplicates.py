"""Duplicate images, byte for byte or nearly so, within a data set and across two.

Two images are nearly the same where their distance, without regard to position, size and
brightness, is small and they stand out: much nearer than other images are. Nearness alone would not
do, since upright ones are all alike. Distances are exact and between all images: the product of
70,000 by 70,000 descriptors of 256 values takes a minute on two cores, so that no approximation is
needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from penstroke.config.settings import IMAGE_SIZE
from penstroke.data.dataset import Images, Rows
from penstroke.quality.audit_images import OnProgress

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
COUNT = 5
"""Neighbours of each image."""
_SIDE = 16
_REACH = 1.9
"""Half the side of a descriptor, in standard deviations of the ink. As many of MNIST's test digits
are found in EMNIST as with 20 pixels and a reach of 2.2, in two thirds of the time."""
_BLOCK = 500
_CONVERTED = 5000


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
    distances = {
        (min(row, other), max(row, other)): distance
        for row, other, distance in near(neighbours, STANDS_OUT_WITHIN)
        if firsts[row] != firsts[other]
    } | {(first, row): 0.0 for row, first in enumerate(firsts) if first != row}
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
    count, group = connected_components(coo_array(edges, shape=(len(rows),) * 2), directed=False)
    return [rows[group == number].tolist() for number in range(count)]


class Neighbours(NamedTuple):
    """The nearest of each image, the nearest first: distances (N, C) from 0 to √2, and rows."""

    distances: npt.NDArray[np.float32]
    rows: Rows


def descriptors(images: Images) -> Tensor:
    """Return images (N, 28, 28) as vectors free of position, size and brightness: (N, 256) float32.

    The centre of mass goes to the middle, the spread of the ink to a fixed size, the length of the
    vector to 1. Moments are used since a bounding box jumps with a single pixel. An image without
    ink becomes zero.
    """
    if not len(images):
        return torch.zeros(0, _SIDE**2)
    parts = torch.split(torch.from_numpy(images), _CONVERTED)
    return torch.cat([_descriptors(part.float()) for part in parts])


def _descriptors(ink: Tensor) -> Tensor:
    middle, half = IMAGE_SIZE / 2, torch.zeros(len(ink))
    places = torch.arange(IMAGE_SIZE) + 0.5
    theta = torch.zeros(len(ink), 2, 3)
    for axis, profile in enumerate((ink.sum(dim=1), ink.sum(dim=2))):  # each (N, 28)
        share = profile / profile.sum(dim=1, keepdim=True).clamp(min=1e-6)
        center = share @ places
        theta[:, axis, 2] = center / middle - 1
        half += (share * (places - center.unsqueeze(1)).square()).sum(dim=1)
    half = _REACH * half.sqrt().clamp(min=1)  # a single pixel has no deviation
    theta[:, 0, 0] = theta[:, 1, 1] = half / middle
    grid = F.affine_grid(theta, [len(ink), 1, _SIDE, _SIDE], align_corners=False)
    placed = F.grid_sample(ink.unsqueeze(1), grid, align_corners=False).flatten(1)
    return F.normalize(placed, eps=1e-6)


def nearest(
    query: Tensor, gallery: Tensor, on_progress: OnProgress, *, is_same: bool = False
) -> Neighbours:
    """Return the nearest of `gallery` (M, 256) for each descriptor in `query` (N, 256).

    `is_same`: both are the same images, and no image is its own neighbour. There are `COUNT`
    neighbours, or as many as there are images.
    """
    count = max(min(COUNT, len(gallery) - is_same), 0)
    distances = torch.empty(len(query), count)
    rows = torch.empty(len(query), count, dtype=torch.int64)
    # One buffer for all blocks: `fit` has told glibc to keep freed memory, and a new one for each
    # block would leave a hole of 200 MB each time that the next does not fit.
    products = torch.empty(_BLOCK, len(gallery))
    for start in range(0, len(query), _BLOCK):
        on_progress("comparing images", start / len(query))
        block = query[start : start + _BLOCK]
        cosine = torch.mm(block, gallery.T, out=products[: len(block)])
        if is_same:
            cosine[torch.arange(len(block)), torch.arange(start, start + len(block))] = -2.0
        best = cosine.topk(count).indices
        # From the difference: 1 − cosine has no digits left where two are nearly the same.
        apart = (gallery[best] - block.unsqueeze(1)).norm(dim=2)
        apart[(block == 0).all(dim=1)] = 2**0.5  # a blank image is like no other
        distances[start : start + _BLOCK], rows[start : start + _BLOCK] = apart, best
    return Neighbours(distances.numpy(), rows.numpy())
