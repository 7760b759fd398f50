"""The one place that turns a source into images with labels: folders, zips, tables, arrays."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from penstroke.data.sources.arrays import NpzReader, list_npz
from penstroke.data.sources.entries import (
    SUFFIXES,
    Content,
    Entry,
    Listing,
    Missing,
    Part,
    Reader,
    Source,
    is_image,
    printable,
    split_among,
)
from penstroke.data.sources.image_files import (
    Files,
    FolderReader,
    ZipReader,
    by_folder,
    by_table,
    list_files,
    named_files,
)
from penstroke.data.sources.parquet import SUFFIXES as PARQUET_SUFFIXES
from penstroke.data.sources.parquet import ParquetReader, list_parquet, parquet_files
from penstroke.data.sources.tables import read_rows
from penstroke.errors import ConfigError, DataError, ImageError
from penstroke.files import reason

__all__ = [
    "Content", "Entry", "How", "Listing", "Missing", "Part", "Reader", "Sample", "Source",
    "list_source", "open_source", "read_samples",
]  # fmt: skip

TABLE = "labels.csv"
_TABLE_SUFFIXES = (".csv", ".tsv", ".txt")


class Sample(NamedTuple):
    """An image, what it shows according to its source, and what it is called."""

    label: str
    content: Content
    name: str


@dataclass(frozen=True)
class How:
    """How a source says what its images show; what is None is found out.

    Attributes:
        labels: by the folders they lie in, or by a table.
        pattern: a regular expression searched in the path below the source; its group `label`.
        images: folder or zip that the names in a table start from.
        file_column: of a table.
        label_column: of a table or Parquet file.
        image_column: of a Parquet file.
        encoding: of a table.
    """

    labels: Literal["folder", "table"] | None = None
    pattern: str | None = None
    images: Path | None = None
    file_column: str | None = None
    label_column: str | None = None
    image_column: str | None = None
    encoding: str = "utf-8"


def read_samples(path: Path, how: How | None = None) -> Iterator[Sample]:
    """Yield the images of a source, one in memory at a time: see `list_source`.

    A class is what follows the last `_` of its folder's name: `digit_3` is 3, `upper_A` is A.
    For a model of letters without their case, both `upper_A` and `lower_a` are its class `Aa`.

    Raises:
        DataError: it is none, is damaged, or holds no images.
        ImageError: while it goes on: an image cannot be read.
    """
    listing = list_source(path, how or How())
    if listing.missing:
        name, why = listing.missing[0]
        raise DataError(f"{path}: {name}: {why}")
    return _samples(path, listing)


def list_source(path: Path, how: How) -> Listing:
    """Return the images that `path` holds, without reading them.

    It is a folder or zip of images, labelled by folder, by a labels.csv in it, or by their names;
    a table whose images lie beside it or in `how.images`; a Parquet file or a folder of them;
    an NPZ file.

    Raises:
        ConfigError: what was asked for does not go with what it is.
        DataError: it is not there, is damaged, or holds no images with labels.
    """
    listing = _list_source(path, how)
    if not len(listing) and not listing.missing:
        notes = "".join(f"; {note}" for note in listing.notes)
        raise DataError(f"{path} holds no images ({', '.join(SUFFIXES)}) with a label{notes}")
    return listing


def open_source(source: Source) -> Reader:
    """Return the source, opened for reading."""
    if source.kind == "folder":
        return FolderReader(source.path)
    if source.kind == "zip":
        return ZipReader(source.path)
    if source.kind == "parquet":
        return ParquetReader(source.path, source.member)
    return NpzReader(source.path, source.member)


def _samples(path: Path, listing: Listing) -> Iterator[Sample]:
    for part in listing.parts:
        reader = open_source(part.source)
        for entry in part.entries:
            name = f"{path}/{entry.name}"
            try:
                content = reader.read(entry.place)
            except ImageError as error:
                raise ImageError(f"{name}: {error}") from None
            yield Sample(entry.label, content, name)


def _list_source(path: Path, how: How) -> Listing:
    suffix = path.suffix.lower() if path.is_file() else ""
    files = parquet_files(path) if path.is_dir() else []
    if suffix in PARQUET_SUFFIXES or files:
        return list_parquet(
            files or [path], image_column=how.image_column, label_column=how.label_column
        )
    if suffix == ".npz":
        return list_npz(path)
    if suffix in _TABLE_SUFFIXES:
        return _by_own_table(path, how)
    if suffix and suffix != ".zip" and not zipfile.is_zipfile(path):
        raise DataError(
            f"{path} is nothing that is read here: a folder, a .zip, a .csv of labels, a .parquet "
            "or a .npz; unpack other archives first"
        )
    found = list_files(path)
    if how.pattern is not None:
        return _by_pattern(found, how.pattern, path)
    if how.labels != "folder" and (table := _table_in(found, how)):
        return _by_inner_table(found, table, path, how)
    return by_folder(found)


def _by_own_table(path: Path, how: How) -> Listing:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    rows, notes = read_rows(
        content, str(path), file_column=how.file_column, label_column=how.label_column,
        encoding=how.encoding,
    )  # fmt: skip
    images = how.images or path.parent
    is_zip = images.is_file()
    found = list_files(images) if is_zip else named_files(images, (row[0] for row in rows))
    listing = by_table(found, rows, path.name, "")
    return replace(listing, notes=(*notes, *listing.notes))


def _table_in(found: Files, how: How) -> str | None:
    """Return the name of the table in a folder or zip, if there is one, or one was asked for."""
    tables = [
        file.name for file in found.files
        if posixpath.basename(file.name) == TABLE and file.name.count("/") <= 1
    ]  # fmt: skip
    if len(tables) > 1:
        tables = [name for name in tables if name == TABLE]
    if not tables and how.labels == "table":
        raise DataError(f"{found.source.path} holds no {TABLE} at its top")
    return tables[0] if tables else None


def _by_inner_table(found: Files, table: str, path: Path, how: How) -> Listing:
    place = next(file.place for file in found.files if file.name == table)
    content = open_source(found.source).read(place)
    assert isinstance(content, bytes)
    rows, notes = read_rows(
        content, f"{path}/{table}", file_column=how.file_column, label_column=how.label_column,
        encoding=how.encoding,
    )  # fmt: skip
    listing = by_table(found, rows, posixpath.basename(table), posixpath.dirname(table))
    return replace(listing, notes=(*notes, *listing.notes))


def _by_pattern(found: Files, pattern: str, path: Path) -> Listing:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--pattern: {pattern!r} is no regular expression: {error}") from None
    if "label" not in expression.groupindex:
        raise ConfigError(
            f"--pattern: {pattern!r} has no group called label: (?P<label>…) around what is it"
        )
    entries, others = [], []
    for file in found.files:
        if not is_image(file.name):
            continue
        match = expression.search(file.name)
        label = printable(match["label"] or "") if match else ""
        split = split_among(file.name.split("/")[:-1])
        if label:
            entries.append(Entry(printable(file.name), label, label, split, file.place, file.stamp))
        else:
            others.append(printable(file.name))
    if others and not entries:
        raise DataError(
            f"--pattern: {pattern!r} fits none of {len(others):,} images in {path}, "
            f"{others[0]!r} for one"
        )
    notes = list(found.notes)
    if others:
        notes.append(f"{len(others):,} images that the pattern does not fit were left out, "
                     f"{others[0]!r} for one")  # fmt: skip
    parts = (Part(found.source, tuple(entries)),)
    return Listing(f"labels in the names of files, in {found.what}", parts, tuple(notes))
