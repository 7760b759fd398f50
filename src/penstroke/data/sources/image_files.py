"""ImageLike files in a folder or in a zip: their names, and their bytes."""

from __future__ import annotations

import lzma
import os
import posixpath
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from penstroke.data.sources.entries import (
    LARGEST_FILE,
    Entry,
    Listing,
    Missing,
    Part,
    Source,
    is_hidden,
    is_image,
    label_of_folder,
    printable,
    split_among,
)
from penstroke.errors import DataError, ImageError
from penstroke.files import reason

_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError,
           RuntimeError, ValueError)  # fmt: skip
"""What reading a member of a zip may raise: damage, encryption, an unknown way of packing."""


class File(NamedTuple):
    """A file: its name below the source with `/` between folders, where it is, and its stamp."""

    name: str
    place: str | int
    stamp: str


class Files(NamedTuple):
    """Every file of a source that is not hidden, in the order of their names."""

    source: Source
    files: list[File]
    notes: list[str]

    @property
    def what(self) -> str:
        """The source in two words."""
        return f"a {self.source.kind}"


def list_files(path: Path) -> Files:
    """Return the files below the folder `path`, or in the zip.

    Links that lead out of the folder, and links to folders, are not followed. No name inside a zip
    ever becomes a path on this machine.

    Raises:
        DataError: it cannot be read, or is no zip.
    """
    try:
        return _list_zip(path) if path.is_file() else _list_folder(path)
    except OSError as error:
        raise DataError(f"cannot read {error.filename or path}: {reason(error)}") from error


def named_files(folder: Path, names: Iterable[str]) -> Files:
    """Return those of the files called `names` that are below `folder`, without looking around.

    Raises:
        DataError: there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder or file {folder}")
    root, files = folder.resolve(), []
    for name in names:
        wanted = _comparable(name.replace("\\", "/"))
        for form in (wanted, unicodedata.normalize("NFD", wanted)):
            path = folder / form
            if _is_below(path, root) and path.is_file():
                files.append(File(form, form, _stamp(path)))
                break
    return Files(Source("folder", folder), files, [])


class FolderReader:
    """The files below a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, place: str) -> bytes:
        """Return the bytes of the file."""
        file = self._path / place
        try:
            if (size := file.stat().st_size) > LARGEST_FILE:
                raise ImageError(f"{size / 1e6:.0f} MB: larger than {LARGEST_FILE / 1e6:.0f}")
            return file.read_bytes()
        except OSError as error:
            raise ImageError(reason(error)) from None


class ZipReader:
    """The members of a zip, unpacked in memory."""

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path)
        self._members = self._archive.infolist()

    def read(self, place: int) -> bytes:
        """Return the bytes of the member."""
        member = self._members[place]
        if member.file_size > LARGEST_FILE:
            size = member.file_size / 1e6
            raise ImageError(f"{size:.0f} MB unpacked: larger than {LARGEST_FILE / 1e6:.0f}")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ImageError("packed in an unusual way: pack it anew with deflate")
        try:
            # Never more than it says it is: a member that lies about it would fill the memory.
            with self._archive.open(member) as stream:
                content = stream.read(member.file_size)
        except _DAMAGE as error:
            raise ImageError(f"damaged or encrypted in the zip: {error}") from None
        except OSError as error:
            raise ImageError(reason(error)) from None
        if len(content) < member.file_size:
            raise ImageError("damaged in the zip: cut short")
        return content


def by_folder(found: Files) -> Listing:
    """Label images by the folder they lie in; `train` and `test` above it are splits."""
    entries = []
    loose = 0
    for file in found.files:
        *folders, own, name = ("", *file.name.split("/"))
        if not is_image(name):
            continue
        if own in ("", ".", ".."):
            loose += 1
            continue
        given = printable(own)
        entries.append(
            Entry(printable(file.name), given, label_of_folder(given), split_among(folders),
                  file.place, file.stamp)
        )  # fmt: skip
    notes = list(found.notes)
    if loose:
        notes.append(f"{loose:,} images in no folder of a class were left out")
    parts = (Part(found.source, tuple(entries)),)
    return Listing(f"a folder a class, in {found.what}", parts, tuple(notes))


def by_table(found: Files, rows: list[tuple[str, str, str]], table: str, base: str) -> Listing:
    """Label images by rows (file, label, split) of the table called `table`.

    Args:
        found: the files.
        rows: the table's; each file once.
        table: its name, for messages.
        base: the folder below the source that the names in the table start from.
    """
    known = {_comparable(file.name): file for file in found.files}
    entries, missing = [], []
    for name, label, split in rows:
        wanted = _comparable(posixpath.join(base, name.replace("\\", "/")))
        file = known.pop(wanted, None)
        if file is None:
            missing.append(Missing(printable(name), f"{table} names it, but it is not there"))
            continue
        split = split or split_among(wanted.split("/")[:-1])
        folder = printable(posixpath.basename(posixpath.dirname(file.name)))
        shown = printable(label)
        entries.append(
            Entry(printable(file.name), folder or shown, shown, split, file.place, file.stamp)
        )
    entries.sort(key=lambda entry: entry.name)
    notes = list(found.notes)
    if extra := sum(is_image(name) for name in known):
        notes.append(f"{extra:,} images that {table} does not name were left out")
    parts = (Part(found.source, tuple(entries)),)
    return Listing(f"{table}, images in {found.what}", parts, tuple(notes), tuple(missing))


def _comparable(name: str) -> str:
    return unicodedata.normalize("NFC", posixpath.normpath(name))


def _list_folder(path: Path) -> Files:
    if not path.is_dir():
        raise DataError(f"there is no folder or file {path}")
    skipped: Counter[str] = Counter()
    files = sorted(_walk(path, path.resolve(), skipped))
    notes = [f"{count:,} {what}" for what, count in sorted(skipped.items())]
    return Files(Source("folder", path), files, notes)


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
                relative = path.relative_to(top).as_posix()
                yield File(relative, relative, _stamp(path))


def _is_below(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name with a zero byte
        return False


def _stamp(path: Path) -> str:
    state = path.stat()
    return f"{state.st_size}-{state.st_mtime_ns}"


def _raise(error: OSError) -> None:
    raise error


def _list_zip(path: Path) -> Files:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (*_DAMAGE, OverflowError) as error:
        raise DataError(f"{path} is no zip that can be read: {error}") from error
    files = [
        File(name, place, f"{member.CRC:08x}-{member.file_size}")
        for place, member in enumerate(members)
        if not is_hidden(name := member.filename.replace("\\", "/")) and not member.is_dir()
    ]
    return Files(Source("zip", path), sorted(files), [])
