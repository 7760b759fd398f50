from __future__ import annotations

import numpy as np
import pytest

from penstroke.evaluation.calibration import (
    calibration,
    fit_temperature,
    ood_threshold,
    temperature_note,
)
from penstroke.evaluation.predictions import Predictions


def calibrated(count: int, temperature: float = 1.0, seed: int = 0) -> Predictions:
    """Labels drawn from the probabilities; the logits are then `temperature` times too large."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=2.0, size=(count, 5))
    honest = Predictions(np.zeros(count, np.int64), logits.astype(np.float32), tuple("abcde"))
    steps = honest.probabilities.cumsum(axis=1)
    labels = (random.random((count, 1)) > steps).sum(axis=1).clip(max=4)
    return Predictions(labels, (logits * temperature).astype(np.float32), tuple("abcde"))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(temperature: float) -> None:
    found = calibrated(20_000, temperature)
    assert fit_temperature(found) == pytest.approx(temperature, rel=0.03)
    scaled = found.at(fit_temperature(found))
    assert calibration(scaled).ece < 0.02
    assert (scaled.predicted == found.predicted).all()
    if temperature != 1.0:
        assert calibration(found).ece > 0.05


def test_it_is_the_least_loss() -> None:
    found = calibrated(500, 1.7)
    best = fit_temperature(found)
    for other in (0.9 * best, 1.1 * best):
        assert found.at(best).losses.mean() < found.at(other).losses.mean()


@pytest.mark.parametrize(("count", "bins"), [(1000, 15), (1003, 10), (7, 15)])
def test_ece_is_that_of_a_second_computation(count: int, bins: int) -> None:
    found = calibrated(count, 2.0)
    confidence = found.probabilities.max(axis=1)
    order, error, start = np.argsort(confidence, kind="stable"), 0.0, 0
    for index in range(bins):
        size = count // bins + (index < count % bins)
        part = order[start : start + size]
        start += size
        if size:
            gap = sum(found.is_right[part]) / size - sum(confidence[part]) / size
            error += size / count * abs(gap)
    assert calibration(found, bins).ece == pytest.approx(error, abs=1e-12)


def test_nothing_to_fit_on_leaves_it_at_one() -> None:
    empty = calibrated(0)
    assert fit_temperature(empty) == 1.0
    for nothing in (empty, None):
        assert "no images were held out" in str(temperature_note(nothing))


@pytest.mark.parametrize("count", [20, 144, 2000])
@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_without_a_mistake_about_one_in_as_many_is_expected(count: int, temperature: float) -> None:
    """However sure or unsure the network is of itself: the logits' scale is not to matter."""
    logits = np.random.default_rng(0).normal(size=(count, 5)).astype(np.float32)
    logits[:, 0] = logits.max(axis=1) + 3
    found = Predictions(np.zeros(count, np.int64), logits * np.float32(temperature), tuple("abcde"))
    wrong = 1 - found.at(fit_temperature(found)).confidence.mean()
    assert 0.3 / count < wrong < 1.5 / count
    assert f"none of {count:,} validation images is misread" in str(temperature_note(found))


def test_smoothed_logits_without_a_mistake_are_calibrated_on_other_images() -> None:
    """As label smoothing makes them: all right on 144 images, but only 88 % sure."""
    everything = calibrated(40_000, 0.25, seed=1)
    # The surest: 99.5 % are right, and the network is far less sure.
    sure = everything.confidence.argsort()[-8000:]
    labels, logits = everything.labels[sure], everything.logits[sure]
    found = Predictions(labels, logits, everything.classes)
    right = np.flatnonzero(found.is_right)[:144]
    validation = Predictions(labels[right], logits[right], found.classes)
    assert validation.is_right.all()
    raw, fitted = calibration(found).ece, calibration(found.at(fit_temperature(validation))).ece
    assert raw > 0.1
    assert fitted < raw / 5


def test_a_temperature_that_few_mistakes_support_is_said() -> None:
    found = calibrated(50)
    wrong = np.flatnonzero(~found.is_right)
    for count in (1, 2, 9, 10):
        rows = np.concatenate([np.flatnonzero(found.is_right), wrong[:count]])
        few = Predictions(found.labels[rows], found.logits[rows], found.classes)
        note = temperature_note(few)
        assert (note is None) == (count == 10)
        if note:
            assert f"only {count} of {len(few)} validation images" in note


def test_one_in_a_thousand_is_not_familiar() -> None:
    found = calibrated(20_000)
    above = ood_threshold(found)
    assert above is not None
    heights = found.logits.max(axis=1) - found.logits.mean(axis=1)
    assert (heights < above).sum() == pytest.approx(20, abs=1)
    # The softmax is blind to a constant, and so is this.
    shifted = Predictions(found.labels, found.logits + np.float32(7), found.classes)
    assert ood_threshold(shifted) == pytest.approx(above, abs=1e-4)


def test_without_images_nothing_is_told_of_familiarity() -> None:
    assert ood_threshold(calibrated(0)) is None
