from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from penstroke.config.recipes import load_recipe, shipped_recipes
from penstroke.config.settings import (
    Activation,
    AnyModelConfig,
    CNNConfig,
    Convolution,
    Dense,
    MLPConfig,
)
from penstroke.models.blocks import ACTIVATIONS, Dropout, Flatten, convolution_block
from penstroke.models.build import build_network
from penstroke.models.summary import summarize


def network(config: AnyModelConfig, seed: int = 0) -> nn.Module:
    return build_network(config, num_classes=10, mean=0.1307, std=0.3081, seed=seed)


def test_summary_of_the_published_networks() -> None:
    """Parameters counted by hand from the publication's layers."""
    mlp = summarize(network(load_recipe("baseline-mlp").model))
    assert mlp.parameters == (784 * 128 + 128) + (128 * 64 + 64) + (64 * 10 + 10)
    assert mlp.multiply_adds == 784 * 128 + 128 * 64 + 64 * 10
    cnn = summarize(network(load_recipe("baseline-cnn").model))
    assert cnn.parameters == 320 + 18496 + (3136 * 128 + 128) + (128 * 64 + 64) + 650
    assert cnn.multiply_adds == (
        28 * 28 * 32 * 9 + 14 * 14 * 64 * 32 * 9 + 3136 * 128 + 128 * 64 + 640
    )
    shapes = {layer.name: layer.output_shape for layer in cnn.layers}
    assert shapes["convolutions.0.convolution"] == (32, 28, 28)
    assert shapes["convolutions.1.pool"] == (64, 7, 7)
    assert shapes["output"] == (10,)


def test_tiny_is_tiny() -> None:
    assert summarize(network(load_recipe("tiny").model)).parameters < 8000


def test_one_convolution_one_linear_layer() -> None:
    kinds = [
        layer.kind for layer in summarize(network(load_recipe("one-conv-trial-1").model)).layers
    ]
    assert kinds == ["Normalize", "Conv2d", "ReLU", "Flatten", "Linear"]


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_recipe_builds_and_answers(name: str) -> None:
    recipe = load_recipe(name)
    if recipe.reads_lines:
        logits = network(recipe.model)(torch.rand(3, 1, 32, 100))
        assert logits.shape == (3, 25, 10)
    else:
        logits = network(recipe.model)(torch.rand(3, 1, 28, 28))
        assert logits.shape == (3, 10)
    assert torch.isfinite(logits).all()


def test_seed_decides_the_weights_and_leaves_no_trace() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, same, other = (network(CNNConfig(), seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True)
    )
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_blocks_equal_the_textbook_order(activation: Activation, pooling: str) -> None:
    """Pooling before a monotone activation is the same function; elsewhere the order is kept."""
    config = Convolution.parse({"filters": 6, "padding": 1, "pool": 2, "pooling": pooling})
    block = convolution_block(config, 1, activation)
    pool = nn.MaxPool2d(2) if pooling == "max" else nn.AvgPool2d(2)
    textbook = nn.Sequential(block.get_submodule("convolution"), ACTIVATIONS[activation](), pool)
    images = torch.randn(4, 1, 28, 28)
    torch.testing.assert_close(block(images), textbook(images), rtol=0, atol=1e-7)


def test_per_layer_options() -> None:
    config = CNNConfig(
        convolutions=(
            Convolution(filters=4, kernel=5, stride=2, padding=2, batch_norm=True, dropout=0.1),
            Convolution(filters=6, pool=2, pooling="average"),
        ),
        dense=(Dense(units=7, batch_norm=True, dropout=0.5), Dense(units=5)),
        activation="gelu",
    )
    kinds = [layer.kind for layer in summarize(network(config)).layers]
    assert kinds == [
        "Normalize", "Conv2d", "BatchNorm2d", "GELU", "Dropout", "Conv2d", "GELU", "AvgPool2d",
        "Flatten", "Linear", "BatchNorm1d", "GELU", "Dropout", "Linear", "GELU", "Linear",
    ]  # fmt: skip


def test_summary_leaves_the_network_as_it_was() -> None:
    net = network(load_recipe("balanced").model).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    summarize(net)
    assert net.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_normalisation_travels_with_the_weights() -> None:
    state = network(MLPConfig()).state_dict()
    assert float(state["normalize.mean"]) == np.float32(0.1307)
    assert float(state["normalize.std"]) == np.float32(0.3081)


@pytest.mark.parametrize("shape", [(500, 16, 7, 7), (500, 64)])
@pytest.mark.parametrize("probability", [0.1, 0.5, 0.99])
def test_dropout_drops_that_share_and_keeps_the_mean(
    shape: tuple[int, ...], probability: float
) -> None:
    """Against the binomial's spread, and laid out as its input, so that nothing is copied."""
    torch.manual_seed(0)
    features = torch.ones(shape)
    if len(shape) == 4:
        features = features.contiguous(memory_format=torch.channels_last)
    dropout = Dropout(probability)
    dropped = dropout(features)
    share = float((dropped == 0).double().mean())
    spread = (probability * (1 - probability) / features.numel()) ** 0.5
    assert abs(share - probability) < 4 * spread + 2**-16
    assert dropped.stride() == features.stride()
    kept = dropped[dropped != 0]
    assert torch.all(kept == kept[0])
    torch.testing.assert_close(dropout.eval()(features), features)


def test_dropout_is_uneven_nowhere() -> None:
    """Each of the four values of one draw, and each place, is dropped as often."""
    torch.manual_seed(1)
    dropout = Dropout(0.25)
    rates = torch.stack([(dropout(torch.ones(64)) == 0).double() for _ in range(4000)]).mean(0)
    assert float((rates - 0.25).abs().max()) < 5 * (0.25 * 0.75 / 4000) ** 0.5


def test_flatten_copies_nothing_of_channels_last_features() -> None:
    features = torch.rand(3, 5, 2, 4).contiguous(memory_format=torch.channels_last)
    flat = Flatten()(features)
    assert flat.data_ptr() == features.data_ptr()
    assert flat[1, 3 * 5 + 2] == features[1, 2, 0, 3]
