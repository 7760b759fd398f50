"""Images without a character, derived from those of a batch, about which a network stays unsure."""

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from penstroke.config.settings import IMAGE_SIZE

_MIN_CUT, _MAX_CUT = 8, 13
"""Rows, of 28, that are cut away, the upper bound excluded; a character's box has 20."""


def make_outliers(images: Tensor, count: int) -> Tensor:
    """Return `count` images (count, 1, 28, 28) in 0..1 that show no character.

    A third each: images of `images` (B, 1, 28, 28) that are turned or mirrored, images with a part
    cut away, and noise. Some still look like a character, so they are to be weighted lightly. Draws
    come from the device's global generator.
    """
    share = -(-count // len(_KINDS))
    outliers = [
        kind(images[torch.randint(len(images), (share,), device=images.device)]) for kind in _KINDS
    ]
    return torch.cat(outliers)[:count]


def uniform_cross_entropy(logits: Tensor) -> Tensor:
    """Return the mean cross entropy of logits (B, K) to uniform targets, minus its minimum.

    The outlier exposure of Hendrycks et al. 2019; 0 where all classes are equally likely.
    """
    log_probabilities = F.log_softmax(logits, dim=1)
    return -log_probabilities.mean() - torch.log(torch.tensor(float(logits.shape[1])))


def _turned(images: Tensor) -> Tensor:
    """Return the images transposed, mirrored, or turned by a quarter: one of these for all."""
    match _draw(4):
        case 0:
            return images.transpose(2, 3)
        case 1:
            return images.flip(3)
        case turns:
            return images.rot90(1 if turns == 2 else -1, (2, 3))


def _cut(images: Tensor) -> Tensor:
    """Return the images without the rows at one side, the rest moved to the middle."""
    turns = _draw(4)
    rows = _MIN_CUT + _draw(_MAX_CUT - _MIN_CUT)
    rest = images.rot90(turns, (2, 3)).clone()
    rest[:, :, :rows] = 0
    return rest.roll(-(rows - 4) // 2, 2).rot90(-turns, (2, 3))


def _noise(images: Tensor) -> Tensor:
    """Return as many images of random grains, of a random size, density and strength."""
    grain = (1, 2, 4)[_draw(3)]
    side = IMAGE_SIZE // grain
    draw = torch.rand(len(images), 1, side, side, device=images.device)
    density, strength = torch.rand(2, len(images), 1, 1, 1, device=images.device)
    grains = (draw < density).to(images.dtype) * strength.clamp(0.3)
    return F.interpolate(grains, (IMAGE_SIZE, IMAGE_SIZE))


def _draw(count: int) -> int:
    return int(torch.randint(count, ()))


_KINDS = (_turned, _cut, _noise)
