"""What is trained: a network, its optimiser, and where wanted a running average of the weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from penstroke.checkpoint import MODEL_PREFIX, Array, Checkpoint
from penstroke.config import TrainConfig
from penstroke.training.step import make_optimizer

_OPTIMIZER_PREFIX = "optimizer."
_TRAINED_PREFIX = "trained."
"""The weights under training, where those of the model are their running average."""


@dataclass
class Learner:
    """Network and optimiser; `average` is a second network, absent without `ema_decay`."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: nn.Module | None
    ema_decay: float

    @classmethod
    def of(cls, network: nn.Module, config: TrainConfig) -> Learner:
        """Return `network` ready to be trained as `config` says."""
        average = copy.deepcopy(network).requires_grad_(False) if config.ema_decay else None
        return cls(network, make_optimizer(network, config), average, config.ema_decay)

    @property
    def deployed(self) -> nn.Module:
        """The network that is judged and kept."""
        return self.network if self.average is None else self.average

    def update_average(self, step: int) -> None:
        """Move the average towards the network after the 0-based `step`.

        The decay rises to its value as (1 + t) / (10 + t), so that the first weights, which are
        random, are soon forgotten (as in TensorFlow's ExponentialMovingAverage).
        """
        if self.average is None:
            return
        decay = min(self.ema_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(_floats(self.average), _floats(self.network), 1 - decay)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the rate of the next step."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

    def capture(self, facts: dict[str, Any]) -> Checkpoint:
        """Return copies of all weights and of the optimiser's state, with `facts` beside them."""
        arrays = {MODEL_PREFIX + k: _array(t) for k, t in self.deployed.state_dict().items()}
        if self.average is not None:
            trained = self.network.state_dict().items()
            arrays |= {_TRAINED_PREFIX + name: _array(tensor) for name, tensor in trained}
        for index, values in self.optimizer.state_dict()["state"].items():
            for key, tensor in values.items():
                if tensor is not None:
                    arrays[f"{_OPTIMIZER_PREFIX}{index}.{key}"] = _array(tensor)
        return Checkpoint(arrays, facts)

    def restore(self, state: Checkpoint) -> None:
        """Put a captured state back, to the same bits."""
        self.deployed.load_state_dict(_tensors(state, MODEL_PREFIX))
        if self.average is not None:
            self.network.load_state_dict(_tensors(state, _TRAINED_PREFIX))
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        values: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _tensors(state, _OPTIMIZER_PREFIX).items():
            index, key = name.split(".", 1)
            values.setdefault(int(index), {})[key] = _laid_out_like(parameters[int(index)], tensor)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": values, "param_groups": groups})


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


def _laid_out_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """Return `tensor` laid out as its parameter: the fused optimiser walks both as one."""
    if tensor.shape != parameter.shape:
        return tensor
    return torch.empty_like(parameter.detach(), dtype=tensor.dtype).copy_(tensor)
