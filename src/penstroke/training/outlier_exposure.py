"""Images of no character, made of those at hand: a network should be sure of none of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from penstroke.config.settings import IMAGE_SIZE

_GRAINS = (1, 2, 4)
_LEAST_LEFT, _MOST_CUT = 8, 13
"""Rows, of 28, of which the first so many are cut away: the character's box is 20."""


def make_outliers(images: Tensor, count: int) -> Tensor:
    """Return `count` images (count, 1, 28, 28) in 0..1 that show no character.

    A third each: images of `images` (B, 1, 28, 28) lying on their side or mirrored; with a part
    cut away; and noise. Some still look like a character: they are to be weighed lightly. Draws
    come from the device's global generator.
    """
    share = -(-count // len(_KINDS))
    made = [make(_drawn_from(images, share)) for make in _KINDS]
    return torch.cat(made)[:count]


def uniform_cross_entropy(logits: Tensor) -> Tensor:
    """Return the mean cross entropy of logits (B, K) to all classes alike, less its least value.

    The outlier exposure of Hendrycks et al. 2019; 0 where the network is sure of nothing.
    """
    log_probabilities = F.log_softmax(logits, dim=1)
    return -log_probabilities.mean() - torch.log(torch.tensor(float(logits.shape[1])))


def _drawn_from(images: Tensor, count: int) -> Tensor:
    return images[torch.randint(len(images), (count,), device=images.device)]


def _turned(images: Tensor) -> Tensor:
    """Return the images transposed, mirrored, or turned by a quarter: one of these for all."""
    ways: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda x: x.transpose(2, 3),
        lambda x: x.flip(3),
        lambda x: x.rot90(1, (2, 3)),
        lambda x: x.rot90(-1, (2, 3)),
    )
    return ways[_one_of(len(ways))](images)


def _cut(images: Tensor) -> Tensor:
    """Return the images without what lies at one side, the rest moved to the middle."""
    turns = _one_of(4)
    rows = _LEAST_LEFT + _one_of(_MOST_CUT - _LEAST_LEFT)
    rest = images.rot90(turns, (2, 3)).clone()
    rest[:, :, :rows] = 0
    return rest.roll(-(rows - 4) // 2, 2).rot90(-turns, (2, 3))


def _noise(images: Tensor) -> Tensor:
    """Return as many images of black and white grains, of a size, density and strength drawn."""
    grain = _GRAINS[_one_of(len(_GRAINS))]
    side = IMAGE_SIZE // grain
    draw = torch.rand(len(images), 1, side, side, device=images.device)
    density, strength = torch.rand(2, len(images), 1, 1, 1, device=images.device)
    grains = (draw < density).to(images.dtype) * strength.clamp(0.3)
    return F.interpolate(grains, (IMAGE_SIZE, IMAGE_SIZE))


def _one_of(count: int) -> int:
    return int(torch.randint(count, ()))


_KINDS = (_turned, _cut, _noise)
