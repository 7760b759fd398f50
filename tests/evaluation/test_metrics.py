from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, roc_auc_score

from penstroke.errors import RunError
from penstroke.evaluation.metrics import compute_metrics
from penstroke.evaluation.predictions import Predictions

CLASSES = tuple("abcdef")


def predictions(seed: int, count: int = 60, present: int = 6) -> Predictions:
    random = np.random.default_rng(seed)
    labels = random.integers(0, present, count)
    logits = random.normal(0, 2, (count, len(CLASSES))).astype(np.float32)
    logits[np.arange(count), labels] += 1.5
    return Predictions(labels, logits, CLASSES)


def auroc_by_pairs(scores: np.ndarray, positive: np.ndarray) -> float:
    """The definition: how often a positive is put above a negative, ties half."""
    above = scores[positive][:, None] - scores[~positive][None, :]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), present=st.integers(2, 6))
def test_figures_equal_an_independent_computation(seed: int, present: int) -> None:
    found = predictions(seed, present=present)
    metrics = compute_metrics(found)
    exact = np.exp(found.logits.astype(np.float64))
    exact /= exact.sum(1, keepdims=True)
    there = np.unique(found.labels)
    truth = exact[np.arange(len(found)), found.labels]
    assert metrics.accuracy == (exact.argmax(1) == found.labels).mean()
    assert metrics.loss == pytest.approx(-np.log(truth).mean(), abs=1e-9)
    by_pairs = [auroc_by_pairs(exact[:, k], found.labels == k) for k in there]
    assert metrics.auroc == pytest.approx(np.mean(by_pairs), abs=1e-9)
    assert set(metrics.absent) == set(CLASSES) - {CLASSES[k] for k in there}
    confusion = np.array(metrics.confusion)
    assert confusion.sum() == len(found)
    assert [c.images for c in metrics.classes] == list(confusion.sum(1))
    for k in there:
        row, column, right = confusion[k].sum(), confusion[:, k].sum(), confusion[k, k]
        assert metrics.classes[k].recall == pytest.approx(right / row)
        assert metrics.classes[k].f1 == pytest.approx(2 * right / (row + column))
    assert metrics.f1 == pytest.approx(np.mean([metrics.classes[k].f1 for k in there]), abs=1e-12)
    by_class = [(exact[found.labels == k].argmax(1) == k).mean() for k in there]
    assert metrics.balanced_accuracy == pytest.approx(np.mean(by_class), abs=1e-12)


def test_figures_equal_scikit_learns_where_no_class_is_absent() -> None:
    found = predictions(0, count=500)
    metrics = compute_metrics(found)
    probabilities = found.probabilities
    assert metrics.auroc == pytest.approx(
        roc_auc_score(found.labels, probabilities, multi_class="ovr"), abs=1e-9
    )
    assert metrics.f1 == pytest.approx(
        f1_score(found.labels, found.predicted, average="macro"), abs=1e-9
    )
    assert metrics.balanced_accuracy == pytest.approx(
        balanced_accuracy_score(found.labels, found.predicted), abs=1e-12
    )
    assert metrics.loss == pytest.approx(log_loss(found.labels, probabilities), abs=1e-9)


def test_one_class_alone_has_no_auroc_and_says_so() -> None:
    metrics = compute_metrics(predictions(0, present=1))
    assert math.isnan(metrics.auroc)
    assert metrics.figures()["auroc"] is None
    assert metrics.absent == CLASSES[1:]


def test_extreme_logits_stay_finite() -> None:
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    metrics = compute_metrics(Predictions(np.array([0, 0]), logits, ("a", "b")))
    assert metrics.loss == pytest.approx(1e4)


def test_worst_mistakes_are_wrong_and_sorted() -> None:
    found = predictions(1)
    worst = found.worst_mistakes(10)
    truth = found.log_probabilities[worst, found.labels[worst]]
    assert not found.is_right[worst].any()
    assert list(truth) == sorted(truth)
    wrong = np.flatnonzero(~found.is_right)
    assert truth[0] == found.log_probabilities[wrong, found.labels[wrong]].min()


def test_predictions_round_trip(tmp_path: Path) -> None:
    found = predictions(2)
    found.save(tmp_path / "test.safetensors")
    again = Predictions.load(tmp_path / "test.safetensors")
    assert np.array_equal(again.logits, found.logits)
    assert np.array_equal(again.labels, found.labels)
    assert again.classes == found.classes
    with pytest.raises(RunError, match="penstroke evaluate"):
        Predictions.load(tmp_path / "nothing.safetensors")
