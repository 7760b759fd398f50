"""Layers, parameters and multiply-adds of a network."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from penstroke.config.settings import IMAGE_SIZE


@dataclass(frozen=True)
class LayerSummary:
    """One layer; `output_shape` without the batch, `multiply_adds` for one image."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class NetworkSummary:
    """All layers, and the sums over them."""

    layers: tuple[LayerSummary, ...]
    parameters: int
    multiply_adds: int


def summarize(
    network: nn.Module, size: tuple[int, int] = (IMAGE_SIZE, IMAGE_SIZE)
) -> NetworkSummary:
    """Return the summary of `network`, which keeps its mode and its weights.

    Shapes and multiply-adds are those of an image of `size`: height and width in pixels.
    """
    layers: list[LayerSummary] = []

    def describe(name: str, module: nn.Module, output: Tensor) -> None:
        shape, count = tuple(output.shape[1:]), sum(p.numel() for p in module.parameters())
        multiply_adds = 0
        if isinstance(module, nn.Conv2d | nn.Linear):  # one for each output and weight to it
            multiply_adds = output[0].numel() * module.weight[0].numel()
        layers.append(LayerSummary(name, type(module).__name__, shape, count, multiply_adds))

    hooks = [
        module.register_forward_hook(lambda m, _, output, name=name: describe(name, m, output))
        for name, module in network.named_modules()
        if not list(module.children())
    ]
    was_training, device = network.training, next(network.parameters()).device
    with torch.no_grad():
        network.eval()(torch.zeros(1, 1, *size, device=device))
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    parameters = sum(layer.parameters for layer in layers)
    return NetworkSummary(tuple(layers), parameters, sum(layer.multiply_adds for layer in layers))
