"""Several networks as one: their probabilities are averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from penstroke.models.build import Weights


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
