"""Confusable classes: characters that look alike without context, such as 0 and O or x and X."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from penstroke.config.class_names import accepts

_GROUPS = ["0Oo", "1IiLl", "2Zz", "5Ss", "Cc", "Jj", "Kk", "Mm", "Pp", "Uu", "Vv", "Ww", "Xx", "Yy"]
"""Digits with the letters that look like them, and the letters whose cases EMNIST's ByMerge joins
because they cannot be told apart (Cohen et al. 2017)."""


@dataclass(frozen=True)
class ConfusableGroup:
    """Classes that look alike; `confused` of their images are read as another of them."""

    classes: tuple[str, ...]
    images: int
    confused: int


@dataclass(frozen=True)
class ConfusableClasses:
    """What is lost to confusable classes; `accuracy` is with each group merged into one class."""

    groups: tuple[ConfusableGroup, ...]
    accuracy: float


def confusable_classes(
    confusion: Sequence[Sequence[int]], classes: Sequence[str]
) -> ConfusableClasses | None:
    """Return what is lost to confusable classes; None if no two classes look alike.

    `confusion` is (K, K) counts; rows are true classes, columns predictions. Each of the K classes
    is a character or both cases of one (`Aa`).
    """
    counts = np.asarray(confusion)
    groups = []
    for characters in _GROUPS:
        rows = [k for k, name in enumerate(classes) if any(accepts(name, c) for c in characters)]
        if len(rows) > 1:
            within = counts[np.ix_(rows, rows)]
            confused = int(within.sum() - np.trace(within))
            names = tuple(classes[k] for k in rows)
            groups.append(ConfusableGroup(names, int(counts[rows].sum()), confused))
    if not groups:
        return None
    right = int(np.trace(counts)) + sum(group.confused for group in groups)
    return ConfusableClasses(tuple(groups), right / max(int(counts.sum()), 1))
