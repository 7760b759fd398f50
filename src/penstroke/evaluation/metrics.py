"""Figures of merit, all from `Predictions`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from penstroke.data.dataset import Labels
from penstroke.evaluation.predictions import Predictions


@dataclass(frozen=True)
class ClassMetrics:
    """One class: how much of it is found, and how much of what is called so is right."""

    name: str
    images: int
    recall: float
    precision: float
    f1: float


@dataclass(frozen=True)
class Metrics:
    """One split.

    Attributes:
        images: how many there are.
        accuracy: share read right.
        loss: mean cross entropy over images, in nats.
        auroc: area under the ROC curve, one class against the rest, mean over the classes present;
            nan where fewer than two classes are present.
        f1: mean over the classes present.
        balanced_accuracy: mean over the classes present of the share of each that is read right.
        classes: each class.
        confusion: (K, K), rows what was shown, columns what was read.
        absent: classes without an image, left out of both means.
    """

    images: int
    accuracy: float
    loss: float
    auroc: float
    f1: float
    balanced_accuracy: float
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    absent: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; nan becomes None."""
        values = asdict(self)
        values["auroc"] = None if np.isnan(self.auroc) else self.auroc
        return values

    def figures(self, prefix: str = "") -> dict[str, float | None]:
        """Return what a summary tells of the split, each name after `prefix`; nan becomes None."""
        values = self.to_dict()
        names = ("accuracy", "loss", "auroc", "f1", "balanced_accuracy")
        return {f"{prefix}{name}": values[name] for name in names}


def compute_metrics(predictions: Predictions) -> Metrics:
    """Return the figures of one split.

    Definitions are scikit-learn's, which the tests compare with; its import alone would take longer
    than all of this.
    """
    labels, names = predictions.labels, predictions.classes
    confusion = confusion_counts(labels, predictions.predicted, len(names))
    support, called = confusion.sum(axis=1), confusion.sum(axis=0)
    right = np.diagonal(confusion)
    recall, precision = right / np.maximum(support, 1), right / np.maximum(called, 1)
    f1 = f1_by_class(confusion)
    present = support > 0
    return Metrics(
        images=len(labels),
        accuracy=float(predictions.is_right.mean()),
        loss=float(predictions.losses.mean()),
        auroc=_macro_auroc(labels, predictions.probabilities, present),
        f1=float(f1[present].mean()),
        balanced_accuracy=float(recall[present].mean()),
        classes=tuple(
            ClassMetrics(name, int(n), float(r), float(p), float(f))
            for name, n, r, p, f in zip(names, support, recall, precision, f1, strict=True)
        ),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        absent=tuple(name for name, there in zip(names, present, strict=True) if not there),
    )


def confusion_counts(
    labels: Labels, predicted: Labels, count: int, weights: Labels | None = None
) -> Labels:
    """Return (K, K) counts, rows what was shown, columns what was read."""
    pairs = np.bincount(labels * count + predicted, weights, minlength=count * count)
    return pairs.reshape(count, count).astype(np.int64)


def f1_by_class(confusion: Labels) -> npt.NDArray[np.float64]:
    """Return the F1 of each class: (K,); 0 where a class neither is there nor was read."""
    either = confusion.sum(axis=0) + confusion.sum(axis=1)
    return np.asarray(2 * np.diagonal(confusion) / np.maximum(either, 1), float)


def most_confused(
    confusion: Sequence[Sequence[int]], classes: Sequence[str], count: int = 10
) -> list[tuple[str, str, int]]:
    """Return (shown, read as, images), the commonest mistakes first."""
    pairs = [
        (shown, read, number)
        for shown, row in zip(classes, confusion, strict=True)
        for read, number in zip(classes, row, strict=True)
        if number and read != shown
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:count]


def _macro_auroc(
    labels: Labels, probabilities: npt.NDArray[np.float64], present: npt.NDArray[np.bool_]
) -> float:
    """Average, over the classes present, the area of each against the rest."""
    if present.sum() < 2:
        return float("nan")
    areas = [auroc(probabilities[:, k], labels == k) for k in np.flatnonzero(present)]
    return float(np.mean(areas))


def auroc(scores: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve by ranks (Mann & Whitney 1947); ties count half."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle_ranks = counts.cumsum() - (counts - 1) / 2
    positives = int(positive.sum())
    above = middle_ranks[place[positive]].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(scores) - positives)))
