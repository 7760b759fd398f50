"""Mistakes to look at: the worst ones with their reasons, and a sheet of each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from penstroke.data.dataset import Dataset
from penstroke.evaluation.comparison import LEVEL, adjusted
from penstroke.evaluation.explanations import nearest_neighbours, saliency
from penstroke.evaluation.intervals import wilson
from penstroke.evaluation.metrics import Metrics
from penstroke.evaluation.predictions import Predictions
from penstroke.reports import plots

if TYPE_CHECKING:
    from torch import nn

_ANSWERS_SHOWN = 3
_NEIGHBOURS = 3
_COMPARED_WITH = 5000
"""Training images among which the most alike are looked for: all of MNIST takes ten times as long
and finds the same strokes."""
_SHEET = 16
_LISTED = 5

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Answer:
    """A class, how likely the network finds it, and whether it is the true one."""

    name: str
    probability: float
    is_truth: bool


@dataclass(frozen=True)
class Mistake:
    """One image that was read wrong; images are data URIs.

    Attributes:
        index: in its split.
        image: as the network saw it.
        why: the same, ink that spoke for the answer in orange, for the truth in blue.
        truth, read: class names.
        answers: the likeliest, and the truth.
        neighbours: (class, image) of the most similar training images.
    """

    index: int
    image: str
    why: str
    truth: str
    read: str
    answers: tuple[Answer, ...]
    neighbours: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Sheet:
    """The mistakes of one class.

    Attributes:
        name: of the class.
        text: how well it is read, what it is taken for, and whether it is hard.
        images: (read as, image), the surest mistakes first.
    """

    name: str
    text: str
    images: tuple[tuple[str, str], ...]


def worst_mistakes(
    network: nn.Module, predictions: Predictions, dataset: Dataset, training: Dataset, count: int
) -> list[Mistake]:
    """Return the `count` dataset whose true class `network` found least likely, and why."""
    worst = predictions.worst_mistakes(count)
    if not len(worst):
        return []
    images, read = dataset.images[worst], predictions.predicted[worst]
    chosen = np.random.default_rng(0).permutation(len(training))[:_COMPARED_WITH]
    alike = chosen[nearest_neighbours(network, images, training.images[chosen], _NEIGHBOURS)]
    why = saliency(network, images, read, predictions.labels[worst])
    return [
        Mistake(
            index=int(index),
            image=plots.png_uri(dataset.images[index]),
            why=plots.tinted_uri(dataset.images[index], shares),
            truth=predictions.classes[predictions.labels[index]],
            read=predictions.classes[predictions.predicted[index]],
            answers=_answers(predictions, int(index)),
            neighbours=tuple(
                (training.classes[training.labels[k]], plots.png_uri(training.images[k]))
                for k in neighbours
            ),
        )
        for index, shares, neighbours in zip(worst, why, alike, strict=True)
    ]


def _answers(predictions: Predictions, index: int) -> tuple[Answer, ...]:
    probabilities, truth = predictions.probabilities[index], int(predictions.labels[index])
    shown = [int(k) for k in probabilities.argsort()[::-1][:_ANSWERS_SHOWN]]
    shown += [truth] if truth not in shown else []
    names = predictions.classes
    return tuple(Answer(names[k], float(probabilities[k]), k == truth) for k in shown)


def error_sheets(predictions: Predictions, images: Dataset, metrics: Metrics) -> list[Sheet]:
    """Return a sheet of each class with mistakes, the worst read first."""
    confusion = np.array(metrics.confusion)
    wrong = confusion.sum(axis=1) - np.diagonal(confusion)
    p_values = adjusted([_p_harder(confusion, k) for k in range(len(confusion))])
    order = sorted(np.flatnonzero(wrong), key=lambda k: metrics.classes[k].recall)
    return [
        Sheet(
            metrics.classes[k].name,
            _text(metrics, confusion, int(k), p_values[k]),
            _images(predictions, images, int(k)),
        )
        for k in order
    ]


def _p_harder(confusion: Counts, k: int) -> float:
    """Return how often chance alone gives class `k` so many of all mistakes (Fisher's exact)."""
    from scipy.stats import hypergeom

    shown, right = confusion.sum(axis=1), np.diagonal(confusion)
    all_wrong = int((shown - right).sum())
    wrong = int(shown[k] - right[k])
    return float(hypergeom.sf(wrong - 1, int(shown.sum()), all_wrong, int(shown[k])))


def _text(metrics: Metrics, confusion: Counts, k: int, p: float) -> str:
    names = [one.name for one in metrics.classes]
    shown, right = int(confusion[k].sum()), int(confusion[k, k])
    low, high = wilson(right, shown)
    missed, taken = confusion[k].copy(), confusion[:, k].copy()
    missed[k] = taken[k] = 0
    text = (
        f"Of {shown:,} images of {names[k]}, {right:,} are read right: {100 * right / shown:.2f} "
        f"%, 95 % interval {100 * low:.2f}–{100 * high:.2f} %. "
        f"The others are read as {_listed(missed, names)}."
    )
    if taken.any():
        text += f" Read as {names[k]} without being it: {_listed(taken, names)}."
    if p < LEVEL:
        return f"{text} It is harder than the other classes (p = {p:.2g})."
    return f"{text} That it is harder than the others is not shown: chance is as uneven."


def _listed(counts: Counts, names: list[str]) -> str:
    order = [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]]
    return ", ".join(f"{names[k]} ({_times(int(counts[k]))})" for k in order[:_LISTED])


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _images(predictions: Predictions, images: Dataset, k: int) -> tuple[tuple[str, str], ...]:
    wrong = [int(i) for i in predictions.worst_mistakes(len(predictions))
             if predictions.labels[i] == k]  # fmt: skip
    return tuple(
        (predictions.classes[predictions.predicted[i]], plots.png_uri(images.images[i]))
        for i in wrong[:_SHEET]
    )
