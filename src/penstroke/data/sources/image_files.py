"""Image files in a folder or in a zip: their names, their labels and their bytes."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from penstroke.data.archives import ZipReader, is_hidden
from penstroke.data.sources.contents import (
    MAX_FILE_BYTES,
    ImageRef,
    Part,
    Source,
    SourceContents,
    Split,
    Unreadable,
    is_image,
    printable,
    split_of,
    stamp_of,
)
from penstroke.data.sources.tables import Row
from penstroke.errors import ArchiveError, ConfigError, DataError, ImageError
from penstroke.files import reason


class File(NamedTuple):
    """A file: its name below the source with `/` between folders, and its stamp."""

    name: str
    stamp: str

    def image(self, given: str, label: str, split: Split) -> ImageRef:
        """Return it as an image."""
        return ImageRef(printable(self.name), given, label, split, self.name, self.stamp)


@dataclass(frozen=True)
class FileListing:
    """The files of a source that are not hidden, in the order of their names."""

    source: Source
    files: list[File]
    notes: tuple[str, ...] = ()

    def contents(
        self, labels: str, images: list[ImageRef], *notes: str, missing: Iterable[Unreadable] = ()
    ) -> SourceContents:
        """Return `images` as what the source holds; `labels` says where their labels come from."""
        description = f"{labels}; images in a {self.source.kind}"
        part = Part(self.source, tuple(images))
        return SourceContents(description, (part,), self.notes + notes, tuple(missing))


def list_files(path: Path) -> FileListing:
    """Return the files below the folder `path`, or in the zip.

    Links that lead out of the folder, and links to folders, are not followed.

    Raises:
        DataError: it cannot be read, or is not a zip.
    """
    if path.is_file():
        with ZipReader(path) as archive:
            files = [
                File(name, f"{info.CRC:08x}-{info.file_size}")
                for name, info in archive.files.items()
            ]
        return FileListing(Source("zip", path), files)
    if not path.is_dir():
        raise DataError(f"there is no folder or file {path}")
    skipped: Counter[str] = Counter()
    try:
        files = sorted(_walk(path, path.resolve(), skipped))
    except OSError as error:
        raise DataError(f"cannot read {error.filename or path}: {reason(error)}") from error
    notes = (f"{count:,} {what}" for what, count in sorted(skipped.items()))
    return FileListing(Source("folder", path), files, tuple(notes))


def list_named_files(folder: Path, names: Iterable[str]) -> FileListing:
    """Return those of the files called `names` that are below `folder`, without listing it.

    Raises:
        DataError: there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder or file {folder}")
    root, files = folder.resolve(), []
    for name in names:
        wanted = _normalized(name)
        for form in (wanted, unicodedata.normalize("NFD", wanted)):
            path = folder / form
            if _is_below(path, root) and path.is_file():
                files.append(File(form, stamp_of(path)))
                break
    return FileListing(Source("folder", folder), files)


class FolderReader:
    """The files below a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, place: str) -> bytes:
        """Return the bytes of the file."""
        file = self._path / place
        try:
            if (size := file.stat().st_size) > MAX_FILE_BYTES:
                raise ImageError(
                    f"has {size / 1e6:.0f} MB, more than {MAX_FILE_BYTES / 1e6:.0f} MB"
                )
            return file.read_bytes()
        except OSError as error:
            raise ImageError(reason(error)) from None


class ZipImageReader:
    """The files in a zip, unpacked in memory."""

    def __init__(self, path: Path) -> None:
        self._archive = ZipReader(path, max_file_bytes=MAX_FILE_BYTES)
        weakref.finalize(self, self._archive.close)

    def read(self, place: str) -> bytes:
        """Return the bytes of the file."""
        try:
            return self._archive.read(place)
        except KeyError:
            raise ImageError("is no longer in the zip") from None
        except ArchiveError as error:
            raise ImageError(str(error).partition(f"{place} ")[2] or str(error)) from None


def label_by_folder(listing: FileListing) -> SourceContents:
    """Label images by the folder they lie in; `train` and `test` above it are splits.

    The label is what follows the last `_` of the folder's name: `digit_3` is 3, `upper_A` is A.
    """
    images = []
    loose = 0
    for file in listing.files:
        *folders, parent, name = ("", *file.name.split("/"))
        if not is_image(name):
            continue
        if parent in ("", ".", ".."):
            loose += 1
            continue
        given = printable(parent)
        images.append(file.image(given, given.rpartition("_")[2] or given, split_of(folders)))
    notes = [f"{loose:,} images outside the folder of a class were left out"] if loose else []
    return listing.contents("one folder per class", images, *notes)


def label_by_table(
    listing: FileListing, rows: list[Row], table: str, base: str, *notes: str
) -> SourceContents:
    """Label images by the `rows` of the table called `table`, each file once.

    Names in the table start from `base`, a folder below the source.
    """
    by_name = {_normalized(file.name): file for file in listing.files}
    images, missing = [], []
    for name, label, split in rows:
        wanted = _normalized(posixpath.join(base, name))
        file = by_name.pop(wanted, None)
        if file is None:
            missing.append(Unreadable(printable(name), f"is in {table}, but not in the source"))
            continue
        folder, shown = posixpath.basename(posixpath.dirname(file.name)), printable(label)
        split = split or split_of(wanted.split("/")[:-1])
        images.append(file.image(printable(folder) or shown, shown, split))
    images.sort(key=lambda image: image.name)
    if extra := sum(is_image(name) for name in by_name):
        notes += (f"{extra:,} images that are not in {table} were left out",)
    return listing.contents(f"labels in {table}", images, *notes, missing=missing)


def label_by_pattern(listing: FileListing, pattern: str) -> SourceContents:
    """Label images by the group `label` of a regular expression that is searched in their path.

    Raises:
        ConfigError: it is not a regular expression, or lacks that group.
        DataError: it matches no image.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--pattern: {pattern!r} is not a regular expression: {error}") from None
    if "label" not in expression.groupindex:
        raise ConfigError(f"--pattern: {pattern!r} needs a group called label: (?P<label>…)")
    images, others = [], []
    for file in listing.files:
        if not is_image(file.name):
            continue
        match = expression.search(file.name)
        if label := printable(match["label"] or "") if match else "":
            images.append(file.image(label, label, split_of(file.name.split("/")[:-1])))
        else:
            others.append(printable(file.name))
    if others and not images:
        raise DataError(
            f"--pattern: {pattern!r} matches none of the {len(others):,} images in "
            f"{listing.source.path}, for example {others[0]!r}"
        )
    notes = [
        f"{len(others):,} images that the pattern does not match were left out, "
        f"for example {others[0]!r}"
    ] if others else []  # fmt: skip
    return listing.contents("labels in the names of files", images, *notes)


def _normalized(name: str) -> str:
    return unicodedata.normalize("NFC", posixpath.normpath(name.replace("\\", "/")))


def _walk(top: Path, root: Path, skipped: Counter[str]) -> Iterator[File]:
    for folder, folders, names in os.walk(top, onerror=_raise):
        for name in folders:
            if not is_hidden(name) and Path(folder, name).is_symlink():
                skipped["links to folders were not followed"] += 1
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in names:
            path = Path(folder, name)
            if is_hidden(name):
                continue
            if path.is_symlink() and not _is_below(path, root):
                skipped["links that lead out of the folder were not followed"] += 1
            elif path.is_file():
                yield File(path.relative_to(top).as_posix(), stamp_of(path))


def _is_below(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name with a zero byte
        return False


def _raise(error: OSError) -> None:
    raise error
