"""What the plots of a search show, where a high score is good and where a low one is."""

from __future__ import annotations

import dataclasses
import html
import re
from types import SimpleNamespace

import numpy as np
import pytest

from penstroke.quality.checks import RangeTest
from penstroke.reports import search_plots as plots
from penstroke.reports.check_report import _plot_range
from penstroke.reports.comparison_report import _plot_accuracies
from penstroke.reports.plots import confusion_matrix
from penstroke.reports.search_plots import TrialLine


def trials_with(*courses: tuple[float, ...]) -> list[TrialLine]:
    """Return finished trials, each with its metric epoch by epoch."""
    return [
        TrialLine(
            number=number, state="complete", values={"train.epochs": number}, metric=course[-1],
            scores=course[-1:], epochs=len(course), seconds=1.0,
            by_epoch=dict(enumerate(course, 1)), reason="",
        )
        for number, course in enumerate(courses)
    ]  # fmt: skip


@pytest.mark.parametrize(("metric", "best"), [("val_accuracy", 1), ("val_loss", 0)])
def test_the_better_the_score_the_darker_the_line(metric: str, best: int) -> None:
    trials = trials_with((0.1,), (0.9,))
    sign = 1 if metric == "val_accuracy" else -1
    svg = plots.parallel_coordinates(trials, ["train.epochs"], metric, sign)
    darkness = [float(v) for v in re.findall(r"stroke: #3b82c4; stroke-opacity: ([\d.]+)", svg)]
    assert len(darkness) == 2
    assert darkness.index(max(darkness)) == best
    assert metric.replace("val_", "validation ") in svg


def test_what_never_learned_does_not_press_the_others_into_a_line() -> None:
    good = [(0.5, 0.31 + 0.01 * k) for k in range(4)]
    losses = trials_with(*good, (9.0, 8.0))
    svg = plots.learning_curves(losses, 0, "val_loss", -1)
    assert max(_values_at_the_side(svg)) < 1
    shares = trials_with(*[(1 - a / 10, 1 - b / 10) for a, b in good], (0.1, 0.2))
    svg = plots.learning_curves(shares, 0, "val_accuracy", 1)
    assert min(float(text) for text in re.findall(r">(\d+(?:\.\d+)?) %</text>", svg)) > 50


NAMES = ["$", "a$b$c", r"$\frac$", r"\$", "x^_{y}", "%", "<&>", "{x}"]


def test_all_text_is_literal() -> None:
    trials = [
        dataclasses.replace(trial, values={"$p$": name})
        for trial, name in zip(trials_with(*[(0.1,)] * len(NAMES)), NAMES, strict=True)
    ]
    counts = np.eye(len(NAMES), dtype=int).tolist()
    groups = [
        SimpleNamespace(name=n, accuracy_interval=(0.8, 0.9), accuracies=[0.85]) for n in NAMES
    ]
    for svg, names in (
        (confusion_matrix(counts, NAMES), NAMES),
        (_plot_accuracies(groups), NAMES),  # type: ignore[arg-type]
        (plots.parallel_coordinates(trials[:5], ["$p$"], "val_loss", 1), [*NAMES[:5], "$p$"]),
        (plots.importances(dict.fromkeys(NAMES, 0.1)), NAMES),
    ):
        shown = {html.unescape(text) for text in re.findall(r">([^<>]+)</text>", svg)}
        assert set(names) <= shown, shown


def test_a_logarithmic_axis_shows_plain_numbers() -> None:
    test = RangeTest((1e-4, 1e-2, 1.0), (2.0, 1.0, 3.0), 1e-3, "")
    assert {"0.0001", "0.01", "1"} <= set(re.findall(r">([^<>]+)</text>", _plot_range(test, 0.1)))


def _values_at_the_side(svg: str) -> list[float]:
    # Epochs are whole numbers, scores are not.
    return [float(value) for value in re.findall(r">(\d+\.\d+)</text>", svg)]
