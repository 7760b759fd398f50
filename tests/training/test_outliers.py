from __future__ import annotations

import math

import pytest
import torch

from helpers import small_config
from penstroke.data.dataset import DataSplits
from penstroke.models.build import load_weights, network_for
from penstroke.training.loop import fit
from penstroke.training.outlier_exposure import make_outliers, uniform_cross_entropy


def slope() -> torch.Tensor:
    """Images of a stroke that is no mirror image of itself, in the box of a character."""
    images = torch.zeros(30, 1, 28, 28)
    for step in range(20):
        images[:, :, 4 + step, 6 + step // 2] = 1
    images[:, :, 4:6, 6:16] = 1
    return images


@pytest.mark.parametrize("count", [1, 3, 32])
def test_as_many_as_asked_and_images_all(count: int) -> None:
    made = make_outliers(slope(), count)
    assert made.shape == (count, 1, 28, 28)
    assert made.min() >= 0
    assert made.max() <= 1


def test_none_is_a_image_it_was_made_of() -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        made = make_outliers(slope(), 30)
        assert not (made == slope()).flatten(1).all(dim=1).any()


def test_the_seed_decides() -> None:
    torch.manual_seed(1)
    first = make_outliers(slope(), 30)
    torch.manual_seed(1)
    assert torch.equal(make_outliers(slope(), 30), first)
    assert not torch.equal(make_outliers(slope(), 30), first)


def test_the_loss_is_least_where_nothing_is_preferred() -> None:
    assert float(uniform_cross_entropy(torch.zeros(4, 10))) == pytest.approx(0, abs=1e-6)
    logits = torch.randn(4, 10)
    by_hand = (-torch.log_softmax(logits, 1)).mean() - math.log(10)
    assert float(uniform_cross_entropy(logits)) == pytest.approx(float(by_hand), abs=1e-6)
    assert float(uniform_cross_entropy(torch.eye(10) * 20)) > 5


def test_a_network_that_saw_outliers_is_less_sure_of_others(digits: DataSplits) -> None:
    """Of uniform noise, another than was shown: not those images by heart."""
    noise = torch.rand(200, 1, 28, 28, generator=torch.Generator().manual_seed(0))

    def confidence(share: float) -> float:
        config = small_config(epochs=6, outlier_exposure=share, outlier_exposure_weight=0.5)
        *_, last = fit(config, digits)
        network = network_for(config.model, digits.train)
        load_weights(network, last.state.weights)
        with torch.no_grad():
            return float(torch.softmax(network.eval()(noise), 1).amax(1).mean())

    assert confidence(0.5) < confidence(0.0) - 0.1
