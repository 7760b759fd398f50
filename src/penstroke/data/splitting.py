"""Which of somebody's images to test on; copies among them, and classes that lack something."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from penstroke.data.dataset import Dataset, Labels
from penstroke.data.shards import Readings
from penstroke.data.sources.entries import Entry

Rows = npt.NDArray[np.int64]
_NAMED = 10


def draw_test(
    labels: Labels, digests: npt.NDArray[np.uint8], share: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Return which images (N,) to test on: `share` of each class, at least one where it has two.

    Copies byte for byte stand on one side, so that no test image is trained on.

    Args:
        labels: (N,) int64.
        digests: (N, 16) uint8: equal where images are.
        share: of each class.
        seed: the same draws the same.
    """
    _, first, group = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    random = np.random.default_rng(seed)
    is_test = np.zeros(len(labels), bool)
    leaders = np.sort(first)
    for label in np.unique(labels[leaders]):
        members = leaders[labels[leaders] == label]
        most = len(members) - 1
        count = min(max(round(share * len(members)), 1), most) if share > 0 else 0
        is_test[random.permutation(members)[:count]] = True
    return np.asarray(is_test[first][group.reshape(-1)])


def find_copies(
    entries: list[Entry], readings: Readings, rows: Rows
) -> tuple[list[str], tuple[tuple[str, ...], ...]]:
    """Return notes on copies byte for byte, and the groups of them whose labels differ."""
    groups: dict[bytes, list[Entry]] = {}
    for row in rows:
        groups.setdefault(readings.digests[row].tobytes(), []).append(entries[row])
    copies = [group for group in groups.values() if len(group) > 1]
    conflicts = [group for group in copies if len({entry.label for entry in group}) > 1]
    notes = []
    if count := sum(len(group) - 1 for group in copies):
        notes.append(f"{count:,} images are copies of others, byte for byte; they were kept")
    if conflicts:
        shown = ", ".join(f'{entry.name} "{entry.label}"' for entry in conflicts[0])
        notes.append(
            f"{len(conflicts):,} times the same bytes have different labels: {shown}"
            + (" and others" if len(conflicts) > 1 else "")
        )
    return notes, tuple(tuple(f"{e.name} = {e.label}" for e in group) for group in conflicts)


def say_what_leaks(digests: npt.NDArray[np.uint8], is_test: npt.NDArray[np.bool_]) -> list[str]:
    """Return a note on test images that are trained on: a split that is given may have some."""
    learnt = {digest.tobytes() for digest in digests[~is_test]}
    count = sum(digest.tobytes() in learnt for digest in digests[is_test])
    if not count:
        return []
    return [f"{count:,} test images are training images too, byte for byte: the test is easier"]


def say_what_lacks(train: Dataset, test: Dataset) -> list[str]:
    """Return notes on classes that cannot be tested, or not be learnt."""
    if not len(test):
        return ["there are no test images, and training asks for some"]
    notes = []
    for data, what in ((train, "training"), (test, "test")):
        names = [n for n, c in zip(data.classes, data.class_counts(), strict=True) if not c]
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            shown = ", ".join(f'"{name}"' for name in names[:_NAMED]) + more
            notes.append(f"no {what} image of {shown}")
    return notes
