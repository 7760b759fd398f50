"""Metrics of a split, and what it loses to confusable classes, such as 0 and O or x and X."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from penstroke.config.class_names import accepts
from penstroke.data.dataset import Labels
from penstroke.evaluation.predictions import Predictions

_ALIKE = ["0Oo", "1IiLl", "2Zz", "5Ss", "Cc", "Jj", "Kk", "Mm", "Pp", "Uu", "Vv", "Ww", "Xx", "Yy"]
"""Digits with the letters that look like them, and the letters whose cases EMNIST's ByMerge joins
because they cannot be told apart (Cohen et al. 2017)."""


@dataclass(frozen=True)
class ClassMetrics:
    """Recall, precision and F1 of one class."""

    name: str
    images: int
    recall: float
    precision: float
    f1: float


@dataclass(frozen=True)
class Metrics:
    """Metrics of one split; means over classes are over those that have an image."""

    images: int
    accuracy: float
    loss: float  # mean cross entropy over images, in nats
    auroc: float  # of one class against the rest, mean; nan if fewer than two have an image
    f1: float  # mean over classes
    balanced_accuracy: float  # mean recall over classes
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]  # (K, K); rows are true classes, columns predictions
    absent: tuple[str, ...]  # classes without an image

    @property
    def mistakes(self) -> int:
        """Number of misread images."""
        return round(self.images * (1 - self.accuracy))

    def figures(self, prefix: str = "") -> dict[str, float | None]:
        """Return the figures for a summary, each name after `prefix`; nan becomes None."""
        names = ("accuracy", "loss", "auroc", "f1", "balanced_accuracy")
        values = ((name, getattr(self, name)) for name in names)
        return {f"{prefix}{name}": None if np.isnan(one) else one for name, one in values}


def compute_metrics(predictions: Predictions) -> Metrics:
    """Return the metrics of one split.

    Definitions are scikit-learn's, which the tests compare with; importing it would take longer
    than all of this (docs/lab.md).
    """
    labels, names = predictions.labels, predictions.classes
    confusion = confusion_counts(labels, predictions.predicted, len(names))
    support, called = confusion.sum(axis=1), confusion.sum(axis=0)
    right = np.diagonal(confusion)
    recall, precision = right / np.maximum(support, 1), right / np.maximum(called, 1)
    f1 = f1_by_class(confusion)
    present = support > 0
    rated = np.flatnonzero(present) if present.sum() > 1 else np.arange(0)
    areas = [auroc(predictions.probabilities[:, k], labels == k) for k in rated]
    columns = [column.tolist() for column in (support, recall, precision, f1)]
    return Metrics(
        images=len(labels),
        accuracy=float(predictions.is_right.mean()),
        loss=float(predictions.losses.mean()),
        auroc=float(np.mean(areas)) if areas else float("nan"),
        f1=float(f1[present].mean()),
        balanced_accuracy=float(recall[present].mean()),
        classes=tuple(ClassMetrics(*row) for row in zip(names, *columns, strict=True)),
        confusion=tuple(map(tuple, confusion.tolist())),
        absent=tuple(name for name, count in zip(names, support, strict=True) if not count),
    )


def confusion_counts(
    labels: Labels, predicted: Labels, count: int, weights: Labels | None = None
) -> Labels:
    """Return (K, K) counts; rows are true classes, columns predictions."""
    pairs = np.bincount(labels * count + predicted, weights, minlength=count * count)
    return pairs.reshape(count, count).astype(np.int64)


def f1_by_class(confusion: Labels) -> npt.NDArray[np.float64]:
    """Return the F1 of each class: (K,); 0 where a class neither occurs nor is predicted."""
    either = confusion.sum(axis=0) + confusion.sum(axis=1)
    return np.asarray(2 * np.diagonal(confusion) / np.maximum(either, 1), float)


def most_confused(
    confusion: Sequence[Sequence[int]], classes: Sequence[str], count: int = 10
) -> list[tuple[str, str, int]]:
    """Return (true class, predicted class, images), the most frequent mistakes first."""
    counts = np.array(confusion)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:count]
    pairs = zip(*np.unravel_index(order, counts.shape), strict=True)
    return [(classes[k], classes[j], int(counts[k, j])) for k, j in pairs if counts[k, j]]


def auroc(scores: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve by ranks (Mann & Whitney 1947); ties count half."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle_ranks = counts.cumsum() - (counts - 1) / 2
    positives = int(positive.sum())
    above = middle_ranks[place[positive]].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(scores) - positives)))


@dataclass(frozen=True)
class ConfusableGroup:
    """Classes that look alike; `confused` of their images are read as another of them."""

    classes: tuple[str, ...]
    images: int
    confused: int


@dataclass(frozen=True)
class ConfusableClasses:
    """What is lost to confusable classes; `accuracy` is with each group merged into one class."""

    groups: tuple[ConfusableGroup, ...]
    accuracy: float


def confusable_classes(
    confusion: Sequence[Sequence[int]], classes: Sequence[str]
) -> ConfusableClasses | None:
    """Return what is lost to confusable classes; None if no two classes look alike.

    `confusion` is (K, K) counts; rows are true classes, columns predictions. Each of the K classes
    is a character or both cases of one (`Aa`).
    """
    counts = np.asarray(confusion)
    groups = []
    for characters in _ALIKE:
        rows = [k for k, name in enumerate(classes) if any(accepts(name, c) for c in characters)]
        if len(rows) > 1:
            within = counts[np.ix_(rows, rows)]
            confused = int(within.sum() - np.trace(within))
            names = tuple(classes[k] for k in rows)
            groups.append(ConfusableGroup(names, int(counts[rows].sum()), confused))
    if not groups:
        return None
    right = int(np.trace(counts)) + sum(group.confused for group in groups)
    return ConfusableClasses(tuple(groups), right / max(int(counts.sum()), 1))
