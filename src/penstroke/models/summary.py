"""What a network is made of, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from penstroke.config.settings import IMAGE_SIZE


@dataclass(frozen=True)
class LayerSummary:
    """One layer: where it stands, what it is, what it gives and what it costs an image."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class NetworkSummary:
    """All layers, and their sums."""

    layers: tuple[LayerSummary, ...]

    @property
    def parameters(self) -> int:
        """Trained numbers."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Multiplications with addition, an image, of convolutions and linear layers."""
        return sum(layer.multiply_adds for layer in self.layers)


def summarize(network: nn.Module) -> NetworkSummary:
    """Return layers, output shapes (without the batch), parameters and multiply-adds an image.

    The network is left as it was: same mode, same numbers.
    """
    layers: list[LayerSummary] = []
    leaves = {name: m for name, m in network.named_modules() if not list(m.children())}
    hooks = [
        module.register_forward_hook(
            lambda module, _, output, name=name: layers.append(_describe(name, module, output))
        )
        for name, module in leaves.items()
    ]
    was_training = network.training
    device = next(network.parameters()).device
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 1, IMAGE_SIZE, IMAGE_SIZE, device=device))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return NetworkSummary(tuple(layers))


def _describe(name: str, module: nn.Module, output: Tensor) -> LayerSummary:
    shape = tuple(output.shape[1:])
    return LayerSummary(
        name=name,
        kind=type(module).__name__,
        output_shape=shape,
        parameters=sum(p.numel() for p in module.parameters()),
        multiply_adds=_multiply_adds(module, output),
    )


def _multiply_adds(module: nn.Module, output: Tensor) -> int:
    """Each output takes one multiply-add for each weight that leads to it."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        weights_an_output = module.weight[0].numel()
        return output[0].numel() * weights_an_output
    return 0
