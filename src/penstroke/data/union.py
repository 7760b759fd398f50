"""`a+b`: several data sets as one, over the union of their classes.

Where one part tells the cases of a letter apart and another does not, the union does not: the case
of the latter's images is unknown, so `A` and `a` of the one join `Aa` of the other.
"""

from collections.abc import Sequence

import numpy as np

from penstroke.config.class_names import class_of, is_merged, merged
from penstroke.data.dataset import Dataset

SIGN = "+"


def unite(parts: Sequence[tuple[Dataset, Dataset]]) -> tuple[Dataset, Dataset]:
    """Return (train, test) of all `parts`, one after the other, labelled by the class's name."""
    classes = united_classes([split for part in parts for split in part])
    train, test = (concatenate(splits, classes) for splits in zip(*parts, strict=True))
    return train, test


def united_classes(parts: Sequence[Dataset]) -> tuple[str, ...]:
    """Return each class once: the first data set's in their order, then new ones.

    A class of both cases (`Aa`) takes the place of the first that it includes.
    """
    names = [name for part in parts for name in part.classes]
    coarse = set(filter(is_merged, names))
    return tuple(dict.fromkeys(merged(n) if merged(n) in coarse else n for n in names))


def concatenate(parts: Sequence[Dataset], classes: tuple[str, ...]) -> Dataset:
    """Return the images of all `parts`, labelled with `classes`, which are `united_classes`."""
    labels = []
    for part in parts:
        indices = []
        for name in part.classes:
            if (united := class_of(name, classes)) is None:
                raise ValueError(f'"{name}" is not among the classes {classes}')
            indices.append(classes.index(united))
        labels.append(np.array(indices, np.int64)[part.labels])
    return Dataset(np.concatenate([p.images for p in parts]), np.concatenate(labels), classes)
