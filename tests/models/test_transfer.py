"""Beginning from a trained network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from helpers import SMALL_CNN
from penstroke.config.settings import AnyModelConfig, MLPConfig, ResNetConfig
from penstroke.errors import ConfigError
from penstroke.models.build import PretrainedWeights, build_network, rows_of


def network(
    classes: tuple[str, ...], seed: int, config: AnyModelConfig = SMALL_CNN, mean: float = 0.2
) -> nn.Module:
    return build_network(config, num_classes=len(classes), mean=mean, std=0.3, seed=seed)


def weights_of(trained: nn.Module, classes: tuple[str, ...]) -> PretrainedWeights:
    return PretrainedWeights(
        {name: t.numpy().copy() for name, t in trained.state_dict().items()}, classes
    )


@pytest.mark.parametrize(
    ("name", "known", "rows"),
    [
        ("A", ("B", "A"), [1]),
        ("A", ("Bb", "Aa"), [1]),
        ("Aa", ("a", "b", "A"), [0, 2]),
        ("Aa", ("A", "Aa"), [1]),
        ("A", ("a",), []),
        ("7", ("Aa",), []),
    ],
)
def test_where_a_class_begins(name: str, known: tuple[str, ...], rows: list[int]) -> None:
    assert rows_of(name, known) == rows


@pytest.mark.parametrize("config", [SMALL_CNN, MLPConfig(), ResNetConfig()])
def test_everything_is_carried_and_rows_go_by_name(config: AnyModelConfig) -> None:
    """As many classes on both sides, in another order: going by place would mix them up."""
    theirs, ours = ("0", "Aa", "7"), ("7", "a", "new")
    trained, untrained = network(theirs, 1, config), network(ours, 2, config, mean=0.9)
    untouched = {name: tensor.clone() for name, tensor in untrained.state_dict().items()}
    weights_of(trained, theirs).copy_into(untrained, ours)
    state = trained.state_dict()
    for name, tensor in untrained.state_dict().items():
        if not name.startswith("output."):
            assert torch.equal(tensor, state[name]), name
            continue
        assert torch.equal(tensor[0], state[name][2])
        assert torch.equal(tensor[1], state[name][1])
        assert torch.equal(tensor[2], untouched[name][2])
    assert float(untrained.state_dict()["normalize.mean"]) == pytest.approx(0.2)


def test_both_cases_as_one_begin_with_their_mean() -> None:
    trained, untrained = network(("A", "a"), 1), network(("Aa",), 2)
    weights_of(trained, ("A", "a")).copy_into(untrained, ("Aa",))
    for name in ("output.weight", "output.bias"):
        both = trained.state_dict()[name]
        assert torch.allclose(untrained.state_dict()[name][0], both.mean(dim=0))


def test_the_same_classes_give_the_same_answers() -> None:
    classes = tuple("0123456789")
    trained, untrained = network(classes, 1).eval(), network(classes, 2).eval()
    weights_of(trained, classes).copy_into(untrained, classes)
    images = torch.from_numpy(np.random.default_rng(0).random((4, 1, 28, 28), np.float32))
    assert torch.equal(untrained(images), trained(images))


@pytest.mark.parametrize("other", [MLPConfig(), SMALL_CNN.model_copy(update={"dense": ()})])
def test_another_architecture_is_refused_with_a_layer(other: AnyModelConfig) -> None:
    classes = ("0", "1")
    with pytest.raises(ConfigError, match=r"model: the pretrained network has another arch.*: \w+"):
        weights_of(network(classes, 1), classes).copy_into(network(classes, 2, other), classes)
