"""Plots as SVG that take on the colours of the page they stand in, and small images as PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from penstroke.data.dataset import Images

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from penstroke.evaluation.calibration import Calibration

INK = "#010203"
"""Stands for the page's text colour while matplotlib draws; replaced by `currentColor` after."""
TRAINING, VALIDATION = "#3b82c4", "#d97706"
_MOST_NAMED_CELLS = 36


def learning_curves(
    history: Sequence[dict[str, Any]], best_epoch: int, lowest_epoch: int | None = None
) -> str:
    """Return an SVG of loss and accuracy by epoch.

    The kept epoch is marked, and the one of the lowest validation loss where it is another.
    """
    figure, axes = new_figure(8.0, 3.1, columns=2)
    epochs = [line["epoch"] for line in history]
    for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
        for split, label, colour in (
            ("train", "training", TRAINING),
            ("val", "validation", VALIDATION),
        ):
            values = [line.get(f"{split}_{name}", np.nan) for line in history]
            if not np.isnan(values).all():
                axis.plot(epochs, values, ".-", color=colour, label=label, linewidth=1.6)
        axis.axvline(best_epoch, color=INK, linestyle=":", linewidth=1, label="kept epoch")
        if lowest_epoch not in (None, best_epoch):
            axis.axvline(lowest_epoch, color=VALIDATION, linestyle=":", linewidth=1,
                         label="lowest loss")  # fmt: skip
        axis.set(title=name)
        count_epochs(axis)
        axis.grid(alpha=0.2, color=INK)
        axis.legend(frameon=False, fontsize=9, labelcolor=INK)
    return to_svg(figure)


def count_epochs(axis: Axes) -> None:
    """Let the horizontal axis tell epochs, in whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def confusion_matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Return an SVG: rows what was shown, columns what was read, mistakes in another colour."""
    counts = np.asarray(confusion)
    side = min(3.0 + 0.36 * len(classes), 11.0)
    figure, (axis,) = new_figure(side, side)
    axis.imshow(_confusion_colours(counts), interpolation="nearest")
    ticks = np.arange(len(classes))
    size = 9 if len(classes) <= _MOST_NAMED_CELLS else 6
    axis.set_xticks(ticks, classes, fontsize=size)
    axis.set_yticks(ticks, classes, fontsize=size)
    axis.set(xlabel="read as", ylabel="shown")
    if len(classes) <= _MOST_NAMED_CELLS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            axis.text(
                column, row, str(counts[row, column]), ha="center", va="center",
                fontsize=max(5, 10 - len(classes) // 6), color=INK,
            )  # fmt: skip
    return to_svg(figure)


def png_uri(image: Images) -> str:
    """Return one image, (28, 28) or (28, 28, 3), as a data URI."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", optimize=True)
    return data_uri(stream.getvalue())


def tinted_uri(image: Images, shares: npt.NDArray[np.float32]) -> str:
    """Return one image (28, 28) as a data URI, orange where `shares` are positive, else blue."""
    most = max(float(np.abs(shares).max()), 1e-9)
    weight = np.sqrt(np.abs(shares) / most)[..., None]  # so that small shares are seen too
    tint = np.where(shares[..., None] > 0, (255.0, 150.0, 30.0), (70.0, 160.0, 255.0))
    grey = np.repeat(image[..., None] * 0.45, 3, axis=2)
    return png_uri(np.round(grey * (1 - weight) + tint * weight).astype(np.uint8))


def reliability(before: Calibration, after: Calibration) -> str:
    """Return an SVG: how often answers of each confidence are right, raw and at the temperature."""
    figure, (axis,) = new_figure(4.6, 4.0)
    axis.plot([0, 1], [0, 1], ":", color=INK, linewidth=1, label="as promised")
    for found, label, colour in (
        (before, "raw", VALIDATION),
        (after, "at the temperature", TRAINING),
    ):
        points = [(one.confidence, one.accuracy) for one in found.bins]
        axis.plot(*zip(*points, strict=True), ".-", color=colour, label=label, linewidth=1.2)
    axis.set(xlabel="confidence", ylabel="share read right", xlim=_span(before, after),
             ylim=_span(before, after))  # fmt: skip
    axis.grid(alpha=0.2, color=INK)
    axis.legend(frameon=False, fontsize=9, labelcolor=INK)
    return to_svg(figure)


def _span(*found: Calibration) -> tuple[float, float]:
    """Return the axis that holds all bins: of a good network they lie near 1."""
    least = min(min(one.confidence, one.accuracy) for part in found for one in part.bins)
    return max(0.0, least - 0.05 * (1 - least) - 0.005), 1.005


def data_uri(png: bytes) -> str:
    """Return a PNG as a data URI, so that a page needs no file beside it."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _confusion_colours(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return (K, K, 4): blue for right, orange for wrong, opacity by the root of the count."""
    right = np.eye(len(counts), dtype=bool)
    colours = np.zeros((*counts.shape, 4))
    for mask, colour in ((right, (0.23, 0.51, 0.77)), (~right, (0.85, 0.47, 0.02))):
        most = max(int(counts[mask].max(initial=0)), 1)
        colours[mask, :3] = colour
        colours[mask, 3] = 0.75 * np.sqrt(counts[mask] / most)
    return colours


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure outside pyplot: nothing global, nothing to close."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = list(figure.subplots(1, columns, squeeze=False)[0])
    for axis in axes:
        axis.patch.set_alpha(0)
        axis.tick_params(colors=INK, labelcolor=INK)
        for part in (axis.xaxis.label, axis.yaxis.label, axis.title):
            part.set_color(INK)
        for spine in axis.spines.values():
            spine.set_color(INK)
            spine.set_alpha(0.4)
    return figure, axes


def to_svg(figure: Figure) -> str:
    """Return the figure as an <svg> element that takes on the colour of the page."""
    from matplotlib import rc_context

    stream = io.StringIO()
    # The page's own font, and ids that do not change from one drawing to the next.
    with rc_context(
        {"svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "penstroke"}
    ):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    svg = stream.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")
