"""The images of both splits of a data set in one array, with the place each comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from penstroke.config.settings import DataConfig
from penstroke.data.dataset import Dataset, DataSplits, Rows
from penstroke.data.loading import load_dataset
from penstroke.data.splitting import stratified_split
from penstroke.evaluation.evaluator import open_test

OnProgress = Callable[[str, float], None]
"""Called with what is being done, and the share of it that is done."""


@dataclass(frozen=True, eq=False)
class AuditImages:
    """Images of a data set in one array, those of the training split first."""

    name: str
    fingerprint: str  # of the whole data set as published
    images: Dataset
    is_test: npt.NDArray[np.bool_]  # (N,)
    positions: Rows  # (N,), in the splits as published

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
        """Return the class name of the image in `row`, by its label."""
        return self.images.classes[int(self.images.labels[row])]

    def split(self, row: int) -> str:
        """Return train or test."""
        return "test" if self.is_test[row] else "train"

    @classmethod
    def load(cls, name: str, limit: int | None = None, seed: int = 0) -> AuditImages:
        """Return the images of the data set `name`; see `load_dataset` and `from_splits`."""
        splits = load_dataset(DataConfig(dataset=name, validation_fraction=0))
        return cls.from_splits(splits, limit, seed)

    @classmethod
    def from_splits(
        cls, splits: DataSplits, limit: int | None = None, seed: int = 0
    ) -> AuditImages:
        """Return the training and test images of `splits`.

        With `limit`, a stratified sample of that many training images, drawn with `seed`, and the
        same share of the test images.
        """
        both = splits.train, open_test(splits)
        share = min(limit / len(splits.train), 1.0) if limit else 1.0
        rows = [stratified_split(s.labels, round(share * len(s)), seed)[1] for s in both]
        parts = [split.subset(chosen) for split, chosen in zip(both, rows, strict=True)]
        writers = [part.writers for part in parts if part.writers is not None]
        images = Dataset(
            np.concatenate([part.images for part in parts]),
            np.concatenate([part.labels for part in parts]),
            splits.train.classes,
            np.concatenate(writers) if len(writers) == len(parts) else None,
        )
        is_test = np.arange(len(images)) >= len(parts[0])
        return cls(splits.name, splits.fingerprint, images, is_test, np.concatenate(rows))
