"""Draws docs/figures/ for the explanations, computed by the code that they explain."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from penstroke.evaluation.intervals import wilson
from penstroke.preprocessing.decoding import read_grey
from penstroke.preprocessing.ink import find_ink, preprocess
from penstroke.search.plan import hyperband

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/figures"
INK = "#7d8894"
"""Legible on white and on black: an image cannot know the background of its page."""
COLOURS = ("#3b82c4", "#d97706", "#2f9e6e", "#b565c4")


def main() -> None:
    """Write every figure."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in FIGURES.items():
        (FOLDER / f"{name}.svg").write_text(draw())
        print(f"docs/figures/{name}.svg")


def placing() -> str:
    """From a drawing to what a network reads, in four steps."""
    path = ROOT / "examples/seven.png"
    grey = read_grey(path)
    ink = find_ink(grey)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    seen = preprocess(path).pixels
    shown = (("as drawn", grey), ("ink", ink), ("cropped", cropped), ("28×28 input", seen))
    figure = Figure(figsize=(7.6, 2.2), layout="constrained")
    for axis, (title, pixels) in zip(figure.subplots(1, 4), shown, strict=True):
        axis.imshow(pixels, cmap="gray", interpolation="nearest")
        axis.set_title(title, fontsize=10, color=INK)
        axis.set(xticks=[], yticks=[])
        _colour(axis)
    return _svg(figure)


def luck(images: int = 1000, accuracy: float = 0.99, draws: int = 20_000) -> str:
    """The best measured accuracy of many networks with one true accuracy, on average."""
    random = np.random.default_rng(0)
    counts = np.array([1, 2, 5, 10, 20, 50, 100])
    figure, axis = _figure(f"{images:,} test images, every network at {accuracy:.0%}")
    best = [
        random.binomial(images, accuracy, (draws, count)).max(axis=1).mean() / images
        for count in counts
    ]
    axis.plot(counts, best, "o-", color=COLOURS[1], label="measured accuracy of the best")
    axis.axhline(accuracy, color=COLOURS[0], label="true accuracy")
    axis.set(xscale="log", xlabel="number of networks")
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axis.legend(frameon=False, fontsize=9, labelcolor=INK)
    return _svg(figure)


def brackets(max_epochs: int = 27, eta: int = 3) -> str:
    """The rungs of each bracket: how many trials go how far."""
    figure, axis = _figure(f"up to {max_epochs} epochs, one in {eta} promoted")
    for number, bracket in enumerate(hyperband(max_epochs, eta)):
        rungs = bracket.rungs
        epochs = [0, *(rung.epochs for rung in rungs)]
        axis.stairs([rung.trials for rung in rungs], epochs, color=COLOURS[number], linewidth=2,
                    label=f"bracket {number + 1}: {bracket.epochs} epochs in total")  # fmt: skip
    axis.set(xlabel="epochs per trial", ylabel="trials", yscale="log")
    axis.set_yticks([1, 3, 9, 27], ["1", "3", "9", "27"])
    axis.minorticks_off()
    axis.legend(frameon=False, fontsize=9, labelcolor=INK)
    return _svg(figure)


def widths() -> str:
    """Half the width of Wilson's interval by the number of images."""
    figure, axis = _figure("95 % interval of an accuracy")
    counts = np.array([200, 400, 1000, 2000, 5000, 10_000, 20_000])
    for colour, accuracy in zip(COLOURS, (0.9, 0.97, 0.99, 0.995), strict=True):
        ends = [wilson(round(accuracy * count), int(count)) for count in counts]
        half = [(high - low) / 2 for low, high in ends]
        axis.plot(counts, half, "o-", markersize=4, color=colour, label=f"at {accuracy:.1%}")
    axis.set(xscale="log", yscale="log", xlabel="number of images", ylabel="± half the width")
    axis.set_xticks(counts, [f"{count:,}" for count in counts])
    axis.minorticks_off()
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axis.legend(frameon=False, fontsize=9, labelcolor=INK)
    return _svg(figure)


def temperature() -> str:
    """One answer's probabilities at three temperatures."""
    figure, axis = _figure("the same answer, divided by a temperature T")
    logits = np.array([0.2, 0.5, 0.0, 4.0, 0.3, 2.2, 0.1, 0.4, 2.8, 1.0])
    places = np.arange(len(logits))
    for k, (colour, hot) in enumerate(zip(COLOURS, (0.5, 1.0, 2.0), strict=False)):
        powers = np.exp(logits / hot)
        axis.bar(places + 0.27 * (k - 1), powers / powers.sum(), 0.25, color=colour,
                 label=f"T = {hot:g}")  # fmt: skip
    axis.set(xlabel="class", xticks=places)
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.legend(frameon=False, fontsize=9, labelcolor=INK)
    return _svg(figure)


def _figure(title: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(6.4, 3.0), layout="constrained")
    axis = figure.subplots()
    axis.set_title(title, fontsize=10, color=INK)
    axis.grid(alpha=0.25, color=INK)
    _colour(axis)
    return figure, axis


def _colour(axis: Any) -> None:
    axis.tick_params(colors=INK, which="both", labelsize=9)
    axis.xaxis.label.set_color(INK)
    axis.yaxis.label.set_color(INK)
    for side, spine in axis.spines.items():
        spine.set_color(INK)
        spine.set_visible(side in ("left", "bottom") or not len(axis.get_xticks()))


def _svg(figure: Figure) -> str:
    written = io.StringIO()
    # No date and no random names: the same figure is the same file.
    rcParams.update({"svg.hashsalt": "penstroke", "svg.fonttype": "none"})
    figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


FIGURES = {
    "placing": placing,
    "luck": luck,
    "hyperband": brackets,
    "intervals": widths,
    "temperature": temperature,
}

if __name__ == "__main__":
    main()
