from __future__ import annotations

import numpy as np
import torch
from torch import nn

from penstroke.config.settings import CNNConfig, ResNetConfig, Stage
from penstroke.models.build import Ensemble, build_network, ensemble_weights
from penstroke.models.summary import summarize


def networks(count: int) -> list[nn.Module]:
    return [
        build_network(CNNConfig(), num_classes=5, mean=0.1, std=0.3, seed=seed).eval()
        for seed in range(count)
    ]


def test_an_ensemble_averages_probabilities() -> None:
    members = networks(3)
    images = torch.rand(4, 1, 28, 28)
    with torch.inference_mode():
        mean = torch.stack([m(images).softmax(1) for m in members]).mean(0)
        torch.testing.assert_close(Ensemble(members)(images).softmax(1), mean)


def test_weights_of_members_go_into_an_ensemble() -> None:
    members = networks(2)
    arrays = [{name: t.numpy() for name, t in m.state_dict().items()} for m in members]
    empty = Ensemble(networks(2)[::-1])
    state = {name: torch.from_numpy(array) for name, array in ensemble_weights(arrays).items()}
    empty.load_state_dict(state)
    images = torch.rand(2, 1, 28, 28)
    with torch.inference_mode():
        np.testing.assert_array_equal(empty(images), Ensemble(members)(images))


def test_a_residual_block_starts_as_nothing() -> None:
    network = build_network(
        ResNetConfig(stages=(Stage(filters=8, residual_blocks=1),)),
        num_classes=3,
        mean=0.0,
        std=1.0,
    )
    block = network.get_submodule("stages.0.1")
    features = torch.rand(2, 8, 14, 14)
    torch.testing.assert_close(block(features), features)


def test_heads_of_a_resnet() -> None:
    stages = (Stage(filters=4, residual_blocks=0), Stage(filters=6, dropout=0.1))
    parameters = {}
    for head in ("flatten", "average", "max"):
        config = ResNetConfig.parse({
            "stages": [s.to_dict() for s in stages], "head": head, "dropout": 0.1,
        })  # fmt: skip
        assert config.output_size == 7
        network = build_network(config, num_classes=3, mean=0.0, std=1.0)
        assert network(torch.rand(2, 1, 28, 28)).shape == (2, 3)
        parameters[head] = summarize(network).layers[-1].parameters
    assert parameters == {"flatten": 6 * 49 * 3 + 3, "average": 6 * 3 + 3, "max": 6 * 3 + 3}
