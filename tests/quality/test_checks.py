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
from penstroke.quality.checks import check
from penstroke.quality.learning_rate_range import range_test
from penstroke.quality.subject import Subject


@pytest.fixture(scope="module")
def subject() -> Subject:
    config = small_config().replace(
        data={"max_train_images": None},
        train={"learning_rate": 3e-3, "threads": 1, "batch_size": 64},
    )
    return Subject.of(config, load_dataset(config.data))


def changed(subject: Subject, change: Callable[[nn.Module], None]) -> Subject:
    network = subject.copy()
    change(network)
    return replace(subject, network=network)


def found_wrong(subject: Subject) -> set[str]:
    return {one.name for one in check(subject) if one.outcome == "wrong"}


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


def shuffled_labels(subject: Subject) -> Subject:
    train = subject.train
    labels = np.random.default_rng(0).permutation(train.labels)
    return replace(subject, train=Dataset(train.images, labels, train.classes))


def softmax_twice(subject: Subject) -> Subject:
    return replace(subject, network=Wrapped(subject.copy(), lambda z: z.softmax(1)))


def frozen_layer(subject: Subject) -> Subject:
    def freeze(network: nn.Module) -> None:
        for parameter in network.convolutions.parameters():  # type: ignore[union-attr]
            parameter.requires_grad = False

    return changed(subject, freeze)


def dead_relus(subject: Subject) -> Subject:
    def kill(network: nn.Module) -> None:
        with torch.no_grad():
            network.dense[1].linear.bias -= 100  # type: ignore[index,union-attr]

    return changed(subject, kill)


def wrong_normalisation(subject: Subject) -> Subject:
    def spoil(network: nn.Module) -> None:
        network.normalize = Normalize(mean=0.0, std=1 / 255)

    return changed(subject, spoil)


def transposed_images(subject: Subject) -> Subject:
    train = subject.train
    images = np.ascontiguousarray(train.images.transpose(0, 2, 1))
    return replace(subject, train=Dataset(images, train.labels, train.classes))


def high_rate(subject: Subject) -> Subject:
    rate = 100 * subject.config.train.learning_rate
    return replace(subject, config=subject.config.replace(train={"learning_rate": rate}))


def summed_loss(subject: Subject) -> Subject:
    return replace(subject, loss=lambda z, labels: cross_entropy(z, labels, reduction="sum"))


def dropout_in_evaluation(subject: Subject) -> Subject:
    def drop(network: nn.Module) -> None:
        network.dense.append(AlwaysDropping(0.3))  # type: ignore[union-attr,operator]

    return changed(subject, drop)


def cut_gradient(subject: Subject) -> Subject:
    def cut(network: nn.Module) -> None:
        network.dense.insert(0, Cut())  # type: ignore[union-attr,operator]

    return changed(subject, cut)


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
    subject: Subject, plant: Callable[[Subject], Subject], name: str
) -> None:
    assert name in found_wrong(plant(subject))


def test_nothing_is_wrong_without_a_fault(subject: Subject) -> None:
    assert found_wrong(subject) == set()


def test_frozen_and_cut_are_told_apart(subject: Subject) -> None:
    said = {one.name: one.text for one in check(frozen_layer(subject))}["gradients"]
    assert said.startswith("frozen: convolutions.0.convolution.weight")
    said = {one.name: one.text for one in check(cut_gradient(subject))}["gradients"]
    assert said.startswith("no gradient reaches convolutions.0.")


def test_checks_leave_no_trace(subject: Subject) -> None:
    before = {name: tensor.clone() for name, tensor in subject.network.state_dict().items()}
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    check(subject)
    range_test(subject)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert subject.network.training
    assert all(p.grad is None for p in subject.network.parameters())
    for name, tensor in subject.network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_the_same_check_twice_finds_the_same(subject: Subject) -> None:
    assert check(subject) == check(subject)
    assert range_test(subject) == range_test(subject)


def test_the_range_test_suggests_a_rate_that_learns(subject: Subject) -> None:
    found = range_test(subject)
    assert 1e-4 <= found.suggestion <= 3e-2
    assert found.rates[0] == pytest.approx(1e-6)
    assert min(found.losses) < 0.8 * found.losses[0]
    at_it = subject.config.replace(train={"learning_rate": found.suggestion})
    assert found_wrong(replace(subject, config=at_it)) == set()


@pytest.mark.parametrize("images", [30, 120])
def test_few_images_are_too_few_to_tell(images: int) -> None:
    config: RunConfig = small_config().replace(
        data={"max_train_images": images}, train={"batch_size": 16, "threads": 1}
    )
    found = {one.name: one for one in check(Subject.of(config, load_dataset(config.data)))}
    assert "too few to tell" in found["labels"].text
    assert found["labels"].outcome == "ok"
