"""The one place that turns a source into labelled images: folders, zips, tables, arrays."""

import posixpath
import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from penstroke.data.sources.arrays import (
    are_preprocessed,
    array_files,
    is_array_file,
    list_arrays,
    open_arrays,
    refuse_unknown_orientation,
    with_scale,
)
from penstroke.data.sources.contents import (
    SUFFIXES,
    Content,
    LeftOut,
    Part,
    Reader,
    Source,
    SourceContents,
    SourceOptions,
    is_image,
    printable,
    split_of,
)
from penstroke.data.sources.image_files import (
    label_by_path,
    label_by_table,
    label_lines,
    list_files,
    open_files,
)
from penstroke.data.sources.pixel_tables import TableFile, is_pixel_table, list_pixel_table
from penstroke.data.sources.row_files import list_parquet, open_parquet, parquet_files
from penstroke.data.sources.tables import read_rows
from penstroke.errors import ConfigError, DataError, ImageError
from penstroke.files import explained

TABLE = "labels.csv"
_MAX_WRITER = 64
_TABLES = (".csv", ".tsv", ".txt", ".data", ".dat")


class LabelledImage(NamedTuple):
    """An image, its label according to its source, its name, and who wrote it ("": unknown)."""

    label: str
    content: Content
    name: str
    writer: str = ""


def read_labelled_images(path: Path, options: SourceOptions | None = None) -> list[LabelledImage]:
    """Return the images of a source, see `list_source`; ImageError if one cannot be read."""
    return read_images(path, list_source(path, options or SourceOptions()))


def read_images(path: Path, contents: SourceContents) -> list[LabelledImage]:
    """Return the images that `list_source` found at `path`; raises as `read_labelled_images`."""
    if contents.missing:
        name, why = contents.missing[0]
        raise DataError(f"{path}: {name} {why}")
    images = []
    for part in contents.parts:
        reader = open_source(part.source)
        for image in part.images:
            name = f"{path}/{image.name}"
            try:
                images.append(LabelledImage(image.label, reader(image.place), name, image.writer))
            except ImageError as error:
                raise ImageError(f"{name}: {error}") from None
    return images


def list_source(path: Path, options: SourceOptions) -> SourceContents:
    """Return the images that `path` holds, without reading them.

    It is a folder or zip of images, labelled by folder, by a labels.csv in it, or by their names;
    a table whose images lie beside it or in `options.images`; a table of pixels, or a folder or zip
    of them; a Parquet file or a folder of them; or arrays: NPZ, NPY, MAT, or one split of IDX
    files. Lines, if `options` ask for them, are never arrays, and are labelled by a table, by text
    files beside them or by their names. Raises ConfigError if an option does not go with the
    source, DataError if it is not there, is damaged, or holds no images with labels.
    """
    suffix = _suffix(path.name) if path.is_file() else ""
    if files := parquet_files(path):
        contents = list_parquet(files, options)
    elif options.lines:
        contents = _list_line_files(path, options)
    elif path.is_file() and array_files(path):
        contents = list_arrays(path, options)
    elif suffix in _TABLES and is_pixel_table(TableFile(path), options):
        contents = _list_pixel_tables([TableFile(path)], options)
    elif suffix in (".csv", ".tsv", ".txt"):
        contents = _list_table(path, options)
    elif suffix and suffix != ".zip" and not zipfile.is_zipfile(path):
        raise DataError(
            f"{path} is not a folder, a .zip, a .csv of labels or of pixels, a .parquet, .npz, "
            ".npy, .mat or IDX file: unpack other archives first"
        )
    else:
        contents = _list_folder_or_zip(path, options)
    if options.transposed is not None and not all(part.source.pixels for part in contents.parts):
        raise ConfigError("--transposed is for IDX files, arrays and pixel tables only")
    _check_writers(path, contents, options)
    if not len(contents) and not contents.missing:
        what = f"images ({', '.join(SUFFIXES)}) with a {options.label_word}"
        notes = (f"; {note}" for note in (*contents.notes, *_advice(contents)))
        raise DataError(f"{path} holds no {what}{''.join(notes)}")
    return contents


def _list_line_files(path: Path, options: SourceOptions) -> SourceContents:
    if path.is_file() and path.suffix.lower() in (".csv", ".tsv", ".txt"):
        return _list_table(path, options)
    if path.is_file() and not zipfile.is_zipfile(path):
        raise DataError(
            f"{path} is not a folder, a .zip, a .csv of texts or a .parquet file, in which images "
            "of lines may be"
        )
    return _list_image_files(path, options)


def _check_writers(path: Path, contents: SourceContents, options: SourceOptions) -> None:
    """Refuse an option that says where the writers are if it leads to none, or to strange ones."""
    writers = {image.writer for part in contents.parts for image in part.images}
    options_used = (options.writer_column and "column", options.writer_folders and "folders")
    for option in filter(None, options_used):
        if not writers - {""}:
            raise ConfigError(f"--writer-{option}: no image of {path} has a writer by it")
    if longest := [name for name in writers if len(name) > _MAX_WRITER]:
        raise DataError(
            f"{path}: {longest[0][:40]!r}… names no writer: it has over {_MAX_WRITER} characters"
        )


def _advice(contents: SourceContents) -> Iterator[str]:
    """Yield what was left out of a source without labelled images, and what would help."""
    for file, reason in contents.left_out[:1]:
        more = len(contents.left_out) - 1
        yield f"{file} {reason}" + (f", and {more:,} more files are left out" if more else "")
    arrays = [file for file, _ in contents.left_out if is_array_file(file)]
    if arrays:
        yield f"import {arrays[0]} itself, unpacked"
    if any(is_image(file) for file, _ in contents.left_out):
        yield "--pattern reads labels from the names of files"


def open_source(source: Source) -> Reader:
    """Return the source, opened for reading."""
    if source.kind == "parquet":
        return open_parquet(source)
    return open_arrays(source) if source.pixels else open_files(source)


def _pixel_tables(path: Path, options: SourceOptions) -> dict[str, TableFile]:
    """Return the pixel tables in a folder or zip, by their names in it."""
    names = [n for n in list_files(path).stamps if _suffix(n) in _TABLES]
    files = [TableFile(path / n) if path.is_dir() else TableFile(path, n) for n in names]
    return {
        printable(name): file
        for name, file in zip(names, files, strict=True)
        if is_pixel_table(file, options)
    }


def _list_pixel_tables(files: list[TableFile], options: SourceOptions) -> SourceContents:
    """Return the images of tables; their names say which are for testing, if there are several.

    One without labels is left out where another has some.
    """
    parts: list[Part] = []
    left_out: list[LeftOut] = []
    problems: list[DataError] = []
    for file in files:
        refuse_unknown_orientation(Path(file.name), options)
        split = split_of(re.split(r"[^a-z0-9]+", file.name.lower())) if len(files) > 1 else ""
        try:
            part, rows = list_pixel_table(file, options, split)
        except DataError as error:
            problems.append(error)
            left_out.append(LeftOut(file.name, str(error).removeprefix(f"{file} ")))
            continue
        source = with_scale(part.source, len(part.images), str(file))
        parts.append(replace(part, source=source))
        left_out += rows
    if not parts:
        raise problems[0]
    where = "the table" if len(files) == 1 else ", ".join(Path(file.name).name for file in files)
    return SourceContents(
        f"a column of {where}, whose rows are pixels", tuple(parts), left_out=tuple(left_out),
        are_preprocessed=are_preprocessed(parts),
    )  # fmt: skip


def _suffix(name: str) -> str:
    return Path(name.lower().removesuffix(".gz")).suffix


def _list_table(path: Path, options: SourceOptions) -> SourceContents:
    with explained(f"read {path}", DataError):
        content = path.read_bytes()
    table = read_rows(content, str(path), options)
    listing = list_files(options.images or path.parent, [name for name, *_ in table.rows])
    return label_by_table(listing, table, path.name, "")


def _list_folder_or_zip(path: Path, options: SourceOptions) -> SourceContents:
    """Return its image files; without any, the arrays or pixel tables in it."""
    contents = _list_image_files(path, options)
    if len(contents) or contents.missing:
        return contents
    if path.is_dir() and array_files(path):
        return list_arrays(path, options)
    tables = _pixel_tables(path, options)
    if not tables:
        return contents
    found = _list_pixel_tables(list(tables.values()), options)
    others = [file for file in contents.left_out if file.name not in tables]
    return replace(found, left_out=(*found.left_out, *others))


def _list_image_files(path: Path, options: SourceOptions) -> SourceContents:
    """Label the images in a folder or zip by a table at its top, or else by their paths."""
    listing = list_files(path)
    tables = [n for n in listing.stamps if posixpath.basename(n) == TABLE and n.count("/") <= 1]
    if options.pattern is not None or options.labels == "folder":
        return label_by_path(listing, options)
    if TABLE not in tables and len(tables) != 1:
        if options.labels == "table":
            raise DataError(f"{path} holds no {TABLE} at its top: --labels folder?")
        return label_lines(listing, options) if options.lines else label_by_path(listing, options)
    file = TABLE if TABLE in tables else tables[0]
    content = open_files(listing.source)(file)
    assert isinstance(content, bytes)
    base, name = posixpath.split(file)
    return label_by_table(listing, read_rows(content, f"{path}/{file}", options), name, base)
