"""Ten faults, planted one by one: each is found by the check that is there for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from helpers import small_config
from penstroke.config.settings import RunConfig
from penstroke.data.dataset import Dataset
from penstroke.data.loading import load_dataset
from penstroke.models.blocks import Dropout, Normalize
from penstroke.quality.checks import TrainingSetup, check, range_test


@pytest.fixture(scope="module")
def setup() -> TrainingSetup:
    config = small_config().replace(
        {
            "data.max_train_images": None,
            "train.learning_rate": 3e-3,
            "train.threads": 1,
            "train.batch_size": 64,
        }
    )
    return TrainingSetup.from_config(config, load_dataset(config.data))


def changed(setup: TrainingSetup, change: Callable[[nn.Module], None]) -> TrainingSetup:
    network = setup.copy_network()
    change(network)
    return replace(setup, network=network)


def found_wrong(setup: TrainingSetup, only: str | None = None) -> set[str]:
    return {one.name for one in check(setup, only=only) if one.outcome == "fail"}


class Wrapped(nn.Module):
    """A network with something done to its logits, or before."""

    def __init__(self, network: nn.Module, after: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.after = network, after

    def forward(self, images: Tensor) -> Tensor:
        return self.after(self.network(images))


class AlwaysDropping(Dropout):
    """Dropout that does not know of evaluation."""

    def eval(self) -> AlwaysDropping:
        return self

    def train(self, mode: bool = True) -> AlwaysDropping:
        self.training = True
        return self


class Cut(nn.Module):
    """A layer that lets no gradient through."""

    def forward(self, features: Tensor) -> Tensor:
        return features.detach()


def shuffled_labels(setup: TrainingSetup) -> TrainingSetup:
    train = setup.train
    labels = np.random.default_rng(0).permutation(train.labels)
    return replace(setup, train=Dataset(train.images, labels, train.classes))


def softmax_twice(setup: TrainingSetup) -> TrainingSetup:
    return replace(setup, network=Wrapped(setup.copy_network(), lambda z: z.softmax(1)))


def frozen_layer(setup: TrainingSetup) -> TrainingSetup:
    def freeze(network: nn.Module) -> None:
        for parameter in network.convolutions.parameters():  # type: ignore[union-attr]
            parameter.requires_grad = False

    return changed(setup, freeze)


def dead_relus(setup: TrainingSetup) -> TrainingSetup:
    def kill(network: nn.Module) -> None:
        with torch.no_grad():
            network.dense[1].linear.bias -= 100  # type: ignore[index,union-attr]

    return changed(setup, kill)


def wrong_normalisation(setup: TrainingSetup) -> TrainingSetup:
    def spoil(network: nn.Module) -> None:
        network.normalize = Normalize(mean=0.0, std=1 / 255)

    return changed(setup, spoil)


def transposed_images(setup: TrainingSetup) -> TrainingSetup:
    train = setup.train
    images = np.ascontiguousarray(train.images.transpose(0, 2, 1))
    return replace(setup, train=Dataset(images, train.labels, train.classes))


def high_rate(setup: TrainingSetup) -> TrainingSetup:
    rate = 100 * setup.config.train.learning_rate
    return replace(setup, config=setup.config.replace({"train.learning_rate": rate}))


def summed_loss(setup: TrainingSetup) -> TrainingSetup:
    return replace(setup, loss=lambda z, labels: cross_entropy(z, labels, reduction="sum"))


def dropout_in_evaluation(setup: TrainingSetup) -> TrainingSetup:
    def drop(network: nn.Module) -> None:
        network.dense.append(AlwaysDropping(0.3))  # type: ignore[union-attr,operator]

    return changed(setup, drop)


def cut_gradient(setup: TrainingSetup) -> TrainingSetup:
    def cut(network: nn.Module) -> None:
        network.dense.insert(0, Cut())  # type: ignore[union-attr,operator]

    return changed(setup, cut)


@pytest.mark.parametrize(
    ("plant", "name"),
    [
        (shuffled_labels, "labels"),
        (softmax_twice, "output"),
        (frozen_layer, "gradients"),
        (dead_relus, "dead units"),
        (wrong_normalisation, "input"),
        (transposed_images, "orientation"),
        (high_rate, "learning rate"),
        (summed_loss, "mean loss"),
        (dropout_in_evaluation, "evaluation"),
        (cut_gradient, "gradients"),
    ],
)
def test_a_planted_fault_is_found(
    setup: TrainingSetup, plant: Callable[[TrainingSetup], TrainingSetup], name: str
) -> None:
    assert found_wrong(plant(setup), only=name) == {name}


def test_nothing_is_wrong_without_a_fault(setup: TrainingSetup) -> None:
    assert found_wrong(setup) == set()


def test_frozen_and_cut_are_told_apart(setup: TrainingSetup) -> None:
    said = {one.name: one.text for one in check(frozen_layer(setup))}["gradients"]
    assert said.startswith("frozen: convolutions.0.convolution.weight")
    said = {one.name: one.text for one in check(cut_gradient(setup))}["gradients"]
    assert said.startswith("no gradient reaches convolutions.0.")


def test_checks_leave_no_trace(setup: TrainingSetup) -> None:
    before = {name: tensor.clone() for name, tensor in setup.network.state_dict().items()}
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    check(setup)
    range_test(setup)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert setup.network.training
    assert all(p.grad is None for p in setup.network.parameters())
    for name, tensor in setup.network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_the_same_check_twice_finds_the_same(setup: TrainingSetup) -> None:
    assert check(setup) == check(setup)
    assert range_test(setup) == range_test(setup)


def test_the_range_test_suggests_a_rate_that_learns(setup: TrainingSetup) -> None:
    found = range_test(setup)
    assert 1e-4 <= found.suggestion <= 3e-2
    assert found.rates[0] == pytest.approx(1e-6)
    assert min(found.losses) < 0.8 * found.losses[0]
    at_it = setup.config.replace({"train.learning_rate": found.suggestion})
    assert found_wrong(replace(setup, config=at_it)) == set()


@pytest.mark.parametrize("images", [30, 120])
def test_few_images_are_too_few_to_tell(images: int) -> None:
    config: RunConfig = small_config().replace(
        {"data.max_train_images": images, "train.batch_size": 16, "train.threads": 1}
    )
    found = {
        one.name: one for one in check(TrainingSetup.from_config(config, load_dataset(config.data)))
    }
    assert "too few to tell" in found["labels"].text
    assert found["labels"].outcome == "pass"
