"""NPZ: arrays of images and of labels, read image by image; objects never loaded."""

from __future__ import annotations

import lzma
import math
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from penstroke.config.settings import IMAGE_SIZE
from penstroke.data.sources.entries import LARGEST_FILE, Entry, Listing, Part, Source, printable
from penstroke.data.sources.forward import Forward
from penstroke.errors import DataError
from penstroke.files import reason

_IMAGES = ("images", "image", "x", "data", "images")
_LABELS = ("labels", "label", "y", "targets", "target", "classes")
_SPLIT = re.compile(r"(?:^|_)(train|test)(?:_|$)")
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, KeyError,
           NotImplementedError, RuntimeError, SyntaxError, TypeError, TokenError,
           OverflowError)  # fmt: skip
"""What a damaged zip, or the header of a damaged array, may raise."""
_LOOKED_AT = 1000
_PLACED_SHARE = 0.9


class Array(NamedTuple):
    """What an NPZ says of one of its arrays."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def list_npz(path: Path) -> Listing:
    """Return the images in the NPZ file: `images`, `labels`, or `x_train`, `y_train` and so on.

    Raises:
        DataError: it is damaged, lacks arrays, or holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
        arrays = {name.removesuffix(".npy"): _describe(path, name) for name in names}
        pairs = _pairs(arrays, path)
        state = path.stat()
        stamp = f"{state.st_size}-{state.st_mtime_ns}"
        parts = [_part(path, *pair, stamp) for pair in pairs]
        are_preprocessed = all(_are_preprocessed(path, images) for _, images, _ in pairs)
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    except _DAMAGE as error:
        raise DataError(f"{path} is no NPZ file that can be read: {error}") from error
    used = " and ".join(f"{images.name}, {labels.name}" for _, images, labels in pairs)
    return Listing(f"NPZ, arrays {used}", tuple(parts), are_preprocessed=are_preprocessed)


class NpzReader:
    """The images of one array, read forward."""

    def __init__(self, path: Path, name: str) -> None:
        self._rows = Forward(partial(_rows, path, name), (OSError, *_DAMAGE))

    def read(self, place: int) -> npt.NDArray[np.generic]:
        """Return image `place`."""
        return self._rows.row(place)


def _pairs(arrays: dict[str, Array], path: Path) -> list[tuple[str, Array, Array]]:
    """Return (split, images, labels) of each split, or of the one that there is."""
    found: dict[str, dict[str, Array]] = {}
    for name, array in arrays.items():
        match = _SPLIT.search(name.lower())
        split = match[1] if match else ""
        word = _SPLIT.sub("", name.lower(), count=1).strip("_")
        kind = "images" if word in _IMAGES else "labels" if word in _LABELS else None
        if kind:
            found.setdefault(split, {})[kind] = array
    pairs = [(s, f["images"], f["labels"]) for s, f in sorted(found.items()) if len(f) == 2]
    if not pairs or ("" in found and len(pairs) > 1):
        there = ", ".join(f"{array.name} {array.shape}" for array in arrays.values()) or "none"
        raise DataError(
            f"{path} should hold the arrays images and labels (or x_train, y_train, x_test, "
            f"y_test); its arrays are {there}"
        )
    for _, images, labels in pairs:
        _check(path, images, labels)
    return sorted(pairs, key=lambda pair: pair[0] == "test")


def _check(path: Path, images: Array, labels: Array) -> None:
    for array in (images, labels):
        if array.dtype.hasobject:
            raise DataError(
                f"{path}: {array.name} holds Python objects, which are never loaded: they could "
                "run code; save it as numbers or text"
            )
    if len(images.shape) not in (3, 4):
        raise DataError(
            f"{path}: {images.name} has shape {images.shape}; images are (N, H, W) or (N, H, W, C)"
        )
    if (size := math.prod(images.shape[1:]) * images.dtype.itemsize) > LARGEST_FILE:
        raise DataError(f"{path}: an image of {images.name} takes {size / 1e6:,.0f} MB: too large")
    if len(labels.shape) != 1:
        raise DataError(
            f"{path}: {labels.name} has shape {labels.shape}, not (N,); of one-hot rows, "
            "labels.argmax(axis=1) is meant"
        )
    if images.shape[0] != labels.shape[0]:
        raise DataError(
            f"{path}: {images.name} holds {images.shape[0]:,} images, but {labels.name} "
            f"{labels.shape[0]:,} labels"
        )


def _part(path: Path, split: str, images: Array, labels: Array, stamp: str) -> Part:
    with zipfile.ZipFile(path) as archive, archive.open(f"{labels.name}.npy") as stream:
        values = npy.read_array(stream, allow_pickle=False)
    if values.dtype.kind == "f" and (values == np.floor(values)).all():
        values = values.astype(np.int64)
    entries = []
    for row, value in enumerate(values.tolist()):
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        label = printable(text.strip())
        entries.append(Entry(f"{images.name}[{row}]", label, label, split, row))
    return Part(Source("npz", path, images.name), tuple(entries), stamp)


def _are_preprocessed(path: Path, array: Array) -> bool:
    """Return whether images look like MNIST's: 28×28, bright on a black that reaches all round.

    Told from the first thousand: nine in ten have an outermost ring that is black but for a tenth.
    """
    if array.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE) or array.dtype != np.uint8:
        return False
    placed = seen = 0
    for image in _rows(path, array.name):
        ring = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        placed += bool((ring == 0).mean() >= _PLACED_SHARE)
        seen += 1
        if seen == _LOOKED_AT:
            break
    return seen > 0 and placed >= _PLACED_SHARE * seen


def _describe(path: Path, member: str) -> Array:
    with zipfile.ZipFile(path) as archive:
        unpacked = archive.getinfo(member).file_size
    with _opened(path, member) as (_, shape, is_fortran, dtype):
        if math.prod(shape) * dtype.itemsize > unpacked:
            raise EOFError(f"{member} holds less than the {shape} it promises")
        if is_fortran and len(shape) > 1:
            raise DataError(
                f"{path}: {member} is stored in Fortran's order: save np.ascontiguousarray of it"
            )
        return Array(member.removesuffix(".npy"), shape, dtype)


def _rows(path: Path, name: str) -> Iterator[npt.NDArray[np.generic]]:
    with _opened(path, f"{name}.npy") as (stream, shape, _, dtype):
        size = math.prod(shape[1:]) * dtype.itemsize
        for _ in range(shape[0]):
            content = stream.read(size)
            if len(content) < size:
                raise EOFError(f"{name} is cut short")
            yield np.frombuffer(content, dtype).reshape(shape[1:])


@contextmanager
def _opened(
    path: Path, member: str
) -> Iterator[tuple[IO[bytes], tuple[int, ...], bool, np.dtype[Any]]]:
    with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
        version = npy.read_magic(stream)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, is_fortran, dtype = read_header(stream)
        yield stream, shape, is_fortran, dtype
