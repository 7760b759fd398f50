"""Differences of line readers: exact match by McNemar's test, error rates by the bootstrap."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from helpers import Outcome
from line_runs import line_evaluation, lines_read_as, made_line_run
from penstroke.evaluation.comparison import mcnemar_p
from penstroke.evaluation.line_comparison import (
    LineRunGroup,
    LineRunResult,
    compare_error_rates,
    compare_line_groups,
)
from penstroke.evaluation.line_metrics import LineEvaluation, LinePredictions
from penstroke.reports.comparison_report import comparison_table, write_comparison_report
from penstroke.runs.trained import line_model_file, summary_of_lines

Edits = np.ndarray


def drawn(random: np.random.Generator, lengths: np.ndarray, rate: float, seeds: int = 1) -> Edits:
    return random.binomial(lengths, rate, (seeds, len(lengths)))


def test_false_claims_about_error_rates_are_rare_and_intervals_cover() -> None:
    """Of 100 comparisons of a reader with itself at most 5 may claim; about 95 cover 0."""
    random, claims, covered = np.random.default_rng(5), 0, 0
    lengths = random.integers(1, 9, 200)
    for seed in range(100):
        found = compare_error_rates(
            drawn(random, lengths, 0.03), drawn(random, lengths, 0.03), lengths, seed=seed
        )
        claims += found.is_significant
        covered += found.low <= 0 <= found.high
    assert claims <= 5
    assert 90 <= covered <= 99


def test_a_real_difference_is_found_and_is_that_of_the_rates() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(1, 9, 2000)
    this, that = drawn(random, lengths, 0.02, seeds=3), drawn(random, lengths, 0.05, seeds=3)
    found = compare_error_rates(this, that, lengths)
    assert found.is_significant
    assert found.difference == pytest.approx((this.sum() - that.sum()) / 3 / lengths.sum())
    assert found.low < found.difference < found.high < 0
    assert "fewer character errors" in found.text


def test_with_writers_chance_is_in_their_choice() -> None:
    """Ten writers, of whom one is read much better: over lines that would be a difference."""
    lengths = np.full(1000, 5)
    writers = np.repeat([f"writer {k}" for k in range(10)], 100)
    baseline = np.tile(np.arange(100) % 5 == 0, 10).astype(int)[None]
    this = np.where(writers == "writer 3", 0, baseline[0])[None]
    assert compare_error_rates(this, baseline, lengths).is_significant
    assert not compare_error_rates(this, baseline, lengths, writers).is_significant


def read(texts: tuple[str, ...], predicted: tuple[str, ...]) -> LinePredictions:
    spans = tuple(tuple((k, k) for k in range(len(text))) for text in predicted)
    return LinePredictions(texts, predicted, np.full(len(texts), 0.9), spans)


def test_groups_of_line_readers_beside_each_other() -> None:
    texts = tuple(str(number) for number in range(100, 200))
    better = read(texts, ("1", *texts[1:]))
    worse = read(texts, tuple(text[:2] if k % 4 else text for k, text in enumerate(texts)))
    groups = [
        LineRunGroup(name, (LineRunResult(f"runs/{name}", 0, predictions, 10.0),), 449_000)
        for name, predictions in (("plain", worse), ("tuned <b>", better))
    ]
    found = compare_line_groups("cells", groups)
    (exact,), (errors,) = found.claims, found.error_rate_claims
    differences = better.is_right.astype(float) - worse.is_right
    assert exact.difference.p_images == mcnemar_p(differences)
    assert exact.difference.accuracy == (99 - 25) / 100
    assert "exact match" in exact.text
    assert errors.difference == pytest.approx((2 - 75) / 300)
    assert (errors.group, errors.baseline) == ("tuned <b>", "plain")
    table = {name: values for name, *values in comparison_table(found)}
    assert table["exact match"] == ["25.00 %", "99.00 %"]
    assert table["character error rate"] == ["25.00 %", "0.67 %"]
    page = write_comparison_report(found).read_text()
    assert "tuned &lt;b&gt;" in page
    assert "p, lines" in page
    assert page.count("Character error rates") >= 2  # the heading, and in the contents


def read_well(share: int, seed: int = 0) -> LineEvaluation:
    """Two hundred lines, of which each `share`-th is misread."""
    texts = [str(number) for number in range(1000, 1200)]
    return lines_read_as(
        [(text, text[1:] if k % share == 0 else text) for k, text in enumerate(texts)], seed
    )


def test_runs_that_read_lines_are_compared(penstroke: Callable[..., Outcome]) -> None:
    made_line_run("plain-1", read_well(3))
    made_line_run("tuned-22", read_well(50))
    done = penstroke("compare", "plain-1", "tuned-22")
    assert done.exit_code == 0, done.err
    assert "cells, 200 test lines" in done.out
    assert "tuned is better than plain" in done.out
    assert "exact match" in done.out
    assert "tuned makes fewer character errors than plain" in done.out
    found = json.loads(penstroke("compare", "plain-1", "tuned-22", "--json").out)
    assert found["groups"][1]["exact"]["value"] == 0.98
    (errors,) = found["error_rate_claims"]
    assert errors["difference"] == pytest.approx((4 - 67) / 800)


def test_what_cannot_be_compared_is_refused(penstroke: Callable[..., Outcome]) -> None:
    made_line_run("plain-1", read_well(3))
    other = made_line_run("other-22", lines_read_as([("1", "1")]))
    refused = penstroke("compare", "plain-1", "other-22")
    assert refused.exit_code == 1
    assert "not evaluated on the same test lines" in refused.err
    made_line_run("composed-333", read_well(3), dataset="synthetic")
    assert "compare accuracies on the same test images" in penstroke(
        "compare", "plain-1", "composed-333"
    ).err.replace("\n", " ")
    refused = penstroke("compare", "characters", "plain-1")  # a model in the box
    assert refused.exit_code == 1
    assert "bundled/characters reads single characters, " in refused.err
    assert "plain-1 lines: compare runs that read the same" in refused.err
    (other.path / "predictions/test.csv").unlink()
    assert "`penstroke evaluate` writes it" in penstroke("compare", "plain-1", "other-22").err


def test_the_model_card_and_the_list_show_a_line_run(penstroke: Callable[..., Outcome]) -> None:
    run = made_line_run("numbers-1", read_well(50))
    evaluation = line_evaluation(test=read_well(50), validation=read_well(25))
    (run.path / "model.onnx").write_bytes(line_model_file(run, evaluation))
    run.history_path.write_text('{"epoch": 1, "best_epoch": 1, "train_loss": 1.0}\n')
    summary_of_lines(run, evaluation).write(run.path)
    assert "98.00 %" in penstroke("runs", "list").out
    card = penstroke("runs", "show", "numbers-1", "--card").out
    assert "| exact match | 96.00 % | 98.00 % | 94.97 % to 99.22 % |" in card
    assert "Reads one line of writing in these 14 characters: 0123456789,. (␣: a space)" not in card
    assert "0123456789,.␣\\<" in card
    assert "of `cells`" in card
