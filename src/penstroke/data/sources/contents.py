"""What a source holds: images that are not read yet, what they show, and where they lie."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
MAX_FILE_BYTES = 50_000_000
"""A larger file is not an image of one character."""

Content = bytes | npt.NDArray[np.generic]
"""An image file, or an array (H, W) or (H, W, C): what `ink.preprocess` takes."""

Split = Literal["train", "test", ""]
_SPLITS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "train", "valid": "train", "validation": "train",
    "dev": "train", "test": "test", "testing": "test",
}  # fmt: skip
"""Words for a split. Each run carves its validation images from training, so they belong there."""


class ImageRef(NamedTuple):
    """One image, not yet read.

    Attributes:
        name: a printable name for messages.
        given: its label as the source words it (`upper_A`): the folder's name if it is in one.
        label: its label (`A`).
        split: "train" or "test" if the source says so, else "".
        place: where its source finds it: a path, or the number of a row.
        stamp: changes when its content does.
    """

    name: str
    given: str
    label: str
    split: Split
    place: str | int
    stamp: str = ""


class Unreadable(NamedTuple):
    """An image that cannot be read, or is missing, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Source:
    """Where images are read from; small, so that it travels to another process.

    Attributes:
        kind: its format.
        path: the folder or file.
        member: column of a Parquet file, array of an NPZ file.
    """

    kind: Literal["folder", "zip", "parquet", "npz"]
    path: Path
    member: str = ""


@dataclass(frozen=True)
class Part:
    """Images of one source, in order; `stamp` changes when the file that holds them all does."""

    source: Source
    images: tuple[ImageRef, ...]
    stamp: str = ""


@dataclass(frozen=True)
class SourceContents:
    """What a source holds.

    Attributes:
        description: its format, in words.
        parts: the images.
        notes: what was left out, and why, one line each.
        missing: images that a table names but that are not there.
        are_preprocessed: the images are arrays like MNIST's: bright on dark, normalised to 28×28.
    """

    description: str
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()
    missing: tuple[Unreadable, ...] = ()
    are_preprocessed: bool = False

    def __len__(self) -> int:
        return sum(len(part.images) for part in self.parts)


class Reader(Protocol):
    """An opened source."""

    def read(self, place: Any) -> Content:
        """Return the image at `place`, or raise ImageError if it cannot be read."""


def is_image(name: str) -> bool:
    """Return whether the file `name` is an image by its suffix."""
    return name.lower().endswith(SUFFIXES)


def split_of(words: list[str]) -> Split:
    """Return the split that the first of `words` to name one names, or ""."""
    return next((_SPLITS[word.lower()] for word in words if word.lower() in _SPLITS), "")


def stamp_of(path: Path) -> str:
    """Return what changes when the file at `path` does."""
    state = path.stat()
    return f"{state.st_size}-{state.st_mtime_ns}"


def printable(text: str) -> str:
    """Return `text` so that it can be printed on one line and written as UTF-8."""
    clean = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    clean = unicodedata.normalize("NFC", clean)
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in clean
    )
