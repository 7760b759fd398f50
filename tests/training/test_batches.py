from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import random_images
from penstroke.config.settings import TrainConfig
from penstroke.data.dataset import Dataset
from penstroke.training.batches import Batches, balanced_order, split_order


def batches(count: int) -> Batches:
    return Batches(Dataset(random_images(count), np.arange(count) % 3, ("a", "b", "c")), "cpu")


@pytest.mark.parametrize("count", [2, 63, 64, 65, 66, 128, 129])
def test_every_image_once(count: int) -> None:
    data = batches(count)
    drawn = list(data.shuffled(64, seed=1))
    assert sum(len(labels) for _, labels in drawn) == count
    seen = torch.cat([images for images, _ in drawn]).flatten(1).mul(255).round().byte()
    expected = torch.from_numpy(random_images(count)).flatten(1)
    assert torch.equal(torch.unique(seen, dim=0), torch.unique(expected, dim=0))
    assert len(drawn) == TrainConfig(batch_size=64).steps_per_epoch(count)
    assert min(len(labels) for _, labels in drawn) > 1


def test_images_keep_their_labels() -> None:
    data = batches(50)
    by_image = {bytes(p.numpy()): int(k) for p, k in zip(data.images, data.labels, strict=True)}
    for images, labels in data.shuffled(8, seed=3):
        for image, label in zip(images.mul(255).round().byte(), labels, strict=True):
            assert by_image[bytes(image.contiguous().numpy())] == label


def test_seed_decides_the_order() -> None:
    data = batches(40)
    first, same, other = (torch.cat([k for _, k in data.shuffled(8, s)]) for s in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@given(
    counts=st.lists(st.integers(0, 60), min_size=1, max_size=9).filter(lambda c: sum(c) > 1),
    balance=st.floats(0.01, 1),
    seed=st.integers(0, 9),
)
def test_rare_classes_come_more_often(counts: list[int], balance: float, seed: int) -> None:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    order = balanced_order(labels, balance, torch.Generator().manual_seed(seed))
    assert len(order) == len(labels), "as many steps as without"
    drawn = torch.bincount(labels[order], minlength=len(counts))
    shares = np.array([n ** (1 - balance) if n else 0 for n in counts])
    wanted = shares / shares.sum() * len(labels)
    assert np.abs(drawn.numpy() - wanted).max() < 1
    for label in range(len(counts)):  # evenly inside a class
        times = torch.bincount(order, minlength=len(labels))[labels == label]
        assert not len(times) or int(times.max() - times.min()) <= 1


def test_balance_is_seeded_and_nothing_without_it() -> None:
    uneven = np.array([0] * 30 + [1] * 6 + [2] * 4)
    data = Batches(Dataset(random_images(40), uneven, ("a", "b", "c")), "cpu")

    def order(seed: int, balance: float | None) -> list[int]:
        return torch.cat([k for _, k in data.shuffled(8, seed, balance)]).tolist()

    assert order(1, 1.0) == order(1, 1.0) != order(2, 1.0)
    assert sorted(np.bincount(order(1, 1.0))) == [13, 13, 14]
    assert order(1, None) == order(1, 0.0)
    assert len(list(data.shuffled(8, 1, 1.0))) == TrainConfig(batch_size=8).steps_per_epoch(40)


def test_in_order_is_in_order_in_zero_to_one() -> None:
    data = batches(10)
    images = torch.cat([images for images, _ in data.in_order(4)])
    assert torch.equal(images, data.images.float() / 255)
    assert images.dtype == torch.float32


@pytest.mark.parametrize(
    ("count", "size", "sizes"), [(65, 64, [65]), (66, 64, [64, 2]), (1, 8, [1])]
)
def test_no_batch_of_one(count: int, size: int, sizes: list[int]) -> None:
    assert [len(b) for b in split_order(torch.arange(count), size)] == sizes
    assert TrainConfig(batch_size=size).steps_per_epoch(count) == len(sizes)


@pytest.mark.parametrize(
    ("images", "epochs"), [(1293, 37), (60_000, 8), (128, 400), (129, 400), (130, 200)]
)
def test_few_images_are_shown_more_often(images: int, epochs: int) -> None:
    train = TrainConfig(batch_size=128, epochs=8, min_steps=400)
    assert train.epochs_for(images) == epochs
