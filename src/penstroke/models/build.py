"""From a config to a network, or to an ensemble, with new weights or with given ones."""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from penstroke.config.class_names import is_same_character
from penstroke.config.settings import (
    AnyModelConfig,
    CNNConfig,
    CRNNConfig,
    MLPConfig,
    ResNetConfig,
)
from penstroke.data.dataset import Dataset
from penstroke.data.lines import LineDataset
from penstroke.errors import ConfigError
from penstroke.models.architectures import cnn, crnn, mlp, resnet
from penstroke.models.blocks import Normalize

Weights = Mapping[str, npt.NDArray[np.generic]]
"""Arrays by their names inside a network; the pixels' mean and deviation are among them."""
_HEAD = "output."
"""The last layer of every architecture: one row of weights and one bias for each class."""


def network_for(config: AnyModelConfig, dataset: Dataset | LineDataset, seed: int = 0) -> nn.Module:
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
            case CRNNConfig():
                parts = crnn(config, num_classes)
    return nn.Sequential(OrderedDict({"normalize": Normalize(mean=mean, std=std)} | parts))


def load_weights(network: nn.Module, weights: Weights) -> nn.Module:
    """Put `weights` into `network`, and return it."""
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return network


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


@dataclass(frozen=True, eq=False)
class PretrainedWeights:
    """A trained network to start from; `classes` are those of the rows of its output layer."""

    weights: Weights
    classes: tuple[str, ...]

    def copy_into(self, network: nn.Module, classes: Sequence[str]) -> None:
        """Copy the weights into a new `network` with outputs for `classes`.

        A known class keeps its row of the output layer, whatever its position; `A` starts from the
        row of `Aa`, and `Aa` from the mean of those of `A` and `a`. Rows of new classes stay as
        they are. ConfigError names a layer if the network has another architecture.
        """
        state = network.state_dict()
        for name in sorted({*state, *self.weights}):
            ours = tuple(state[name].shape) if name in state else None
            theirs = tuple(self.weights[name].shape) if name in self.weights else None
            if name.startswith(_HEAD) and ours and theirs:  # as many rows as there are classes
                ours, theirs = ours[1:], theirs[1:]
            if ours != theirs:
                raise ConfigError(
                    f"model: the pretrained network has another architecture: {name} is {ours} "
                    f"here, {theirs} there"
                )
        for name, tensor in state.items():
            trained = torch.from_numpy(self.weights[name]).to(tensor)
            if not name.startswith(_HEAD):
                tensor.copy_(trained)
                continue
            for row, class_name in enumerate(classes):
                if known := rows_of(class_name, self.classes):
                    tensor[row] = trained[known].mean(dim=0)


def rows_of(name: str, classes: Sequence[str]) -> list[int]:
    """Return the indices in `classes` of `name`, or else of the same character in another case."""
    if name in classes:
        return [classes.index(name)]
    return [row for row, known in enumerate(classes) if is_same_character(name, known)]
