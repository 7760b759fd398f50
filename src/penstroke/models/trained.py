"""The trained network of a run: one, or several whose probabilities are averaged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from penstroke.models.build import build_network
from penstroke.runs.run import Run
from penstroke.training.checkpoint import Array


class Ensemble(nn.Module):
    """Networks of one architecture; its logits are the log of their mean probabilities."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, 28, 28) float32 in 0..1 to logits (B, K)."""
        by_member = [torch.log_softmax(member(images), dim=1) for member in self.members]
        return torch.logsumexp(torch.stack(by_member), dim=0) - math.log(len(by_member))


def load_network(run: Run) -> nn.Module:
    """Return the trained network of `run`, in evaluation mode.

    Raises:
        RunError: the run has no model yet.
    """
    weights = run.model().weights
    network = untrained_network(run)
    load_weights(network, weights)
    return network.eval()


def untrained_network(run: Run) -> nn.Module:
    """Return a network of the run's architecture, its weights not yet those of the run."""
    data = run.record.data
    members = [
        build_network(
            run.record.config.model, num_classes=len(data.classes), mean=data.mean, std=data.std
        )
        for _ in run.record.members or ("itself",)
    ]
    return Ensemble(members) if run.record.members else members[0]


def load_weights(network: nn.Module, weights: Mapping[str, Array]) -> None:
    """Put `weights`, by name, into `network`."""
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})


def ensemble_weights(members: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Return the weights of an `Ensemble` from those of its members."""
    return {
        f"members.{index}.{name}": array
        for index, weights in enumerate(members)
        for name, array in weights.items()
    }
