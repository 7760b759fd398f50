"""What `fit` asks of a kind of data: batches, the loss of one, and the figures of a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from penstroke.config.settings import RunConfig
from penstroke.data.dataset import DataSplits
from penstroke.training.batches import Batches
from penstroke.training.regional_forms import add_regional_forms
from penstroke.training.step import StepLoss, character_loss, score


class Task(Protocol):
    """Characters or lines; `size` is the number of images or lines in an epoch."""

    size: int

    def batches(self, epoch: int) -> Iterator[Any]:
        """Yield what is trained on in `epoch`, which comes after all earlier ones."""

    def loss(self, network: nn.Module, batch: Any) -> StepLoss:
        """Return the loss of `network` on one of the batches."""

    def score(self, network: nn.Module) -> dict[str, float]:
        """Return the validation figures, `val_loss` and `val_accuracy` first; {} without any."""

    def close(self) -> None:
        """End what works for it."""


class CharacterTask:
    """Images of characters, each once an epoch or by `balanced_order`, and cross entropy."""

    def __init__(self, config: RunConfig, data: DataSplits) -> None:
        self.size = len(data.train)
        self._config = config.train
        device = config.train.device
        self._batches, self._validation = (
            Batches(split, device) for split in (data.train, data.validation)
        )
        self._others = None
        if data.outliers is not None:
            self._others = torch.from_numpy(data.outliers).unsqueeze(1).to(device)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (B, 1, 28, 28) in 0..1 and labels (B,), in an order of its own."""
        config, forms = self._config, self._config.augment.regional_forms
        seed = seed_of(config.seed, epoch, 2)
        for images, labels in self._batches.shuffled(config.batch_size, seed, config.balance):
            yield add_regional_forms(images, labels, self._batches.classes, forms), labels

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> StepLoss:
        """Return the cross entropy, and that of what is to be rejected."""
        return character_loss(network, *batch, self._config, self._others)

    def score(self, network: nn.Module) -> dict[str, float]:
        """Return val_loss and val_accuracy."""
        if not len(self._validation):
            return {}
        loss, accuracy = score(network, self._validation)
        return {"val_loss": loss, "val_accuracy": accuracy}

    def close(self) -> None:
        """Nothing works for it."""


def seed_of(*parts: int) -> int:
    """Return one seed from several numbers, well apart from those of their neighbours."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
