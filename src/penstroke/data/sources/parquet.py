"""Parquet: a column of images (bytes, or Hugging Face's {bytes, path}) and one of labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstroke.data.sources.entries import (
    LARGEST_FILE,
    Entry,
    Listing,
    Part,
    Source,
    printable,
    split_among,
)
from penstroke.data.sources.forward import Forward
from penstroke.data.sources.tables import (
    IMAGE_NAMES,
    LABEL_NAMES,
    SPLIT_NAMES,
    pick_column,
    split_word,
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
    found = [p for where in (folder, folder / "data") if where.is_dir() for p in where.iterdir()]
    return sorted(p for p in found if p.suffix.lower() in SUFFIXES and p.name[0] != ".")


def list_parquet(
    files: list[Path], *, image_column: str | None = None, label_column: str | None = None
) -> Listing:
    """Return the images in `files`; a split stands in a column, or begins a file's name.

    Raises:
        ConfigError: a column that was named is not there.
        DataError: a file is damaged, or lacks a column.
        MissingExtraError: pyarrow is not installed.
    """
    notes: list[str] = []
    parts = tuple(_list_file(path, image_column, label_column, notes) for path in files)
    what = files[0].name if len(files) == 1 else f"{len(files)} files"
    return Listing(f"Parquet, {what}", parts, tuple(notes))


class ParquetReader:
    """The images of one file, read forward in small batches."""

    def __init__(self, path: Path, column: str) -> None:
        self._path, self._column = path, column
        self._rows = Forward(self._all, _DAMAGE)

    def read(self, place: int) -> bytes:
        """Return the image file in row `place`."""
        value = self._rows.row(place).as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise ImageError("the row holds no bytes of an image")
        if len(content) > LARGEST_FILE:
            size = len(content) / 1e6
            raise ImageError(f"{size:.0f} MB: larger than {LARGEST_FILE / 1e6:.0f}")
        return content

    def _all(self) -> Iterator[Any]:
        file = _open(self._path)
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[self._column], use_threads=False):
            yield from batch.column(0)


def _list_file(
    path: Path, image_column: str | None, label_column: str | None, notes: list[str]
) -> Part:
    file = _open(path)
    columns = file.schema_arrow.names
    image = pick_column(columns, image_column, IMAGE_NAMES, "image", path.name)
    label = pick_column(columns, label_column, LABEL_NAMES, "label", path.name)
    _refuse_other_types(file, image, path)
    split = next((name for name in columns if name.strip().lower() in SPLIT_NAMES), None)
    given = _labels(file, label, path)
    splits = (
        _values(file, split, path)
        if split
        else [split_among(path.stem.split("-")[:1])] * len(given)
    )
    entries = []
    for row, (name, word) in enumerate(zip(given, splits, strict=True)):
        if name:
            where = f"row {row} of {path.name}"
            if (known := split_word(str(word or ""))) is None:
                raise DataError(f"{where}: the split {word!r} is neither train nor test")
            shown = printable(name)
            entries.append(Entry(where, shown, shown, known, row))
    if unlabelled := len(given) - len(entries):
        notes.append(f"{unlabelled:,} rows of {path.name} without a label were left out")
    state = path.stat()
    stamp = f"{state.st_size}-{state.st_mtime_ns}"
    return Part(Source("parquet", path, image), tuple(entries), stamp)


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
        raise DataError(f"{path} is no Parquet file that can be read: {error}") from error


def _refuse_other_types(file: ParquetFile, column: str, path: Path) -> None:
    from pyarrow import types

    kind = file.schema_arrow.field(column).type
    if types.is_struct(kind):
        kind = kind.field("bytes").type if kind.get_field_index("bytes") >= 0 else kind
    if not (types.is_binary(kind) or types.is_large_binary(kind)):
        raise DataError(
            f"{path}: column {column!r} holds {kind}, not the bytes of image files; "
            "--image-column names another"
        )


def _labels(file: ParquetFile, column: str, path: Path) -> list[str]:
    """Return the label of each row: names where the file knows them (`ClassLabel`), else text."""
    names = _class_names(file, column)
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


def _class_names(file: ParquetFile, column: str) -> list[str]:
    """Return the names that Hugging Face's datasets library writes beside integer labels."""
    metadata = file.schema_arrow.metadata or {}
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return [str(name) for name in features[column]["names"]]
    except (KeyError, TypeError, ValueError):
        return []
