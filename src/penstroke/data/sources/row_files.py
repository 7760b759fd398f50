"""Image files in the rows of a Parquet file: bytes, or Hugging Face's {bytes, path}."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstroke.data.sources.contents import (
    LeftOut,
    Part,
    Source,
    SourceContents,
    SourceOptions,
    check_size,
    printable,
    split_of,
    stamp_of,
)
from penstroke.data.sources.rows import SequentialReader, labelled_rows
from penstroke.data.sources.tables import (
    IMAGE_NAMES,
    SPLIT_NAMES,
    pick_column,
    pick_label_column,
    pick_writer_column,
)
from penstroke.errors import DataError, ImageError, MissingExtraError
from penstroke.files import reason

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_PARQUET_SUFFIXES = (".parquet", ".pq")
_ROWS_AT_ONCE = 16
_PARQUET_DAMAGE = (OSError, ValueError, KeyError, NotImplementedError, MemoryError)
"""What pyarrow's errors are kinds of."""


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


def open_parquet(source: Source) -> SequentialReader:
    """Return the images of one Parquet file, opened for reading in small batches."""
    rows = partial(_parquet_rows, source.path, source.member)
    return SequentialReader(rows, _PARQUET_DAMAGE, _content_of)


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
    label = pick_label_column(columns, options, path.name)
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
    writer = pick_writer_column(columns, options, path.name)
    writers = None if writer is None else _values(file, writer, path)
    refs = labelled_rows(labels, words, f"row {{}} of {path.name}", left_out, writers, options)
    return Part(Source("parquet", path, image), refs, stamp_of(path))


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

    With names, a number without one means that there is no label: the datasets library writes -1.
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
    by_number: dict[float, str] = dict(enumerate(names))  # 5.0 finds 5
    return [by_number.get(v) if isinstance(v, int | float) else v for v in values]


def _values(file: ParquetFile, column: str, path: Path) -> list[Any]:
    try:
        values: list[Any] = file.read(columns=[column], use_threads=False).column(0).to_pylist()
    except _PARQUET_DAMAGE as error:
        raise DataError(f"{path}: column {column!r} is damaged: {printable(str(error))}") from error
    return values
