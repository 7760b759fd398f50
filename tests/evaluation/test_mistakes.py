from __future__ import annotations

import numpy as np

from helpers import random_images
from penstroke.data.dataset import Dataset
from penstroke.evaluation.metrics import compute_metrics, most_confused
from penstroke.evaluation.predictions import Predictions
from penstroke.reports.mistakes import class_mistakes


def read_as(pairs: dict[tuple[int, int], int]) -> tuple[Predictions, Dataset]:
    """Images by (shown, read as), as many as it says."""
    labels = np.repeat([shown for shown, _ in pairs], list(pairs.values()))
    read = np.repeat([read for _, read in pairs], list(pairs.values()))
    logits = np.zeros((len(labels), 3), np.float32)
    logits[np.arange(len(labels)), read] = 4.0
    classes = ("4", "7", "9")
    return (
        Predictions(labels, logits, classes),
        Dataset(random_images(len(labels)), labels, classes),
    )


def test_a_hard_class_is_said_to_be_hard() -> None:
    """R4's "hard time with 9"."""
    found, images = read_as(
        {(0, 0): 295, (0, 2): 5, (1, 1): 300, (2, 2): 270, (2, 0): 29, (2, 1): 1}
    )
    first, second = class_mistakes(found, images, compute_metrics(found))
    assert first.name == "9"
    assert first.text == (
        "30 of 300 misread: as 4 (29 times), 7 (once). Others read as 9: 4 (5 times)."
    )
    assert first.is_harder
    assert len(first.images) == 16
    assert second.name == "4"
    assert not second.is_harder


def test_no_mistakes_no_found_mistakes() -> None:
    found, images = read_as({(0, 0): 5, (1, 1): 5, (2, 2): 5})
    assert class_mistakes(found, images, compute_metrics(found)) == []


def test_chance_is_not_called_hardness() -> None:
    """Mistakes spread by chance: of 60 draws few name any class as hard."""
    named = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        labels = random.integers(0, 3, 600)
        wrong = random.random(600) < 0.05
        read = np.where(wrong, (labels + 1) % 3, labels)
        logits = np.eye(3, dtype=np.float32)[read]
        found = Predictions(labels, logits, ("a", "b", "c"))
        images = Dataset(np.zeros((600, 28, 28), np.uint8), labels, ("a", "b", "c"))
        found_mistakes = class_mistakes(found, images, compute_metrics(found))
        named += any(one.is_harder for one in found_mistakes)
    assert named <= 6


def test_the_commonest_mistakes_come_first() -> None:
    found, _ = read_as({(0, 0): 5, (0, 2): 2, (1, 0): 7, (2, 1): 1})
    assert most_confused(compute_metrics(found).confusion, found.classes) == [
        ("7", "4", 7), ("4", "9", 2), ("9", "7", 1),
    ]  # fmt: skip


def test_the_true_class_among_the_likeliest() -> None:
    logits = np.array([[3, 2, 1], [1, 2, 3], [1, 3, 2]], np.float32)
    found = Predictions(np.array([0, 0, 2]), logits, ("a", "b", "c"))
    assert [found.top_accuracy(k) for k in (1, 2, 3)] == [1 / 3, 2 / 3, 1.0]
