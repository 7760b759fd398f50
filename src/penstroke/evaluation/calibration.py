"""Whether a probability means what it says: of answers given 90 %, nine in ten should be right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from penstroke.evaluation.predictions import Predictions
from penstroke.inference.recognizer import max_logit_score

BINS = 15
_STRANGE = 0.001
_COLDEST, _HOTTEST = 0.05, 20.0
_GOLDEN = (5**0.5 - 1) / 2
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Bin:
    """Images that were answered with about the same confidence."""

    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How confidence and accuracy go together on one split.

    Attributes:
        ece: expected calibration error, the mean over images of |confidence - accuracy| of their
            bin (Naeini et al. 2015), over bins of equal mass.
        bins: least confident first.
    """

    ece: float
    bins: tuple[Bin, ...]


def calibration(predictions: Predictions, bins: int = BINS) -> Calibration:
    """Return how far the confidence of `predictions` can be believed.

    Bins hold equally many images (the first ones one more), by the confidence of the answer: with
    bins of equal width nearly all images of a good network would share the last one.
    """
    confidence, is_right = predictions.probabilities.max(axis=1), predictions.is_right
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    found = tuple(
        Bin(len(part), float(confidence[part].mean()), float(is_right[part].mean()))
        for part in parts
    )
    error = sum(one.images * abs(one.confidence - one.accuracy) for one in found)
    return Calibration(error / max(len(predictions), 1), found)


def ood_threshold(predictions: Predictions) -> float | None:
    """Return the height of logits that all but 1 in 1,000 of `predictions` exceed.

    Of validation images; None where there are none, or where it would say nothing.
    """
    if not len(predictions):
        return None
    height = float(np.quantile(max_logit_score(predictions.logits), _STRANGE))
    return height if height > 0 else None


def fit_temperature(predictions: Predictions) -> float:
    """Return the temperature of least cross entropy on `predictions` (Guo et al. 2017).

    Of validation images: those trained on are known too well. By golden section over the
    logarithm, where the loss has one minimum; 1 where there are no images, or no mistakes at all,
    whose best temperature is 0 and whose confidence nothing bounds.
    """
    if not len(predictions) or predictions.is_right.all():
        return 1.0

    def loss(log_temperature: float) -> float:
        return float(predictions.at(float(np.exp(log_temperature))).losses.mean())

    low, high = np.log(_COLDEST), np.log(_HOTTEST)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > _TOLERANCE:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    return float(np.exp((low + high) / 2))
