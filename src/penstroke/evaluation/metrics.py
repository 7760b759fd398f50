"""Figures of merit, all from `Predictions`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

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
        classes: each class.
        confusion: (K, K), rows what was shown, columns what was read.
        absent: classes without a picture, left out of both means.

    """

    images: int
    accuracy: float
    loss: float
    auroc: float
    f1: float
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    absent: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; nan becomes None."""
        values = asdict(self)
        values["auroc"] = None if np.isnan(self.auroc) else self.auroc
        return values


def compute_metrics(predictions: Predictions) -> Metrics:
    """Return the figures of one split; definitions as in scikit-learn."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    labels, names = predictions.labels, predictions.classes
    indices = np.arange(len(names))
    confusion = confusion_matrix(labels, predictions.predicted, labels=indices)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predictions.predicted, labels=indices, zero_division=0.0
    )
    present = support > 0
    of_truth = predictions.log_probabilities[np.arange(len(labels)), labels]
    return Metrics(
        images=len(labels),
        accuracy=float(predictions.is_right.mean()),
        loss=float(-of_truth.mean()),
        auroc=_macro_auroc(labels, predictions.probabilities, present),
        f1=float(f1[present].mean()),
        classes=tuple(
            ClassMetrics(name, int(n), float(r), float(p), float(f))
            for name, n, r, p, f in zip(names, support, recall, precision, f1, strict=True)
        ),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        absent=tuple(name for name, there in zip(names, present, strict=True) if not there),
    )


def _macro_auroc(
    labels: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    present: npt.NDArray[np.bool_],
) -> float:
    """Average over the classes present: scikit-learn's multiclass form fails if one is absent."""
    from sklearn.metrics import roc_auc_score

    if present.sum() < 2:
        return float("nan")
    areas = [roc_auc_score(labels == k, probabilities[:, k]) for k in np.flatnonzero(present)]
    return float(np.mean(areas))
