"""Auditing a data set: labels in doubt, copies, leaks, images without ink or unlike any other.

The networks that doubt a label never saw its image; test images are read, but nothing is
trained on them and no setting is chosen by them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from penstroke.quality.audit_findings import Audit
from penstroke.quality.collection import Collection, Rows, Watch, collect, collection_of
from penstroke.quality.duplicates import Pair, pairs_across, pairs_within
from penstroke.quality.exclusion import read_list, write_list
from penstroke.quality.image_outliers import find_outliers
from penstroke.quality.label_errors import LabelError, find_label_errors
from penstroke.quality.neighbours import forms, nearest
from penstroke.quality.out_of_fold import out_of_fold_probabilities
from penstroke.quality.stroke_defects import blank, clipped
from penstroke.reports.audit_report import write_page

__all__ = [
    "Audit",
    "Collection",
    "LabelError",
    "Pair",
    "audit",
    "collect",
    "collection_of",
    "read_list",
    "write_list",
    "write_page",
]


def audit(
    collection: Collection,
    other: Collection | None = None,
    *,
    folds: int = 4,
    seed: int = 0,
    watch: Watch = lambda what, share: None,
) -> Audit:
    """Look through `collection`, and for what of it stands in `other` too.

    Args:
        collection: the images, as `collect` returns them.
        other: those of another data set.
        folds: into how many the training images are cut, each read by a network of the others.
        seed: of the folds and the networks; the same seed finds the same on one machine.
        watch: told what is being done, and the share of it that is.

    Raises:
        ConfigError: fewer than two folds, or a class with fewer images than folds.
    """
    probabilities = out_of_fold_probabilities(collection, folds=folds, seed=seed, watch=watch)
    images, labels = collection.images.images, collection.images.labels
    without = blank(images)
    placed = forms(images)
    neighbours = nearest(placed, placed, watch, is_same=True)
    return Audit(
        collection=collection,
        other=other,
        label_errors=find_label_errors(collection, probabilities),
        pairs=pairs_within(images, neighbours, without),
        into_test=_leaks(collection, collection.train, other, watch, into_test=True),
        out_of_train=_leaks(collection, collection.test, other, watch, into_test=False),
        blank=without.tolist(),
        clipped=clipped(images).tolist(),
        outliers=find_outliers(labels, neighbours, without),
        accuracy=_accuracy(collection, probabilities),
        folds=folds,
        seed=seed,
    )


def _leaks(
    collection: Collection,
    rows: Rows,
    other: Collection | None,
    watch: Watch,
    *,
    into_test: bool,
) -> list[Pair]:
    """Return pairs of an image of `rows` and one of the other's test, or else training, split.

    It is the test image that must stand out among the training images, whosever they are.
    """
    if other is None:
        return []
    theirs = other.test if into_test else other.train
    own, foreign = collection.images.images[rows], other.images.images[theirs]
    query, gallery = (foreign, own) if into_test else (own, foreign)
    found = pairs_across(query, gallery, nearest(forms(query), forms(gallery), watch))
    by_own = [(b, a, d) if into_test else (a, b, d) for a, b, d in found]
    return [Pair(int(rows[a]), int(theirs[b]), d) for a, b, d in by_own]


def _accuracy(
    collection: Collection, probabilities: npt.NDArray[np.float64]
) -> tuple[float, float]:
    is_right = probabilities.argmax(axis=1) == collection.images.labels
    train, test = (
        float(is_right[rows].mean()) if len(rows) else float("nan")
        for rows in (collection.train, collection.test)
    )
    return train, test
