"""Files of rows: arrays in an NPZ file, image files (bytes, or {bytes, path}) in a Parquet file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from tokenize import TokenError
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from penstroke.config.settings import IMAGE_SIZE
from penstroke.data.archives import MAX_FILE_BYTES, ZipReader
from penstroke.data.sources.contents import (
    Content,
    ImageRef,
    LeftOut,
    Part,
    Source,
    SourceContents,
    SourceOptions,
    Split,
    check_size,
    parse_label,
    printable,
    split_of,
    stamp_of,
)
from penstroke.data.sources.tables import (
    IMAGE_NAMES,
    LABEL_NAMES,
    SPLIT_NAMES,
    parse_split,
    pick_column,
)
from penstroke.errors import ArchiveError, DataError, ImageError, MissingExtraError
from penstroke.files import reason
from penstroke.preprocessing.ink import border

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_PARQUET_SUFFIXES = (".parquet", ".pq")
_IMAGES = ("images", "image", "x", "data", "pictures")
_LABELS = ("labels", "label", "y", "targets", "target", "classes")
_SPLIT = re.compile(r"(?:^|_)(train|test)(?:_|$)")
_NPZ_DAMAGE = (EOFError, ValueError, KeyError, SyntaxError, TypeError, TokenError, OverflowError)
"""What the header of a damaged array may raise."""
_MAX_ARRAY_BYTES = 4_000_000_000
_CHECKED_IMAGES = 1000
_NORMALIZED_SHARE = 0.9
_ROWS_AT_ONCE = 16
_PARQUET_DAMAGE = (OSError, ValueError, KeyError, NotImplementedError, MemoryError)
"""What pyarrow's errors are kinds of."""


@dataclass
class SequentialReader:
    """The rows of a stream that can only be read forward: fast when they are read in order.

    Reading may raise `damage`; rows behind damage are never tried again. `content_of` turns a row
    into an image, or raises ImageError.
    """

    open_rows: Callable[[], Iterator[Any]]
    damage: tuple[type[Exception], ...]
    content_of: Callable[[Any], Content] = lambda row: row

    def __post_init__(self) -> None:
        self._rows, self._next = self.open_rows(), 0
        self._broken_at, self._problem = math.inf, ""
        self.damage = (StopIteration, *self.damage)

    def __call__(self, place: int) -> Content:
        """Return the image in row `place`."""
        if place < self._next:
            self._rows, self._next = self.open_rows(), 0
        try:
            while self._next <= place < self._broken_at:
                row = next(self._rows)
                self._next += 1
        except self.damage as error:
            self._broken_at, self._problem = self._next, str(error) or "it is cut short"
        if place >= self._broken_at:
            raise ImageError(f"cannot be read: {self._problem}")
        return self.content_of(row)


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
            arrays, left_out = [], []
            for name in archive.files:
                if name.endswith(".npy"):
                    with archive.open(name) as stream:
                        arrays.append(_read_header(archive, name, stream))
            pairs = _pairs(arrays, path)
            parts = tuple(_part(archive, *pair, left_out) for pair in pairs)
        are_preprocessed = all(_are_preprocessed(path, images) for _, images, _ in pairs)
    except _NPZ_DAMAGE as error:
        raise DataError(f"{path} is not a valid NPZ file: {error}") from error
    used = " and ".join(f"{images.name}, {labels.name}" for _, images, labels in pairs)
    return SourceContents(
        f"NPZ, arrays {used}", parts, are_preprocessed=are_preprocessed, left_out=tuple(left_out)
    )


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


def _part(
    archive: ZipReader, split: Split, images: Array, labels: Array, left_out: list[LeftOut]
) -> Part:
    with archive.open(f"{labels.name}.npy") as stream:
        values = npy.read_array(stream, allow_pickle=False)
    refs = labelled_rows(values.tolist(), [split] * len(values), f"{images.name}[{{}}]", left_out)
    return Part(Source("npz", archive.path, images.name), refs, stamp_of(archive.path))


def _are_preprocessed(path: Path, array: Array) -> bool:
    """Return whether images look like MNIST's: 28×28, bright on black, with a black margin.

    That is: of the first thousand, nine in ten have an outermost ring that is nine tenths black.
    """
    if array.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE) or array.dtype != np.uint8:
        return False
    checked = islice(_npz_rows(path, array.name), _CHECKED_IMAGES)
    black = [(border(image) == 0).mean() >= _NORMALIZED_SHARE for image in checked]
    return len(black) > 0 and sum(black) >= _NORMALIZED_SHARE * len(black)


def _npz_rows(path: Path, name: str) -> Iterator[npt.NDArray[np.generic]]:
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


def parquet_files(path: Path) -> list[Path]:
    """Return a Parquet file, or those in a folder and its `data`, where Hugging Face puts them."""
    folders = [folder for folder in (path, path / "data") if folder.is_dir()]
    files = [file for folder in folders for file in folder.iterdir() if file.name[0] != "."]
    files += [path] if path.is_file() else []
    return sorted(file for file in files if file.suffix.lower() in _PARQUET_SUFFIXES)


def list_parquet(files: list[Path], options: SourceOptions) -> SourceContents:
    """Return the images in `files`; their split is in a column, or begins a file's name.

    Raises ConfigError if a column that was named is not there, DataError if a file is damaged or
    lacks a column, MissingExtraError without pyarrow.
    """
    left_out: list[LeftOut] = []
    parts = tuple(_list_file(path, options, left_out) for path in files)
    what = files[0].name if len(files) == 1 else f"{len(files)} files"
    return SourceContents(f"Parquet, {what}", parts, left_out=tuple(left_out))


def open_rows(source: Source) -> SequentialReader:
    """Return the images of one file, opened for reading one by one, or in small batches."""
    path, member = source.path, source.member
    if source.kind == "npz":
        return SequentialReader(partial(_npz_rows, path, member), (ArchiveError, *_NPZ_DAMAGE))
    return SequentialReader(partial(_parquet_rows, path, member), _PARQUET_DAMAGE, _content_of)


def _parquet_rows(path: Path, column: str) -> Iterator[Any]:
    for batch in _open(path).iter_batches(_ROWS_AT_ONCE, columns=[column], use_threads=False):
        yield from batch.column(0)


def _content_of(row: Any) -> bytes:
    value = row.as_py()
    content = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(content, bytes):
        raise ImageError("holds no bytes of an image")
    check_size(len(content))
    return content


def _list_file(path: Path, options: SourceOptions, left_out: list[LeftOut]) -> Part:
    file = _open(path)
    from pyarrow import types

    columns = file.schema_arrow.names
    image = pick_column(columns, options.image_column, IMAGE_NAMES, "image", path.name)
    label = pick_column(columns, options.label_column, LABEL_NAMES, "label", path.name)
    kind = file.schema_arrow.field(image).type
    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (types.is_binary(kind) or types.is_large_binary(kind)):
        raise DataError(
            f"{path}: column {image!r} holds {kind}, not the bytes of image files; "
            "name another with --image-column"
        )
    labels = _labels(file, label, path)
    words = [split_of(path.stem.split("-")[:1])] * len(labels)
    if split := next((name for name in columns if name.strip().lower() in SPLIT_NAMES), None):
        words = _values(file, split, path)
    refs = labelled_rows(labels, words, f"row {{}} of {path.name}", left_out)
    return Part(Source("parquet", path, image), refs, stamp_of(path))


def labelled_rows(
    labels: list[Any], splits: Sequence[Any], name: str, left_out: list[LeftOut]
) -> tuple[ImageRef, ...]:
    """Return the rows with a label as images, and add the others to `left_out`.

    `name` is a row's name, with {} for its number, from 0 on.
    """
    refs = []
    for row, (value, split) in enumerate(zip(labels, splits, strict=True)):
        shown = name.format(row)
        if label := parse_label(value):
            word = parse_split("" if split is None else str(split), shown)
            refs.append(ImageRef(shown, label, label, word, row))
        else:
            left_out.append(LeftOut(shown, f"has no label ({value!s})"))
    return tuple(refs)


def _open(path: Path) -> ParquetFile:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingExtraError.for_extra("parquet", error.name) from None
    try:
        return ParquetFile(path, buffer_size=1 << 20)
    except FileNotFoundError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    except _PARQUET_DAMAGE as error:
        raise DataError(f"{path} is not a valid Parquet file: {error}") from error


def _labels(file: ParquetFile, column: str, path: Path) -> list[Any]:
    """Return the label of each row: names where the file knows them (`ClassLabel`), or values.

    With names, a number that has none is no label: the datasets library writes -1.
    """
    metadata = file.schema_arrow.metadata or {}
    try:  # Hugging Face's datasets library writes the names beside integer labels
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        names = [str(name) for name in features[column]["names"]]
    except (KeyError, TypeError, ValueError):
        names = []
    values = _values(file, column, path)
    if not names:
        return values
    by_number = dict(enumerate(names))  # 5.0 finds 5
    return [by_number.get(v) if isinstance(v, int | float) else v for v in values]


def _values(file: ParquetFile, column: str, path: Path) -> list[Any]:
    try:
        values: list[Any] = file.read(columns=[column], use_threads=False).column(0).to_pylist()
    except _PARQUET_DAMAGE as error:
        raise DataError(f"{path}: column {column!r} is damaged: {printable(str(error))}") from error
    return values
