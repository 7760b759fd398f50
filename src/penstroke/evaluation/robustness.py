"""Robustness of a network: corrupted images, and confidence on out-of-distribution (OOD) images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from penstroke.data.dataset import Dataset, Images
from penstroke.evaluation.corruptions import CORRUPTIONS, corrupt
from penstroke.evaluation.intervals import wilson
from penstroke.evaluation.metrics import auroc
from penstroke.evaluation.predictions import Predictions, predict

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class CorruptionResult:
    """Accuracy on the test images under one corruption, with its 95 % interval (Wilson)."""

    name: str
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class OODResult:
    """How well confidence separates characters from one kind of OOD images."""

    kind: str
    images: int
    confidence: float  # mean
    auroc: float  # chance that a test image gets a higher confidence


@dataclass(frozen=True)
class Robustness:
    """Robustness of one network; `clean` and `confidence` (a mean) are those without corruption."""

    images: int
    seed: int
    clean: CorruptionResult
    corruptions: tuple[CorruptionResult, ...]
    confidence: float
    ood: tuple[OODResult, ...]

    @property
    def mean_accuracy(self) -> float:
        """Mean over the corruptions, each counted once."""
        return float(np.mean([result.accuracy for result in self.corruptions]))

    @property
    def worst(self) -> CorruptionResult:
        """The corruption with the lowest accuracy."""
        return min(self.corruptions, key=lambda result: result.accuracy)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "mean_accuracy": self.mean_accuracy}


def evaluate_robustness(
    network: nn.Module,
    test: Dataset,
    ood_images: Mapping[str, Images],
    seed: int = 0,
    clean: Predictions | None = None,
    progress: Callable[[str], None] = lambda name: None,
) -> Robustness:
    """Evaluate `network`, in evaluation mode, on corrupted test images and on OOD images by kind.

    Opening the test images has been recorded; `clean` are the predictions on them, if known.
    `progress` is called with the name of each corruption or kind of OOD images when it is done.
    """
    clean = predict(network, test) if clean is None else clean
    progress("clean")
    corruptions = []
    for name in CORRUPTIONS:
        corrupted = Dataset(corrupt(test.images, name, seed), test.labels, test.classes)
        corruptions.append(_corruption_result(name, predict(network, corrupted)))
        progress(name)
    ood = []
    for kind, images in ood_images.items():
        # A data set needs labels; these are not used.
        unlabelled = Dataset(images, np.zeros(len(images), np.int64), test.classes)
        confidence = predict(network, unlabelled).confidence
        scores = np.concatenate([clean.confidence, confidence])
        area = auroc(scores, np.arange(len(scores)) < len(clean))
        ood.append(OODResult(kind, len(images), float(confidence.mean()), area))
        progress(kind)
    return Robustness(
        images=len(test),
        seed=seed,
        clean=_corruption_result("clean", clean),
        corruptions=tuple(corruptions),
        confidence=float(clean.confidence.mean()),
        ood=tuple(ood),
    )


def _corruption_result(name: str, predictions: Predictions) -> CorruptionResult:
    right, count = int(predictions.is_right.sum()), len(predictions)
    return CorruptionResult(name, right / count, *wilson(right, count))
