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

INK = "#010203"
"""Stands for the page's text colour while matplotlib draws; becomes `currentColor` in the SVG."""
BLUE, ORANGE, GREY = "#3b82c4", "#d97706", "#9aa5b3"
_MOST_LABELLED_CLASSES = 36


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
                axis.legend(frameon=False, fontsize=9, labelcolor=INK)
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            text.set_parse_math(False)
        figure.savefig(stream, format="svg", metadata={"Date": None})
    svg = stream.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")


def learning_curves(
    history: Sequence[dict[str, Any]], best_epoch: int, lowest_epoch: int | None = None
) -> str:
    """Return an SVG of loss and accuracy by epoch, with the selected and lowest epoch marked."""
    figure, axes = new_figure(8.0, 3.1, columns=2)
    epochs = [line["epoch"] for line in history]
    for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
        for split, label, colour in (("train", "training", BLUE), ("val", "validation", ORANGE)):
            values = [line.get(f"{split}_{name}", np.nan) for line in history]
            if not np.isnan(values).all():
                axis.plot(epochs, values, ".-", color=colour, label=label, linewidth=1.6)
        marks = [(best_epoch, INK, "selected epoch")]
        if lowest_epoch is not None and lowest_epoch != best_epoch:
            marks.append((lowest_epoch, ORANGE, "lowest loss"))
        for epoch, colour, label in marks:
            axis.axvline(epoch, color=colour, linestyle=":", linewidth=1, label=label)
        axis.set_title(name)
        set_epoch_axis(axis)
    return to_svg(figure)


def confusion_matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Return an SVG: rows are true classes, columns predictions, mistakes in another colour."""
    counts = np.asarray(confusion)
    few = len(classes) <= _MOST_LABELLED_CLASSES
    side = min(3.0 + 0.36 * len(classes), 11.0)
    figure, (axis,) = new_figure(side, side)
    axis.imshow(_confusion_colours(counts), interpolation="nearest")
    for set_ticks in (axis.set_xticks, axis.set_yticks):
        set_ticks(np.arange(len(classes)), classes, fontsize=9 if few else 6)
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
        colours[mask, 3] = 0.75 * np.sqrt(counts[mask] / most)
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
