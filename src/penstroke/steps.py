"""How many steps an epoch has, and how many epochs a run: from its settings and its pictures."""

from __future__ import annotations

import math

from penstroke.config import TrainConfig


def steps_an_epoch(images: int, batch_size: int) -> int:
    """Return how many batches are made of `images` pictures; a last single one joins another."""
    full, rest = divmod(images, batch_size)
    return max(1, full + (rest > 1 or (rest == 1 and full == 0)))


def epochs_of(train: TrainConfig, images: int) -> int:
    """Return how many epochs a run on `images` pictures has: of few, more, for `min_steps`."""
    enough = math.ceil(train.min_steps / steps_an_epoch(images, train.batch_size))
    return max(train.epochs, enough)
