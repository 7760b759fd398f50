"""The audit of a data set: labels in doubt, duplicates, leaks, blank images and outliers.

The networks that doubt a label never saw its image; test images are predicted, but nothing is
trained on them and no setting is chosen by them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from penstroke.quality.audit_images import AuditImages, OnProgress
from penstroke.quality.duplicates import NEAR, Pair, groups_of, pairs_across, pairs_within
from penstroke.quality.label_errors import LabelError, find_label_errors, out_of_fold_probabilities
from penstroke.quality.neighbours import descriptors, nearest
from penstroke.quality.outliers import blank, clipped, find_outliers


def audit(
    images: AuditImages,
    other: AuditImages | None = None,
    *,
    folds: int = 4,
    seed: int = 0,
    on_progress: OnProgress = lambda what, share: None,
) -> Audit:
    """Examine `images`, and which of them `other` contains too.

    Args:
        images: the images to examine.
        other: those of another data set.
        folds: the number of networks, each predicting the training images it was not trained on.
        seed: of the folds and the networks; the same seed gives the same audit on one machine.
        on_progress: called with what is being done, and the share of it that is done.

    Raises:
        ConfigError: fewer than two folds, or a class with fewer images than folds.
    """
    probabilities = out_of_fold_probabilities(
        images, folds=folds, seed=seed, on_progress=on_progress
    )
    pixels, labels = images.images.images, images.images.labels
    without_ink = blank(pixels)
    vectors = descriptors(pixels)
    neighbours = nearest(vectors, vectors, on_progress, is_same=True)
    is_right = probabilities.argmax(axis=1) == labels
    train, test = (
        float(is_right[rows].mean()) if len(rows) else float("nan")
        for rows in (images.train, images.test)
    )
    into_test: list[Pair] = []
    out_of_train: list[Pair] = []
    if other is not None:  # in both cases the test image must stand out among the training images
        ours, theirs = pixels, other.images.images
        into_test = [
            Pair(int(images.train[row]), int(other.test[theirs_row]), distance)
            for theirs_row, row, distance in pairs_across(
                theirs[other.test], ours[images.train], on_progress
            )
        ]
        out_of_train = [
            Pair(int(images.test[row]), int(other.train[theirs_row]), distance)
            for row, theirs_row, distance in pairs_across(
                ours[images.test], theirs[other.train], on_progress
            )
        ]
    return Audit(
        images=images,
        other=other,
        label_errors=find_label_errors(images, probabilities),
        pairs=pairs_within(pixels, neighbours, without_ink),
        into_test=into_test,
        out_of_train=out_of_train,
        blank=without_ink.tolist(),
        clipped=clipped(pixels).tolist(),
        outliers=find_outliers(labels, neighbours, without_ink),
        train_accuracy=train,
        test_accuracy=test,
        folds=folds,
        seed=seed,
    )


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
    """The findings of an audit; images are given by their row in `images`.

    Attributes:
        images: the images examined.
        other: those of the data set compared with.
        label_errors: the least likely label first.
        pairs: duplicates within the data set, the nearest first.
        into_test: training images in the other's test split; `second` is a row of `other`.
        out_of_train: test images in the other's training split, likewise.
        blank: without ink.
        clipped: with ink that runs into the border, the widest there first.
        outliers: with their mean distance to the nearest, the farthest first.
        train_accuracy, test_accuracy: of the networks on images they never saw.
        folds: of the training split.
        seed: of folds, networks and the images that `limit` draws.
        near_distance: images farther apart are not duplicates.
    """

    images: AuditImages
    other: AuditImages | None
    label_errors: list[LabelError]
    pairs: list[Pair]
    into_test: list[Pair]
    out_of_train: list[Pair]
    blank: list[int]
    clipped: list[int]
    outliers: list[tuple[int, float]]
    train_accuracy: float
    test_accuracy: float
    folds: int
    seed: int
    near_distance: float = NEAR

    def pairs_of(self, first: str, second: str) -> list[Pair]:
        """Return the pairs whose images are in these splits (train or test)."""
        split = self.images.split
        return [p for p in self.pairs if (split(p.first), split(p.second)) == (first, second)]

    def conflicts(self) -> list[Pair]:
        """Return the pairs within the data set whose labels differ."""
        label = self.images.label
        return [p for p in self.pairs if label(p.first) != label(p.second)]

    def position(self, row: int) -> int:
        """Return the position in its split of the image in `row`."""
        return int(self.images.positions[row])

    def exclusions(self) -> dict[str, dict[int, str]]:
        """Return the training images to exclude: by kind of finding, position → detail.

        Each is listed once, under the first kind. Of copies in the training split those whose label
        is in doubt are excluded, and of the others all but the first; copies of test images are all
        excluded.
        """
        names = self.images.images.classes
        later, of_test = self._copies
        rows: dict[str, dict[int, str]] = {
            "label errors": {
                error.row: f"labelled {names[error.label]}, predicted {names[error.prediction]} "
                f"({100 * error.prediction_probability:.0f} %)"
                for error in self.label_errors
                if not self.images.is_test[error.row]
            },
            "later copies": {r: f"copy of train {self.position(k)}" for r, k in later.items()},
            "copies across splits": {
                r: f"copy of test {self.position(k)}" for r, k in of_test.items()
            },
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
            exclusions[kind] = {self.position(row): group[row] for row in new}
            listed |= group.keys()
        return exclusions

    def excluded_positions(self) -> list[int]:
        """Return the positions of all training images to exclude, sorted."""
        return sorted(position for group in self.exclusions().values() for position in group)

    def counts(self) -> list[AuditCount]:
        """Return one entry for each kind of finding."""
        later, of_test = self._copies
        across = _rows(self.pairs_of("train", "test")) | of_test.keys()
        kinds: dict[str, tuple[Iterable[int], str]] = {
            "label errors": ([e.row for e in self.label_errors], "the networks disagree"),
            "exact copies": (_rows(p for p in self.pairs if p.is_exact), "see the next lines"),
            "near copies": (_rows(p for p in self.pairs if not p.is_exact), "see the next lines"),
            "later copies": (later, "the first one stays"),
            "copies across splits": (across, "the test would include learned images"),
        }
        if self.other is not None:
            into, out_of = (
                {p.first for p in pairs} for pairs in (self.into_test, self.out_of_train)
            )
            kinds |= {
                f"in the test split of {self.other.name}": (
                    into, "that test would include learned images"),
                f"in the training split of {self.other.name}": (
                    out_of, f"do not test networks trained on {self.other.name} with them"),
            }  # fmt: skip
        kinds |= {
            "blank": (self.blank, "kept: look at them first"),
            "clipped": (self.clipped, "kept: most are legible"),
            "outliers": ([row for row, _ in self.outliers], "kept: rare is not wrong"),
        }
        exclusions, counts = self.exclusions(), []
        for kind, (rows, reason) in kinds.items():
            test = sum(bool(self.images.is_test[row]) for row in set(rows))
            train, excluded = len(set(rows)) - test, len(exclusions.get(kind, ()))
            counts.append(AuditCount(kind, train, test, excluded, reason))
        return counts

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return {
            "name": self.images.name,
            "against": self.other.name if self.other else None,
            "images": {"train": len(self.images.train), "test": len(self.images.test)},
            "folds": self.folds,
            "seed": self.seed,
            "accuracy": {"train": self.train_accuracy, "test": self.test_accuracy},
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
        for group in groups_of(self.pairs):
            tests = [row for row in group if self.images.is_test[row]]
            train = [row for row in group if not self.images.is_test[row]]
            sound = [row for row in train if row not in in_doubt]
            if tests:
                of_test |= dict.fromkeys(train, tests[0])
            elif sound:
                later |= dict.fromkeys(sound[1:], sound[0])
        return later, of_test


def _rows(pairs: Iterable[Pair]) -> set[int]:
    return {row for pair in pairs for row in (pair.first, pair.second)}
