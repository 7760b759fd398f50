"""`a+b`: several data sets as one, over the union of their classes.

Where one part tells the cases of a letter apart and another does not, the union does not: of the
latter's images nobody knows the case, so `A` and `a` of the one join `Aa` of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from penstroke.config.class_names import class_of, is_merged, merged
from penstroke.data.dataset import Dataset

SIGN = "+"


def united(parts: Sequence[Dataset], classes: tuple[str, ...]) -> Dataset:
    """Return the images of all `parts`, one after the other, labelled by the name of the class.

    Args:
        parts: one split each.
        classes: those of the union: `united_classes`.
    """
    labels = []
    for part in parts:
        place = np.array([_place(name, classes) for name in part.classes], np.int64)
        labels.append(place[part.labels])
    images = np.concatenate([part.images for part in parts])
    return Dataset(images, np.concatenate(labels), classes)


def united_classes(parts: Sequence[Dataset]) -> tuple[str, ...]:
    """Return every class once: the first data set's in their order, then what is new.

    A class of both cases (`Aa`) stands in the place of the first of what it takes in.
    """
    names = [name for part in parts for name in part.classes]
    coarse = set(filter(is_merged, names))
    return tuple(dict.fromkeys(_coarsest(name, coarse) for name in names))


def _coarsest(name: str, coarse: Iterable[str]) -> str:
    return merged(name) if merged(name) in coarse else name


def _place(name: str, classes: tuple[str, ...]) -> int:
    found = class_of(name, classes)
    if found is None:
        raise ValueError(f'"{name}" is none of the classes {classes}')
    return classes.index(found)
