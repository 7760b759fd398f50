"""Data sets in memory: checked arrays, unions of them, and a sealed test split."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from penstroke.config.class_names import class_of, is_merged, merged
from penstroke.config.settings import IMAGE_SIZE
from penstroke.errors import DataError, SealedTestError

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]
"""Positions of images in a data set."""
Writers = npt.NDArray[np.str_]
"""Who wrote each image (N,); "" where that is not known."""
Sources = npt.NDArray[np.str_]
"""Which data set of a union each image (N,) is of."""

T = TypeVar("T")
U = TypeVar("U")
_sealed: ContextVar[bool] = ContextVar("test_split_is_sealed", default=False)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and their labels.

    Attributes:
        images: (N, 28, 28) uint8, upright, ink bright on dark.
        labels: (N,) int64, 0-based indices into `classes`.
        classes: the name of each class.
        writers: (N,) who wrote each image, "" where that is not known; None if it never is.

    Examples:
        >>> import numpy as np
        >>> import penstroke
        >>> blank = np.zeros((2, 28, 28), np.uint8)
        >>> images = penstroke.Dataset(blank, np.array([0, 1]), ("a", "b"))
        >>> images.class_counts()
        array([1, 1])
    """

    images: Images
    labels: Labels
    classes: tuple[str, ...]
    writers: Writers | None = None

    def __post_init__(self) -> None:
        if self.images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE) or self.images.dtype != np.uint8:
            raise DataError(f"images are {self.images.dtype} {self.images.shape}, not (N, 28, 28)")
        if len(self.images) != len(self.labels):
            raise DataError(f"{len(self.images)} images but {len(self.labels)} labels")
        if self.writers is not None and len(self.writers) != len(self.labels):
            raise DataError(f"{len(self.labels)} labels but {len(self.writers)} writers")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise DataError(
                f"labels run from {self.labels.min()} to {self.labels.max()}, "
                f"but there are {len(self.classes)} classes"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over images, labels and class names."""
        digest = hashlib.sha256(json.dumps(self.classes).encode())
        digest.update(np.ascontiguousarray(self.labels, "<i8").data)
        digest.update(np.ascontiguousarray(self.images).data)
        return digest.hexdigest()

    def class_counts(self) -> Labels:
        """Return how many images each class has: (K,) int64."""
        return np.bincount(self.labels, minlength=len(self.classes))

    @cached_property
    def mean_and_std(self) -> tuple[float, float]:
        """Mean and standard deviation of the pixels in 0..1; exact, from their 256 levels."""
        counts = np.zeros(256, np.int64)
        for images in np.array_split(self.images, len(self) // 1000 + 1):
            counts += np.bincount(images.reshape(-1), minlength=256)
        levels, share = np.arange(256) / 255, counts / max(self.images.size, 1)
        mean = float(share @ levels)
        return mean, float(np.sqrt(share @ (levels - mean) ** 2))

    def is_in(self, other: Dataset) -> npt.NDArray[np.bool_]:
        """Return which images (N,) are in `other` too, pixel for pixel."""
        known = {image.tobytes() for image in other.images}
        return np.array([image.tobytes() in known for image in self.images], bool)

    def subset(self, rows: Rows) -> Dataset:
        """Return the images at `rows` as a data set of the same classes."""
        writers = None if self.writers is None else self.writers[rows]
        return Dataset(self.images[rows], self.labels[rows], self.classes, writers)

    @property
    def writer_count(self) -> int:
        """Number of known writers."""
        return writer_count(self.writers)


def writer_count(writers: Writers | None) -> int:
    """Return the number of known writers in `writers` (N,)."""
    return 0 if writers is None else len(np.unique(writers[writers != ""]))


def united_classes(parts: Sequence[Dataset], first: Sequence[str] = ()) -> tuple[str, ...]:
    """Return each class once: those of `first`, then each data set's that are in none before.

    Where one part tells the cases of a letter apart and another does not, the union does not: the
    case of the latter's images is unknown, so `A` and `a` of the one join `Aa` of the other, which
    takes the place of the first that it includes. The classes in `first` stay as they are.
    """
    names = [name for part in parts for name in part.classes if class_of(name, first) is None]
    coarse = set(filter(is_merged, names))
    united = (merged(n) if merged(n) in coarse else n for n in names)
    return tuple(dict.fromkeys([*first, *united]))


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
    writers = [np.full(len(p), "") if p.writers is None else p.writers for p in parts]
    return Dataset(
        np.concatenate([p.images for p in parts]), np.concatenate(labels), classes,
        np.concatenate(writers) if any(p.writers is not None for p in parts) else None,
    )  # fmt: skip


class Sealed(Generic[T]):
    """A sealed test split: its `size` is known, `content` is opened by evaluation alone.

    `content` is the images or lines, or what composes them once they are to be opened.
    """

    def __init__(self, size: int, content: T | Callable[[], T]) -> None:
        self._size = size
        self._content = content

    def __len__(self) -> int:
        return self._size

    def unseal(self) -> T:
        """Return the test split; for `penstroke.evaluation.evaluator` alone, which records it.

        Raises SealedTestError inside `sealed()`, for example in a search.
        """
        if _sealed.get():
            raise SealedTestError(
                "the test split is sealed here, as settings are chosen on validation data: "
                "evaluate the chosen run afterwards"
            )
        return self._content() if callable(self._content) else self._content

    def converted(self, convert: Callable[[T], U], size: int) -> Sealed[U]:
        """Return a split, sealed too, of what `convert` makes of this one when it is opened."""
        return Sealed(size, lambda: convert(self.unseal()))


class SealedTest(Sealed[Dataset]):
    """The sealed test images of a data set."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(len(dataset), dataset)
        self._dataset = dataset

    def class_counts(self) -> Labels:
        """Return how many images each class has: (K,) int64."""
        return self._dataset.class_counts()


@contextlib.contextmanager
def sealed() -> Iterator[None]:
    """Keep all test splits sealed while the block runs."""
    token = _sealed.set(True)
    try:
        yield
    finally:
        _sealed.reset(token)


@dataclass(frozen=True, eq=False)
class DataSplits:
    """Training, validation and (sealed) test images of one data set.

    Attributes:
        name: of the data set.
        train: to learn from.
        validation: to choose settings and epochs by; may be empty.
        test: sealed; `penstroke.evaluate` opens it, and records that.
        fingerprint: SHA-256 of the whole data set, before it is split.
        split_writers: SHA-256 of the writers whose images were kept together; None if by image.
        validation_sources: (N,) which data set of a union each validation image is of; None if that
            is not known.
        outliers: (N, 28, 28) uint8 training images of other characters, to be rejected; or None.

    Examples:
        >>> import penstroke
        >>> data = penstroke.load_dataset("digits")
        >>> data.name, data.train.images.shape, data.classes[:3]
        ('digits', (1293, 28, 28), ('0', '1', '2'))
    """

    name: str
    train: Dataset
    validation: Dataset
    test: SealedTest
    fingerprint: str
    split_writers: str | None = None
    validation_sources: Sources | None = None
    outliers: Images | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class."""
        return self.train.classes
