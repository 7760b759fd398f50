from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from helpers import random_images, small_config
from penstroke.data.loading import load_dataset
from penstroke.evaluation.explanations import nearest_neighbours, saliency
from penstroke.models.build import Ensemble, build_network


class Smooth(nn.Module):
    """Two logits that are known functions of the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(784, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.output(images.flatten(1).tanh())
        return logits


@pytest.fixture
def network() -> nn.Module:
    return build_network(small_config().model, num_classes=10, mean=0.2, std=0.3, seed=0).eval()


def difference(network: nn.Module, images: Tensor, read: int, truth: int) -> Tensor:
    with torch.no_grad():
        logits = network(images)
    gap: Tensor = logits[:, read] - logits[:, truth]
    return gap


def test_shares_add_up_to_what_the_ink_makes(network: nn.Module) -> None:
    images = load_dataset("digits").train.images[:6]
    read, truth = np.full(6, 3), np.full(6, 8)
    shares = saliency(network, images, read, truth, steps=400)
    ink = torch.from_numpy(images).unsqueeze(1) / 255
    whole = difference(network, ink, 3, 8) - difference(network, torch.zeros_like(ink), 3, 8)
    np.testing.assert_allclose(shares.sum(axis=(1, 2)), whole.numpy(), rtol=0.02, atol=0.005)
    assert (shares[images == 0] == 0).all()


def test_a_pixels_share_is_its_finite_difference_along_the_way() -> None:
    """Of a smooth function: the slopes are taken by differences, pixel by pixel."""
    torch.manual_seed(0)
    network = Smooth().double().eval()
    images = random_images(1)
    ink = torch.from_numpy(images).unsqueeze(1).double() / 255
    steps, tiny = 64, 1e-5
    wanted = np.zeros(784)
    for step in range(steps):
        here = (ink * ((step + 0.5) / steps)).flatten(1)
        for pixel in range(0, 784, 56):
            up, down = here.clone(), here.clone()
            up[0, pixel] += tiny
            down[0, pixel] -= tiny
            slope = difference(network, up, 0, 1) - difference(network, down, 0, 1)
            wanted[pixel] += float(slope) / (2 * tiny) / steps * float(ink.flatten()[pixel])
    network.float()
    shares = saliency(network, images, np.array([0]), np.array([1]), steps).reshape(-1)
    np.testing.assert_allclose(shares[::56], wanted[::56], rtol=1e-3, atol=1e-6)


def test_the_nearest_image_is_itself_and_then_its_like(network: nn.Module) -> None:
    images = load_dataset("digits").train.images[:700]
    found = nearest_neighbours(network, images[300:310], images, 3)
    assert found.shape == (10, 3)
    assert found[:, 0].tolist() == list(range(300, 310))
    assert len(set(map(tuple, found.tolist()))) == 10


def test_neighbours_are_those_of_a_second_computation(network: nn.Module) -> None:
    images = load_dataset("digits").train.images[:600]
    seen: list[Tensor] = []
    network.output.register_forward_pre_hook(  # type: ignore[union-attr]
        lambda _, given: seen.append(given[0].detach())
    )
    with torch.no_grad():
        network(torch.from_numpy(images).unsqueeze(1) / 255)
    unit = nn.functional.normalize(seen[0], dim=1)
    likeness = unit[:5] @ unit.T
    found = nearest_neighbours(network, images[:5], images, 4)
    expected = likeness.sort(dim=1, descending=True).values[:, :4]
    np.testing.assert_allclose(
        likeness.gather(1, torch.from_numpy(found)).numpy(), expected.numpy(), atol=1e-5
    )


def test_fewer_images_than_asked_for_and_an_ensemble(network: nn.Module) -> None:
    other = build_network(small_config().model, num_classes=10, mean=0.2, std=0.3, seed=1)
    both = Ensemble([network, other]).eval()
    images = random_images(2)
    assert nearest_neighbours(both, images, images, 5)[:, 0].tolist() == [0, 1]
    assert saliency(both, images, np.array([1, 2]), np.array([3, 4])).shape == (2, 28, 28)
