"""What an audit found, how much of it, and which training images are better left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from penstroke.quality.collection import Collection
from penstroke.quality.duplicates import Pair, groups_of
from penstroke.quality.label_errors import LabelError


class Kind(NamedTuple):
    """A line of the summary: how many images of each split, and what the list does with them."""

    name: str
    train: int
    test: int
    left_out: int
    why: str


@dataclass(frozen=True, eq=False)
class Audit:
    """What was found in a data set; images go by their row in `collection`.

    Attributes:
        collection: the images looked at.
        other: those of the data set compared with.
        label_errors: the least likely label first.
        pairs: the same image twice in the data set, the nearest first.
        into_test: training images in the other's test split; `second` is a row of `other`.
        out_of_train: test images in the other's training split, likewise.
        blank: without ink.
        clipped: with ink that runs into the border, the widest there first.
        outliers: with their mean distance to the nearest, the farthest first.
        accuracy: of the networks on images they never saw, by split: (training, test).
        folds: of the training split.
        seed: of folds, networks and what `limit` draws.
    """

    collection: Collection
    other: Collection | None
    label_errors: list[LabelError]
    pairs: list[Pair]
    into_test: list[Pair]
    out_of_train: list[Pair]
    blank: list[int]
    clipped: list[int]
    outliers: list[tuple[int, float]]
    accuracy: tuple[float, float]
    folds: int
    seed: int

    def pairs_of(self, *splits: str) -> list[Pair]:
        """Return the pairs whose images stand in `splits`, by first and second."""
        split = self.collection.split
        return [p for p in self.pairs if (split(p.first), split(p.second)) == splits]

    def conflicts(self, pairs: Iterable[Pair]) -> list[Pair]:
        """Return those of the pairs within the data set whose labels differ."""
        label = self.collection.label
        return [p for p in pairs if label(p.first) != label(p.second)]

    def left_out(self) -> dict[str, dict[int, str]]:
        """Return the training images to leave out: by reason, position → what is said of it.

        Each is named once. Of copies in the training split those whose label is in doubt go, and
        of the others all but the first; every copy of a test image goes, so that the test stays
        one.
        """
        later, of_test = self._copies
        rows: dict[str, dict[int, str]] = {
            "label errors": {
                error.row: self._said(error)
                for error in self.label_errors
                if not self.collection.is_test[error.row]
            },
            "later copies in the training split": {
                row: f"as {self.place(first)}" for row, first in later.items()
            },
            "copies of test images": {
                row: f"as test {self.place(test)}" for row, test in of_test.items()
            },
        }
        if self.other is not None:
            rows[f"copies of test images of {self.other.name}"] = {
                pair.first: f"as test {self.other.positions[pair.second]}"
                for pair in self.into_test
            }
        return self._named_once(rows)

    def exclude(self) -> list[int]:
        """Return the positions of all that is to be left out, sorted."""
        return sorted(position for group in self.left_out().values() for position in group)

    def place(self, row: int) -> int:
        """Return the position in its split of the image in `row`."""
        return int(self.collection.positions[row])

    def summary(self) -> list[Kind]:
        """Return a line a kind of finding."""
        copies = [pair for pair in self.pairs if pair.is_exact]
        nearly = [pair for pair in self.pairs if not pair.is_exact]
        sizes = {reason: len(group) for reason, group in self.left_out().items()}
        later, of_test = self._copies
        across = _all(self.pairs_of("train", "test")) | of_test.keys()
        return [
            self._kind("label errors", (e.row for e in self.label_errors), sizes["label errors"],
                       "the networks read something else"),
            self._kind("exact copies", _all(copies), 0, "which go, stands below"),
            self._kind("near copies", _all(nearly), 0, "which go, stands below"),
            self._kind("… the later one", later, sizes["later copies in the training split"],
                       "the first one stays"),
            self._kind("… in both splits", across, sizes["copies of test images"],
                       "or the test would be of images that were learned"),
            *self._leaks(sizes),
            self._kind("blank", self.blank, 0, "stay: look first"),
            self._kind("clipped", self.clipped, 0, "stay: most can be read"),
            self._kind("outliers", (row for row, _ in self.outliers), 0, "stay: rare is not wrong"),
        ]  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return {
            "name": self.collection.name,
            "against": self.other.name if self.other else None,
            "images": {"train": len(self.collection.train), "test": len(self.collection.test)},
            "folds": self.folds,
            "seed": self.seed,
            "accuracy": {"train": self.accuracy[0], "test": self.accuracy[1]},
            "found": {
                kind.name.removeprefix("… "): {
                    "train": kind.train,
                    "test": kind.test,
                    "left_out": kind.left_out,
                }
                for kind in self.summary()
            },
            "conflicting_copies": len(self.conflicts(self.pairs)),
            "left_out": len(self.exclude()),
        }

    @cached_property
    def _copies(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return the training images that are later copies, and those that are test images.

        Each with the row it is a copy of. Where a label is in doubt, the image is no first one.
        """
        in_doubt = {error.row for error in self.label_errors}
        later: dict[int, int] = {}
        of_test: dict[int, int] = {}
        for group in groups_of(self.pairs):
            tests = [row for row in group if self.collection.is_test[row]]
            train = [row for row in group if not self.collection.is_test[row]]
            sound = [row for row in train if row not in in_doubt]
            if tests:
                of_test |= dict.fromkeys(train, tests[0])
            elif sound:
                later |= dict.fromkeys(sound[1:], sound[0])
        return later, of_test

    def _leaks(self, sizes: dict[str, int]) -> list[Kind]:
        if self.other is None:
            return []
        name = self.other.name
        return [
            Kind(f"in {name}'s test", len(_firsts(self.into_test)), 0,
                 sizes[f"copies of test images of {name}"],
                 "or that test would be of images that were learned"),
            Kind(f"in {name}'s training", 0, len(_firsts(self.out_of_train)), 0,
                 f"do not test on them what learned {name}"),
        ]  # fmt: skip

    def _kind(self, name: str, rows: Iterable[int], left_out: int, why: str) -> Kind:
        unique = set(rows)
        test = sum(bool(self.collection.is_test[row]) for row in unique)
        return Kind(name, len(unique) - test, test, left_out, why)

    def _said(self, error: LabelError) -> str:
        names = self.collection.images.classes
        return f"{names[error.given]}, read as {names[error.read]} ({100 * error.of_read:.0f} %)"

    def _named_once(self, rows: dict[str, dict[int, str]]) -> dict[str, dict[int, str]]:
        named: set[int] = set()
        groups = {}
        for reason, group in rows.items():
            groups[reason] = {self.place(row): group[row] for row in sorted(set(group) - named)}
            named |= set(group)
        return groups


def _all(pairs: Iterable[Pair]) -> set[int]:
    return {row for pair in pairs for row in (pair.first, pair.second)}


def _firsts(pairs: Iterable[Pair]) -> set[int]:
    return {pair.first for pair in pairs}
