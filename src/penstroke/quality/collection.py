"""The images of both splits in one row, and where each of them comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from penstroke.config.settings import DataConfig
from penstroke.data.dataset import Dataset, DataSplits, stratified_split
from penstroke.data.loading import load_dataset
from penstroke.evaluation.evaluator import open_test

Rows = npt.NDArray[np.int64]
Watch = Callable[[str, float], None]
"""Told what is being done, and the share of it that is."""


@dataclass(frozen=True, eq=False)
class Collection:
    """Images of a data set in one row, those of the training split first.

    Attributes:
        name: of the data set.
        fingerprint: of the data set as it comes, all of it.
        images: N of them.
        is_test: (N,) bool.
        positions: (N,) int64, where each stands in its split as it comes.
    """

    name: str
    fingerprint: str
    images: Dataset
    is_test: npt.NDArray[np.bool_]
    positions: Rows

    def __len__(self) -> int:
        return len(self.images)

    @property
    def train(self) -> Rows:
        """Rows of the training images."""
        return np.flatnonzero(~self.is_test)

    @property
    def test(self) -> Rows:
        """Rows of the test images."""
        return np.flatnonzero(self.is_test)

    def label(self, row: int) -> str:
        """Return the name of the class that the image is said to show."""
        return self.images.classes[int(self.images.labels[row])]

    def split(self, row: int) -> str:
        """Return train or test."""
        return "test" if self.is_test[row] else "train"


def collect(name: str, limit: int | None = None, seed: int = 0) -> Collection:
    """Return the images of the data set `name`.

    With `limit`, so many training images and as large a share of the test images, drawn class
    by class by `seed`.

    Raises:
        ConfigError: there is no such data set.
        DataError: its files are missing, damaged or changed.
    """
    splits = load_dataset(DataConfig(dataset=name, validation_fraction=0))
    return collection_of(splits, limit, seed)


def collection_of(splits: DataSplits, limit: int | None = None, seed: int = 0) -> Collection:
    """Return the training and test images of `splits`; see `collect`."""
    train, test = splits.train, open_test(splits)
    share = min(limit / len(train), 1.0) if limit else 1.0
    chosen = [_drawn(split, share, seed) for split in (train, test)]
    parts = [split.take(rows) for split, rows in zip((train, test), chosen, strict=True)]
    images = Dataset(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        train.classes,
    )
    is_test = np.arange(len(images)) >= len(parts[0])
    return Collection(splits.name, splits.fingerprint, images, is_test, np.concatenate(chosen))


def _drawn(split: Dataset, share: float, seed: int) -> Rows:
    return stratified_split(split.labels, round(share * len(split)), seed)[1]
