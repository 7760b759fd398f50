"""SGD, Adam and AdamW over all parameters in one call."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from penstroke.config.settings import TrainConfig

_BETAS = (0.9, 0.999)  # Kingma & Ba 2015, algorithm 1; so is epsilon
_EPSILON = 1e-8


class Optimizer:
    """torch.optim's numbers by torch's own fused kernels, with the state in the open.

    Its classes would import torch's compiler first, used or not: a tenth of a short run
    (docs/lab.md).
    """

    def __init__(self, network: nn.Module, config: TrainConfig) -> None:
        self.parameters: list[Tensor] = list(network.parameters())
        self._config = config
        self.state: dict[str, list[Tensor]] = {}
        if config.optimizer != "sgd":
            for name in ("exp_avg", "exp_avg_sq"):
                self.state[name] = [torch.zeros_like(p.detach()) for p in self.parameters]
            # One count each, as the kernel wants them.
            self.state["step"] = [torch.zeros((), device=p.device) for p in self.parameters]
        elif config.momentum:
            self.state["momentum_buffer"] = [torch.zeros_like(p.detach()) for p in self.parameters]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move the parameters along their gradients, and let go of these."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if self._config.optimizer == "sgd":
            torch._fused_sgd_(
                self.parameters, gradients, self.state.get("momentum_buffer", []),
                lr=learning_rate, momentum=self._config.momentum,
                weight_decay=self._config.weight_decay,
                dampening=0, nesterov=False, maximize=False, is_first_step=False,
            )  # fmt: skip
        else:
            adam = torch._fused_adam_ if self._config.optimizer == "adam" else torch._fused_adamw_
            torch._foreach_add_(self.state["step"], 1)
            adam(
                self.parameters, gradients, self.state["exp_avg"], self.state["exp_avg_sq"],
                [], self.state["step"], lr=learning_rate, beta1=_BETAS[0], beta2=_BETAS[1],
                weight_decay=self._config.weight_decay, eps=_EPSILON,
                amsgrad=False, maximize=False,
            )  # fmt: skip
        for parameter in self.parameters:
            parameter.grad = None

    def named_state(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each tensor of the state under "INDEX OF ITS PARAMETER.NAME"."""
        for name, tensors in self.state.items():
            for index, tensor in enumerate(tensors):
                yield f"{index}.{name}", tensor
