"""Plots as SVG in the colours of the page around them, and the style that all plots share."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from penstroke.evaluation.calibration import Calibration
    from penstroke.evaluation.line_metrics import CoverageCurve, LengthMetrics

INK = "#010203"
"""Stands for the page's text colour while matplotlib draws; becomes `currentColor` in the SVG."""
BLUE, ORANGE, GREY = "#3b82c4", "#d97706", "#8592a1"
_MOST_LABELLED_CLASSES, _LONGEST_NAME = 36, 18
CURVES = ("loss", "accuracy")
_MANY_ERRORS = 0.3
_ALL_RIGHT = 0.2
"""How far above the least error no error is drawn, in powers of ten."""
_NARROWEST = 0.66
"""Of its width, what a plot may shrink to before it scrolls."""


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure, in inches, and its axes; outside pyplot, so that nothing is global."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = list(figure.subplots(1, columns, squeeze=False)[0])
    for axis in axes:
        axis.patch.set_alpha(0)
        axis.tick_params(colors=INK, labelcolor=INK)
        for part in (axis.xaxis.label, axis.yaxis.label, axis.title):
            part.set_color(INK)
        axis.spines[:].set(color=INK, alpha=0.4)
    return figure, axes


def set_epoch_axis(axis: Axes) -> None:
    """Let the horizontal axis show epochs as whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def to_svg(figure: Figure, grid: Literal["both", "x"] | None = "both") -> str:
    """Return the figure, with a legend if needed, as an <svg> in the page's text colour.

    All text is literal: a class may be called $.
    """
    from matplotlib import rc_context
    from matplotlib.text import Text

    stream = io.StringIO()
    # The page's font, and ids that do not change from one drawing to the next.
    with rc_context({
        "svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "penstroke",
        "text.parse_math": False,
    }):  # fmt: skip
        for axis in figure.axes:
            for side in (axis.xaxis, axis.yaxis):
                if side.get_scale() == "log":  # its own labels are formulas
                    side.set_major_formatter("{x:g}")
                    side.set_minor_formatter("")
            if grid:
                axis.grid(alpha=0.2, color=INK, axis=grid)
            if axis.get_legend_handles_labels()[1]:
                is_accuracy = axis.get_yscale() == "function"  # rises, so there is room below
                axis.legend(
                    frameon=False,
                    fontsize=9,
                    labelcolor=INK,
                    loc="lower right" if is_accuracy else "best",
                )
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            text.set_parse_math(False)
        figure.savefig(stream, format="svg", metadata={"Date": None})
    svg = stream.getvalue()
    narrowest = round(_NARROWEST * figure.get_figwidth() * 96)  # CSS pixels
    return svg[svg.index("<svg") :].replace(INK, "currentColor").replace(
        "<svg ", f'<svg class="plot" style="min-width: {narrowest}px" ', 1
    )  # fmt: skip


def set_accuracy_axis(axis: Axes, accuracies: npt.ArrayLike) -> None:
    """Scale the vertical axis by the logarithm of the error, if any accuracy is above 70 %.

    98.9 and 99.6 % are as far apart as 92 and 97 %. The labels are accuracies; what has no errors
    is drawn at the top.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    errors = 1 - np.asarray(accuracies, float)
    errors = errors[np.isfinite(errors)]
    if errors.min(initial=1.0) > _MANY_ERRORS:
        axis.yaxis.set_major_formatter(PercentFormatter(1))
        return
    least = float(errors[errors > 0].min(initial=0.2))
    top, bottom = max(errors.min(initial=1.0), least), max(errors.max(initial=least), least)

    def height(accuracy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        error = 1 - accuracy  # below the least, where a logarithm ends, a straight line to 100 %
        beyond = _ALL_RIGHT * (1 - error / least)
        raised: npt.NDArray[np.float64] = np.maximum(beyond, 0) - np.log10(np.maximum(error, least))
        return raised

    def accuracy(height: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        beyond = np.maximum(height + np.log10(least), 0)
        below = least * (1 - beyond / _ALL_RIGHT)
        error: npt.NDArray[np.float64] = np.where(beyond > 0, below, 10.0**-height)
        return 1 - error

    axis.set_yscale("function", functions=(height, accuracy))
    margin = (bottom / top) ** 0.06 * 1.05
    has_none_wrong = errors.min(initial=1.0) <= 0
    axis.set_ylim(1 - bottom * margin, 1 + 0.3 * least if has_none_wrong else 1 - top / margin)
    powers = 10.0 ** np.arange(-7, 1)
    for steps in ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)):
        ticks = np.outer(powers, steps).ravel()
        ticks = ticks[(ticks >= top) & (ticks <= min(bottom * margin, 1.0))]
        if len(ticks) >= 4:
            break
    else:
        ticks = 1 - np.asarray(MaxNLocator(4).tick_values(1 - bottom, 1 - top))
        ticks = ticks[(ticks >= top) & (ticks <= bottom * margin)]
    places = {f"{100 * (1 - tick):.6g} %": 1 - tick for tick in ticks}
    if has_none_wrong:
        places["100 %"] = 1.0
    axis.set_yticks(list(places.values()), list(places))
    axis.minorticks_off()


def learning_curves(
    history: Sequence[dict[str, Any]],
    best_epoch: int,
    lowest_epoch: int | None = None,
    names: Sequence[str] = CURVES,
) -> str:
    """Return an SVG of the figures `names` by epoch, the selected and lowest epoch marked."""
    figure, axes = new_figure(4.2 * len(names), 3.1, columns=len(names))
    epochs = [line["epoch"] for line in history]
    for axis, name in zip(axes, names, strict=True):
        drawn: list[float] = []
        for split, label, colour in (("train", "training", BLUE), ("val", "validation", ORANGE)):
            values = [line.get(f"{split}_{name}", np.nan) for line in history]
            if not np.isnan(values).all():
                axis.plot(epochs, values, ".-", color=colour, label=label, linewidth=1.6)
                drawn += values
        marks = [(best_epoch, INK, "selected epoch")]
        if lowest_epoch is not None and lowest_epoch != best_epoch:
            marks.append((lowest_epoch, ORANGE, "lowest loss"))
        for epoch, colour, label in marks:
            axis.axvline(epoch, color=colour, linestyle=":", linewidth=1, label=label)
        axis.set_title(name)
        if name == "accuracy":
            set_accuracy_axis(axis, drawn)
        set_epoch_axis(axis)
    return to_svg(figure)


def confusion_matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Return an SVG: rows are true classes, columns predictions, mistakes in another colour."""
    counts = np.asarray(confusion)
    few = len(classes) <= _MOST_LABELLED_CLASSES
    side = min(2.4 + 0.3 * len(classes), 11.0)
    names = [name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…" for name in classes]
    longest = max(map(len, names))
    figure, (axis,) = new_figure(side + 0.09 * longest, side + 0.09 * longest)
    axis.imshow(_confusion_colours(counts), interpolation="nearest")
    for set_ticks in (axis.set_xticks, axis.set_yticks):
        set_ticks(np.arange(len(classes)), names, fontsize=9 if few else 8)
    axis.tick_params("x", labelrotation=90 if longest > 3 else 0)
    axis.set(xlabel="prediction", ylabel="true class")
    if few:
        size = max(5, 10 - len(classes) // 6)
        for row, column in zip(*np.nonzero(counts), strict=True):
            text = str(counts[row, column])
            axis.text(column, row, text, ha="center", va="center", fontsize=size, color=INK)
    return to_svg(figure, grid=None)


def _confusion_colours(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return (K, K, 4): blue on the diagonal, orange off it, opacity by the root of the count."""
    is_right = np.eye(len(counts), dtype=bool)
    colours = np.zeros((*counts.shape, 4))
    for mask, colour in ((is_right, (0.23, 0.51, 0.77)), (~is_right, (0.85, 0.47, 0.02))):
        most = max(int(counts[mask].max(initial=0)), 1)
        colours[mask, :3] = colour
        colours[mask, 3] = 0.6 * np.sqrt(counts[mask] / most)
    return colours


def reliability(raw: Calibration, calibrated: Calibration) -> str:
    """Return an SVG: accuracy by confidence, as the network is and at the temperature."""
    figure, (axis,) = new_figure(4.6, 4.0)
    axis.plot([0, 1], [0, 1], ":", color=INK, linewidth=1, label="perfectly calibrated")
    lowest = 1.0
    for calibration, label, colour in ((raw, "raw", ORANGE), (calibrated, "calibrated", BLUE)):
        points = [(one.confidence, one.accuracy) for one in calibration.bins]
        axis.plot(*zip(*points, strict=True), ".-", color=colour, label=label, linewidth=1.2)
        lowest = min(lowest, *map(min, points))
    # All bins of a good network lie near 1.
    span = max(0.0, lowest - 0.05 * (1 - lowest) - 0.005), 1.005
    axis.set(xlabel="confidence", ylabel="accuracy", xlim=span, ylim=span)
    return to_svg(figure)


def exact_by_length(groups: Sequence[LengthMetrics]) -> str:
    """Return an SVG: the share of lines read exactly, with its interval, by length of the text."""
    figure, (axis,) = new_figure(max(3.4, 1.2 + 0.45 * len(groups)), 3.1)
    for place, group in enumerate(groups):
        ends = [group.exact.low, group.exact.high]
        axis.plot([place, place], ends, "-", color=BLUE, linewidth=5, alpha=0.35)
        axis.plot(place, group.exact.value, "o", color=BLUE, markersize=5)
    names = [
        f"{one.shortest}" if one.shortest == one.longest else f"{one.shortest}–{one.longest}"
        for one in groups
    ]
    axis.set_xticks(range(len(groups)), names)
    axis.set(xlabel="characters", ylabel="read exactly", xlim=(-0.6, len(groups) - 0.4))
    set_accuracy_axis(axis, [end for one in groups for end in (one.exact.low, one.exact.value)])
    return to_svg(figure)


def coverage(curve: CoverageCurve) -> str:
    """Return an SVG: the share of right answers by the share of lines that are answered."""
    figure, (axis,) = new_figure(4.6, 3.1)
    axis.plot(curve.coverage, curve.precision, "-", color=BLUE, linewidth=1.6)
    axis.set(xlabel="coverage", ylabel="precision", xlim=(0, 1.01))
    set_accuracy_axis(axis, curve.precision)
    return to_svg(figure)
