"""Draws docs/figures/ for the explanations and the tutorial, by the code that they explain.

With --trained, also those of the tutorial's two networks, which takes a minute of training.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

import penstroke
from papers import photos
from penstroke.config.recipes import load_recipe
from penstroke.config.settings import SynthesisConfig
from penstroke.data.dataset import Dataset
from penstroke.data.synthetic_lines import LineSynthesizer
from penstroke.evaluation.evaluator import Evaluation
from penstroke.evaluation.intervals import wilson
from penstroke.inference.recognizer import Recognizer
from penstroke.preprocessing.decoding import read_grey
from penstroke.preprocessing.ink import (
    DEFAULT_INK,
    Preprocessed,
    find_ink,
    inspect_ink,
    otsu,
    preprocess,
)
from penstroke.preprocessing.strips import PAPER
from penstroke.reports.plots import set_accuracy_axis
from penstroke.runs.trained import evaluate
from penstroke.search.plan import hyperband
from penstroke.serve.inference_worker import occlusion_map
from stroke_forms import draw

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/figures"
INK = "#7d8894"
"""Legible on white and on black: an image cannot know the background of its page."""
_LONGEST_LINE = 200
"""Pixels; longer synthetic lines are not drawn."""
COLOURS = ("#3b82c4", "#d97706", "#2f9e6e", "#b565c4")


def main() -> None:
    """Write every figure."""
    FOLDER.mkdir(exist_ok=True)
    figures = {name: draw() for name, draw in FIGURES.items()}
    for name, svg in (figures | (trained() if "--trained" in sys.argv else {})).items():
        (FOLDER / f"{name}.svg").write_text(svg)
        print(f"docs/figures/{name}.svg")


def pixels() -> str:
    """The tutorial's first image, and the levels of the part that is printed there."""
    image = penstroke.load_dataset("digits").train.images[0]
    figure = Figure(figsize=(7.6, 3.8), layout="constrained")
    whole, part = figure.subplots(1, 2)
    whole.set_title("28×28 pixels, every second of those in the frame …", fontsize=10, color=INK)
    _show(whole, image)
    whole.add_patch(Rectangle((3.5, 3.5), 20, 20, fill=False, edgecolor=COLOURS[1], linewidth=2))
    levels = image[4:24:2, 4:24:2]
    part.set_title("… and their levels", fontsize=10, color=INK)
    _show(part, levels)
    for (row, column), level in np.ndenumerate(levels):
        colour = "white" if level < 128 else "black"
        part.text(column, row, str(level), ha="center", va="center", fontsize=8, color=colour)
    return _svg(figure)


def samples(count: int = 14) -> str:
    """Images of each class of `digits`, as the contact sheet has them."""
    train = penstroke.load_dataset("digits").train
    rows = [train.images[train.labels == k][:count] for k in range(len(train.classes))]
    figure = Figure(figsize=(7.6, 5.6), layout="constrained")
    axis = figure.subplots()
    _show(axis, np.concatenate([np.concatenate(list(row), axis=1) for row in rows]))
    axis.set_yticks(28 * np.arange(len(rows)) + 13.5, train.classes)
    _colour(axis)
    axis.tick_params(length=0)
    return _svg(figure)


def synthetic_lines(rows: int = 8, columns: int = 3) -> str:
    """Synthetic lines as a line reader's training sees them, each over its text."""
    train = penstroke.load_dataset("digits").train
    lines = LineSynthesizer(train, SynthesisConfig()).batch(4 * rows * columns, seed=1)
    short = [row for row in range(len(lines)) if lines.widths[row] <= _LONGEST_LINE]
    figure = Figure(figsize=(7.6, 4.6), layout="constrained")
    for axis, row in zip(figure.subplots(rows, columns).flat, short, strict=False):
        strip = lines.strip(row)
        wide = np.full((strip.shape[0], _LONGEST_LINE), PAPER, np.uint8)
        wide[:, : strip.shape[1]] = strip
        _show(axis, 255 - wide)
        axis.set_xlabel(lines.texts[row] or "(blank)", fontsize=8, color=INK, labelpad=2)
    return _svg(figure)


def trained() -> dict[str, str]:
    """Figures of the tutorial's two networks."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"PENSTROKE_RUNS": folder, "PENSTROKE_CACHE": f"{folder}/.cache"}
        recipes = {
            "mlp": load_recipe("balanced", {"model": {"architecture": "mlp"}}),
            "cnn": load_recipe("balanced"),
        }
        runs = {
            name: penstroke.train(recipe.run_config(), name=name, report=False)
            for name, recipe in recipes.items()
        }
        mlp = evaluate(runs["mlp"])
        return {
            "curves": curves({name: evaluate(run) for name, run in runs.items()}),
            "confusion": confusion(mlp),
            "mistakes": mistakes(mlp),
            "occlusion": occlusion(Recognizer.load(runs["cnn"].path), mlp.test_images),
        }


def curves(evaluations: dict[str, Evaluation]) -> str:
    """The learning curves of both networks."""
    figure = Figure(figsize=(7.6, 3.0), layout="constrained")
    for axis, part in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        drawn = []
        for (name, evaluation), colour in zip(evaluations.items(), COLOURS, strict=False):
            for split, line in (("train", ":"), ("val", "-")):
                values = [epoch[f"{split}_{part}"] for epoch in evaluation.history]
                label = f"{name}, {'training' if split == 'train' else 'validation'}"
                axis.plot(range(1, len(values) + 1), values, line, color=colour, label=label)
                drawn += values
        if part == "accuracy":
            set_accuracy_axis(axis, drawn)
        axis.set_title(part, fontsize=10, color=INK)
        axis.set(xlabel="epoch")
        axis.grid(alpha=0.25, color=INK)
        axis.legend(frameon=False, fontsize=8, labelcolor=INK)
        _colour(axis)
    return _svg(figure)


def confusion(evaluation: Evaluation) -> str:
    """What each class is read as."""
    metrics, classes = evaluation.metrics["test"], evaluation.test_images.classes
    counts = np.asarray(metrics.confusion)
    colours = np.ones((*counts.shape, 3))
    colours[counts > 0] = (0.98, 0.72, 0.42)
    colours[np.eye(len(counts), dtype=bool)] = (0.66, 0.80, 0.93)
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axis = figure.subplots()
    axis.imshow(colours)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            axis.text(column, row, str(count), ha="center", va="center", fontsize=9, color="black")
    places = range(len(classes))
    axis.set_xticks(places, classes)
    axis.set_yticks(places, classes)
    axis.set(xlabel="prediction", ylabel="true class")
    _colour(axis)
    return _svg(figure)


def mistakes(evaluation: Evaluation, most: int = 10) -> str:
    """Test images that are misread, the worst first."""
    found = evaluation.predictions["test"].at(evaluation.temperature)
    rows = found.worst_mistakes(most)
    figure = Figure(figsize=(7.6, 1.5 * -(-len(rows) // 6)), layout="constrained")
    grid = figure.subplots(-(-len(rows) // 6), 6, squeeze=False).ravel()
    for axis in grid:
        axis.set_axis_off()
    for axis, row in zip(grid, rows, strict=False):
        true, read = found.classes[found.labels[row]], found.classes[found.predicted[row]]
        axis.set_title(f"{true} read as {read}", fontsize=9, color=INK)
        axis.imshow(evaluation.test_images.images[row], cmap="gray")
    return _svg(figure)


def occlusion(recognizer: Recognizer, images: Dataset, count: int = 5) -> str:
    """Images, and where covering them costs the answer most."""
    rows = [int(np.flatnonzero(images.labels == k)[0]) for k in (2, 4, 7, 8, 9)][:count]
    figure = Figure(figsize=(7.6, 3.2), layout="constrained")
    for column, row in zip(figure.subplots(2, len(rows)).T, rows, strict=True):
        image = images.images[row]
        (answer,) = recognizer.recognize_preprocessed([Preprocessed(image, is_blank=False)])
        _show(column[0], image)
        column[0].set_title(f"{answer.label}, {answer.probability:.1%}", fontsize=9, color=INK)
        _show(column[1], image)
        column[1].imshow(occlusion_map(recognizer, image), cmap="inferno", alpha=0.75)
    return _svg(figure)


def _show(axis: Any, image: npt.NDArray[np.uint8]) -> None:
    axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    _colour(axis)


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


def papers(kinds: tuple[str, ...], count: int = 8) -> str:
    """Digits on paper: each photo, what a threshold takes for ink, the ink, and the input."""
    random = np.random.default_rng(4)
    figure = Figure(figsize=(7.6, 3.5), layout="constrained")
    axes = figure.subplots(4, count)
    for number, column in enumerate(axes.T):
        kind = kinds[number * len(kinds) // count]
        digit = draw(str((3 * number + 2) % 10), random)
        photo = photos(digit[None], kind, seed=number)[0]
        grey = read_grey(photo)
        found = inspect_ink(grey, DEFAULT_INK).amount
        shown: Sequence[npt.NDArray[Any]] = (
            photo, _thresholded(grey), found, preprocess(photo).pixels,
        )  # fmt: skip
        for axis, image in zip(column, shown, strict=True):
            axis.imshow(image, cmap="gray", interpolation="nearest", vmin=0,
                        vmax=1 if image.dtype == np.float32 else 255)  # fmt: skip
            axis.set(xticks=[], yticks=[])
            _colour(axis)
        if kind != kinds[(number - 1) * len(kinds) // count] or not number:
            column[0].set_title(kind, fontsize=9, color=INK, loc="left")
    for axis, title in zip(axes[:, 0], ("photo", "threshold", "ink", "28×28"), strict=True):
        axis.set_ylabel(title, fontsize=9, color=INK)
    return _svg(figure)


def _thresholded(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return 1 where `grey` (H, W) is of the rarer of the two classes of Otsu's threshold."""
    is_light = grey * 255 >= otsu(grey)[1]
    return (is_light if is_light.mean() < 0.5 else ~is_light).astype(np.float32)


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
    "pixels": pixels,
    "samples": samples,
    "synthetic-lines": synthetic_lines,
    "placing": placing,
    "paper-polarity": lambda: papers(("plain", "negative", "cropped to the ink")),
    "paper-faint": lambda: papers(("20 of 255 levels", "pencil")),
    "paper-frames": lambda: papers(("frame", "frame through the ink", "a line at the foot")),
    "paper-lines": lambda: papers(("ruled", "faint grid", "grid")),
    "paper-patterned": lambda: papers(("patterned",)),
    "paper-light": lambda: papers(
        ("lit from one side", "edge of a shadow", "edge of a table", "a circle of paper")
    ),
    "paper-small": lambda: papers(("16 pixels", "10 pixels")),
    "luck": luck,
    "hyperband": brackets,
    "intervals": widths,
    "temperature": temperature,
}

if __name__ == "__main__":
    main()
