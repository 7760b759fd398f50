"""Accuracy by writer, and on the images of writers who are not in the data."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from penstroke.data.dataset import Writers
from penstroke.evaluation.intervals import Interval, new_writer_interval
from penstroke.evaluation.predictions import Predictions

_SHUFFLES = 100
_Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class WriterAccuracy:
    """How one writer's images are read."""

    writer: str
    images: int
    right: int
    accuracy: float


@dataclass(frozen=True)
class WriterMetrics:
    """Accuracy by writer, over the images whose writer is known."""

    images: int
    accuracy: float
    new_writer_interval: Interval  # 95 %, of accuracy on images of writers who are not among these
    effective_images: float  # images, each of another writer, that would say as much
    worst_tenth: float  # accuracy on the images of the least accurate tenth of writers
    worst_tenth_by_chance: float  # the same if mistakes fell on images at random
    also_trained_on: int  # writers of whom there are training or validation images too
    writers: tuple[WriterAccuracy, ...]  # the least accurate first

    def to_csv(self) -> bytes:
        """Return a table with a line for each writer."""
        stream = io.StringIO()
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(["writer", "images", "right", "accuracy"])
        rows.writerows([w.writer, w.images, w.right, f"{w.accuracy:.6f}"] for w in self.writers)
        return stream.getvalue().encode()


def compute_writer_metrics(
    predictions: Predictions, trained_on: Iterable[str] = ()
) -> WriterMetrics | None:
    """Return the figures by writer; None if fewer than two are known.

    `trained_on` are the writers of the images that the network was trained on or chosen by.
    """
    if predictions.writers is None:
        return None
    return writer_metrics(predictions.writers, predictions.is_right, trained_on)


def writer_metrics(
    writers: Writers, is_right: npt.NDArray[np.bool_], trained_on: Iterable[str] = ()
) -> WriterMetrics | None:
    """Return the figures of images (N,) of these `writers`, see `compute_writer_metrics`."""
    known = writers != ""
    names, writer = np.unique(writers[known], return_inverse=True)
    if len(names) < 2:
        return None
    is_right, images = is_right[known], np.bincount(writer)
    right = np.bincount(writer, is_right).astype(np.int64)
    random = np.random.default_rng(0)
    by_chance = [
        _worst_tenth(np.bincount(writer, random.permutation(is_right)), images)[0]
        for _ in range(_SHUFFLES)
    ]
    interval, effective = new_writer_interval(right, images)
    worst, order = _worst_tenth(right, images)
    rows = ((names[k], images[k], right[k], right[k] / images[k]) for k in order)
    return WriterMetrics(
        images=len(writer), accuracy=float(is_right.mean()), new_writer_interval=interval,
        effective_images=effective, worst_tenth=worst,
        worst_tenth_by_chance=float(np.mean(by_chance)),
        also_trained_on=len(np.intersect1d(names, [*trained_on])),
        writers=tuple(WriterAccuracy(str(w), int(n), int(r), float(a)) for w, n, r, a in rows),
    )  # fmt: skip


def _worst_tenth(right: npt.NDArray[np.number], images: _Counts) -> tuple[float, _Counts]:
    """Return the accuracy of the worst tenth of writers, at least one, and all, worst first."""
    order = np.argsort(right / images, kind="stable")
    worst = order[: -(-len(order) // 10)]
    return float(right[worst].sum() / images[worst].sum()), order
