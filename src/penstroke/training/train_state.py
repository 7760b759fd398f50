"""The state of training: a network, its optimiser, and optionally an average of its weights."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from penstroke.config.settings import TrainConfig
from penstroke.training.checkpoint import MODEL_PREFIX, Array, Checkpoint
from penstroke.training.optimizer import Optimizer

_OPTIMIZER_PREFIX = "optimizer."
_TRAINED_PREFIX = "trained."
"""Prefix of the weights under training, where the model is their running average."""


class TrainState:
    """Network and optimiser; `average` is a second network, absent without `ema_decay`."""

    def __init__(self, network: nn.Module, config: TrainConfig) -> None:
        self.network = network
        self.optimizer = Optimizer(network, config)
        self.ema_decay = config.ema_decay
        self.average = copy.deepcopy(network).requires_grad_(False) if self.ema_decay else None

    @property
    def deployed(self) -> nn.Module:
        """The network that is evaluated and kept."""
        return self.network if self.average is None else self.average

    def update_average(self, step: int) -> None:
        """Move the average towards the network after the 0-based `step`.

        The decay rises to `ema_decay` as (1 + t) / (10 + t), so that the first weights, which are
        random, fade soon (as in TensorFlow's ExponentialMovingAverage).
        """
        if self.average is None:
            return
        decay = min(self.ema_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(_floats(self.average), _floats(self.network), 1 - decay)

    def capture(self, facts: dict[str, Any]) -> Checkpoint:
        """Return copies of all weights and of the optimiser's state, with `facts`."""
        arrays = {MODEL_PREFIX + k: _array(t) for k, t in self.deployed.state_dict().items()}
        if self.average is not None:
            trained = self.network.state_dict().items()
            arrays |= {_TRAINED_PREFIX + name: _array(tensor) for name, tensor in trained}
        for name, tensor in self.optimizer.named_state():
            arrays[_OPTIMIZER_PREFIX + name] = _array(tensor)
        return Checkpoint(arrays, facts)

    def restore(self, state: Checkpoint) -> None:
        """Put a captured state back, to the same bits."""
        self.deployed.load_state_dict(_tensors(state, MODEL_PREFIX))
        if self.average is not None:
            self.network.load_state_dict(_tensors(state, _TRAINED_PREFIX))
        kept = _tensors(state, _OPTIMIZER_PREFIX)
        for name, tensor in self.optimizer.named_state():
            tensor.copy_(kept[name])


def _floats(network: nn.Module) -> list[Tensor]:
    """Return parameters and measured statistics; counters are left alone."""
    return [t for t in network.state_dict().values() if t.is_floating_point()]


def _array(tensor: Tensor) -> Array:
    return np.array(tensor.detach().cpu().numpy(), order="C")


def _tensors(state: Checkpoint, prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): torch.from_numpy(np.array(array))
        for name, array in state.arrays.items()
        if name.startswith(prefix)
    }
