"""The audit of a data set: labels in doubt, duplicates, leaks, blank images and outliers.

The networks that doubt a label never saw its image; test images are predicted, but nothing is
trained on them and no setting is chosen by them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import median_abs_deviation

from penstroke.data.dataset import Images, Labels, Rows
from penstroke.preprocessing.ink import DEFAULT_INK
from penstroke.quality.audit_images import AuditImages, OnProgress
from penstroke.quality.duplicates import (
    NEAR,
    Neighbours,
    Pair,
    descriptors,
    groups_of,
    nearest,
    pairs_across,
    pairs_within,
)
from penstroke.quality.label_errors import (
    LIKELY,
    LabelError,
    find_label_errors,
    out_of_fold_probabilities,
)

_DEVIATIONS = 3.5
"""Robust standard deviations of the logarithm, as Iglewicz and Hoaglin (1993) advise."""
_FARTHEST = 0.95
"""And farther than this share of all images: ones are so alike that any serif stands out."""
_LEAST_INK = 5
"""Pixels at half of full ink; the faintest of MNIST's images has 15."""
_CUT_PIXELS = 2
"""The least width of a stroke that is cut off; a single pixel is a tip that just touches."""


def audit(
    images: AuditImages,
    other: AuditImages | None = None,
    *,
    folds: int = 4,
    seed: int = 0,
    on_progress: OnProgress = lambda what, share: None,
) -> Audit:
    """Examine `images`, and which of them `other` contains too.

    Each of `folds` networks predicts the training images it was not trained on; the same `seed`
    gives the same audit on one machine.

    Raises:
        ConfigError: fewer than two folds, or a class with fewer images than folds.
    """
    probabilities = out_of_fold_probabilities(images, folds, seed, on_progress)
    pixels, labels = images.images.images, images.images.labels
    without_ink = blank(pixels)
    vectors = descriptors(pixels)
    neighbours = nearest(vectors, vectors, on_progress, is_same=True)
    is_right = probabilities.argmax(axis=1) == labels
    train, test = (
        float(is_right[rows].mean()) if len(rows) else float("nan")
        for rows in (images.train, images.test)
    )
    into_test = [] if other is None else _test_pairs(other, images, on_progress)
    out_of_train = [] if other is None else _test_pairs(images, other, on_progress)
    doubts = find_label_errors(images, probabilities)
    return Audit(
        images=images, other=other,
        label_errors=[doubt for doubt in doubts if doubt.error_probability >= LIKELY],
        doubtful_labels=[doubt for doubt in doubts if doubt.error_probability < LIKELY],
        pairs=pairs_within(pixels, neighbours, without_ink),
        into_test=[Pair(row, theirs, distance) for theirs, row, distance in into_test],
        out_of_train=out_of_train, blank=without_ink.tolist(), clipped=clipped(pixels).tolist(),
        outliers=find_outliers(labels, neighbours, without_ink), train_accuracy=train,
        test_accuracy=test, folds=folds, seed=seed,
    )  # fmt: skip


def _test_pairs(test: AuditImages, train: AuditImages, on_progress: OnProgress) -> list[Pair]:
    """Return the test images of `test` that stand out among the training images of `train`."""
    queries, gallery = test.images.images[test.test], train.images.images[train.train]
    pairs = pairs_across(queries, gallery, on_progress)
    return [Pair(int(test.test[a]), int(train.train[b]), d) for a, b, d in pairs]


@dataclass(frozen=True)
class AuditCount:
    """One kind of finding: affected images in each split, how many are excluded, and why."""

    kind: str
    train: int
    test: int
    excluded: int
    reason: str


@dataclass(frozen=True, eq=False)
class Audit:
    """The findings of an audit, the gravest first; images are given by their row in `images`."""

    images: AuditImages
    other: AuditImages | None
    label_errors: list[LabelError]  # more likely wrong than right
    doubtful_labels: list[LabelError]  # the networks disagree, but cannot tell
    pairs: list[Pair]
    into_test: list[Pair]  # training images in the other's test split; `second` is a row of `other`
    out_of_train: list[Pair]  # test images in the other's training split, likewise
    blank: list[int]
    clipped: list[int]
    outliers: list[tuple[int, float]]  # with their mean distance to the nearest
    train_accuracy: float  # of the networks on images they never saw
    test_accuracy: float
    folds: int
    seed: int
    near_distance: float = NEAR  # images farther apart are not duplicates

    @property
    def expected_precision(self) -> float | None:
        """The share of `label_errors` that are expected to be wrong labels; None without any."""
        probabilities = [error.error_probability for error in self.label_errors]
        return float(np.mean(probabilities)) if probabilities else None

    def pairs_of(self, first: str, second: str) -> list[Pair]:
        """Return the pairs whose images are in these splits (train or test)."""
        split = self.images.split
        return [p for p in self.pairs if (split(p.first), split(p.second)) == (first, second)]

    def conflicts(self) -> list[Pair]:
        """Return the pairs within the data set whose labels differ."""
        label = self.images.label
        return [p for p in self.pairs if label(p.first) != label(p.second)]

    def exclusions(self) -> dict[str, dict[int, str]]:
        """Return the training images to exclude: by kind of finding, position → detail.

        Each is listed once, under the first kind. Of copies in the training split those whose label
        is in doubt are excluded, and of the others all but the first; copies of test images are all
        excluded.
        """
        names, positions = self.images.images.classes, self.images.positions
        later, of_test = self._copies
        rows: dict[str, dict[int, str]] = {
            "label errors": {
                e.row: f"{e.text(names)}: wrong with {100 * e.error_probability:.0f} %"
                for e in self.label_errors
                if not self.images.is_test[e.row]
            },
            "later copies": {r: f"copy of train {positions[k]}" for r, k in later.items()},
            "copies across splits": {r: f"copy of test {positions[k]}" for r, k in of_test.items()},
        }
        if self.other is not None:
            rows[f"in the test split of {self.other.name}"] = {
                pair.first: f"copy of test {self.other.positions[pair.second]}"
                for pair in self.into_test
            }
        listed: set[int] = set()
        exclusions = {}
        for kind, group in rows.items():
            new = sorted(group.keys() - listed)
            exclusions[kind] = {int(positions[row]): group[row] for row in new}
            listed |= group.keys()
        return exclusions

    def excluded_positions(self) -> list[int]:
        """Return the positions of all training images to exclude, sorted."""
        return sorted(position for group in self.exclusions().values() for position in group)

    def counts(self) -> list[AuditCount]:
        """Return one entry for each kind of finding."""
        later, of_test = self._copies
        across = _rows(self.pairs_of("train", "test")) | of_test.keys()
        wrong = self.expected_precision
        share = "none found" if wrong is None else f"{100 * wrong:.0f} % are expected to be wrong"
        kinds: dict[str, tuple[Iterable[int], str]] = {
            "label errors": ([e.row for e in self.label_errors], share),
            "doubtful labels": (
                [e.row for e in self.doubtful_labels],
                "kept: the networks cannot tell",
            ),
            "exact copies": (_rows(p for p in self.pairs if p.is_exact), "see the next lines"),
            "near copies": (_rows(p for p in self.pairs if not p.is_exact), "see the next lines"),
            "later copies": (later, "the first one stays"),
            "copies across splits": (across, "the test would include learned images"),
        }
        if self.other is not None:
            name = self.other.name
            into = [pair.first for pair in self.into_test]
            kinds[f"in the test split of {name}"] = into, "that test would include learned images"
            out_of, advice = self.out_of_train, f"do not test networks trained on {name} with them"
            kinds[f"in the training split of {name}"] = [pair.first for pair in out_of], advice
        kinds |= {
            "blank": (self.blank, "kept: look at them first"),
            "clipped": (self.clipped, "kept: most are legible"),
            "outliers": ([row for row, _ in self.outliers], "kept: rare is not wrong"),
        }
        exclusions, counts = self.exclusions(), []
        for kind, (rows, reason) in kinds.items():
            splits = [self.images.split(row) for row in set(rows)]
            train, test = splits.count("train"), splits.count("test")
            counts.append(AuditCount(kind, train, test, len(exclusions.get(kind, ())), reason))
        return counts

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return {
            "name": self.images.name,
            "against": self.other.name if self.other is not None else None,
            "images": {"train": len(self.images.train), "test": len(self.images.test)},
            "folds": self.folds,
            "seed": self.seed,
            "accuracy": {"train": self.train_accuracy, "test": self.test_accuracy},
            "expected_precision": self.expected_precision,
            "findings": {
                count.kind: {"train": count.train, "test": count.test, "excluded": count.excluded}
                for count in self.counts()
            },
            "conflicting_copies": len(self.conflicts()),
            "excluded": len(self.excluded_positions()),
        }

    @cached_property
    def _copies(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return training images that are later copies, and those that are copies of test images.

        Each with the row it is a copy of. An image whose label is in doubt is never the first.
        """
        in_doubt = {error.row for error in self.label_errors}
        later: dict[int, int] = {}
        of_test: dict[int, int] = {}
        for group in groups_of(self.pairs):  # sorted: training images come first
            if self.images.is_test[group[-1]]:
                train = [row for row in group if not self.images.is_test[row]]
                of_test |= dict.fromkeys(train, group[len(train)])
            elif sound := [row for row in group if row not in in_doubt]:
                later |= dict.fromkeys(sound[1:], sound[0])
        return later, of_test


def _rows(pairs: Iterable[Pair]) -> set[int]:
    return {row for pair in pairs for row in (pair.first, pair.second)}


def find_outliers(labels: Labels, neighbours: Neighbours, ignored: Rows) -> list[tuple[int, float]]:
    """Return (row, mean distance to the nearest) of the outliers, the farthest first.

    `ignored` are the rows of images that are never outliers: blank ones.
    """
    if not neighbours.distances.size:
        return []
    distances = neighbours.distances.mean(axis=1, dtype=np.float64)
    is_outlier = distances > np.quantile(distances, _FARTHEST)
    is_outlier[ignored] = False
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        logs = np.log(np.maximum(distances[members], 1e-6))
        deviation = max(float(median_abs_deviation(logs, scale="normal")), 1e-6)
        is_outlier[members] &= (logs - np.median(logs)) / deviation > _DEVIATIONS
    rows = np.flatnonzero(is_outlier)
    return [(int(row), float(distances[row])) for row in rows[np.argsort(-distances[rows])]]


def blank(images: Images) -> Rows:
    """Return the rows of images (N, 28, 28) with too little contrast or hardly a pixel of ink."""
    lacks_contrast = np.ptp(images, axis=(1, 2)) / 255 < DEFAULT_INK.min_contrast
    return np.flatnonzero(lacks_contrast | (_is_ink(images).sum(axis=(1, 2)) < _LEAST_INK))


def clipped(images: Images) -> Rows:
    """Return the rows of images whose ink runs into the border, the widest there first.

    Two pixels or more of a border are at least half as bright as the brightest.
    """
    ink = _is_ink(images)
    borders = (ink[:, 0], ink[:, -1], ink[:, :, 0], ink[:, :, -1])
    widths = np.max([border.sum(axis=1) for border in borders], axis=0)
    order = np.argsort(-widths, kind="stable")
    rows = order[widths[order] >= _CUT_PIXELS]
    return np.asarray(rows[~np.isin(rows, blank(images))])


def _is_ink(images: Images) -> npt.NDArray[np.bool_]:
    peak = images.max(axis=(1, 2), keepdims=True).astype(np.int64)
    return np.asarray((images * np.int64(2) >= peak) & (peak > 0))
