"""Plots of a hyperparameter search, as SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from penstroke.config.space import Values
from penstroke.reports import plots
from penstroke.reports.plots import BLUE, GREY, INK, ORANGE


@dataclass(frozen=True)
class TrialLine:
    """One trial as a report shows it."""

    number: int
    state: str
    values: Values
    metric: float | None
    scores: Sequence[float]  # of each seed or fold
    epochs: int
    seconds: float
    by_epoch: Mapping[int, float]
    reason: str


def metric_name(metric: str) -> str:
    """Return the name of a metric in words."""
    return metric.replace("val_", "validation ")


def history(trials: Sequence[TrialLine], metric: str, sign: int) -> str:
    """Return an SVG: the metric of each trial by number, and the best so far.

    `sign`, here and below, is 1 if a higher metric is better, else -1: `Study.sign`.
    """
    figure, (axis,) = plots.new_figure(5.4, 3.0)
    for state, colour in (("pruned", GREY), ("complete", BLUE)):
        points = [(t.number, t.metric) for t in trials if t.state == state and t.metric is not None]
        if points:
            numbers, metrics = np.array(points).T
            axis.plot(numbers, metrics, "o", color=colour, markersize=4, label=state)
            if state == "complete":
                best = sign * np.maximum.accumulate(sign * metrics)
                axis.step(numbers, best, where="post", color=ORANGE, label="best so far")
    axis.set(xlabel="trial", ylabel=metric_name(metric))
    if metric == "val_accuracy":
        plots.set_accuracy_axis(axis, [t.metric for t in trials if t.metric is not None])
    return plots.to_svg(figure)


def learning_curves(trials: Sequence[TrialLine], best: int, metric: str, sign: int) -> str:
    """Return an SVG: one line per trial, the best one in colour."""
    figure, (axis,) = plots.new_figure(5.4, 3.0)
    for trial in trials:
        epochs = sorted(trial.by_epoch)
        style: dict[str, Any] = {"linewidth": 0.9, "alpha": 0.6, "zorder": 2,
                                 "color": BLUE if trial.state == "complete" else GREY}  # fmt: skip
        if trial.number == best:
            style = {"linewidth": 2.2, "zorder": 3, "color": ORANGE, "label": f"best: trial {best}"}
        line = ".-" if len(epochs) == 1 else "-"
        axis.plot(epochs, [trial.by_epoch[epoch] for epoch in epochs], line, **style)
    axis.set_ylabel(metric_name(metric))
    plots.set_epoch_axis(axis)
    values = [sign * value for t in trials for value in t.by_epoch.values()]
    last = [sign * t.by_epoch[max(t.by_epoch)] for t in trials if t.by_epoch]
    if len(last) > 3:  # leave the worst out of sight: they would press all others into one line
        low, high = float(np.quantile(last, 0.25)), max(values)
        values = [value for value in values if value >= low - (0.3 * (high - low) or 0.01)]
    if metric == "val_accuracy":
        plots.set_accuracy_axis(axis, values)
    elif len(last) > 3:
        margin = 0.05 * (max(values) - min(values))
        axis.set_ylim(*sorted((sign * (min(values) - margin), sign * (max(values) + margin))))
    return plots.to_svg(figure)


def parallel_coordinates(
    trials: Sequence[TrialLine], names: Sequence[str], metric: str, sign: int
) -> str:
    """Return an SVG: one axis per parameter, one line per trial, darker if better."""
    scored = [t for t in trials if t.metric is not None]
    figure, (axis,) = plots.new_figure(max(6.0, 1.7 * (len(names) + 1)), 3.6)
    columns = [[t.values.get(name) for t in scored] for name in names]
    columns.append([t.metric for t in scored])
    scales = [_Scale(column) for column in columns]
    ranks = np.argsort(np.argsort(sign * np.array(columns[-1], float)))
    for rank, values in zip(ranks, zip(*columns, strict=True), strict=True):
        heights = [scale.height(value) for scale, value in zip(scales, values, strict=True)]
        opacity = 0.08 + 0.8 * (float(rank) / max(len(scored) - 1, 1)) ** 2
        axis.plot(range(len(scales)), heights, color=BLUE, alpha=opacity, linewidth=1.2)
    for place, scale in enumerate(scales):
        axis.axvline(place, color=INK, alpha=0.4, linewidth=1)
        for height, text in scale.ticks():
            axis.text(place + 0.03, height, text, fontsize=8, color=INK, va="center")
    labels = [name.removeprefix("train.").removeprefix("model.") for name in names]
    axis.set_xticks(range(len(scales)), [*labels, metric_name(metric)], fontsize=8)
    axis.set(yticks=[], xlim=(-0.1, len(names) + 0.45))
    axis.spines[:].set_visible(False)
    return plots.to_svg(figure, grid=None)


def importances(shares: Mapping[str, float]) -> str:
    """Return an SVG: one bar per parameter."""
    figure, (axis,) = plots.new_figure(5.4, 0.8 + 0.32 * len(shares))
    axis.barh(list(shares)[::-1], list(shares.values())[::-1], color=BLUE, height=0.6)
    axis.set(xlabel="share of the variance explained", xlim=(0, 1))
    return plots.to_svg(figure)


def survival(trials: Sequence[TrialLine]) -> str:
    """Return an SVG: how many trials reached each number of epochs."""
    figure, (axis,) = plots.new_figure(5.4, 2.6)
    epochs = range(1, max((t.epochs for t in trials), default=1) + 1)
    reached = [sum(t.epochs >= epoch for t in trials) for epoch in epochs]
    axis.bar(epochs, reached, color=BLUE, width=0.8)
    axis.set(xlabel="epochs trained", ylabel="trials")
    return plots.to_svg(figure)


class _Scale:
    """The height, in 0..1, of each value of one parameter; missing values are below."""

    def __init__(self, values: Sequence[Any]) -> None:
        known = [value for value in values if value is not None]
        self._is_number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)
        in_order = sorted(
            known, key=lambda v: (isinstance(v, list), v if isinstance(v, list) else [])
        )
        self._levels: list[Any] = list(dict.fromkeys(map(str, in_order)))
        if self._is_number:
            self._levels = sorted(set(known))
        is_wide = self._is_number and bool(known) and min(known) > 0
        self._is_log = is_wide and max(known) / min(known) > 30

    def height(self, value: Any) -> float:
        """Return the height of `value`."""
        if value is None or not self._levels:
            return -0.12
        if not self._is_number:
            return self._levels.index(str(value)) / max(len(self._levels) - 1, 1)
        ends = np.array([self._levels[0], self._levels[-1], value], float)
        low, high, at = np.log(ends) if self._is_log else ends
        return float((at - low) / (high - low)) if high > low else 0.5

    def ticks(self) -> list[tuple[float, str]]:
        """Return the height and text of each value, or of the ends if there are many."""
        shown = self._levels if len(self._levels) <= 5 else [self._levels[0], self._levels[-1]]
        return [(self.height(v), f"{v:.4g}" if self._is_number else str(v)) for v in shown]
