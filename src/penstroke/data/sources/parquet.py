"""Parquet: a column of images (bytes, or Hugging Face's {bytes, path}) and one of labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstroke.data.sources.contents import (
    ImageRef,
    Part,
    SequentialReader,
    Source,
    SourceContents,
    SourceOptions,
    check_size,
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
from penstroke.errors import DataError, ImageError, MissingExtraError
from penstroke.files import reason

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

SUFFIXES = (".parquet", ".pq")
_ROWS_AT_ONCE = 16
_DAMAGE = (OSError, ValueError, KeyError, NotImplementedError, MemoryError)
"""What pyarrow's errors are kinds of."""
_BUFFER_BYTES = 1 << 20


def parquet_files(folder: Path) -> list[Path]:
    """Return the Parquet files in `folder` and in its `data`, where Hugging Face puts them."""
    folders = [path for path in (folder, folder / "data") if path.is_dir()]
    paths = [path for where in folders for path in where.iterdir()]
    return sorted(p for p in paths if p.suffix.lower() in SUFFIXES and p.name[0] != ".")


def list_parquet(files: list[Path], options: SourceOptions) -> SourceContents:
    """Return the images in `files`; their split is in a column, or begins a file's name.

    Raises ConfigError if a column that was named is not there, DataError if a file is damaged or
    lacks a column, MissingExtraError without pyarrow.
    """
    notes: list[str] = []
    parts = tuple(_list_file(path, options, notes) for path in files)
    what = files[0].name if len(files) == 1 else f"{len(files)} files"
    return SourceContents(f"Parquet, {what}", parts, tuple(notes))


def open_parquet(path: Path, column: str) -> SequentialReader:
    """Return the images of one file, opened for reading in small batches."""
    return SequentialReader(partial(_rows, path, column), _DAMAGE, _content_of)


def _rows(path: Path, column: str) -> Iterator[Any]:
    for batch in _open(path).iter_batches(_ROWS_AT_ONCE, columns=[column], use_threads=False):
        yield from batch.column(0)


def _content_of(row: Any) -> bytes:
    value = row.as_py()
    content = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(content, bytes):
        raise ImageError("holds no bytes of an image")
    check_size(len(content))
    return content


def _list_file(path: Path, options: SourceOptions, notes: list[str]) -> Part:
    file = _open(path)
    columns = file.schema_arrow.names
    image = pick_column(columns, options.image_column, IMAGE_NAMES, "image", path.name)
    label = pick_column(columns, options.label_column, LABEL_NAMES, "label", path.name)
    _check_type(file, image, path)
    labels = _labels(file, label, path)
    words = [split_of(path.stem.split("-")[:1])] * len(labels)
    if split := next((name for name in columns if name.strip().lower() in SPLIT_NAMES), None):
        words = _values(file, split, path)
    images = []
    for row, (text, word) in enumerate(zip(labels, words, strict=True)):
        if text:
            name, shown = f"row {row} of {path.name}", printable(text)
            images.append(ImageRef(name, shown, shown, parse_split(str(word or ""), name), row))
    if unlabelled := len(labels) - len(images):
        notes.append(f"{unlabelled:,} rows of {path.name} without a label were left out")
    return Part(Source("parquet", path, image), tuple(images), stamp_of(path))


def _open(path: Path) -> ParquetFile:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingExtraError.for_extra("parquet", error.name) from None
    try:
        return ParquetFile(path, buffer_size=_BUFFER_BYTES)
    except FileNotFoundError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    except _DAMAGE as error:
        raise DataError(f"{path} is not a valid Parquet file: {error}") from error


def _check_type(file: ParquetFile, column: str, path: Path) -> None:
    from pyarrow import types

    kind = file.schema_arrow.field(column).type
    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (types.is_binary(kind) or types.is_large_binary(kind)):
        raise DataError(
            f"{path}: column {column!r} holds {kind}, not the bytes of image files; "
            "name another with --image-column"
        )


def _labels(file: ParquetFile, column: str, path: Path) -> list[str]:
    """Return the label of each row: names where the file knows them (`ClassLabel`), else text."""
    metadata = file.schema_arrow.metadata or {}
    try:  # Hugging Face's datasets library writes the names beside integer labels
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        names = [str(name) for name in features[column]["names"]]
    except (KeyError, TypeError, ValueError):
        names = []
    texts = []
    for value in _values(file, column, path):
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        known = isinstance(value, int) and 0 <= value < len(names)
        texts.append(names[int(value)] if known else "" if value is None else str(value).strip())
    return texts


def _values(file: ParquetFile, column: str, path: Path) -> list[Any]:
    try:
        values: list[Any] = file.read(columns=[column], use_threads=False).column(0).to_pylist()
    except _DAMAGE as error:
        raise DataError(f"{path}: column {column!r} is damaged: {printable(str(error))}") from error
    return values
