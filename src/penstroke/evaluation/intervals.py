"""How sure a figure is: 95 % intervals from the images it was measured on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from penstroke.evaluation.metrics import confusion_counts, f1_by_class
from penstroke.evaluation.predictions import Predictions

RESAMPLES = 1000
_CONFIDENCE = 0.95

Interval = tuple[float, float]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Intervals:
    """95 % intervals of one split's figures; nan where a figure is."""

    accuracy: Interval
    loss: Interval
    auroc: Interval
    f1: Interval


def wilson(right: int, count: int, confidence: float = _CONFIDENCE) -> Interval:
    """Return the score interval of a share `right / count` (Wilson 1927), (nan, nan) of none.

    It stays inside 0..1 and holds its promise near 1, where accuracies are.
    """
    if count == 0:
        return math.nan, math.nan
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, z2 = right / count, z * z
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = z * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    # At the ends middle ± half is 0 or 1 but for rounding.
    low = 0.0 if right == 0 else middle - half
    return low, 1.0 if right == count else middle + half


def intervals(predictions: Predictions, resamples: int = RESAMPLES, seed: int = 0) -> Intervals:
    """Return the intervals of a split: Wilson's for accuracy, the bootstrap's for the rest.

    The bootstrap (Efron 1979, percentiles) draws as many images with replacement, `resamples`
    times; classes without an image in a draw are left out of that draw's means, as in the figures.
    """
    count = len(predictions)
    right = int(predictions.is_right.sum())
    random = np.random.default_rng(seed)
    auroc = _WeightedAuroc(predictions)
    drawn: list[tuple[float, float, float]] = []
    for _ in range(resamples if count else 0):
        weights = np.bincount(random.integers(count, size=count), minlength=count)
        drawn.append((_loss(predictions, weights), auroc(weights), _f1(predictions, weights)))
    loss, area, f1 = (_percentiles(column) for column in np.array(drawn, float).reshape(-1, 3).T)
    return Intervals(wilson(right, count), loss, area, f1)


def _percentiles(values: Floats) -> Interval:
    values = values[np.isfinite(values)]
    if not len(values):
        return math.nan, math.nan
    outside = 50 * (1 - _CONFIDENCE)
    low, high = np.percentile(values, [outside, 100 - outside])
    return float(low), float(high)


def _loss(predictions: Predictions, weights: npt.NDArray[np.int64]) -> float:
    return float(predictions.losses @ weights / weights.sum())


def _f1(predictions: Predictions, weights: npt.NDArray[np.int64]) -> float:
    count = len(predictions.classes)
    confusion = confusion_counts(predictions.labels, predictions.predicted, count, weights)
    return float(f1_by_class(confusion)[confusion.sum(axis=1) > 0].mean())


class _WeightedAuroc:
    """Macro AUROC where each image counts so often: images are sorted once, not each time."""

    def __init__(self, predictions: Predictions) -> None:
        self._classes = []
        for label in range(len(predictions.classes)):
            scores = predictions.probabilities[:, label]
            order = np.argsort(scores, kind="stable")
            # First image of each group of equal scores.
            starts = np.flatnonzero(np.diff(scores[order], prepend=-1.0))
            self._classes.append((order, starts, (predictions.labels == label)[order]))

    def __call__(self, weights: npt.NDArray[np.int64]) -> float:
        """Return the mean area over the classes that have an image."""
        areas = [
            _area(weights[order], starts, positive) for order, starts, positive in self._classes
        ]
        present = [area for area in areas if area is not None]
        return float(np.mean(present)) if len(present) > 1 else math.nan


def _area(
    weights: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], positive: npt.NDArray[np.bool_]
) -> float | None:
    """Return the share of (positive, negative) pairs in the right order; ties count half."""
    groups = np.add.reduceat(weights, starts)
    positives = np.add.reduceat(weights * positive, starts)
    negatives = groups - positives
    below = negatives.cumsum() - negatives / 2
    pairs = float(positives.sum()) * float(negatives.sum())
    return float(positives @ below) / pairs if pairs else None
