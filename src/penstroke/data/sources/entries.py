"""An image of a source before it is read: what it is called, what it shows, where it lies."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
LARGEST_FILE = 50_000_000
"""Bytes; a larger file is no image of one character."""

Content = bytes | npt.NDArray[np.generic]
"""An image file, or an array (H, W) or (H, W, C): what `ink.preprocess` takes."""

Kind = Literal["folder", "zip", "parquet", "npz"]
_SPLITS = {
    "train": "train", "training": "train", "val": "train", "valid": "train", "validation": "train",
    "dev": "train", "test": "test", "testing": "test",
}  # fmt: skip
"""Words for a split. Validation is carved from training by every run, so it belongs there."""


class Entry(NamedTuple):
    """One image, not yet read.

    Attributes:
        name: as people are told of it: printable.
        given: its label as the source words it (`upper_A`): a folder's name where it lies in one.
        label: what that says it shows (`A`).
        split: "train" or "test" where the source says so, else "".
        place: where its source finds it: a path or a number.
        stamp: changes when its content does.
    """

    name: str
    given: str
    label: str
    split: str
    place: str | int
    stamp: str = ""


@dataclass(frozen=True)
class Source:
    """Where images are read from; small, so that it travels to another process.

    Attributes:
        kind: what it is.
        path: the folder or file.
        member: column of a Parquet file, array of an NPZ file.
    """

    kind: Kind
    path: Path
    member: str = ""


@dataclass(frozen=True)
class Part:
    """Images of one source.

    Attributes:
        source: that.
        entries: its images, in their order.
        stamp: changes when the file does that all of them lie in.
    """

    source: Source
    entries: tuple[Entry, ...]
    stamp: str = ""


class Missing(NamedTuple):
    """An image that a table promises and nobody finds."""

    name: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """What a source holds.

    Attributes:
        how: in what form, in words.
        parts: the images.
        notes: what was passed over, and why, a line each.
        missing: images that are named but not there.
        are_preprocessed: they are arrays in MNIST's form already: bright on dark, placed in 28×28.
    """

    how: str
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    are_preprocessed: bool = False

    def __len__(self) -> int:
        return sum(len(part.entries) for part in self.parts)


class Reader(Protocol):
    """An opened source."""

    def read(self, place: Any) -> Content:
        """Return the image at `place`.

        Raises:
            ImageError: it cannot be read.
        """


def is_image(name: str) -> bool:
    """Return whether the file `name` is an image by its suffix."""
    return name.lower().endswith(SUFFIXES)


def is_hidden(name: str) -> bool:
    """Return whether the path `name` is of a system's own making: .DS_Store, __MACOSX, ._1.png."""
    words = (word for word in name.split("/") if word not in (".", ".."))
    return any(word.startswith(".") or word == "__MACOSX" for word in words)


def label_of_folder(folder: str) -> str:
    """Return what follows the last `_`: `digit_3` is 3, `upper_A` is A."""
    return folder.rpartition("_")[2] or folder


def split_among(words: list[str]) -> str:
    """Return the split that the first of `words` to name one names, or ""."""
    return next((_SPLITS[word.lower()] for word in words if word.lower() in _SPLITS), "")


def printable(text: str) -> str:
    """Return `text` so that it can be printed and written as UTF-8, on one line."""
    clean = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    clean = unicodedata.normalize("NFC", clean)
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in clean
    )
