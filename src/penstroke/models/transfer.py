"""Fine-tuning starts here: all weights of a trained network, and its outputs for known classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from penstroke.config.class_names import is_same_character
from penstroke.errors import ConfigError
from penstroke.models.build import Weights

_HEAD = "output."
"""The last layer of every architecture: one row of weights and one bias for each class."""


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
