"""`a+b`: several data sets as one, over the union of their classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from penstroke.datasets.dataset import Dataset

SIGN = "+"


def united(parts: Sequence[Dataset], classes: tuple[str, ...]) -> Dataset:
    """Return the pictures of all `parts`, one after the other, labelled by the name of the class.

    Args:
        parts: one split each.
        classes: those of the union: `united_classes`.
    """
    labels = []
    for part in parts:
        place = np.array([classes.index(name) for name in part.classes], np.int64)
        labels.append(place[part.labels])
    images = np.concatenate([part.images for part in parts])
    return Dataset(images, np.concatenate(labels), classes)


def united_classes(parts: Sequence[Dataset]) -> tuple[str, ...]:
    """Return every class once: the first data set's in their order, then what is new."""
    return tuple(dict.fromkeys(name for part in parts for name in part.classes))
