"""Why an image is read as it is: its nearest training images, and the ink that decided."""

from contextlib import ExitStack

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from penstroke.data.dataset import Images, Labels

_BATCH = 250
_STEPS = 64
"""Of the integral. The attributions of a `balanced` network then miss their sum by 3 % on average
(MNIST; 128 steps: 2 %, 256: 1 %)."""

Floats = npt.NDArray[np.float32]


def nearest_neighbours(network: nn.Module, queries: Images, images: Images, count: int) -> Labels:
    """Return the indices of the `count` of `images` nearest to each of Q queries: (Q, count).

    By cosine similarity of the features that the output layer sees, nearest first.
    """
    features = _unit_features(network, queries)
    batches = (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))
    similarity = torch.cat([features @ _unit_features(network, batch).T for batch in batches], 1)
    return np.asarray(similarity.topk(min(count, len(images))).indices.numpy())


def saliency(
    network: nn.Module, images: Images, read: Labels, truth: Labels, steps: int = _STEPS
) -> Floats:
    """Return how much each pixel speaks for `read` against `truth`: (N, 28, 28), signed.

    Integrated gradients (Sundararajan et al. 2017) of the difference of two logits, from a black
    image to `images`, by the midpoints of `steps` equal steps: the attributions add up to the
    difference that the ink makes. Where there is no ink they are 0.
    """
    ink = _as_input(images)
    rows = torch.arange(len(images))
    gradient = torch.zeros_like(ink)
    for step in range(steps):
        here = (ink * ((step + 0.5) / steps)).requires_grad_()
        logits = network(here)
        difference = logits[rows, torch.from_numpy(read)] - logits[rows, torch.from_numpy(truth)]
        (slope,) = torch.autograd.grad(difference.sum(), here)
        gradient += slope / steps
    return np.asarray((gradient * ink).squeeze(1).detach().numpy())


def _unit_features(network: nn.Module, images: Images) -> Tensor:
    """Return what each output layer (several in an ensemble) is given, scaled to unit length."""
    features: list[Tensor] = []
    with torch.inference_mode(), ExitStack() as hooks:
        for name, layer in network.named_modules():
            if name.rpartition(".")[2] == "output":
                hook = layer.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
                hooks.enter_context(hook)
        network(_as_input(images))
    return nn.functional.normalize(torch.cat(features, dim=1), dim=1)


def _as_input(images: Images) -> Tensor:
    return torch.from_numpy(images).unsqueeze(1).to(torch.float32) / 255
