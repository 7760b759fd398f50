from __future__ import annotations

import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from helpers import random_images, small_config
from penstroke.config.settings import TrainConfig
from penstroke.data.dataset import Dataset
from penstroke.errors import TrainingError
from penstroke.machine import allowed_cores
from penstroke.training import device
from penstroke.training.batches import Batches
from penstroke.training.device import available_devices, resolve_auto
from penstroke.training.step import character_loss, score, train_step
from penstroke.training.train_state import Optimizer


def linear(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 3))


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_a_step_equals_torchs_plain_one(name: str) -> None:
    """Taken once, and equal to the unfused textbook step."""
    settings = {
        "optimizer": name,
        "learning_rate": 0.01,
        "weight_decay": 0.1,
        "precision": "float32",
    }
    config = TrainConfig.parse(settings | ({"momentum": 0.9} if name == "sgd" else {}))
    ours, textbook = linear(), linear()
    optimizer = Optimizer(ours, config)
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    extra = {"momentum": 0.9} if name == "sgd" else {}
    plain = kind(textbook.parameters(), lr=0.01, weight_decay=0.1, **extra)
    images, labels = torch.rand(8, 1, 28, 28), torch.arange(8) % 3
    for _ in range(3):
        taken = character_loss(ours, images, labels, config)
        train_step(taken, optimizer, 0.01)
        logits = textbook(images)
        expected = F.cross_entropy(logits, labels)
        assert taken.correct == (logits.argmax(1) == labels).sum()
        plain.zero_grad()
        torch.autograd.backward(expected)
        plain.step()
        torch.testing.assert_close(taken.loss, expected.detach())
    for a, b in zip(ours.parameters(), textbook.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_score_is_a_mean_over_images_with_the_last_short_batch() -> None:
    """1,001 images: a mean of batch means would count the last one 1,000 fold."""
    labels = np.zeros(1001, np.int64)
    labels[-1] = 2
    dataset = Dataset(random_images(1001), labels, ("a", "b", "c"))
    network = linear()
    loss, accuracy = score(network, Batches(dataset, "cpu"))
    with torch.inference_mode():
        logits = network(torch.from_numpy(dataset.images).float() / 255).double()
    expected = F.cross_entropy(logits, torch.from_numpy(labels))
    assert loss == pytest.approx(float(expected), rel=1e-5)
    assert accuracy == float((logits.argmax(1).numpy() == labels).mean())
    assert network.training


def test_a_device_that_is_not_there() -> None:
    absent = next((d for d in ("cuda", "mps") if d not in available_devices()), None)
    if absent is None:
        pytest.skip("this machine has every device")
    with pytest.raises(TrainingError, match=f'"{absent}" is not available; this machine has'):
        resolve_auto(small_config(device=absent))


def test_precision_is_measured_once_and_then_kept() -> None:
    from penstroke.files import cache_root

    config = small_config(precision="auto", threads=1)
    before = torch.random.get_rng_state()
    first = resolve_auto(config)
    assert torch.equal(torch.random.get_rng_state(), before)
    kept = list((cache_root() / "precision").iterdir())
    assert first.train.precision in ("float32", "bfloat16")
    assert resolve_auto(config) == first
    assert list((cache_root() / "precision").iterdir()) == kept


def test_onednn_is_limited_before_its_first_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads the limit once: measuring the precision would be too early."""
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    monkeypatch.setenv(name, "")
    monkeypatch.delenv(name)
    device._configure_memory.cache_clear()
    seen = []

    def measured(*_: object) -> str:
        seen.append(os.environ.get(name))
        return "float32"

    monkeypatch.setattr(device, "_faster_precision", measured)
    resolve_auto(small_config(precision="auto"))
    assert seen == ["64"]


@pytest.mark.parametrize(("limit", "threads"), [("1", 1), ("0", 0), ("4,2", 0), ("", 0)])
def test_threads_are_limited_as_everywhere(
    monkeypatch: pytest.MonkeyPatch, limit: str, threads: int
) -> None:
    """Of one core there is nothing to measure."""
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    expected = threads if allowed_cores() > 1 else 1
    assert resolve_auto(small_config(threads=0)).train.threads == expected
