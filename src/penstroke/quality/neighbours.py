"""Images that look alike: a form that forgets how ink was placed, and the nearest in that form.

Distances are exact and between all images: the product of 70,000 by 70,000 forms of 256 pixels
takes a minute on two cores, so that no projection has to promise that it loses none.
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
from penstroke.quality.collection import Rows, Watch

COUNT = 5
"""Neighbours found of each image."""
_SIDE = 16
_REACH = 1.9
"""Half the form's side, in deviations of the ink. Of MNIST's test digits in EMNIST as many are
found as with 20 pixels and a reach of 2.2, for two thirds of the time."""
_BLOCK = 500
_CONVERTED = 5000


class Neighbours(NamedTuple):
    """The nearest of each image, the nearest first."""

    distances: npt.NDArray[np.float32]
    """(N, C), from 0 to √2."""
    rows: Rows
    """(N, C), in what was searched."""


def forms(images: Images) -> Tensor:
    """Return images (N, 28, 28) in a form that forgets place, size and strength: (N, 256) float32.

    The centre of mass goes to the middle, the deviation of the ink to a fixed size, the length of
    the vector to 1. Moments, since a bounding box jumps with a single pixel. An image without any
    ink becomes zero.
    """
    if not len(images):
        return torch.zeros(0, _SIDE**2)
    return torch.cat([_forms(part) for part in torch.split(torch.from_numpy(images), _CONVERTED)])


def _forms(images: Tensor) -> Tensor:
    ink = images.float()
    middle, half = IMAGE_SIZE / 2, torch.zeros(len(ink))
    theta = torch.zeros(len(ink), 2, 3)
    for axis, profile in enumerate((ink.sum(dim=1), ink.sum(dim=2))):
        center, variance = _moments(profile)
        theta[:, axis, 2] = center / middle - 1
        half += variance
    half = _REACH * half.sqrt().clamp(min=1)  # a single pixel has no deviation
    theta[:, 0, 0] = theta[:, 1, 1] = half / middle
    grid = F.affine_grid(theta, [len(ink), 1, _SIDE, _SIDE], align_corners=False)
    placed = F.grid_sample(ink.unsqueeze(1), grid, align_corners=False).flatten(1)
    return F.normalize(placed, eps=1e-6)


def _moments(profile: Tensor) -> tuple[Tensor, Tensor]:
    """Return centre and variance, in pixels, of each profile (N, 28)."""
    places = torch.arange(IMAGE_SIZE) + 0.5
    share = profile / profile.sum(dim=1, keepdim=True).clamp(min=1e-6)
    center = share @ places
    return center, (share * (places - center.unsqueeze(1)).square()).sum(dim=1)


def nearest(query: Tensor, gallery: Tensor, watch: Watch, *, is_same: bool = False) -> Neighbours:
    """Return the nearest forms of each form in `query` (N, 256) among those of `gallery`.

    `is_same`: the two are the same images, and none is its own neighbour. There are `COUNT`
    neighbours, or as many as there are images.
    """
    count = max(min(COUNT, len(gallery) - is_same), 0)
    distances = torch.empty(len(query), count)
    rows = torch.empty(len(query), count, dtype=torch.int64)
    # One product for all blocks: `fit` has told glibc to keep freed memory, and a new one for each
    # block would leave a hole of 200 MB each time that the next does not fit.
    products = torch.empty(_BLOCK, len(gallery))
    for start in range(0, len(query), _BLOCK):
        watch("comparing images", start / len(query))
        block = query[start : start + _BLOCK]
        cosine = torch.mm(block, gallery.T, out=products[: len(block)])
        if is_same:
            cosine[torch.arange(len(block)), torch.arange(start, start + len(block))] = -2.0
        found = cosine.topk(count).indices
        # From the difference: 1 − cosine has no digits left where two are nearly the same.
        apart = (gallery[found] - block.unsqueeze(1)).norm(dim=2)
        apart[(block == 0).all(dim=1)] = 2**0.5  # a blank image is like no other
        distances[start : start + _BLOCK], rows[start : start + _BLOCK] = apart, found
    return Neighbours(distances.numpy(), rows.numpy())
