"""Exact match, character error rate, edits, coverage: against figures computed by hand."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from line_runs import SMALL_CRNN
from penstroke.data.dataset import Sealed, sealed
from penstroke.data.edits import align
from penstroke.data.lines import LineDataset, LineSplits
from penstroke.errors import RunError, SealedTestError
from penstroke.evaluation.intervals import error_rate_interval, new_writer_interval, wilson
from penstroke.evaluation.line_evaluator import evaluate_line_network, line_outputs
from penstroke.evaluation.line_metrics import (
    LinePredictions,
    coverage_at_precisions,
    coverage_curve,
    evaluate_lines,
    line_metrics,
    without_signs,
)
from penstroke.inference.line_decoding import text_probability
from penstroke.models.build import build_network

LINES = (  # text, read as, probability, writer
    ("12,50", "12.50", 0.8, "Ada"),  # a sign alone is wrong
    ("100", "100", 0.99, "Ada"),
    ("7", "1", 0.97, "Bo"),
    ("2026", "206", 0.5, "Bo"),
    ("33", "33", 0.9, ""),
    ("9", "99", 0.3, "Cy"),
    ("45", "45", 0.6, "Cy"),
    ("17", "71", 0.2, "Cy"),
)


def predictions(lines: tuple[tuple[str, str, float, str], ...] = LINES) -> LinePredictions:
    texts, predicted, probabilities, writers = zip(*lines, strict=True)
    spans = tuple(tuple((4 * k, 4 * k + 2) for k in range(len(text))) for text in predicted)
    return LinePredictions(texts, predicted, np.array(probabilities), spans, np.array(writers))


@functools.cache
def levenshtein(a: str, b: str) -> int:
    """The definition itself."""
    if not a or not b:
        return len(a) + len(b)
    substituted = levenshtein(a[1:], b[1:]) + (a[0] != b[0])
    return min(substituted, levenshtein(a[1:], b) + 1, levenshtein(a, b[1:]) + 1)


@given(st.text("012,", max_size=7), st.text("012,", max_size=7))
def test_an_alignment_has_the_fewest_edits_and_says_both_texts(text: str, predicted: str) -> None:
    pairs = align(text, predicted)
    assert "".join(a for a, _ in pairs) == text
    assert "".join(b for _, b in pairs) == predicted
    assert ("", "") not in pairs
    assert sum(a != b for a, b in pairs) == levenshtein(text, predicted)


def test_alignments_by_hand() -> None:
    assert align("2026", "206") == (("2", "2"), ("0", "0"), ("2", ""), ("6", "6"))
    assert align("7", "1") == (("7", "1"),)
    assert align("9", "9,5") == (("9", "9"), ("", ","), ("", "5"))
    assert align("", "") == ()


def test_figures_by_hand() -> None:
    found = line_metrics(predictions())
    assert (found.lines, found.characters, found.writers) == (8, 20, 3)
    assert found.exact.value == 3 / 8
    assert found.digits.value == 4 / 8  # 12,50 as well
    assert found.cer.value == 6 / 20
    # 17 read as 71: one inserted and one missed, or two substituted.
    assert found.substitutions + found.deletions + found.insertions == 6
    counted = {(edit.text, edit.predicted): (edit.count, edit.occurrences) for edit in found.edits}
    assert counted[",", "."] == (1, 1)
    assert counted["2", ""] == (1, 3)
    assert counted["", "9"] == (1, 0)
    assert {edit.kind for edit in found.edits} == {"substitution", "deletion", "insertion"}
    (one,) = found.by_length  # too few lines to tell lengths apart
    assert (one.shortest, one.longest, one.lines, one.exact.value) == (1, 5, 8, 3 / 8)
    assert found.figures("test_")["test_character_error_rate"] == 6 / 20


def test_edits_are_ranked() -> None:
    found = line_metrics(predictions((
        ("1", "7", 0.9, ""), ("1", "7", 0.9, ""), ("4", "9", 0.9, ""), ("2", "2", 0.9, ""),
    )))  # fmt: skip
    assert [(e.text, e.predicted, e.count, e.occurrences) for e in found.edits] == [
        ("1", "7", 2, 2), ("4", "9", 1, 1),
    ]  # fmt: skip


def test_signs_are_left_out() -> None:
    assert without_signs("CHF 1'250.-") == "CHF1250"
    assert without_signs("-,/") == ""


def test_coverage_by_hand() -> None:
    """Likeliest first: right, wrong and right (as likely as each other), wrong."""
    probabilities, is_right = np.array([0.5, 0.9, 0.2, 0.5]), np.array([True, True, False, False])
    curve = coverage_curve(probabilities, is_right)
    assert curve.coverage.tolist() == [0.25, 0.75, 1]
    assert curve.precision.tolist() == [1, 2 / 3, 0.5]
    assert curve.thresholds.tolist() == [0.9, 0.5, 0.2]
    high, low, never = coverage_at_precisions(probabilities, is_right, [0.99, 0.6, 1.1])
    assert (high.coverage, high.threshold) == (0.25, 0.9)
    assert (low.coverage, low.threshold) == (0.75, 0.5)
    assert (never.coverage, never.threshold) == (0, None)


def test_lengths_are_grouped_so_that_each_group_says_something() -> None:
    lines = [("1" * length, "1" * length, 0.9, "") for length in (1, 2, 3) for _ in range(30)]
    few = [("1" * length, "1", 0.5, "") for length in (5, 9)]
    found = line_metrics(predictions((*lines, *few))).by_length
    assert [(one.shortest, one.longest, one.lines) for one in found] == [
        (1, 1, 30), (2, 2, 30), (3, 9, 32),
    ]  # fmt: skip
    assert found[2].exact.value == 30 / 32
    assert found[2].cer == 12 / (90 + 14)


def test_intervals_are_over_writers_where_they_are_known() -> None:
    found = line_metrics(predictions())
    # Ada, Bo, Cy, and one line whose writer is not known.
    right, lines = np.array([1, 0, 1, 1]), np.array([2, 2, 3, 1])
    assert (found.exact.low, found.exact.high) == new_writer_interval(right, lines)[0]
    edits, characters = np.array([1, 2, 3, 0]), np.array([8, 5, 5, 2])
    assert (found.cer.low, found.cer.high) == pytest.approx(
        error_rate_interval(edits, characters), abs=1e-12
    )
    by_one = line_metrics(predictions(tuple((*line[:3], "Ada") for line in LINES)))
    assert (by_one.exact.low, by_one.exact.high) == wilson(3, 8)


def test_intervals_of_error_rates_cover_as_often_as_they_say() -> None:
    """Lines of some length, few of which have several mistakes."""
    random, covered, draws = np.random.default_rng(0), 0, 300
    rate = 0.08 * 2  # 8 % of the lines; of those, two mistakes in a line of five
    for seed in range(draws):
        sizes = np.full(300, 5)
        errors = 2 * random.binomial(1, 0.08, 300)
        low, high = error_rate_interval(errors, sizes, seed)
        covered += low <= rate / 5 <= high
    assert 0.92 <= covered / draws <= 0.99


def test_intervals_of_error_rates_at_the_ends() -> None:
    low, high = error_rate_interval(np.zeros(100, int), np.full(100, 5))
    assert low == pytest.approx(0, abs=1e-12)
    assert 0.005 < high < 0.01
    low, high = error_rate_interval(np.array([6, 4, 5, 7]), np.full(4, 5))  # more than characters
    assert 0.9 <= low < 1.1 < high <= 1.4
    assert error_rate_interval(np.array([1]), np.array([5])) == wilson(1, 5)


def test_the_worst_mistakes_are_the_most_confident() -> None:
    assert predictions().worst_mistakes(3).tolist() == [2, 0, 3]


@pytest.mark.parametrize("with_writers", [True, False])
def test_predictions_are_kept(tmp_path: Path, with_writers: bool) -> None:
    lines = (*LINES, (' a"b\n', "", 1 / 3, "ß"))
    there = predictions(lines)
    if not with_writers:
        there = LinePredictions(there.texts, there.predicted, there.probabilities, there.spans)
    there.save(tmp_path / "test.csv")
    back = LinePredictions.load(tmp_path / "test.csv")
    assert (back.texts, back.predicted, back.spans) == (there.texts, there.predicted, there.spans)
    assert back.probabilities.tolist() == there.probabilities.tolist()
    assert (back.writers is None) == (not with_writers)
    if with_writers:
        assert list(back.writers) == list(there.writers)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [None, b"", b"text\n1\n", b"\xff\xfe", b"text,predicted,"
                                     b"probability,columns\n1,1,much,0-1\n"])  # fmt: skip
def test_damaged_predictions_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "test.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=r"test\.csv.*`penstroke evaluate` writes it"):
        LinePredictions.load(path)


def network_output(columns: str, alphabet: str, sure: float) -> np.ndarray:
    """Log-probabilities of columns that show these characters, "_" for blank: (T, 1 + A)."""
    classes = 1 + len(alphabet)
    output = np.full((len(columns), classes), (1 - sure) / (classes - 1))
    output[np.arange(len(columns)), [("_" + alphabet).index(c) for c in columns]] = sure
    return np.asarray(np.log(output), np.float32)


def test_lines_are_decoded() -> None:
    lines = LineDataset.of([np.full((32, 32), 64, np.uint8)] * 2, ["12", "22"], "123")
    outputs = [network_output("_11_22__", "123", 0.98), network_output("__2_23__", "123", 0.7)]
    found = evaluate_lines(outputs, lines)
    assert found.predictions.predicted == ("12", "223")
    assert found.predictions.spans == (((1, 2), (4, 5)), ((2, 2), (4, 4), (5, 5)))
    assert found.predictions.probabilities[0] > 0.85 > found.predictions.probabilities[1]
    assert (found.metrics.exact.value, found.metrics.cer.value) == (0.5, 0.25)
    likelihoods = [
        text_probability(output, text, "123")
        for output, text in zip(outputs, lines.texts, strict=True)
    ]
    assert found.loss == pytest.approx(-np.log(likelihoods).mean() / 2)
    assert found.figures("val_")["val_loss"] == found.loss


def test_the_test_is_opened_on_record_and_only_if_it_is_asked_for() -> None:
    """And lines are read as alone, whatever they are batched with."""
    random = np.random.default_rng(0)
    strips = [random.integers(60, 255, (32, width), np.uint8) for width in (40, 90, 41, 64)]
    lines = LineDataset.of(strips, ["1", "22", "3", "1"], "123")
    network = build_network(SMALL_CRNN, num_classes=4, mean=0.25, std=0.15, seed=1).eval()
    outputs = line_outputs(network, lines)
    assert [len(one) for one in outputs] == [10, 23, 11, 16]
    alone = line_outputs(network, lines.subset(np.array([2])))[0]
    assert alone == pytest.approx(outputs[2], abs=0.01)

    openings: list[str] = []
    data = LineSplits("cells", lines, lines, Sealed(4, lines), "fingerprint")
    found = evaluate_line_network(
        network, data, ("train", "validation"), log_opening=lambda: openings.append("")
    )
    assert (list(found.splits), openings) == (["train", "validation"], [])
    found = evaluate_line_network(network, data, log_opening=lambda: openings.append(""))
    assert (list(found.splits), openings) == (["validation", "test"], [""])
    assert found.figures()["test_accuracy"] == found.splits["test"].metrics.exact.value
    with sealed(), pytest.raises(SealedTestError):
        evaluate_line_network(network, data, log_opening=lambda: None)
