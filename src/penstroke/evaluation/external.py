"""External evaluation: how a model file reads labelled images from elsewhere.

The whole path of a user's image is evaluated, preprocessing and confidence threshold included.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter

from penstroke.config.class_names import class_of
from penstroke.config.settings import read_json
from penstroke.data.sources.contents import LeftOut
from penstroke.data.sources.listing import LabelledImage
from penstroke.errors import DataError, ImageError
from penstroke.evaluation.calibration import compare_with_accuracy
from penstroke.evaluation.intervals import Interval, wilson
from penstroke.evaluation.metrics import auroc
from penstroke.evaluation.writer_metrics import WriterMetrics, writer_metrics
from penstroke.files import write_text_atomically
from penstroke.inference.recognizer import Recognition, Recognizer
from penstroke.preprocessing.ink import Preprocessed, preprocess

T = TypeVar("T")
_BATCH = 200
_THRESHOLDS = (0.5, 0.7, 0.9, 0.99)


@dataclass(frozen=True)
class ClassResult:
    """How the images of one class were read."""

    label: str
    images: int
    right: int
    rejected: int  # for lack of confidence or of ink
    wrong: int
    read_as: tuple[tuple[str, int], ...]  # instead, and how often, the most frequent first


@dataclass(frozen=True)
class ThresholdEffect:
    """What a confidence threshold does."""

    threshold: float
    accepted: float  # share of the images of known classes
    accuracy: float  # on those
    ood_accepted: float | None  # share of the images of unknown classes; None without any


@dataclass(frozen=True)
class ExternalEvaluation:
    """The results on one source of images.

    `auroc` is the chance that a known character gets a higher probability than an OOD image, and
    `ood_score_auroc` the same of `ood_score`; None without any, or without such a score.
    """

    source: str
    images: int  # of the model's classes
    accuracy: float  # share read correctly; rejected is not correct
    interval: Interval  # 95 % (Wilson)
    forced_accuracy: float  # of the most likely class, whether rejected or not
    classes: tuple[ClassResult, ...]
    ood_images: int  # of other classes: out of distribution
    auroc: float | None
    ood_score_auroc: float | None
    ignored: tuple[str, ...]  # labels left out, since they look like a class of the model
    points: tuple[ThresholdEffect, ...]
    left_out: tuple[LeftOut, ...] = ()  # images without a label, files of other kinds
    calibration_error: float | None = None  # of the likeliest class, whether rejected or not
    writers: WriterMetrics | None = None  # of the model's classes; None if fewer than two are known

    @property
    def answered(self) -> int:
        """Images of the model's classes that were not rejected."""
        return sum(one.right + one.wrong for one in self.classes)

    @property
    def precision(self) -> float | None:
        """The share of the answers to them that are right; None without any."""
        right = sum(one.right for one in self.classes)
        return right / self.answered if self.answered else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        figures = {"answered": self.answered, "precision": self.precision}
        return asdict(self) | figures | {"left_out": [file._asdict() for file in self.left_out]}

    def save(self, folder: Path) -> None:
        """Write to a JSON file in `folder`, named after the source."""
        save_evaluation(self, self.source, folder)


def save_evaluation(evaluation: Any, source: str, folder: Path) -> None:
    """Write a dataclass to a JSON file in `folder`, named after the `source`."""
    name = re.sub(r"[^\w.-]+", "-", source).strip(".-") or "source"
    text = TypeAdapter(type(evaluation)).dump_json(evaluation, indent=1).decode()
    write_text_atomically(folder / f"{name}.json", text + "\n")


def load_external_evaluations(folder: Path, kind: type[T]) -> list[T]:
    """Return the evaluations of one `kind` that `save_evaluation` wrote to `folder`, by name."""
    return [read_json(kind, path) for path in sorted(folder.glob("*.json"))]


def evaluate_external(
    recognizer: Recognizer,
    samples: Iterable[LabelledImage],
    source: str,
    *,
    ignored: Iterable[str] = (),
    left_out: Iterable[LeftOut] = (),
    progress: Callable[[int], None] = lambda count: None,
) -> ExternalEvaluation:
    """Return how `recognizer` reads `samples` of its classes, and of others, to be rejected.

    Left out are the labels in `ignored`, which cannot be told from its classes (O from 0), and what
    the source has `left_out`, which is passed on.
    `progress` is called with the number of images read since the last call.

    Raises:
        ImageError: a file is not an image; names it.
        DataError: no image shows one of the model's classes.
    """
    ignored, classes = tuple(ignored), recognizer.classes
    known: list[tuple[str, Recognition]] = []
    unknown: list[tuple[str, Recognition]] = []
    writers: list[str] = []  # of those known
    images = _labelled_images(recognizer, samples, ignored)
    while batch := list(islice(images, _BATCH)):
        readings = recognizer.recognize_preprocessed([image for _, _, image in batch])
        for (label, writer, _), reading in zip(batch, readings, strict=True):
            (known if label in classes else unknown).append((label, reading))
            writers += [writer] if label in classes else []
        progress(len(batch))
    if not known:
        model = recognizer.metadata.get("run", "the model")
        labels = ", ".join(sorted({label for label, _ in unknown})) or "nothing"
        raise DataError(
            f"{source} shows none of the classes of {model} ({', '.join(classes)}), but {labels}"
        )
    is_right = np.array([reading.label == label for label, reading in known])
    right = int(is_right.sum())
    likeliest = np.array([[label] == [name for name, _ in r.top(1)] for label, r in known])
    readings = [reading for _, reading in known + unknown]
    is_known = np.arange(len(readings)) < len(known)
    probabilities = np.array([reading.probability for reading in readings])
    scores = np.array([reading.ood_score or 0.0 for reading in readings])
    points = []
    for threshold in _THRESHOLDS:
        accepted, ood_accepted = np.split(probabilities >= threshold, [len(known)])
        accuracy = float(likeliest[accepted].mean()) if accepted.any() else 0.0
        ood_share = float(ood_accepted.mean()) if unknown else None
        points.append(ThresholdEffect(threshold, float(accepted.mean()), accuracy, ood_share))
    return ExternalEvaluation(
        source=source,
        images=len(known),
        accuracy=right / len(known),
        interval=wilson(right, len(known)),
        forced_accuracy=float(likeliest.mean()),
        classes=tuple(_class_result(name, known) for name in classes),
        ood_images=len(unknown),
        auroc=auroc(probabilities, is_known) if unknown else None,
        ood_score_auroc=auroc(scores, is_known) if unknown and scores.any() else None,
        ignored=ignored,
        points=tuple(points),
        left_out=tuple(left_out),
        calibration_error=compare_with_accuracy(probabilities[is_known], likeliest).ece,
        writers=writer_metrics(np.array(writers), is_right),
    )


def _labelled_images(
    recognizer: Recognizer, samples: Iterable[LabelledImage], ignored: tuple[str, ...]
) -> Iterator[tuple[str, str, Preprocessed]]:
    """Yield the class of each sample, or its label where it has none, its writer, and its image."""
    for sample in samples:
        class_name = class_of(sample.label, recognizer.classes)
        if class_name is None and sample.label in ignored:
            continue
        try:
            image = preprocess(sample.content, recognizer.ink)
        except ImageError as error:
            raise ImageError(f"{sample.name}: {error}") from None
        yield class_name or sample.label, sample.writer, image


def _class_result(name: str, known: list[tuple[str, Recognition]]) -> ClassResult:
    answers = Counter(reading.label for label, reading in known if label == name)
    right, rejected = answers.pop(name, 0), answers.pop(None, 0)
    wrong = answers.total()
    read_as = tuple((str(label), count) for label, count in answers.most_common())
    return ClassResult(name, right + rejected + wrong, right, rejected, wrong, read_as)
