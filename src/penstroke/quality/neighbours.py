"""The nearest images of each image, compared without regard to position, size and brightness.

Distances are exact and between all images: the product of 70,000 by 70,000 descriptors of 256
values takes a minute on two cores, so that no approximation is needed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from penstroke.config.settings import IMAGE_SIZE
from penstroke.data.dataset import Images
from penstroke.quality.audit_images import OnProgress, Rows

COUNT = 5
"""Neighbours of each image."""
_SIDE = 16
_REACH = 1.9
"""Half the side of a descriptor, in standard deviations of the ink. As many of MNIST's test digits
are found in EMNIST as with 20 pixels and a reach of 2.2, in two thirds of the time."""
_BLOCK = 500
_CONVERTED = 5000


class Neighbours(NamedTuple):
    """The nearest of each image, the nearest first."""

    distances: npt.NDArray[np.float32]
    """(N, C), from 0 to √2."""
    rows: Rows
    """(N, C), in what was searched."""


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
