"""Ways of writing a digit that a training set hardly holds: a 1 with a flag or a foot, a barred 7.

Much of Europe and Latin America writes them so, and MNIST's Americans did not: a network that has
seen few takes a flagged 1 for a 7 or, with a foot, for a 2, and a barred 7 for a 2.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from penstroke.config.settings import IMAGE_SIZE

_INKED = 0.3
"""Of full ink, in 0..1: a pixel with less does not tell where a stroke ends."""


def add_regional_forms(
    images: Tensor, labels: Tensor, classes: Sequence[str], share: float
) -> Tensor:
    """Return images (B, 1, 28, 28) in 0..1, with strokes added to a share of the 1s and 7s.

    Draws from torch's state, unless there is nothing to do.
    """
    for name, change in _CHANGES.items():
        if share and name in classes:
            drawn = torch.rand(len(labels), device=labels.device) < share
            chosen = torch.nonzero(drawn & (labels == classes.index(name))).flatten()
            if len(chosen):
                images = images.index_copy(0, chosen, change(images[chosen]))
    return images


def _flagged(ones: Tensor) -> Tensor:
    """Return 1s with an upstroke to their top, and half of them with a foot."""
    top, bottom, height, columns = _stem(ones)
    head, foot = _point(top, columns), _point(bottom, columns)
    reach = torch.stack([_between(0.15, 0.45, height), -_between(0.2, 0.5, height)], dim=1)
    flagged = _with_stroke(ones, head, head + reach)
    half = torch.stack([_between(-0.05, 0.05, height), _between(0.12, 0.35, height)], dim=1)
    footed = _with_stroke(flagged, foot - half, foot + half)
    coin = torch.rand_like(height) < 0.5
    return torch.where(coin.reshape(-1, 1, 1, 1), footed, flagged)


def _barred(sevens: Tensor) -> Tensor:
    """Return 7s with a bar across the stem."""
    top, _, height, columns = _stem(sevens)
    middle = _point((top + _between(0.4, 0.65, height)).round().long(), columns)
    half = torch.stack([_between(-0.08, 0.08, height), _between(0.15, 0.3, height)], dim=1)
    return _with_stroke(sevens, middle - half, middle + half)


_CHANGES: dict[str, Callable[[Tensor], Tensor]] = {"1": _flagged, "7": _barred}


def _stem(images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return top, bottom and height of the ink (B,), and the middle of each row's (B, 28)."""
    ink = images[:, 0]
    places = torch.arange(IMAGE_SIZE, device=images.device, dtype=images.dtype)
    columns = (ink @ places) / ink.sum(dim=2).clamp(1e-3)
    rows = (ink.amax(dim=2) > _INKED).int()
    top, bottom = rows.argmax(dim=1), IMAGE_SIZE - 1 - rows.flip(1).argmax(dim=1)
    return top, bottom, (bottom - top).float(), columns


def _point(row: Tensor, columns: Tensor) -> Tensor:
    """Return (B, 2), row and column of the middle of the ink in `row` (B,)."""
    return torch.stack([row.float(), columns.gather(1, row.unsqueeze(1)).squeeze(1)], dim=1)


def _with_stroke(images: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return `images` with a straight stroke from `start` to `end` (B, 2) laid over each."""
    side = torch.arange(IMAGE_SIZE, device=images.device, dtype=images.dtype)
    grid = torch.stack(torch.meshgrid(side, side, indexing="ij"), dim=2)
    from_start = grid - start[:, None, None]
    along = (end - start)[:, None, None]
    part = (from_start * along).sum(3) / along.square().sum(3).clamp(1e-3)
    distance = (from_start - part.clamp(0, 1).unsqueeze(3) * along).norm(dim=3)
    radius = _between(0.9, 1.7, torch.ones_like(start[:, 0]))[:, None, None]
    return torch.maximum(images, (radius + 0.5 - distance).clamp(0, 1).unsqueeze(1))


def _between(low: float, high: float, scale: Tensor) -> Tensor:
    return (low + (high - low) * torch.rand_like(scale)) * scale
