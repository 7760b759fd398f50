"""From a config to a network, or to an ensemble, with new weights or with given ones."""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from penstroke.config.settings import AnyModelConfig, CNNConfig, MLPConfig, ResNetConfig
from penstroke.data.dataset import Dataset
from penstroke.models.architectures import cnn, mlp, resnet
from penstroke.models.blocks import Normalize

Weights = Mapping[str, npt.NDArray[np.generic]]
"""Arrays by their names inside a network; the pixels' mean and deviation are among them."""


def network_for(config: AnyModelConfig, dataset: Dataset, seed: int = 0) -> nn.Module:
    """Return a new network for the classes and the pixels of `dataset`; see `build_network`."""
    mean, std = dataset.mean_and_std
    return build_network(
        config, num_classes=len(dataset.classes), mean=mean, std=max(std, 1e-6), seed=seed
    )


def build_network(
    config: AnyModelConfig, *, num_classes: int, mean: float, std: float, seed: int = 0
) -> nn.Module:
    """Return a new network: images (B, 1, 28, 28) float32 in 0..1 → logits (B, `num_classes`).

    `mean` and `std` are of the training pixels, in 0..1; `seed` decides the first weights, and the
    global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match config:
            case MLPConfig():
                parts = mlp(config, num_classes)
            case CNNConfig():
                parts = cnn(config, num_classes)
            case ResNetConfig():
                parts = resnet(config, num_classes)
    return nn.Sequential(OrderedDict({"normalize": Normalize(mean=mean, std=std)} | parts))


def load_weights(network: nn.Module, weights: Weights) -> None:
    """Put `weights` into `network`."""
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})


class Ensemble(nn.Module):
    """Networks of one architecture; its logits are the log of their mean probabilities."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, 28, 28) float32 in 0..1 to logits (B, K)."""
        by_member = [torch.log_softmax(member(images), dim=1) for member in self.members]
        return torch.logsumexp(torch.stack(by_member), dim=0) - math.log(len(by_member))


def ensemble_weights(members: Sequence[Weights]) -> Weights:
    """Return the weights of an `Ensemble` from those of its members."""
    return {
        f"members.{index}.{name}": array
        for index, weights in enumerate(members)
        for name, array in weights.items()
    }
