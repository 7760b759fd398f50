"""Beginning from a trained network: all its weights, and of its output layer the known classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from penstroke.config.class_names import is_same_character
from penstroke.errors import ConfigError
from penstroke.training.checkpoint import Array

_HEAD = "output."
"""Every architecture's last layer: a row of weights and a bias a class."""


@dataclass(frozen=True, eq=False)
class PretrainedWeights:
    """A trained network to begin from.

    Attributes:
        weights: by their names inside the network; the pixels' mean and deviation are among them.
        classes: what the rows of its output layer stand for.
    """

    weights: Mapping[str, Array]
    classes: tuple[str, ...]

    def knows(self, name: str) -> bool:
        """Return whether a class `name` begins with what the network knows of it."""
        return bool(rows_of(name, self.classes))

    def put_into(self, network: nn.Module, classes: Sequence[str]) -> None:
        """Begin `network`, new and made for `classes`, where the trained one ended.

        A class that was known keeps its row of the output layer, wherever that stood; `A` begins
        with the row of `Aa`, and `Aa` with the mean of those of `A` and `a`. Rows of new classes
        stay as they are.

        Raises:
            ConfigError: the network is of another architecture; names a layer.
        """
        state = network.state_dict()
        _refuse_another(state, self.weights)
        for name, tensor in state.items():
            given = torch.from_numpy(self.weights[name]).to(tensor)
            if name.startswith(_HEAD):
                _carry_rows(tensor, given, [rows_of(one, self.classes) for one in classes])
            else:
                tensor.copy_(given)


def rows_of(name: str, classes: Sequence[str]) -> list[int]:
    """Return which of `classes` the class `name` begins from: itself, or else other cases of it."""
    if name in classes:
        return [classes.index(name)]
    return [row for row, known in enumerate(classes) if is_same_character(name, known)]


def _carry_rows(head: Tensor, given: Tensor, rows: Sequence[list[int]]) -> None:
    for place, known in enumerate(rows):
        if known:
            head[place] = given[known].mean(dim=0)


def _refuse_another(state: Mapping[str, Tensor], weights: Mapping[str, Array]) -> None:
    for name in sorted({*state, *weights}):
        ours = tuple(state[name].shape) if name in state else None
        theirs = tuple(weights[name].shape) if name in weights else None
        if name.startswith(_HEAD) and ours and theirs:  # as many rows as there are classes
            ours, theirs = ours[1:], theirs[1:]
        if ours != theirs:
            raise ConfigError(
                f"model: it is not the network to begin from: {name} is {ours} here, {theirs} there"
            )
