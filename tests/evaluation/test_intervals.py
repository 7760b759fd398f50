from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstroke.evaluation.intervals import _WeightedAuroc, expected_maximum, intervals, wilson
from penstroke.evaluation.metrics import compute_metrics
from penstroke.evaluation.predictions import Predictions


def predictions(seed: int, count: int = 300, classes: int = 4, sure: float = 1.5) -> Predictions:
    """Random logits that lean towards the truth; class 3 never occurs."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    logits = random.normal(size=(count, classes)).astype(np.float32)
    logits[np.arange(count), labels] += sure
    return Predictions(labels, logits, tuple("abcd")[:classes])


@given(st.integers(1, 5000), st.data())
def test_wilson_is_what_scipy_says(count: int, data: st.DataObject) -> None:
    from scipy.stats import binomtest

    right = data.draw(st.integers(0, count))
    found = binomtest(right, count).proportion_ci(0.95, method="wilson")
    assert wilson(right, count) == pytest.approx((found.low, found.high), abs=1e-12)


@pytest.mark.parametrize("count", [2, 49, 780])
def test_the_expected_maximum_is_that_of_drawn_values(count: int) -> None:
    drawn = np.random.default_rng(0).normal(3, 0.5, (20_000, count)).max(axis=1)
    values = [2.0, 3.0, 4.0]  # mean 3, standard deviation 1
    assert (expected_maximum(values, count) - 3) / 2 + 3 == pytest.approx(drawn.mean(), abs=0.01)


def test_wilson_of_nothing() -> None:
    assert np.isnan(wilson(0, 0)).all()


@pytest.mark.parametrize("seed", range(5))
def test_weighted_auroc_is_that_of_repeated_images(seed: int) -> None:
    """Against scikit-learn's, on the images drawn, equal scores and absent classes included."""
    from sklearn.metrics import roc_auc_score

    found = predictions(seed, 200)
    rounded = Predictions(found.labels, np.round(found.logits), found.classes)  # many ties
    for one in (found, rounded):
        drawn = np.random.default_rng(seed).integers(200, size=200)
        weights = np.bincount(drawn, minlength=200)
        theirs = np.mean([
            roc_auc_score(one.labels[drawn] == k, one.probabilities[drawn, k]) for k in range(3)
        ])  # fmt: skip
        assert _WeightedAuroc(one)(weights) == pytest.approx(theirs, abs=1e-12)


def test_intervals_hold_their_figures() -> None:
    found = predictions(0)
    metrics, spans = compute_metrics(found), intervals(found)
    for name in ("accuracy", "loss", "auroc", "f1"):
        low, high = getattr(spans, name)
        assert low < getattr(metrics, name) < high
    assert intervals(found) == spans
    assert intervals(found, seed=1) != spans


def test_bootstrap_intervals_cover_as_often_as_they_say() -> None:
    """Of 200 samples, the mean loss of the whole lies within about 95 %."""
    whole = predictions(0, 20_000)
    truth, random = float(whole.losses.mean()), np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        chosen = random.choice(len(whole), 200, replace=False)
        part = Predictions(whole.labels[chosen], whole.logits[chosen], whole.classes)
        low, high = intervals(part, resamples=200, seed=seed).loss
        covered += low <= truth <= high
    assert 176 <= covered <= 199  # 190 expected, sd 3


def test_one_class_only_has_no_auroc() -> None:
    found = predictions(0)
    single = Predictions(np.zeros_like(found.labels), found.logits, found.classes)
    assert np.isnan(intervals(single, resamples=20).auroc).all()
