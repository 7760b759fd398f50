"""NPZ: arrays of images and of labels, read image by image; objects are never loaded."""

import math
import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from penstroke.config.settings import IMAGE_SIZE
from penstroke.data.archives import MAX_FILE_BYTES, ZipReader
from penstroke.data.sources.contents import (
    ImageRef,
    Part,
    SequentialReader,
    Source,
    SourceContents,
    Split,
    printable,
    stamp_of,
)
from penstroke.errors import ArchiveError, DataError
from penstroke.preprocessing.ink import border

_IMAGES = ("images", "image", "x", "data", "pictures")
_LABELS = ("labels", "label", "y", "targets", "target", "classes")
_SPLIT = re.compile(r"(?:^|_)(train|test)(?:_|$)")
_DAMAGE = (EOFError, ValueError, KeyError, SyntaxError, TypeError, TokenError, OverflowError)
"""What the header of a damaged array may raise."""
_MAX_ARRAY_BYTES = 4_000_000_000
_CHECKED_IMAGES = 1000
_NORMALIZED_SHARE = 0.9


class Array(NamedTuple):
    """The header of an array in an NPZ file."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return f"{self.name} {self.shape}"


def list_npz(path: Path) -> SourceContents:
    """Return the images in the NPZ file: `images`, `labels`, or `x_train`, `y_train` and so on.

    Raises DataError if it is damaged, lacks arrays, or holds Python objects.
    """
    try:
        with ZipReader(path, max_file_bytes=_MAX_ARRAY_BYTES) as archive:
            arrays = []
            for name in archive.files:
                if name.endswith(".npy"):
                    with archive.open(name) as stream:
                        arrays.append(_read_header(archive, name, stream))
            pairs = _pairs(arrays, path)
            parts = [_part(archive, *pair) for pair in pairs]
        are_preprocessed = all(_are_preprocessed(path, images) for _, images, _ in pairs)
    except _DAMAGE as error:
        raise DataError(f"{path} is not a valid NPZ file: {error}") from error
    used = " and ".join(f"{images.name}, {labels.name}" for _, images, labels in pairs)
    return SourceContents(f"NPZ, arrays {used}", tuple(parts), are_preprocessed=are_preprocessed)


def open_npz(path: Path, name: str) -> SequentialReader:
    """Return the images of the array `name`, opened for reading."""
    return SequentialReader(partial(_rows, path, name), (ArchiveError, *_DAMAGE))


def _pairs(arrays: list[Array], path: Path) -> list[tuple[Split, Array, Array]]:
    """Return (split, images, labels) of each split, or of the one that there is."""
    by_split: dict[Split, dict[str, Array]] = {}
    for array in arrays:
        match = _SPLIT.search(array.name.lower())
        split: Split = match[1] if match else ""  # type: ignore[assignment]
        word = _SPLIT.sub("", array.name.lower(), count=1).strip("_")
        kind = "images" if word in _IMAGES else "labels" if word in _LABELS else None
        if kind:
            by_split.setdefault(split, {})[kind] = array
    by_split = dict(sorted(by_split.items(), reverse=True))  # training images come first
    pairs = [(s, a["images"], a["labels"]) for s, a in by_split.items() if len(a) == 2]
    if not pairs or ("" in by_split and len(pairs) > 1):
        raise DataError(
            f"{path} should hold the arrays images and labels (or x_train, y_train, x_test, "
            f"y_test); its arrays are {', '.join(map(str, arrays)) or 'none'}"
        )
    for _, images, labels in pairs:
        _check(path, images, labels)
    return pairs


def _check(path: Path, images: Array, labels: Array) -> None:
    for array in (images, labels):
        if array.dtype.hasobject:
            raise DataError(
                f"{path}: {array.name} holds Python objects, which are never loaded, as they could "
                "run code: save it as numbers or text"
            )
    if len(images.shape) not in (3, 4):
        raise DataError(
            f"{path}: {images.name} has shape {images.shape}; images are (N, H, W) or (N, H, W, C)"
        )
    if (size := math.prod(images.shape[1:]) * images.dtype.itemsize) > MAX_FILE_BYTES:
        raise DataError(f"{path}: an image of {images.name} takes {size / 1e6:,.0f} MB: too large")
    if len(labels.shape) != 1:
        raise DataError(
            f"{path}: {labels.name} has shape {labels.shape}, not (N,); turn one-hot rows into "
            "labels with labels.argmax(axis=1)"
        )
    if images.shape[0] != labels.shape[0]:
        raise DataError(
            f"{path}: {images.name} holds {images.shape[0]:,} images, but {labels.name} "
            f"{labels.shape[0]:,} labels"
        )


def _part(archive: ZipReader, split: Split, images: Array, labels: Array) -> Part:
    with archive.open(f"{labels.name}.npy") as stream:
        values = npy.read_array(stream, allow_pickle=False)
    if values.dtype.kind == "f" and (values == np.floor(values)).all():
        values = values.astype(np.int64)
    refs = []
    for row, value in enumerate(values.tolist()):
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        label = printable(text.strip())
        refs.append(ImageRef(f"{images.name}[{row}]", label, label, split, row))
    return Part(Source("npz", archive.path, images.name), tuple(refs), stamp_of(archive.path))


def _are_preprocessed(path: Path, array: Array) -> bool:
    """Return whether images look like MNIST's: 28×28, bright on black, with a black margin.

    That is: of the first thousand, nine in ten have an outermost ring of which nine tenths are
    black.
    """
    if array.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE) or array.dtype != np.uint8:
        return False
    checked = islice(_rows(path, array.name), _CHECKED_IMAGES)
    black = [(border(image) == 0).mean() >= _NORMALIZED_SHARE for image in checked]
    return len(black) > 0 and sum(black) >= _NORMALIZED_SHARE * len(black)


def _rows(path: Path, name: str) -> Iterator[npt.NDArray[np.generic]]:
    with (
        ZipReader(path, max_file_bytes=_MAX_ARRAY_BYTES) as archive,
        archive.open(f"{name}.npy") as stream,
    ):
        array = _read_header(archive, f"{name}.npy", stream)
        size = math.prod(array.shape[1:]) * array.dtype.itemsize
        for _ in range(array.shape[0]):
            content = stream.read(size)
            if len(content) < size:
                raise EOFError(f"{name} is cut short")
            yield np.frombuffer(content, array.dtype).reshape(array.shape[1:])


def _read_header(archive: ZipReader, file: str, stream: IO[bytes]) -> Array:
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, is_fortran, dtype = read(stream)
    if math.prod(shape) * dtype.itemsize > archive.files[file].file_size:
        raise EOFError(f"{file} holds less than the {shape} it promises")
    if is_fortran and len(shape) > 1:
        raise DataError(
            f"{archive.path}: {file} is in Fortran order: save np.ascontiguousarray of it"
        )
    return Array(file.removesuffix(".npy"), shape, dtype)
