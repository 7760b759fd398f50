"""Architectures, one a file, built from their config."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from penstroke.checkpoint import Array
from penstroke.config import CNNConfig, MLPConfig
from penstroke.models.cnn import CNN
from penstroke.models.mlp import MLP
from penstroke.models.summary import LayerSummary, NetworkSummary, summarize

__all__ = ["LayerSummary", "NetworkSummary", "build_network", "load_weights", "summarize"]


def build_network(
    config: MLPConfig | CNNConfig, *, num_classes: int, mean: float, std: float, seed: int = 0
) -> nn.Module:
    """Return a new network: images (B, 1, 28, 28) float32 in 0..1 → logits (B, `num_classes`).

    `mean` and `std` are of the training pixels, in 0..1; `seed` decides the first weights, and the
    global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match config:
            case MLPConfig():
                return MLP(config, num_classes=num_classes, mean=mean, std=std)
            case CNNConfig():
                return CNN(config, num_classes=num_classes, mean=mean, std=std)


def load_weights(network: nn.Module, weights: Mapping[str, Array]) -> None:
    """Put `weights`, by name, into `network`."""
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
