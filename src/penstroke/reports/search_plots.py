"""Plots of a search, as SVG in the colours of the page they stand in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from penstroke.config.space import Values
from penstroke.reports.plots import INK, count_epochs, new_figure, to_svg

_COMPLETE, _GIVEN_UP, _BEST = "#3b82c4", "#9aa5b3", "#d97706"


@dataclass(frozen=True)
class TrialLine:
    """One trial as a page tells of it."""

    number: int
    state: str
    values: Values
    metric: float | None
    epochs: int
    seconds: float
    by_epoch: Mapping[int, float]
    reason: str


def history(trials: Sequence[TrialLine], metric: str, sign: int) -> str:
    """Return an SVG: the metric of each trial by number, and the best so far.

    `sign`, here and below, is 1 where a higher metric is better, else -1: `Study.sign`.
    """
    figure, (axis,) = new_figure(8.0, 3.2)
    for state, colour, label in (
        ("pruned", _GIVEN_UP, "pruned"), ("complete", _COMPLETE, "to the last epoch"),
    ):  # fmt: skip
        points = [(t.number, t.metric) for t in trials if t.state == state and t.metric is not None]
        if points:
            axis.plot(*zip(*points, strict=True), "o", color=colour, markersize=4, label=label)
    complete = [(t.number, t.metric) for t in trials if t.state == "complete"]
    if complete:
        numbers, metrics = np.array(complete, float).T
        axis.step(
            numbers,
            sign * np.maximum.accumulate(sign * metrics),
            where="post",
            color=_BEST,
            linewidth=1.5,
            label="best so far",
        )
    axis.set(xlabel="trial", ylabel=in_words(metric))
    _dress(axis)
    return to_svg(figure)


def learning_curves(trials: Sequence[TrialLine], best: int, metric: str, sign: int) -> str:
    """Return an SVG: a line a trial, the best one in colour."""
    figure, (axis,) = new_figure(8.0, 3.2)
    for trial in trials:
        epochs = sorted(trial.by_epoch)
        values = [trial.by_epoch[epoch] for epoch in epochs]
        is_best = trial.number == best
        axis.plot(
            epochs, values, ".-" if len(epochs) == 1 else "-",
            color=_BEST if is_best else _COMPLETE if trial.state == "complete" else _GIVEN_UP,
            linewidth=2.2 if is_best else 0.9, alpha=1 if is_best else 0.6,
            zorder=3 if is_best else 2,
            label=f"trial {trial.number}, the best" if is_best else None,
        )  # fmt: skip
    axis.set_ylabel(in_words(metric))
    count_epochs(axis)
    _fit_to_the_better_half(axis, trials, sign)
    _dress(axis)
    return to_svg(figure)


def parallel_coordinates(
    trials: Sequence[TrialLine], names: Sequence[str], metric: str, sign: int
) -> str:
    """Return an SVG: an axis a parameter, a line a trial, the better the darker."""
    scored = [t for t in trials if t.metric is not None]
    figure, (axis,) = new_figure(max(6.0, 1.7 * (len(names) + 1)), 3.6)
    columns = [_Scale(name, [t.values.get(name) for t in scored]) for name in names]
    metrics = _Scale(in_words(metric), [t.metric for t in scored])
    ranks = np.argsort(np.argsort(sign * np.array([t.metric for t in scored], float)))
    for trial, rank in zip(scored, ranks, strict=True):
        share = rank / max(len(scored) - 1, 1)
        heights = [c.place(trial.values.get(c.name)) for c in columns]
        axis.plot(
            range(len(names) + 1), [*heights, metrics.place(trial.metric)],
            color=_COMPLETE, alpha=0.08 + 0.8 * float(share) ** 2, linewidth=1.2,
        )  # fmt: skip
    for place, scale in enumerate([*columns, metrics]):
        axis.axvline(place, color=INK, alpha=0.4, linewidth=1)
        for height, text in scale.ticks():
            axis.text(place + 0.03, height, text, fontsize=8, color=INK, va="center")
    labels = [c.name.removeprefix("train.").removeprefix("model.") for c in (*columns, metrics)]
    axis.set_xticks(range(len(labels)), labels, fontsize=8)
    axis.set_yticks([])
    axis.set_xlim(-0.1, len(names) + 0.45)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return to_svg(figure)


def importances(shares: Mapping[str, float]) -> str:
    """Return an SVG: a bar a parameter."""
    figure, (axis,) = new_figure(6.5, 0.8 + 0.32 * len(shares))
    names = list(shares)[::-1]
    axis.barh(names, [shares[name] for name in names], color=_COMPLETE, height=0.6)
    axis.set(xlabel="share of the variance explained", xlim=(0, 1))
    _dress(axis, legend=False)
    return to_svg(figure)


def survival(trials: Sequence[TrialLine]) -> str:
    """Return an SVG: how many trials reached each number of epochs."""
    figure, (axis,) = new_figure(6.5, 2.6)
    most = max((t.epochs for t in trials), default=1)
    epochs = range(1, most + 1)
    alive = [len([t for t in trials if t.epochs >= epoch]) for epoch in epochs]
    axis.bar(epochs, alive, color=_COMPLETE, width=0.8)
    axis.set(xlabel="epochs trained", ylabel="trials")
    _dress(axis, legend=False)
    return to_svg(figure)


def in_words(metric: str) -> str:
    """Return the name of a metric as a page says it."""
    return metric.replace("val_", "validation ")


class _Scale:
    """Where a value of one parameter stands between 0 and 1; what is absent stands below."""

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        self.name = name
        known = [value for value in values if value is not None]
        self._is_number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)
        self._levels: list[Any] = (
            sorted(set(known)) if self._is_number else sorted({str(v) for v in known})
        )
        self._is_log = (
            self._is_number and bool(known) and min(known) > 0 and max(known) / min(known) > 30
        )

    def place(self, value: Any) -> float:
        """Return the height of `value`."""
        if value is None or not self._levels:
            return -0.12
        if not self._is_number:
            return self._levels.index(str(value)) / max(len(self._levels) - 1, 1)
        low, high, at = (self._measure(v) for v in (self._levels[0], self._levels[-1], value))
        return (at - low) / (high - low) if high > low else 0.5

    def ticks(self) -> list[tuple[float, str]]:
        """Return (height, text) of the values worth naming."""
        named = self._levels if len(self._levels) <= 5 else [self._levels[0], self._levels[-1]]
        texts = [f"{v:.4g}" if self._is_number else str(v) for v in named]
        return [(self.place(v), text) for v, text in zip(named, texts, strict=True)]

    def _measure(self, value: float) -> float:
        return float(np.log(value)) if self._is_log else float(value)


def _fit_to_the_better_half(axis: Any, trials: Sequence[TrialLine], sign: int) -> None:
    """Leave the hopeless out of sight: they would press all others into one line."""
    last = [sign * t.by_epoch[max(t.by_epoch)] for t in trials if t.by_epoch]
    every = [sign * v for t in trials for v in t.by_epoch.values()]
    if len(last) > 3:
        low, high = float(np.quantile(last, 0.25)), max(every)
        margin = 0.3 * (high - low) or 0.01
        ends = max(min(every), low - margin), high + 0.15 * margin
        axis.set_ylim(*sorted(sign * end for end in ends))


def _dress(axis: Any, *, legend: bool = True) -> None:
    axis.grid(alpha=0.2, color=INK)
    if legend and axis.get_legend_handles_labels()[1]:
        axis.legend(frameon=False, fontsize=9, labelcolor=INK)
