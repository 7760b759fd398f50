from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from helpers import small_config
from penstroke.data.dataset import DataSplits
from penstroke.data.loading import load_dataset
from penstroke.errors import ConfigError
from penstroke.models.build import load_weights, network_for
from penstroke.training.loop import fit
from penstroke.training.outlier_exposure import make_outliers, uniform_cross_entropy

TWO = {"data.classes": ["1", "2"], "data.max_train_images": 50}


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


def test_images_of_other_classes_can_be_the_outliers() -> None:
    """A network that was shown 8s and 9s as outliers is unsure of others that it was not shown."""
    names = tuple("0123456789")
    held_out = load_dataset("digits").validation
    others = torch.from_numpy(held_out.images[held_out.labels >= 8]).unsqueeze(1).float() / 255

    def confidence(outlier_classes: tuple[str, ...] | None) -> float:
        config = small_config(epochs=6, outlier_exposure=0.5, outlier_exposure_weight=0.5)
        of_data = {"classes": names[:8], "outlier_classes": outlier_classes}
        config = config.model_copy(update={"data": config.data.model_copy(update=of_data)})
        data = load_dataset(config.data)
        assert (data.outliers is None) == (outlier_classes is None)
        *_, last = fit(config, data)
        network = load_weights(network_for(config.model, data.train), last.state.weights).eval()
        with torch.no_grad():
            return float(torch.softmax(network(others), 1).amax(1).mean())

    assert confidence(names[8:]) < 0.6 * confidence(None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data.outlier_classes": ["9"]}, "data.outlier_classes: needs data.classes"),
        ({**TWO, "data.outlier_classes": ["2"]}, "2 is among data.classes"),
        ({**TWO, "data.outlier_classes": ["3"]}, "has no effect without train.outlier_exposure"),
        (
            {**TWO, "data.outlier_classes": ["x"], "train.outlier_exposure": 0.1},
            'digits has no images of "x"',
        ),
    ],
)
def test_outlier_classes_that_cannot_be(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_dataset(small_config().replace(changes).data)
