"""95 % confidence intervals of figures: over images, over writers, or over seeds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from penstroke.evaluation.metrics import confusion_counts, f1_by_class
from penstroke.evaluation.predictions import Predictions

RESAMPLES = 1000

Interval = tuple[float, float]


@dataclass(frozen=True)
class Intervals:
    """95 % intervals of one split's figures; nan where the figure is undefined."""

    accuracy: Interval
    loss: Interval
    auroc: Interval
    f1: Interval


def wilson(right: int, count: int) -> Interval:
    """Return the 95 % score interval of the share `right / count` (Wilson 1927).

    Unlike the normal approximation it stays inside 0..1 and covers well near 1, where accuracies
    are. (nan, nan) if `count` is 0.
    """
    if count == 0:
        return math.nan, math.nan
    from scipy.stats import binomtest

    interval = binomtest(right, count).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def wilson_low(
    right: npt.NDArray[np.int64], count: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the lower ends of `wilson` of many shares (N,); 0 where `count` is 0."""
    squared = statistics.NormalDist().inv_cdf(0.975) ** 2 / np.maximum(count, 1)
    share = right / np.maximum(count, 1)
    half = np.sqrt(squared * (share * (1 - share) + squared / 4))
    return np.asarray((share + squared / 2 - half) / (1 + squared))


def new_writer_interval(
    right: npt.NDArray[np.int64], images: npt.NDArray[np.int64], seed: int = 0
) -> tuple[Interval, float]:
    """Return the 95 % interval of accuracy on images of new writers, and the effective images.

    `right` and `images` (W,) are counts of each writer. The cluster bootstrap draws as many writers
    with replacement, each with all images. The variance of accuracy over draws tells how many
    images of different writers would say as much: the effective images (Kish 1965), never more than
    there are. The interval is Wilson's for that many, with Student's quantile for W - 1 degrees of
    freedom (after Korn & Graubard 1998). Percentiles of the draws are too narrow where mistakes are
    rare, and have no width without any (docs/lab.md). nan for fewer than two writers.
    """
    count, total = len(images), int(images.sum())
    if count < 2:
        return (math.nan, math.nan), math.nan
    from scipy.stats import t

    share = float(right.sum() / total)
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    variance = float((draws @ right / (draws @ images)).var()) * count / (count - 1)
    effective = min(share * (1 - share) / variance, total) if variance else float(total)
    squared = float(t.ppf(0.975, count - 1)) ** 2 / effective
    centre = share + squared / 2
    half = math.sqrt(squared * (share * (1 - share) + squared / 4))
    low, high = ((centre + sign * half) / (1 + squared) for sign in (-1, 1))
    return (max(low, 0.0), min(high, 1.0)), effective


def error_rate_interval(
    errors: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], seed: int = 0
) -> Interval:
    """Return the 95 % interval of the sum of `errors` over that of `sizes`: both (U,), of units.

    A unit is a line of writing, or all lines of one writer; its `sizes` are of characters. As
    `new_writer_interval`, of the share without an error; percentiles of the draws where there are
    more errors than characters. Of one unit, Wilson's over its characters.
    """
    count = len(sizes)
    if count < 2:
        return wilson(int(np.minimum(errors, sizes).sum()), int(sizes.sum()))
    if errors.sum() < sizes.sum():
        (low, high), _ = new_writer_interval(sizes - errors, sizes, seed)
        return 1 - high, 1 - low
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    return _percentiles((draws @ errors) / (draws @ sizes))


@dataclass(frozen=True)
class SeedVariation:
    """Mean and standard deviation over seeds, and a 95 % interval of the mean; nan for one seed."""

    count: int
    mean: float
    sd: float  # of the sample
    low: float  # Student's, with `count` - 1 degrees of freedom
    high: float


def seed_variation(values: Sequence[float]) -> SeedVariation:
    """Return the variation of one figure over seeds."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return SeedVariation(len(values), mean, math.nan, math.nan, math.nan)
    from scipy.stats import t

    sd = statistics.stdev(values)
    half = float(t.ppf(0.975, len(values) - 1)) * sd / math.sqrt(len(values))
    return SeedVariation(len(values), mean, sd, mean - half, mean + half)


def expected_maximum(values: Sequence[float], count: int) -> float:
    """Return the mean of the highest of `count` normal draws, of the mean and spread of `values`.

    The highest of n uniform draws has the distribution function uⁿ; its quantiles are averaged.
    """
    normal = statistics.NormalDist(statistics.fmean(values), statistics.stdev(values))
    return statistics.fmean(normal.inv_cdf(((k + 0.5) / 1000) ** (1 / count)) for k in range(1000))


def intervals(predictions: Predictions, resamples: int = RESAMPLES, seed: int = 0) -> Intervals:
    """Return the intervals of a split: Wilson's for accuracy, the bootstrap's for the rest.

    The bootstrap (Efron 1979, percentiles) draws as many images with replacement, `resamples`
    times. Classes without an image in a draw are left out of its means, as in `compute_metrics`.
    """
    count, classes = len(predictions), len(predictions.classes)
    labels, predicted = predictions.labels, predictions.predicted
    random = np.random.default_rng(seed)
    weighted_auroc = _WeightedAuroc(predictions)
    figures = np.empty((resamples if count else 0, 3))
    for row in figures:
        weights = np.bincount(random.integers(count, size=count), minlength=count)
        confusion = confusion_counts(labels, predicted, classes, weights)
        f1 = f1_by_class(confusion)[confusion.sum(axis=1) > 0].mean()
        row[:] = predictions.losses @ weights / weights.sum(), weighted_auroc(weights), f1
    accuracy = wilson(int(predictions.is_right.sum()), count)
    return Intervals(accuracy, *map(_percentiles, figures.T))


def _percentiles(values: npt.NDArray[np.float64]) -> Interval:
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, [2.5, 97.5]) if len(finite) else (math.nan, math.nan)
    return float(low), float(high)


class _WeightedAuroc:
    """Macro AUROC where each image has a weight; images are sorted once for all draws."""

    def __init__(self, predictions: Predictions) -> None:
        self._classes = []
        for label in range(len(predictions.classes)):
            scores = predictions.probabilities[:, label]
            order = np.argsort(scores, kind="stable")
            # First image of each group of equal scores.
            starts = np.flatnonzero(np.diff(scores[order], prepend=-1.0))
            self._classes.append((order, starts, (predictions.labels == label)[order]))

    def __call__(self, weights: npt.NDArray[np.int64]) -> float:
        """Return the mean area over the classes that have an image; nan if fewer than two have."""
        areas = []
        for order, starts, is_positive in self._classes:
            totals = np.add.reduceat(weights[order], starts)
            positives = np.add.reduceat(weights[order] * is_positive, starts)
            negatives = totals - positives
            below = negatives.cumsum() - negatives / 2  # ties count half
            pairs = float(positives.sum()) * float(negatives.sum())
            if pairs:
                areas.append(float(positives @ below) / pairs)
        return float(np.mean(areas)) if len(areas) > 1 else math.nan
