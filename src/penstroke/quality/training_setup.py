"""What a check works on, and how it trains: always a copy of the network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from penstroke.config.settings import RunConfig, TrainConfig
from penstroke.data.dataset import Dataset, DataSplits
from penstroke.models.blocks import Dropout
from penstroke.models.build import network_for
from penstroke.training.batches import Batches
from penstroke.training.device import resolve_auto
from penstroke.training.optimizer import Optimizer

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class TrainingSetup:
    """Settings, data, network and loss before the first training step.

    Attributes:
        config: the settings, with device, precision and threads resolved.
        train, validation: images; validation may be empty.
        network: new, in training mode; images (B, 1, 28, 28) in 0..1 to logits (B, K).
        loss: logits (B, K) and labels (B,) to a scalar.
    """

    config: RunConfig
    train: Dataset
    validation: Dataset
    network: nn.Module
    loss: Loss = cross_entropy

    @classmethod
    def from_config(cls, config: RunConfig, data: DataSplits) -> TrainingSetup:
        """Return what `config` would train on `data`."""
        config = resolve_auto(config)
        network = network_for(config.model, data.train, config.train.seed)
        return cls(config, data.train, data.validation, network.to(config.train.device))

    def copy_network(self) -> nn.Module:
        """Return a copy of the network, in training mode, which a check may change."""
        return copy.deepcopy(self.network).train()

    def sample(self, count: int) -> tuple[Tensor, Tensor]:
        """Return (images, labels) of up to `count` random training images, always the same ones."""
        indices = np.random.default_rng(0).permutation(len(self.train))[:count]
        return next(Batches(self.train.subset(indices), self.config.train.device).in_order(count))

    def batches(self, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `steps` shuffled batches of the configured size."""
        batches = Batches(self.train, self.config.train.device)
        size, taken = min(self.config.train.batch_size, len(self.train)), 0
        while True:
            for images, labels in batches.shuffled(size, seed=taken):
                if taken == steps:
                    return
                taken += 1
                yield images, labels


class Trainer:
    """Takes steps on a copy of the network; parameters without a gradient stay as they are.

    Args:
        setup: what is trained.
        config: optimiser settings; those of `setup` unless given.
        dropout: False turns dropout off; everything else stays in training mode.
    """

    def __init__(
        self, setup: TrainingSetup, config: TrainConfig | None = None, *, dropout: bool = True
    ) -> None:
        self.network = setup.copy_network()
        if not dropout:
            for module in self.network.modules():
                if isinstance(module, Dropout | nn.Dropout | nn.Dropout2d):
                    module.eval()
        self._loss = setup.loss
        self._optimizer = Optimizer(self.network, config or setup.config.train)

    def backward(self, images: Tensor, labels: Tensor) -> float:
        """Compute the gradients of one batch; return its loss."""
        loss = self._loss(self.network(images), labels)
        if loss.requires_grad:
            torch.autograd.backward(loss)
        return float(loss.detach())

    def apply(self, learning_rate: float) -> None:
        """Update the parameters with the computed gradients, and clear these."""
        for parameter in self.network.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self._optimizer.step(learning_rate)

    def step(self, learning_rate: float, images: Tensor, labels: Tensor) -> float:
        """Take one step; return the loss before it."""
        loss = self.backward(images, labels)
        self.apply(learning_rate)
        return loss
