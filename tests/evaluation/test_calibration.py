from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from ctc import Columns, log_softmax
from penstroke.data.loading import load_dataset
from penstroke.evaluation.calibration import (
    calibration,
    calibration_error_by_source,
    compare_with_accuracy,
    fit_line_temperature,
    fit_temperature,
    line_operating_points,
    ood_threshold,
    operating_points,
    temperature_note,
)
from penstroke.evaluation.evaluator import Evaluation
from penstroke.evaluation.intervals import wilson, wilson_low
from penstroke.evaluation.predictions import Predictions
from penstroke.inference.line_decoding import decode, greedy


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


@pytest.mark.parametrize("count", [36, 64, 300])
def test_few_images_do_not_have_new_ones_rejected(count: int) -> None:
    """Of new images, one in 65 is below the lowest of 64: the threshold has to lie below it."""
    found = calibrated(20_000)
    heights = found.logits.max(axis=1) - found.logits.mean(axis=1)
    random, rejected = np.random.default_rng(0), []
    for _ in range(200):
        rows = random.integers(len(found), size=count)
        few = Predictions(found.labels[rows], found.logits[rows], found.classes)
        rejected.append(np.mean(heights < np.float32(ood_threshold(few) or 0)))
    assert np.mean(rejected) < 0.4 / count


def test_of_several_sources_the_median() -> None:
    parts = [calibrated(4000, temperature, seed=1) for temperature in (0.2, 1.0, 1.5)]
    sources = np.repeat(["bad", "usual", "good"], 4000)
    above = ood_threshold(Predictions.concatenate(parts), sources)
    assert above is not None
    heights = parts[1].logits.max(axis=1) - parts[1].logits.mean(axis=1)
    assert (heights < above).sum() == pytest.approx(4, abs=1)


def test_without_images_nothing_is_told_of_familiarity() -> None:
    assert ood_threshold(calibrated(0)) is None


def test_each_source_counts_equally() -> None:
    large, small = calibrated(20_000, 0.5), calibrated(1000, 3.0, seed=1)
    both = Predictions.concatenate([large, small])
    sources = np.repeat(["large", "small"], [20_000, 1000])
    assert fit_temperature(both) < 0.65, "the large one decides"
    even = Predictions.concatenate([large, *[small] * 20])
    by_source = fit_temperature(both, sources)
    assert by_source == pytest.approx(fit_temperature(even), rel=1e-3)
    assert fit_temperature(large, sources[:20_000]) == fit_temperature(large), "to the last bit"
    four = both.is_right[20_000:].argsort()[:4] + 20_000  # misread, as corrections are
    misread = Predictions(both.labels[four], both.logits[four], both.classes)
    few = Predictions.concatenate([large, misread])
    of_few = fit_temperature(few, np.append(sources[:20_000], ["few"] * 4))
    assert of_few == pytest.approx(fit_temperature(large), rel=0.2)
    errors = calibration_error_by_source(both, sources)
    assert errors == {"large": calibration(large).ece, "small": calibration(small).ece}


def surely(right: int, wrong: int, logit: float) -> Predictions:
    """Images read as `a` by a logit that is so high."""
    logits = np.zeros((right + wrong, 10), np.float32)
    logits[:, 0] = logit
    return Predictions(np.repeat([0, 1], [right, wrong]), logits, tuple("abcdefghij"))


@pytest.mark.parametrize(("images", "precisions"), [
    # Without a mistake, N images show N / (N + 1.96²), the lower end of Wilson's interval.
    (34, []), (35, [0.9]), (380, [0.9, 0.95, 0.98]), (381, [0.9, 0.95, 0.98, 0.99]),
    (4000, [0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999]),
])  # fmt: skip
def test_a_precision_is_shown_by_images_enough(images: int, precisions: list[float]) -> None:
    points = operating_points(surely(images, 0, 9), 1.0, None)
    assert [point.precision for point in points] == precisions
    assert all((one.confidence_threshold, one.answered) == (0.5, 1) for one in points)
    few = Predictions.concatenate([surely(4000, 0, 9), surely(images, 0, 9)])
    sources = np.repeat(["many", "few"], [4000, images])
    assert operating_points(few, 1.0, None, sources) == points, "on every source"


def test_the_least_threshold_that_shows_a_precision() -> None:
    unsure, sure, odd = surely(305, 55, 4), surely(400, 0, 6), surely(0, 50, 1)
    found = Predictions.concatenate([unsure, sure, odd])
    first, *others = operating_points(found, 1.0, ood_threshold=1.0)
    # 705 of 760 are right, at least 0.907 by Wilson's interval; the odd ones are rejected.
    assert (first.precision, first.answered, first.confidence_threshold) == (0.9, 760 / 810, 0.5)
    assert [one.precision for one in others] == [0.95, 0.98, 0.99]
    threshold = float(sure.confidence[0])
    assert all(one.confidence_threshold == threshold for one in others)
    assert all(one.answered == 400 / 810 for one in others)


def test_the_lower_ends_of_many_intervals_are_those_of_each() -> None:
    right, count = np.array([0, 3, 700, 760, 9999]), np.array([1, 5, 760, 760, 10_000])
    lower = [wilson(*pair)[0] for pair in zip(right.tolist(), count.tolist(), strict=True)]
    assert wilson_low(right, count) == pytest.approx(lower, abs=1e-12)


def test_an_evaluation_fits_by_the_sources_of_its_data() -> None:
    both = Predictions.concatenate([surely(2000, 5, 6), surely(600, 30, 9)])
    sources = np.repeat(["one", "other"], [2005, 630])
    data = replace(load_dataset("digits"), validation_sources=sources)
    nothing = data.train.subset(np.arange(0))
    found = Evaluation(nn.Identity(), data, nothing, {"validation": both})
    assert found.temperature == fit_temperature(both, sources) != fit_temperature(both)
    fitted = both.at(found.temperature)
    assert found.calibration_error_by_source == calibration_error_by_source(fitted, sources)
    rest = both, found.temperature, found.ood_threshold
    assert found.operating_points == operating_points(*rest, sources) != operating_points(*rest)
    alone = replace(found, data=replace(data, validation_sources=np.repeat(["one"], 2635)))
    assert (alone.temperature, alone.calibration_error_by_source) == (fit_temperature(both), {})


def written(count: int, seed: int = 0) -> tuple[list[Columns], list[str]]:
    """Columns, and the texts of paths drawn from them."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(count, 6, 4)) * 2
    logits[:, 1::2, 0] += 4
    columns = [log_softmax(one) for one in logits]
    steps = np.exp(columns).cumsum(axis=2)
    paths = (random.random((count, 6, 1)) > steps).sum(axis=2).clip(max=3)
    return columns, [greedy(np.eye(4)[path], "abc") for path in paths]


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_temperature_of_lines_that_was_put_in_is_found(temperature: float) -> None:
    columns, texts = written(400)
    sharper = [log_softmax(one * temperature) for one in columns]
    found = fit_line_temperature(sharper, texts, "abc")
    assert found == pytest.approx(temperature, rel=0.15)
    read = [decode(log_softmax(one / found), "abc")[0] for one in sharper]
    is_right = np.array([one.text == text for one, text in zip(read, texts, strict=True)])
    probabilities = np.array([one.probability for one in read])
    assert compare_with_accuracy(probabilities, is_right).ece < 0.08
    assert fit_line_temperature([], [], "abc") == 1


def test_lines_read_without_a_mistake_leave_a_doubt() -> None:
    columns = [log_softmax(np.array([[0, 3.0], [3, 0]]))] * 200
    found = fit_line_temperature(columns, ["a"] * 200, "a")
    (read,) = decode(log_softmax(columns[0] / found), "a")
    assert read.probability == pytest.approx(1 - 1 / 201, abs=1e-3)


def test_operating_points_of_lines_are_those_of_characters() -> None:
    found = calibrated(3000)
    points = line_operating_points(found.confidence, found.is_right)
    assert points
    assert points == operating_points(found, 1.0, None)
    assert line_operating_points(np.zeros(0), np.zeros(0, bool)) == ()
