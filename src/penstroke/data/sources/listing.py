"""The one place that turns a source into labelled images: folders, zips, tables, arrays."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from penstroke.data.sources.arrays import NpzReader, list_npz
from penstroke.data.sources.contents import SUFFIXES, Content, Reader, Source, SourceContents
from penstroke.data.sources.image_files import (
    FileListing,
    FolderReader,
    ZipImageReader,
    label_by_folder,
    label_by_pattern,
    label_by_table,
    list_files,
    list_named_files,
)
from penstroke.data.sources.parquet import SUFFIXES as PARQUET_SUFFIXES
from penstroke.data.sources.parquet import ParquetReader, list_parquet, parquet_files
from penstroke.data.sources.tables import Row, read_rows
from penstroke.errors import DataError, ImageError
from penstroke.files import reason

TABLE = "labels.csv"


class LabelledImage(NamedTuple):
    """An image, its label according to its source, and its name."""

    label: str
    content: Content
    name: str


@dataclass(frozen=True)
class SourceOptions:
    """How a source says what its images show; what is None is detected.

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

    def read_table(self, content: bytes, name: str) -> tuple[list[Row], list[str]]:
        """Return the rows of a table, and notes: see `tables.read_rows`."""
        return read_rows(
            content, name, file_column=self.file_column, label_column=self.label_column,
            encoding=self.encoding,
        )  # fmt: skip


def read_labelled_images(
    path: Path, options: SourceOptions | None = None
) -> Iterator[LabelledImage]:
    """Yield the images of a source, one in memory at a time: see `list_source`.

    Raises:
        DataError: it is not a source, is damaged, or holds no images.
        ImageError: during the iteration: an image cannot be read.
    """
    contents = list_source(path, options or SourceOptions())
    if contents.missing:
        name, why = contents.missing[0]
        raise DataError(f"{path}: {name} {why}")
    return _read(path, contents)


def list_source(path: Path, options: SourceOptions) -> SourceContents:
    """Return the images that `path` holds, without reading them.

    It is a folder or zip of images, labelled by folder, by a labels.csv in it, or by their names;
    a table whose images lie beside it or in `options.images`; a Parquet file or a folder of them;
    or an NPZ file.

    Raises:
        ConfigError: an option does not go with the source.
        DataError: it is not there, is damaged, or holds no images with labels.
    """
    contents = _list_any(path, options)
    if not len(contents) and not contents.missing:
        notes = "".join(f"; {note}" for note in contents.notes)
        raise DataError(f"{path} holds no images ({', '.join(SUFFIXES)}) with a label{notes}")
    return contents


def open_source(source: Source) -> Reader:
    """Return the source, opened for reading."""
    if source.kind == "folder":
        return FolderReader(source.path)
    if source.kind == "zip":
        return ZipImageReader(source.path)
    if source.kind == "parquet":
        return ParquetReader(source.path, source.member)
    return NpzReader(source.path, source.member)


def _read(path: Path, contents: SourceContents) -> Iterator[LabelledImage]:
    for part in contents.parts:
        reader = open_source(part.source)
        for image in part.images:
            name = f"{path}/{image.name}"
            try:
                content = reader.read(image.place)
            except ImageError as error:
                raise ImageError(f"{name}: {error}") from None
            yield LabelledImage(image.label, content, name)


def _list_any(path: Path, options: SourceOptions) -> SourceContents:
    suffix = path.suffix.lower() if path.is_file() else ""
    files = parquet_files(path) if path.is_dir() else []
    if suffix in PARQUET_SUFFIXES or files:
        return list_parquet(
            files or [path], image_column=options.image_column, label_column=options.label_column
        )
    if suffix == ".npz":
        return list_npz(path)
    if suffix in (".csv", ".tsv", ".txt"):
        return _list_table(path, options)
    if suffix and suffix != ".zip" and not zipfile.is_zipfile(path):
        raise DataError(
            f"{path} is not a folder, a .zip, a .csv of labels, a .parquet or an .npz file: unpack "
            "other archives first"
        )
    listing = list_files(path)
    if options.pattern is not None:
        return label_by_pattern(listing, options.pattern)
    table = None if options.labels == "folder" else _find_table(listing, options)
    if table is None:
        return label_by_folder(listing)
    content = open_source(listing.source).read(table)
    assert isinstance(content, bytes)
    rows, notes = options.read_table(content, f"{path}/{table}")
    base, name = posixpath.split(table)
    return label_by_table(listing, rows, name, base, *notes)


def _list_table(path: Path, options: SourceOptions) -> SourceContents:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    rows, notes = options.read_table(content, str(path))
    images = options.images or path.parent
    listing = (
        list_files(images) if images.is_file() else list_named_files(images, (r[0] for r in rows))
    )
    return label_by_table(listing, rows, path.name, "", *notes)


def _find_table(listing: FileListing, options: SourceOptions) -> str | None:
    """Return the name of the table in a folder or zip, if there is one, or one was asked for."""
    tables = [
        file.name for file in listing.files
        if posixpath.basename(file.name) == TABLE and file.name.count("/") <= 1
    ]  # fmt: skip
    if len(tables) > 1:
        tables = [name for name in tables if name == TABLE]
    if not tables and options.labels == "table":
        raise DataError(f"{listing.source.path} holds no {TABLE} at its top: --labels folder?")
    return tables[0] if tables else None
