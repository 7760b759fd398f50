"""Calibration: of answers given with 90 % confidence, nine in ten should be right."""

from dataclasses import dataclass

import numpy as np

from penstroke.evaluation.predictions import Predictions
from penstroke.inference.recognizer import max_logit_score

BINS = 15
_REJECTED = 0.001
_LOWEST, _HIGHEST = 0.05, 20.0


@dataclass(frozen=True)
class Bin:
    """Images that were read with about the same confidence."""

    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How confidence and accuracy agree on one split, in bins of equal mass.

    `ece` is the expected calibration error, the mean over images of |confidence - accuracy| of
    their bin (Naeini et al. 2015).
    """

    ece: float
    bins: tuple[Bin, ...]  # the least confident first


def calibration(predictions: Predictions, bins: int = BINS) -> Calibration:
    """Return how well the confidence of `predictions` agrees with their accuracy.

    Bins hold equally many images (the first ones one more), by confidence: with bins of equal width
    nearly all images of a good network would share the last one.
    """
    confidence, is_right = predictions.confidence, predictions.is_right
    binned = tuple(
        Bin(len(part), float(confidence[part].mean()), float(is_right[part].mean()))
        for part in np.array_split(np.argsort(confidence, kind="stable"), bins)
        if len(part)
    )
    error = sum(one.images * abs(one.confidence - one.accuracy) for one in binned)
    return Calibration(error / max(len(predictions), 1), binned)


def ood_threshold(predictions: Predictions) -> float | None:
    """Return the max-logit score that all but 1 in 1,000 validation images exceed.

    None without images, or where the threshold would reject nothing.
    """
    if not len(predictions):
        return None
    threshold = float(np.quantile(max_logit_score(predictions.logits), _REJECTED))
    return threshold if threshold > 0 else None


def fit_temperature(predictions: Predictions) -> float:
    """Return the temperature that minimises cross entropy on validation images (Guo et al. 2017).

    Searched over its logarithm, where the loss has one minimum. 1 without images or without any
    mistake: the best temperature would then be 0, and nothing would bound the confidence.
    """
    if not len(predictions) or predictions.is_right.all():
        return 1.0
    from scipy.optimize import minimize_scalar

    best = minimize_scalar(
        lambda log_temperature: predictions.at(np.exp(log_temperature)).losses.mean(),
        bounds=np.log([_LOWEST, _HIGHEST]),
        options={"xatol": 1e-6},
    )
    return float(np.exp(best.x))
