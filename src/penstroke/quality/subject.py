"""What is checked, and how a check trains it: always a copy, with no trace in any random state."""

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
from penstroke.training.device import apply, resolve
from penstroke.training.optimizer import Optimizer

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Subject:
    """A way of training before its first step.

    Attributes:
        config: its settings, with device, precision and threads resolved.
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
    def of(cls, config: RunConfig, data: DataSplits) -> Subject:
        """Return what `config` would train on `data`."""
        config = apply(config, resolve(config))
        network = network_for(config.model, data.train, config.train.seed)
        return cls(config, data.train, data.validation, network.to(config.train.device))

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class."""
        return self.train.classes

    def copy(self) -> nn.Module:
        """Return a copy of the network, to do with as a check likes."""
        return copy.deepcopy(self.network).train()

    def images(self, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Return (images, labels) of `count` training images, drawn with `seed`."""
        indices = np.random.default_rng(seed).permutation(len(self.train))[:count]
        batch = Batches(self.train.take(indices), self.config.train.device)
        return next(iter(batch.in_order(count)))

    def batches(self, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `steps` shuffled batches of the size that the settings name."""
        batches = Batches(self.train, self.config.train.device)
        size, taken = min(self.config.train.batch_size, len(self.train)), 0
        while True:
            for images, labels in batches.shuffled(size, seed=taken):
                if taken == steps:
                    return
                taken += 1
                yield images, labels


class Trainer:
    """Steps on one copy of the network, at any rate; parameters without a gradient stay put."""

    def __init__(self, subject: Subject, config: TrainConfig | None = None) -> None:
        self.network = subject.copy()
        self._loss = subject.loss
        self._optimizer = Optimizer(self.network, config or subject.config.train)

    def gradients(self, images: Tensor, labels: Tensor) -> float:
        """Take the gradients of one batch; return its loss."""
        loss = self._loss(self.network(images), labels)
        if loss.requires_grad:
            torch.autograd.backward(loss)
        return float(loss.detach())

    def step(self, learning_rate: float, images: Tensor, labels: Tensor) -> float:
        """Take one step; return the loss before it."""
        loss = self.gradients(images, labels)
        self.apply(learning_rate)
        return loss

    def apply(self, learning_rate: float) -> None:
        """Move the parameters along the gradients that were taken, and let go of these."""
        for parameter in self.network.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self._optimizer.step(learning_rate)

    def without_dropout(self) -> Trainer:
        """Return itself, its dropout off and all else as in training."""
        for module in self.network.modules():
            if isinstance(module, Dropout | nn.Dropout | nn.Dropout2d):
                module.eval()
        return self
