"""Calibration: of answers given with 90 % confidence, nine in ten should be right."""

from dataclasses import dataclass

import numpy as np

from penstroke.evaluation.predictions import Predictions
from penstroke.inference.recognizer import max_logit_score

BINS = 15
_REJECTED = 0.001
_LOWEST, _HIGHEST = 0.05, 20.0
_FEW_MISTAKES = 10


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

    Regularised by one image more, like the others on average but with a label drawn at random:
    without any mistake the best temperature would be 0, and nothing would bound the confidence. Of
    N images read without a mistake, about 1 in N is then expected to be wrong (the rule of
    succession, as in Platt 1999); beside a dozen mistakes it hardly counts. 1 without images.
    """
    if not len(predictions):
        return 1.0
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        scaled = predictions.at(np.exp(log_temperature))
        return float(scaled.losses.sum() - scaled.log_probabilities.mean())

    best = minimize_scalar(
        loss,
        bounds=np.log([_LOWEST, _HIGHEST]),
        options={"xatol": 1e-6},
    )
    return float(np.exp(best.x))


def temperature_note(predictions: Predictions | None) -> str | None:
    """Return why the data hardly support the temperature, None where they do.

    Images that are read right speak for a low temperature only; mistakes alone speak against it.
    """
    if predictions is None or not len(predictions):
        return "no images were held out to fit the temperature, so it is 1"
    if (mistakes := int((~predictions.is_right).sum())) >= _FEW_MISTAKES:
        return None
    misread = f"only {mistakes}" if mistakes else "none"
    return (
        f"{misread} of {len(predictions):,} validation images {'are' if mistakes > 1 else 'is'} "
        "misread, so the temperature rests mostly on an assumption (about one mistake among as "
        "many images); more validation images would tell"
    )
