"""Image files in a folder or in a zip: their names, their labels and their bytes."""

import os
import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from penstroke.data.archives import ZipReader, is_hidden
from penstroke.data.sources.contents import (
    ImageRef,
    LeftOut,
    Part,
    Reader,
    Source,
    SourceContents,
    SourceOptions,
    Split,
    check_size,
    is_image,
    not_read,
    parse_text,
    printable,
    split_of,
    stamp_of,
    whole_number,
)
from penstroke.data.sources.tables import Table, decoded
from penstroke.errors import ArchiveError, ConfigError, DataError, ImageError
from penstroke.files import reason

_NAMED_BY_TEXT = re.compile(r"(.+)_\d+")
_MAX_TEXT_BYTES = 20_000


@dataclass(frozen=True)
class FileListing:
    """The files of a source that are not hidden: their stamps by name, with `/` between folders."""

    source: Source
    stamps: dict[str, str]
    notes: tuple[str, ...] = ()

    def image(self, name: str, given: str, label: str, split: Split, writer: str = "") -> ImageRef:
        """Return the file `name` as an image."""
        return ImageRef(printable(name), given, label, split, name, self.stamps[name], writer)

    def contents(
        self,
        labels: str,
        images: list[ImageRef],
        *notes: str,
        missing: Iterable[LeftOut] = (),
        left_out: Iterable[LeftOut] = (),
    ) -> SourceContents:
        """Return `images` as what the source holds; `labels` says where their labels come from."""
        description = f"{labels}; images in a {self.source.kind}"
        part = Part(self.source, tuple(images))
        return SourceContents(
            description, (part,), self.notes + notes, tuple(missing), tuple(left_out)
        )


def list_files(path: Path, names: Iterable[str] | None = None) -> FileListing:
    """Return the files in the zip, or below the folder, `path`; of a folder, only those `names`.

    Links that lead out of the folder, and links to folders, are not followed.
    """
    if path.is_file():
        with ZipReader(path) as archive:
            stamps = {n: f"{info.CRC:08x}-{info.file_size}" for n, info in archive.files.items()}
        return FileListing(Source("zip", path), stamps)
    if not path.is_dir():
        raise DataError(f"there is no folder or file {path}")
    skipped: Counter[str] = Counter()
    try:
        files = _walk(path, skipped) if names is None else _find(path, names)
        stamps = dict(sorted(files))
    except OSError as error:
        raise DataError(f"cannot read {error.filename or path}: {reason(error)}") from error
    notes = (f"{count:,} {what}" for what, count in sorted(skipped.items()) if count)
    return FileListing(Source("folder", path), stamps, tuple(notes))


def open_files(source: Source) -> Reader:
    """Return a folder or zip, opened for reading."""
    if source.kind == "zip":
        return partial(_read_zipped, ZipReader(source.path))
    return partial(_read_loose, source.path)


def _read_loose(folder: Path, place: str) -> bytes:
    file = folder / place
    try:
        check_size(file.stat().st_size)
        return file.read_bytes()
    except OSError as error:
        raise ImageError(reason(error)) from None


def _read_zipped(archive: ZipReader, place: str) -> bytes:
    try:
        return archive.read(place)
    except KeyError:
        raise ImageError("is no longer in the zip") from None
    except ArchiveError as error:
        raise ImageError(str(error).partition(f"{place} ")[2] or str(error)) from None


def label_by_path(listing: FileListing, options: SourceOptions) -> SourceContents:
    """Label images by the folder they lie in, or by what the group `label` of a pattern matches.

    For lines, the group is `text`. The label is what follows the last `_` of the folder's name:
    `digit_3` is 3, `upper_A` is A. Folders above that are splits if they are called so; with a
    pattern, all folders may be. The writer is what the pattern's group `writer` matches, or, with
    `writer_folders`, the folder above that of the class, unless that is a split. Raises ConfigError
    if the pattern is not a regular expression or lacks that group, DataError if it matches no
    image.
    """
    pattern, group = options.pattern, "text" if options.lines else "label"
    expression = _compiled(pattern, group) if pattern is not None else None
    images, others = [], []
    left_out = [not_read(file) for file in listing.stamps if not is_image(file)]
    for file in filter(is_image, listing.stamps):
        *folders, parent, _ = ("", "", *file.split("/"))  # of a loose image, neither has a name
        if expression:
            folders.append(parent)
            match = expression.search(file)
            given = printable(match[group] or "") if match else ""
            label = parse_text(given) if options.lines else whole_number(given)
            writer = match.groupdict().get("writer") if match else ""
        else:
            given = printable(parent) if parent not in (".", "..") else ""
            label = whole_number(given.rpartition("_")[2] or given)
            writer = folders[-1] if options.writer_folders and not split_of(folders[-1:]) else ""
        if label:
            who = printable(writer or "")
            images.append(listing.image(file, given, label, split_of(folders), who))
        else:
            others.append(printable(file))
    if not expression:
        what, why = "one folder per class", "outside the folder of a class were left out"
    elif images or not others:
        what, why = (
            f"{group}s in the names of files",
            "that the pattern does not match were left out",
        )
        why += f", for example {others[0]!r}" if others else ""
    else:
        raise DataError(
            f"--pattern: {pattern!r} matches none of the {len(others):,} images in "
            f"{listing.source.path}, for example {others[0]!r}"
        )
    reason = "is outside the folder of a class" if not expression else "does not match the pattern"
    left_out += [LeftOut(file, reason) for file in others]
    notes = [f"{len(others):,} images {why}"] if others else []
    return listing.contents(what, images, *notes, left_out=left_out)


def label_by_table(
    listing: FileListing, table: Table, table_name: str, base: str
) -> SourceContents:
    """Label images by the rows of `table`, called `table_name`, each file once.

    Names in the table start from `base`, a folder below the source.
    """
    by_name = {_normalized(name): name for name in listing.stamps}
    images, missing, notes = [], [], table.notes
    for name, label, split, writer in table.rows:
        wanted = _normalized(posixpath.join(base, name))
        file = by_name.pop(wanted, None)
        if file is None:
            missing.append(LeftOut(printable(name), f"is in {table_name}, but not in the source"))
            continue
        folder = posixpath.basename(posixpath.dirname(file))
        split = split or split_of(wanted.split("/")[:-1])
        images.append(listing.image(file, printable(folder) or label, label, split, writer))
    for name, _ in table.left_out:
        by_name.pop(_normalized(posixpath.join(base, name)), None)
    images.sort(key=lambda image: image.name)
    if extra := sum(is_image(name) for name in by_name):
        notes += (f"{extra:,} images that are not in {table_name} were left out",)
    left_out = [
        LeftOut(printable(name), f"is not in {table_name}") if is_image(name) else not_read(name)
        for name in by_name.values() if name != _normalized(posixpath.join(base, table_name))
    ]  # fmt: skip
    return listing.contents(
        f"the table {table_name}",
        images,
        *notes,
        missing=missing,
        left_out=[*table.left_out, *left_out],
    )


def label_lines(listing: FileListing, options: SourceOptions) -> SourceContents:
    """Label lines by the text files beside them; if there are none, by the names of the images.

    The text of `a.png` is in `a.gt.txt` or `a.txt`, as OCR programs have it; with neither, in a
    name of the form TEXT_NUMBER: `12.50_003.png` says 12.50. With `writer_folders`, the folder of
    an image is called after its writer.
    """
    read = open_files(listing.source)
    names = list(filter(is_image, listing.stamps))
    beside = {name: _text_file(name, listing) for name in names}
    has_files = any(beside.values())
    images, left_out = [], []
    for name in names:
        *folders, base = name.split("/")
        text, why = "", "has a name that is not TEXT_NUMBER, such as 12.50_003.png"
        if has_files:
            text, why = _text_in(read, beside[name], options)
        elif match := _NAMED_BY_TEXT.fullmatch(posixpath.splitext(base)[0]):
            text = parse_text(match[1])
        if not text:
            left_out.append(LeftOut(printable(name), why))
            continue
        by_folder = options.writer_folders and not split_of(folders[-1:])
        writer = printable("".join(folders[-1:])) if by_folder else ""
        images.append(listing.image(name, text, text, split_of(folders), writer))
    others = listing.stamps.keys() - {*names, *beside.values()}
    left_out += map(not_read, sorted(others))
    what = "text files beside the images" if has_files else "names of files, TEXT_NUMBER"
    return listing.contents(f"texts in the {what}", images, left_out=left_out)


def _text_file(name: str, listing: FileListing) -> str | None:
    """Return the file with the text of the image `name`, if there is one."""
    stem = posixpath.splitext(name)[0]
    stems = (stem, stem.removesuffix(".bin").removesuffix(".nrm"))
    files = (stem + ending for stem in stems for ending in (".gt.txt", ".txt"))
    return next((file for file in files if file in listing.stamps), None)


def _text_in(read: Reader, file: str | None, options: SourceOptions) -> tuple[str, str]:
    """Return the text of a line that the text file `file` holds, or "" and why there is none."""
    if file is None:
        return "", "has no .gt.txt or .txt beside it"
    try:
        content = read(file)
        assert isinstance(content, bytes)
        if len(content) > _MAX_TEXT_BYTES:
            return "", f"has no text: {file} is too long to be one line"
        text = parse_text(decoded(content, file, options.encoding))
    except (ImageError, DataError) as error:
        return "", f"has no text: {error}"
    return text, f"has no text: {file} is empty"


def _compiled(pattern: str, group: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--pattern: {pattern!r} is not a regular expression: {error}") from None
    if group not in expression.groupindex:
        raise ConfigError(f"--pattern: {pattern!r} needs a group called {group}: (?P<{group}>…)")
    return expression


def _normalized(name: str) -> str:
    return unicodedata.normalize("NFC", posixpath.normpath(name.replace("\\", "/")))


def _find(top: Path, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the files called `names` and their stamps, however accents in them are encoded."""
    root = top.resolve()
    for name in map(_normalized, names):
        for form in (name, unicodedata.normalize("NFD", name)):
            if _is_below(top / form, root) and (top / form).is_file():
                yield form, stamp_of(top / form)
                break


def _walk(top: Path, skipped: Counter[str]) -> Iterator[tuple[str, str]]:
    """Yield all files and their stamps, and count what is not followed."""
    root = top.resolve()
    for folder, folders, names in os.walk(top, onerror=_raise):
        folders[:] = [name for name in folders if not is_hidden(name)]
        links = sum(Path(folder, name).is_symlink() for name in folders)
        skipped["links to folders were not followed"] += links
        for path in (Path(folder, name) for name in names if not is_hidden(name)):
            if path.is_symlink() and not _is_below(path, root):
                skipped["links that lead out of the folder were not followed"] += 1
            elif path.is_file():
                yield path.relative_to(top).as_posix(), stamp_of(path)


def _is_below(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name with a zero byte
        return False


def _raise(error: OSError) -> None:
    raise error
