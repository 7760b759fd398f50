"""Characters that look alike where no word stands around them: 0 and O, 1 and l, x and X."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from penstroke.config.class_names import accepts

_GROUPS = (
    "0Oo", "1IiLl", "2Zz", "5Ss", "Cc", "Jj", "Kk", "Mm", "Pp", "Uu", "Vv", "Ww", "Xx", "Yy",
)  # fmt: skip
"""Digits and the letters they are taken for, and the letters whose cases EMNIST's ByMerge joins
because they cannot be told apart (Cohen et al. 2017)."""


@dataclass(frozen=True)
class Group:
    """Classes that look alike.

    Attributes:
        classes: their names.
        images: images of them.
        mistaken: how many of these are read as another of them.
    """

    classes: tuple[str, ...]
    images: int
    mistaken: int


@dataclass(frozen=True)
class LookAlikes:
    """What is lost to characters that look alike.

    Attributes:
        groups: of the network's classes.
        accuracy: share read right where each group is taken as one class.
    """

    groups: tuple[Group, ...]
    accuracy: float


def look_alikes(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> LookAlikes | None:
    """Return what is lost to look-alikes; None where no two classes are.

    Args:
        confusion: (K, K), rows what was shown, columns what was read.
        classes: names of the K classes, each a character or both cases of one (`Aa`).
    """
    counts = np.asarray(confusion)
    found = []
    for characters in _GROUPS:
        rows = [k for k, name in enumerate(classes) if any(accepts(name, c) for c in characters)]
        if len(rows) > 1:
            among = counts[np.ix_(rows, rows)]
            mistaken = int(among.sum() - np.trace(among))
            names = tuple(classes[k] for k in rows)
            found.append(Group(names, int(counts[rows].sum()), mistaken))
    if not found:
        return None
    right = int(np.trace(counts)) + sum(group.mistaken for group in found)
    return LookAlikes(tuple(found), right / max(int(counts.sum()), 1))
