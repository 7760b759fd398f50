"""What a source holds: images that are not read yet, what they show, and where they lie."""

import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from penstroke.data.archives import MAX_FILE_BYTES
from penstroke.errors import ImageError

SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".dib",
    ".gif", ".pgm", ".ppm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c", ".avif",
    ".tga", ".pcx", ".ico",
)  # fmt: skip
"""Of the formats that `preprocessing.decoding` reads."""
Content = bytes | npt.NDArray[np.generic]
"""An image file, or an array (H, W) or (H, W, C): what `ink.preprocess` takes."""

Split = Literal["train", "validation", "test", ""]
_SPLITS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation",
    "validation": "validation", "dev": "validation",
    "test": "test", "testing": "test", "t10k": "test",
}  # fmt: skip
"""Words for a split. Each run carves its validation images from training: these are among them."""


_NUMBER = re.compile(r"[+-]?(\d+|\d+[.,]\d*(e[+-]?\d+)?)", re.ASCII | re.IGNORECASE)
_MAX_DIGITS = 15
_MISSING = frozenset(
    ("", "nan", "NaN", "NAN", "-nan", "-NaN", "NA", "<NA>", "#NA", "N/A", "n/a", "#N/A",
     "#N/A N/A", "null", "NULL", "None", "NaT", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN")
)  # fmt: skip


@dataclass(frozen=True)
class SourceOptions:
    """How a source says what its images show; what is None is detected."""

    labels: Literal["folder", "table"] | None = None
    pattern: str | None = None  # for paths: groups `label` (of lines `text`), perhaps `writer`
    images: Path | None = None  # folder or zip that the names in a table start from
    file_column: str | None = None
    label_column: str | None = None
    image_column: str | None = None
    writer_column: str | None = None
    writer_folders: bool = False  # the folder above that of a class is called after the writer
    encoding: str = "utf-8"  # of a table
    transposed: bool | None = None  # images of an array are stored column by column, as EMNIST's
    lines: bool = False  # images are lines, and what is called a label here is the text of one

    @property
    def label_word(self) -> str:
        """What an image has: a label, or a text."""
        return "text" if self.lines else "label"

    def label_of(self, value: object) -> str:
        """Return the label, or the text, that a cell holds; "" if it is missing."""
        return parse_text(value) if self.lines else parse_label(value)


class ImageRef(NamedTuple):
    """One image, not yet read. `stamp` changes when its content does."""

    name: str  # printable, for messages
    given: str  # its label as the source words it (`upper_A`): the folder's name if it is in one
    label: str  # its label (`A`)
    split: Split
    place: str | int  # where its source finds it: a path, or the number of a row
    stamp: str = ""
    writer: str = ""  # who wrote it, "" if unknown


class LeftOut(NamedTuple):
    """An image or a file that is not imported, and why."""

    name: str
    reason: str


class PixelFormat(NamedTuple):
    """How the values of an array, or the cells of a pixel table, are an image."""

    shape: tuple[int, ...]  # (H, W) or (H, W, C)
    is_transposed: bool = False  # each image is stored column by column
    samples_last: bool = False  # (…, N), as in MATLAB
    low: float = 0  # value of black
    high: float = 255  # value of white
    first_line: int = 0  # of a table: 1 after a line of column names
    other_columns: tuple[int, ...] = ()  # of a table: those without pixels, in order
    encoding: str = ""  # of a table


@dataclass(frozen=True)
class Source:
    """Where images are read from; small, so that it travels to another process."""

    kind: Literal["folder", "zip", "parquet", "npz", "npy", "idx", "mat", "csv"]
    path: Path
    member: str = ""  # column of a Parquet file, array of an NPZ or MAT file, table in a zip
    pixels: PixelFormat | None = None  # of arrays and pixel tables


@dataclass(frozen=True)
class Part:
    """Images of one source, in order; `stamp` changes when the file that holds them all does."""

    source: Source
    images: tuple[ImageRef, ...]
    stamp: str = ""


@dataclass(frozen=True)
class SourceContents:
    """What a source holds; `description` is its format in words, `notes` are what was left out."""

    description: str
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()
    missing: tuple[LeftOut, ...] = ()  # a table names them, but they are not there
    left_out: tuple[LeftOut, ...] = ()  # images without a label, files of other kinds
    are_preprocessed: bool = False  # arrays like MNIST's: bright on dark, normalised to 28×28

    def __len__(self) -> int:
        return sum(len(part.images) for part in self.parts)


Reader = Callable[[Any], Content]
"""An opened source: returns the image at a place, or raises ImageError if it cannot be read."""


def check_size(size_bytes: int) -> None:
    """Raise ImageError if an image file is too large to be one character."""
    if size_bytes > MAX_FILE_BYTES:
        raise ImageError(f"has {size_bytes / 1e6:.0f} MB, more than {MAX_FILE_BYTES / 1e6:.0f} MB")


def is_image(name: str) -> bool:
    """Return whether the file `name` is an image by its suffix."""
    return name.lower().endswith(SUFFIXES)


def parse_label(value: object) -> str:
    """Return the label that a cell, or an element of an array, stands for; "" if it is missing.

    A whole number is written without decimals and leading zeros, wherever it comes from: `5.0`,
    `05` and `5` are one class. Missing are None, nan, and the words that pandas takes for them.
    """
    if isinstance(value, float) and math.isnan(value):
        return ""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return "" if value is None or text.strip() in _MISSING else whole_number(text)


def parse_text(value: object) -> str:
    """Return the text of a line that a cell or a file holds, to the letter; "" if it is missing.

    White space around it is removed, and white space in it is one space, unless it is the end of a
    line.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    lines = unicodedata.normalize("NFC", str(value)).strip().splitlines()
    return "\n".join(" ".join(line.split()) for line in lines)


def whole_number(text: str) -> str:
    """Return `text` so that it can be printed; a whole number without decimals, leading zeros."""
    text = printable(text.strip())
    if not _NUMBER.fullmatch(text):
        return text
    if text.lstrip("+-").isdecimal():
        return str(int(text)) if len(text) <= _MAX_DIGITS else text
    number = float(text.replace(",", "."))
    is_whole = number.is_integer() and abs(number) < 10**_MAX_DIGITS
    return str(int(number)) if is_whole else text


def not_read(name: str) -> LeftOut:
    """Return why the file `name`, whose suffix is not an image's, is left out."""
    suffix = Path(name).suffix.lower()
    advice = "; save it as PNG or JPEG" if suffix in (".heic", ".heif", ".pdf", ".svg") else ""
    what = f"is not read: {suffix} files are not images that can be" if suffix else "has no suffix"
    return LeftOut(printable(name), what + advice)


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
