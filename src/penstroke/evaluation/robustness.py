"""How a network stands spoilt images, and whether its confidence tells characters from others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from penstroke.data.dataset import Dataset, Images
from penstroke.evaluation.corruptions import CORRUPTIONS, corrupt
from penstroke.evaluation.intervals import wilson
from penstroke.evaluation.metrics import auroc
from penstroke.evaluation.predictions import Predictions, predict
from penstroke.files import write_text_atomically
from penstroke.reports import plots
from penstroke.reports.html import render

if TYPE_CHECKING:
    from torch import nn

    from penstroke.runs.run import Run

_EXAMPLES = 8
_GAP = 2

Progress = Callable[[str], None]
"""Told what was judged just now: the name of a corruption or of a kind of strangers."""


@dataclass(frozen=True)
class Reading:
    """Accuracy on the test images under one corruption, with its 95 % interval (Wilson)."""

    name: str
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Rejection:
    """How well confidence tells characters from one kind of images that are none.

    Attributes:
        kind: what the images are.
        images: how many there are.
        confidence: mean over them of the largest softmax probability.
        auroc: chance that a test image is given more confidence than one of them.
    """

    kind: str
    images: int
    confidence: float
    auroc: float


@dataclass(frozen=True)
class Robustness:
    """What was found of one run.

    Attributes:
        images: test images.
        seed: of everything drawn.
        clean: accuracy on the images as they are.
        corruptions: accuracy under each corruption.
        confidence: mean on the images as they are.
        rejections: each kind of strangers.
    """

    images: int
    seed: int
    clean: Reading
    corruptions: tuple[Reading, ...]
    confidence: float
    rejections: tuple[Rejection, ...]

    @property
    def mean_accuracy(self) -> float:
        """Mean over the corruptions, each counted once."""
        return float(np.mean([reading.accuracy for reading in self.corruptions]))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "mean_accuracy": self.mean_accuracy}


def judge_robustness(
    network: nn.Module,
    test: Dataset,
    strangers: Mapping[str, Images],
    seed: int = 0,
    clean: Predictions | None = None,
    progress: Progress = lambda _: None,
) -> Robustness:
    """Judge `network` on spoilt test images and on images that show no character.

    Args:
        network: in evaluation mode.
        test: its test images, which evaluation has opened and written down.
        strangers: images (N, 28, 28) uint8 by kind; see `gather_strangers`.
        seed: of what the corruptions draw.
        clean: what the network says of the test images, where that is known already.
        progress: told each name when it is done.
    """
    clean = predict(network, test) if clean is None else clean
    progress("clean")
    readings = []
    for name in CORRUPTIONS:
        spoilt = Dataset(corrupt(test.images, name, seed), test.labels, test.classes)
        readings.append(_reading(name, predict(network, spoilt)))
        progress(name)
    rejections = []
    for kind, images in strangers.items():
        # What they show is none of the classes; a label is needed to be a data set.
        unlabelled = Dataset(images, np.zeros(len(images), np.int64), test.classes)
        rejections.append(_rejection(kind, clean, predict(network, unlabelled)))
        progress(kind)
    return Robustness(
        images=len(test),
        seed=seed,
        clean=_reading("clean", clean),
        corruptions=tuple(readings),
        confidence=float(_confidence(clean).mean()),
        rejections=tuple(rejections),
    )


def write_page(run: Run, found: Robustness, test: Dataset, strangers: Mapping[str, Images]) -> Path:
    """Write report/robustness.html and return its path.

    Args:
        run: the run that was judged.
        found: what `judge_robustness` returned.
        test: the test images, for examples.
        strangers: the kinds of images it was judged on, for examples.
    """
    examples = _one_of_several_classes(test)
    strips = {name: corrupt(examples, name, found.seed) for name in CORRUPTIONS}
    page = render(
        "robustness.html.j2",
        name=run.name,
        architecture=run.record.config.model.architecture,
        dataset=run.record.config.data.dataset,
        classes=test.classes,
        cards=_cards(found),
        found=found,
        readings=[found.clean, *found.corruptions],
        strips={name: _strip(images) for name, images in {"clean": examples, **strips}.items()},
        strangers={kind: _strip(images) for kind, images in strangers.items()},
        about={name: _about(function) for name, function in CORRUPTIONS.items()},
    )
    path = run.path / "report" / "robustness.html"
    write_text_atomically(path, page)
    return path


def _reading(name: str, predictions: Predictions) -> Reading:
    right, count = int(predictions.is_right.sum()), len(predictions)
    low, high = wilson(right, count)
    return Reading(name, right / count, low, high)


def _rejection(kind: str, characters: Predictions, others: Predictions) -> Rejection:
    scores = np.concatenate([_confidence(characters), _confidence(others)])
    is_character = np.arange(len(scores)) < len(characters)
    return Rejection(
        kind, len(others), float(_confidence(others).mean()), auroc(scores, is_character)
    )


def _confidence(predictions: Predictions) -> npt.NDArray[np.float64]:
    """Return the largest softmax probability of each image: (N,) (Hendrycks & Gimpel 2017)."""
    return np.asarray(predictions.probabilities.max(axis=1))


def _cards(found: Robustness) -> list[tuple[str, str]]:
    worst = min(found.corruptions, key=lambda reading: reading.accuracy)
    return [
        ("accuracy on clean images", f"{100 * found.clean.accuracy:.2f} %"),
        (f"mean of {len(found.corruptions)} corruptions", f"{100 * found.mean_accuracy:.2f} %"),
        (f"worst: {worst.name.replace('_', ' ')}", f"{100 * worst.accuracy:.2f} %"),
        *((f"AUROC against {r.kind}", f"{r.auroc:.4f}") for r in found.rejections),
    ]


def _one_of_several_classes(test: Dataset) -> Images:
    """Return the first image of up to eight classes, spread evenly over those present."""
    _, firsts = np.unique(test.labels, return_index=True)
    chosen = np.linspace(0, len(firsts) - 1, min(_EXAMPLES, len(firsts))).round().astype(int)
    return np.asarray(test.images[firsts[chosen]])


def _strip(images: Images) -> str:
    """Return the first eight images side by side, as a data URI."""
    shown = np.pad(images[:_EXAMPLES], ((0, 0), (0, 0), (0, _GAP)))
    return plots.png_uri(np.concatenate(list(shown), axis=1)[:, :-_GAP])


def _about(function: Callable[..., Any]) -> str:
    """Return the first line of a docstring: what the corruption is, and its severity."""
    return (function.__doc__ or "").partition("\n")[0]
