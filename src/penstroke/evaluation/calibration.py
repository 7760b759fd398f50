"""Calibration: of answers given with 90 % confidence, nine in ten should be right.

What is fitted on validation images is fitted so that each source of a union counts equally: of one
data set that is much larger, or much easier, the others would get its figures.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from penstroke.data.dataset import Rows, Sources
from penstroke.evaluation.intervals import wilson_low
from penstroke.evaluation.predictions import Predictions
from penstroke.inference.line_decoding import (
    LogProbabilities,
    decode,
    text_log_probabilities,
)
from penstroke.inference.recognizer import CONFIDENCE_THRESHOLD, OperatingPoint, max_logit_score

BINS = 15
PRECISIONS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
"""Of the operating points, where they are shown."""
_REJECTED = 0.001
_TAIL, _LEAST_TAIL = 0.05, 5
"""Share of the images, and number at least, that tell how scores fall off towards the lowest."""
_MOST_LINES = 2000
_LEAST_DOUBT = 1e-12
_LOWEST, _HIGHEST = 0.05, 20.0
_FEW_MISTAKES = 10
_FULL_WEIGHT = 500
"""Images of a source that count as much as those of any larger one: fewer would be too noisy."""


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
    return compare_with_accuracy(predictions.confidence, predictions.is_right, bins)


def compare_with_accuracy(
    confidence: npt.NDArray[np.float64], is_right: npt.NDArray[np.bool_], bins: int = BINS
) -> Calibration:
    """Return the `calibration` of images with this confidence (N,), and whether each is right."""
    binned = tuple(
        Bin(len(part), float(confidence[part].mean()), float(is_right[part].mean()))
        for part in np.array_split(np.argsort(confidence, kind="stable"), bins)
        if len(part)
    )
    error = sum(one.images * abs(one.confidence - one.accuracy) for one in binned)
    return Calibration(error / max(len(confidence), 1), binned)


def calibration_error_by_source(predictions: Predictions, sources: Sources) -> dict[str, float]:
    """Return the expected calibration error on the images of each of the `sources` (N,)."""
    return {
        name: compare_with_accuracy(predictions.confidence[rows], predictions.is_right[rows]).ece
        for name, rows in _rows_by_source(sources, len(predictions)).items()
    }


def ood_threshold(predictions: Predictions, sources: Sources | None = None) -> float | None:
    """Return the max-logit score that all but 1 in 1,000 images like those of validation exceed.

    Of several `sources` (N,) the median, so that one of bad images does not let everything pass.
    Fewer than 1,000 images do not show it: of new ones, more are below the lowest. There the tail
    is taken to be exponential (peaks over a threshold, Pickands 1975), and followed further down.
    None without images, or where the threshold would reject nothing.
    """
    if not len(predictions):
        return None
    scores = max_logit_score(predictions.logits)
    by_source = _rows_by_source(sources, len(predictions)).values()
    threshold = float(np.median([_low_score(np.sort(scores[rows])) for rows in by_source]))
    return threshold if threshold > 0 else None


def _low_score(scores: npt.NDArray[np.float32]) -> float:
    """Return the score that all but 1 in 1,000 exceed, given those of some images, sorted."""
    shown, count = float(np.quantile(scores, _REJECTED)), len(scores)
    tail = max(_LEAST_TAIL, round(_TAIL * count))
    if count * _REJECTED >= 1 or tail >= count:
        return shown
    start = float(scores[tail])
    mean_depth = start - float(scores[:tail].mean())
    return min(shown, start - mean_depth * math.log(tail / count / _REJECTED))


def fit_temperature(predictions: Predictions, sources: Sources | None = None) -> float:
    """Return the temperature that minimises cross entropy on validation images (Guo et al. 2017).

    Each of the `sources` (N,) counts equally, those of a few images less. Regularised by one image
    more, like the others on average but with a label drawn at random: without any mistake the best
    temperature would be 0, and nothing would bound the confidence. Of N images read without a
    mistake, about 1 in N is then expected to be wrong (the rule of succession, as in Platt 1999);
    beside a dozen mistakes it hardly counts. 1 without images.
    """
    if not len(predictions):
        return 1.0
    from scipy.optimize import minimize_scalar

    by_source = _rows_by_source(sources, len(predictions)).values()
    total = sum(min(len(rows), _FULL_WEIGHT) for rows in by_source)
    weights = np.ones(len(predictions))
    for rows in by_source:
        share = min(len(rows), _FULL_WEIGHT) / total
        weights[rows] = len(predictions) * share / len(rows)

    def loss(log_temperature: float) -> float:
        scaled = predictions.at(np.exp(log_temperature))
        by_chance = (weights[:, None] * scaled.log_probabilities).mean()
        return float((weights * scaled.losses).sum() - by_chance)

    best = minimize_scalar(
        loss,
        bounds=np.log([_LOWEST, _HIGHEST]),
        options={"xatol": 1e-6},
    )
    return float(np.exp(best.x))


def operating_points(
    predictions: Predictions,
    temperature: float,
    ood_threshold: float | None,
    sources: Sources | None = None,
) -> tuple[OperatingPoint, ...]:
    """Return, for each of `PRECISIONS`, the least confidence threshold at which it is shown.

    `predictions` are those of validation images, with uncalibrated logits. A precision is shown
    where, of the answers to the images of each of the `sources` (N,), Wilson's interval lies above
    it; what is not shown at any threshold is left out. No threshold is below that of every model.
    """
    if not len(predictions):
        return ()
    calibrated = predictions.at(temperature)
    is_known = max_logit_score(predictions.logits) >= np.float32(ood_threshold or 0)
    confidence = np.where(is_known, calibrated.confidence, -1.0)
    return _operating_points(confidence, calibrated.is_right, sources)


def _operating_points(
    confidence: npt.NDArray[np.float64], is_right: npt.NDArray[np.bool_], sources: Sources | None
) -> tuple[OperatingPoint, ...]:
    thresholds = np.unique(np.append(confidence, CONFIDENCE_THRESHOLD))
    thresholds = thresholds[thresholds >= CONFIDENCE_THRESHOLD]
    lowest, answered = [], []
    for rows in _rows_by_source(sources, len(confidence)).values():
        order = rows[np.argsort(confidence[rows], kind="stable")]
        first = np.searchsorted(confidence[order], thresholds)
        right = np.append(np.cumsum(is_right[order][::-1])[::-1], 0)
        count = len(rows) - first
        lowest.append(wilson_low(right[first], count))
        answered.append(count / len(rows))
    is_shown = np.min(lowest, axis=0)[None] >= np.array(PRECISIONS)[:, None]
    share = np.mean(answered, axis=0)
    return tuple(
        OperatingPoint(
            precision=precision,
            confidence_threshold=float(thresholds[shown.argmax()]),
            answered=float(share[shown.argmax()]),
        )
        for precision, shown in zip(PRECISIONS, is_shown, strict=True)
        if shown.any()
    )


def fit_line_temperature(
    log_probs: Sequence[LogProbabilities], texts: Sequence[str], alphabet: str
) -> float:
    """Return the temperature at which the probabilities of whole lines are the most honest.

    `log_probs` are of validation lines, (T, 1 + A) each, at temperature 1. Minimised is the cross
    entropy of whether a line is read exactly, given the probability of what is read; of the text
    that is written, illegible lines would count without a bound. Regularised as `fit_temperature`
    is, by one line more that is misread. Of more than 2,000 lines every second, third, … is looked
    at. 1 without lines.
    """
    if not len(texts):
        return 1.0
    from scipy.optimize import minimize_scalar

    rows = range(0, len(texts), -(-len(texts) // _MOST_LINES))
    read = [decode(log_probs[row], alphabet)[0].text for row in rows]
    is_right = np.array([text == texts[row] for text, row in zip(read, rows, strict=True)])

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        scaled = [log_softmax(log_probs[row] * scale) for row in rows]
        log_p = text_log_probabilities(scaled, read, alphabet)
        log_right = np.minimum(log_p, -_LEAST_DOUBT)
        log_wrong = np.log(-np.expm1(log_right))
        return float(-np.where(is_right, log_right, log_wrong).sum() - log_wrong.mean())

    best = minimize_scalar(loss, bounds=np.log([_LOWEST, _HIGHEST]), options={"xatol": 1e-3})
    return float(np.exp(best.x))


def log_softmax(logits: LogProbabilities) -> LogProbabilities:
    """Return the log-probabilities of (T, 1 + A) logits."""
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def line_operating_points(
    probabilities: npt.NDArray[np.float64],
    is_right: npt.NDArray[np.bool_],
    sources: Sources | None = None,
) -> tuple[OperatingPoint, ...]:
    """Return the `operating_points` of validation lines (N,), read with these probabilities.

    A line is right if it is read exactly.
    """
    return _operating_points(probabilities, is_right, sources) if len(is_right) else ()


def _rows_by_source(sources: Sources | None, count: int) -> dict[str, Rows]:
    """Return which of `count` images are of each source; all are of one if it is not known."""
    if sources is None:
        return {"": np.arange(count)}
    return {str(name): np.flatnonzero(sources == name) for name in np.unique(sources)}


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
