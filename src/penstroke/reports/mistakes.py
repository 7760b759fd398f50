"""Mistakes to look at: the worst ones with explanations, and those of each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from penstroke.data.dataset import Dataset, Images
from penstroke.evaluation.comparison import LEVEL, holm
from penstroke.evaluation.explanations import nearest_neighbours, saliency
from penstroke.evaluation.intervals import Interval, wilson
from penstroke.evaluation.metrics import ClassMetrics, Metrics
from penstroke.evaluation.predictions import Predictions
from penstroke.reports.html import tinted_uri

if TYPE_CHECKING:
    from torch import nn

_ANSWERS_SHOWN, _NEIGHBOURS, _MOST_SHOWN, _MOST_LISTED = 3, 3, 16, 5
_COMPARED_WITH = 5000
"""Training images searched for neighbours: all of MNIST takes ten times as long and finds the same
strokes."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Mistake:
    """One misread image, and why."""

    index: int  # in its split
    image: Images  # (28, 28)
    explanation: str  # data URI: ink for the prediction in orange, for the true class in blue
    true_class: str
    predicted_class: str
    answers: list[tuple[str, float, bool]]  # likeliest classes: name, probability, is it the true
    neighbours: tuple[tuple[str, Images], ...]  # the most similar training images


@dataclass(frozen=True, eq=False)
class ClassMistakes:
    """The mistakes of one class, the most confident first, and in words what they are."""

    name: str
    text: str
    p: float  # Fisher's exact test: more mistakes than other classes? Adjusted (Holm)
    images: tuple[tuple[str, Images], ...]

    @property
    def is_harder(self) -> bool:
        """Whether chance is ruled out."""
        return self.p < LEVEL


def worst_mistakes(
    network: nn.Module, predictions: Predictions, dataset: Dataset, training: Dataset, count: int
) -> list[Mistake]:
    """Return the `count` images of `dataset` whose true class is the least likely, and why."""
    worst = predictions.worst_mistakes(count)
    if not len(worst):
        return []
    names, images = predictions.classes, dataset.images[worst]
    true, predicted = predictions.labels[worst], predictions.predicted[worst]
    chosen = np.random.default_rng(0).permutation(len(training))[:_COMPARED_WITH]
    nearest = chosen[nearest_neighbours(network, images, training.images[chosen], _NEIGHBOURS)]
    attributions = saliency(network, images, predicted, true)
    mistakes = []
    for k, row in enumerate(worst):
        probabilities = predictions.probabilities[row]
        likeliest = probabilities.argsort()[::-1][:_ANSWERS_SHOWN]
        shown = dict.fromkeys([*likeliest, true[k]])  # in order, and each once
        mistakes.append(Mistake(
            index=int(row),
            image=images[k],
            explanation=tinted_uri(images[k], attributions[k]),
            true_class=names[true[k]],
            predicted_class=names[predicted[k]],
            answers=[(names[j], float(probabilities[j]), bool(j == true[k])) for j in shown],
            neighbours=tuple(
                (training.classes[training.labels[j]], training.images[j]) for j in nearest[k]
            ),
        ))  # fmt: skip
    return mistakes


def class_rows(metrics: Metrics) -> list[tuple[ClassMetrics, Interval]]:
    """Return the metrics of each class, with the 95 % interval of its recall."""
    return [(one, wilson(round(one.recall * one.images), one.images)) for one in metrics.classes]


def class_mistakes(
    predictions: Predictions, dataset: Dataset, metrics: Metrics
) -> list[ClassMistakes]:
    """Return the mistakes of each class that has any, the class with the lowest recall first."""
    from scipy.stats import hypergeom

    confusion, names = np.array(metrics.confusion), predictions.classes
    images = confusion.sum(axis=1)
    mistakes = images - np.diagonal(confusion)
    # Fisher's exact test: does a class have more mistakes than others?
    p_values = holm(hypergeom.sf(mistakes - 1, images.sum(), mistakes.sum(), images).tolist())
    worst = predictions.worst_mistakes(len(predictions))
    found = []
    for k in sorted(np.flatnonzero(mistakes).tolist(), key=lambda k: metrics.classes[k].recall):
        rows = worst[predictions.labels[worst] == k][:_MOST_SHOWN]
        shown = tuple((names[predictions.predicted[row]], dataset.images[row]) for row in rows)
        found.append(ClassMistakes(names[k], _describe(confusion, names, k), p_values[k], shown))
    return found


def _describe(confusion: Counts, names: Sequence[str], k: int) -> str:
    images, wrong = int(confusion[k].sum()), int(confusion[k].sum() - confusion[k, k])
    missed, confused = confusion[k].copy(), confusion[:, k].copy()
    missed[k] = confused[k] = 0
    text = f"{wrong:,} of {images:,} misread: as {_listed(missed, names)}."
    if confused.any():
        text += f" Others read as {names[k]}: {_listed(confused, names)}."
    return text


def _listed(counts: Counts, names: Sequence[str]) -> str:
    often = Counter(dict(zip(names, counts.tolist(), strict=True))).most_common(_MOST_LISTED)
    times = {1: "once", 2: "twice"}
    return ", ".join(f"{name} ({times.get(n, f'{n} times')})" for name, n in often if n)
