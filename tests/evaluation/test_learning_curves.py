"""Runs made to show each diagnosis, and curves at the edge of the rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from helpers import small_config
from penstroke.config.settings import TrainConfig
from penstroke.data.dataset import Dataset, DataSplits, SealedTest
from penstroke.data.loading import load_dataset
from penstroke.evaluation.learning_curves import diagnose
from penstroke.training.loop import fit


def curves(train: list[float], val: list[float] | None, **more: Any) -> list[dict[str, float]]:
    lines = []
    for k, loss in enumerate(train):
        line = {
            "epoch": k + 1,
            "train_loss": loss,
            "train_accuracy": more.get("train_accuracy", 0.99),
        }
        if val is not None:
            line |= {"val_loss": val[k], "val_accuracy": more.get("val_accuracy", 0.98)}
        lines.append(line)
    return lines


@pytest.mark.parametrize(
    ("history", "name"),
    [
        (curves([1.0, 0.5], [1.0, 0.5]), "too short"),
        (curves([1.0, 0.5, 0.2, 0.1, 0.05, 0.04], [0.5, 0.3, 0.25, 0.3, 0.4, 0.5]), "overfitting"),
        (curves([1.0, 0.5, 0.3, 0.25], [1.0, 0.6, 0.4, 0.3]), "still improving"),
        (curves([2.3, 2.9, 2.2, 3.0, 2.1], [2.3, 2.4, 2.3, 2.5, 2.3]), "unstable"),
        (curves([1.0, float("nan"), float("nan")], None), "unstable"),
        (curves([2.3, 2.3, 2.3], [2.3, 2.3, 2.3],
                train_accuracy=0.1, val_accuracy=0.1), "underfitting"),
        (curves([1.2, 0.9, 0.85, 0.85], [1.0, 0.9, 0.89, 0.9],
                train_accuracy=0.7, val_accuracy=0.69), "underfitting"),
        (curves([1.0, 0.1, 0.05, 0.03], [0.3, 0.2, 0.21, 0.2],
                train_accuracy=1.0, val_accuracy=0.9), "overfitting"),
        (curves([1.9, 1.2, 0.8, 0.6, 0.5], [2.0, 1.4, 1.0, 0.85, 0.75],
                train_accuracy=0.86, val_accuracy=0.78), "still improving"),
        (curves([1.0, 0.4, 0.2, 0.15], [0.5, 0.3, 0.29, 0.295]), "good fit"),
        (curves([1.0, 0.4, 0.2, 0.15], None), "good fit"),
    ],
)  # fmt: skip
def test_curves_get_their_diagnosis(history: list[dict[str, float]], name: str) -> None:
    found = diagnose(history)
    assert (found.name, bool(found.reason), bool(found.advice)) == (name, True, True)


def test_without_validation_images_nothing_is_said_of_their_loss() -> None:
    alone = diagnose(curves([1.0, 0.4, 0.2, 0.15], None))
    assert "validation loss" not in alone.reason
    beside = diagnose(curves([1.0, 0.4, 0.2, 0.15], [0.5, 0.3, 0.29, 0.295]))
    assert "validation loss" in beside.reason


def test_the_lowest_epoch_is_named() -> None:
    found = diagnose(curves([1.0, 0.5, 0.2, 0.1], [0.5, 0.3, 0.31, 0.32]))
    assert found.lowest_epoch == 2
    assert diagnose(curves([1.0, 0.5, 0.2], None)).lowest_epoch is None


def test_a_loss_that_rises_while_mistakes_fall_is_no_overfitting() -> None:
    """Label smoothing does that: `balanced` on MNIST, its figures."""
    history = curves([0.73, 0.59, 0.57, 0.55, 0.54, 0.535], [0.16, 0.08, 0.12, 0.13, 0.095, 0.107])
    for line, accuracy in zip(history, [0.967, 0.9915, 0.992, 0.9935, 0.9937, 0.9938], strict=True):
        line["val_accuracy"] = accuracy
    assert diagnose(history).name == "good fit"


@pytest.mark.parametrize("softened", [{"label_smoothing": 0.1}, {"outlier_exposure": 0.25}])
def test_what_makes_a_network_less_sure_is_not_overfitting(softened: dict[str, float]) -> None:
    """As `balanced` on digits: 99.3 % right at the lowest loss, and at the end, but less sure."""
    history = curves([1.6, 0.9, 0.8, 0.75, 0.7, 0.68], [0.2, 0.10, 0.11, 0.12, 0.13, 0.14])
    train = TrainConfig.parse(softened)
    for accuracy, name in ((143 / 144, "good fit"), (142 / 144, "good fit"), (0.9, "overfitting")):
        for line in history:
            line["val_accuracy"] = 143 / 144
        history[-1]["val_accuracy"] = accuracy
        assert diagnose(history, train, 144).name == name
    assert diagnose(history, TrainConfig(), 14_400).name == "overfitting"
    history[-1]["val_accuracy"] = 142 / 144
    assert diagnose(history, TrainConfig(), 14_400).name == "overfitting"


@pytest.mark.parametrize(
    ("images", "right", "name"),
    [(144, 143, "good fit"), (144, 134, "overfitting"), (10_000, 9_900, "overfitting"),
     (30, 27, "good fit"), (30, 20, "overfitting")],
)  # fmt: skip
def test_few_mistakes_do_not_tell_that_a_loss_rises(images: int, right: int, name: str) -> None:
    """The validation loss rises by half; that of one misread image alone may double."""
    history = curves([1.6, 0.6, 0.3, 0.2, 0.1, 0.05], [0.2, 0.1, 0.11, 0.12, 0.13, 0.15],
                     train_accuracy=1.0, val_accuracy=right / images)  # fmt: skip
    assert diagnose(history, TrainConfig(), images).name == name


def test_a_rise_of_mistakes_is_overfitting_where_the_images_are_enough_to_tell() -> None:
    history = curves([1.6, 0.9, 0.8, 0.75, 0.7, 0.68], [0.2, 0.1, 0.11, 0.12, 0.13, 0.14])
    history[-1]["val_accuracy"] = 0.97
    train = TrainConfig(label_smoothing=0.1)
    found = diagnose(history, train, 10_000)
    assert found.name == "overfitting"
    assert (
        "2.0% of the validation images were misread after epoch 1, 3.0% at the end" in found.reason
    )
    assert diagnose(history, train, 200).name == "good fit"


@pytest.mark.parametrize(
    ("name", "settings", "images"),
    [
        ("good fit", {"epochs": 40, "learning_rate": 8e-3, "schedule": "one_cycle",
                      "seed": 1}, 1200),
        ("still improving", {"epochs": 4, "learning_rate": 3e-4}, 1200),
        ("overfitting", {"epochs": 25, "learning_rate": 3e-3, "batch_size": 16}, 60),
        ("underfitting", {"epochs": 8, "learning_rate": 1e-1, "weight_decay": 0.3,
                          "optimizer": "sgd"}, 1200),
        ("unstable", {"epochs": 10, "learning_rate": 1.5, "momentum": 0.9, "optimizer": "sgd",
                      "batch_size": 16}, 300),
    ],
)  # fmt: skip
def test_runs_made_to_be_each(name: str, settings: dict[str, Any], images: int) -> None:
    config = small_config(**settings).replace({"data.max_train_images": images})
    data = load_dataset(config.data)
    if name == "overfitting":
        data = _with_wrong_labels(data)
    history = [epoch.metrics for epoch in fit(config, data)]
    found = diagnose(history)
    assert found.name == name, (found, history)


def _with_wrong_labels(data: DataSplits) -> DataSplits:
    """A third of the labels drawn anew: nothing but learning by heart gets them right."""
    random, train = np.random.default_rng(0), data.train
    labels = train.labels.copy()
    wrong = random.permutation(len(labels))[: len(labels) // 3]
    labels[wrong] = random.integers(0, 10, len(wrong))
    noisy = Dataset(train.images, labels, train.classes)
    return DataSplits(data.name, noisy, data.validation, SealedTest(train.subset(wrong[:0])), "x")
