"""The state of training: a network, its optimiser, and optionally an average of its weights."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from penstroke.config.settings import TrainConfig
from penstroke.models.build import load_weights
from penstroke.training.checkpoint import MODEL_PREFIX, Checkpoint

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
        if self.average is not None:
            decay = min(self.ema_decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(_floats(self.average), _floats(self.network), 1 - decay)

    def capture(self, facts: dict[str, Any]) -> Checkpoint:
        """Return copies of all weights and of the optimiser's state, with `facts`."""
        state = {MODEL_PREFIX: self.deployed.state_dict()}
        if self.average is not None:
            state[_TRAINED_PREFIX] = self.network.state_dict()
        state[_OPTIMIZER_PREFIX] = dict(self.optimizer.named_state())
        arrays = {
            prefix + name: np.array(tensor.detach().cpu().numpy(), order="C")
            for prefix, tensors in state.items()
            for name, tensor in tensors.items()
        }
        return Checkpoint(arrays, facts)

    def restore(self, state: Checkpoint) -> None:
        """Put a captured state back, to the same bits."""
        load_weights(self.deployed, state.weights)
        if self.average is not None:
            load_weights(self.network, state.under(_TRAINED_PREFIX))
        kept = state.under(_OPTIMIZER_PREFIX)
        for name, tensor in self.optimizer.named_state():
            tensor.copy_(torch.from_numpy(kept[name]))


class Optimizer:
    """torch.optim's numbers by torch's own fused kernels, with the state in the open.

    Its classes would import torch's compiler first, used or not: a tenth of a short run
    (docs/lab.md).
    """

    def __init__(self, network: nn.Module, config: TrainConfig) -> None:
        self.parameters: list[Tensor] = list(network.parameters())
        self._config = config
        of_sgd = ["momentum_buffer"] if config.momentum else []
        names = of_sgd if config.optimizer == "sgd" else ["exp_avg", "exp_avg_sq"]
        self.state = {name: [torch.zeros_like(p) for p in self.parameters] for name in names}
        if config.optimizer != "sgd":  # one count each, as the kernel wants them
            self.state["step"] = [torch.zeros((), device=p.device) for p in self.parameters]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move the parameters along their gradients, and let go of these."""
        config, state = self._config, self.state
        if config.max_gradient_norm:
            nn.utils.clip_grad_norm_(self.parameters, config.max_gradient_norm)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if config.optimizer == "sgd":
            torch._fused_sgd_(
                self.parameters, gradients, state.get("momentum_buffer", []), lr=learning_rate,
                momentum=config.momentum, weight_decay=config.weight_decay,
                dampening=0, nesterov=False, maximize=False, is_first_step=False,
            )  # fmt: skip
        else:
            adam = torch._fused_adam_ if config.optimizer == "adam" else torch._fused_adamw_
            torch._foreach_add_(state["step"], 1)
            adam(
                self.parameters, gradients, state["exp_avg"], state["exp_avg_sq"], [],
                state["step"], lr=learning_rate, weight_decay=config.weight_decay,
                beta1=0.9, beta2=0.999, eps=1e-8,  # Kingma & Ba 2015, algorithm 1
                amsgrad=False, maximize=False,
            )  # fmt: skip
        for parameter in self.parameters:
            parameter.grad = None

    def named_state(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each tensor of the state under "INDEX OF ITS PARAMETER.NAME"."""
        for name, tensors in self.state.items():
            for index, tensor in enumerate(tensors):
                yield f"{index}.{name}", tensor


def _floats(network: nn.Module) -> list[Tensor]:
    """Return parameters and measured statistics; counters are left alone."""
    return [t for t in network.state_dict().values() if t.is_floating_point()]
