"""Bringing a catalogued data set here: from a copy, from mirrors, or out of an archive of several.

Wherever a file comes from, its SHA-256 is the catalogue's before it stands in its place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from penstroke.data import archives
from penstroke.data.catalogue import DataFile, Manifest
from penstroke.data.download import PartialFile, Wanted, download
from penstroke.data.idx import read_shape
from penstroke.errors import DataError, DownloadError, StorageError
from penstroke.files import reason, sha256_of_file

Progress = Callable[[int, int], None]
"""Told how many more bytes have come, negative where some must come again, and of how many."""

_LARGEST_FILE = 1_000_000_000
_BLOCK_BYTES = 1 << 20


def fetch(
    manifest: Manifest,
    root: Path,
    progress: Progress = lambda _, __: None,
    *,
    source: Path | None = None,
    keep_archive: bool = True,
) -> list[Path]:
    """Bring every file of `manifest` to `root/<name>/` and return their paths.

    Files that are there with the right checksum are left alone; damaged ones are replaced.

    Args:
        manifest: the data set.
        root: folder of data sets.
        progress: see `Progress`.
        source: a copy to take the files from: a zip or a folder. Nothing is downloaded then.
        keep_archive: an archive that was downloaded stays, for the other data sets in it.

    Raises:
        DataError: the copy lacks a file, or has another of that name.
        DownloadError: nobody delivered a file; says what each address answered.
        StorageError: the folder cannot be written.
    """
    folder = root / manifest.name
    try:
        wanted = [file for file in manifest.files if not _is_right(folder / file.name, file)]
        if wanted and source is not None:
            _take(_copies(source, wanted), wanted, manifest, folder, source)
        elif wanted:
            _fetch_anywhere(manifest, wanted, root, progress, keep_archive)
    except OSError as error:
        raise StorageError(
            f"cannot write {folder}: {reason(error)}; PENSTROKE_DATA names another place"
        ) from error
    return [folder / file.name for file in manifest.files]


def kept_archive(manifest: Manifest, root: Path) -> Path | None:
    """Return where the archive of `manifest` is kept; None where there is none."""
    path = root / "archives" / manifest.archive.name if manifest.archive else None
    return path if path and path.exists() else None


def what_it_is(path: Path, file: DataFile, manifest: Manifest) -> str:
    """Return what to say of the file at `path`, which has not the checksum of `file`."""
    kind = "images" if file.role.endswith("images") else "labels"
    split = "train" if file.role.startswith("train") else "test"
    usual: int | None = getattr(manifest, split)
    try:
        count: int | None = read_shape(path, rank=3 if kind == "images" else 1)[0]
    except DataError:
        count = usual
    if count == usual:
        return "is damaged or was changed: its SHA-256 is not the catalogue's"
    said = f"holds {count:,} {kind}, where the {manifest.name} of the catalogue has {usual:,}"
    for release in manifest.other_releases:
        if count == getattr(release, split):
            said += (
                f": {release.what}. Its checksums are on no record; to use it all the same, "
                f"unpack it and import it under a name of its own: `penstroke data import NAME "
                f"FOLDER/{manifest.name}{import_options(manifest)}`"
            )
    return said


def import_options(manifest: Manifest) -> str:
    """Return what `penstroke data import` must be told of files like those of `manifest`."""
    offset = f" --label-offset {manifest.label_offset}" if manifest.label_offset else ""
    return (" --transposed" if manifest.transposed else "") + offset


def _is_right(path: Path, file: DataFile) -> bool:
    return path.exists() and sha256_of_file(path) == file.sha256


def _fetch_anywhere(
    manifest: Manifest, wanted: list[DataFile], root: Path, progress: Progress, keep: bool
) -> None:
    """Take the archive if it is here already; else ask the mirrors, and last fetch the archive."""
    if _from_kept_archive(manifest, wanted, root):
        return
    refusals = []
    for way in (_from_mirrors, partial(_from_archive, keep)):
        try:
            if way(manifest, wanted, root, progress):
                return
        except DownloadError as error:
            refusals.append(str(error))
    raise DownloadError("\n".join(refusals))


def _from_kept_archive(manifest: Manifest, wanted: list[DataFile], root: Path) -> bool:
    kept, archive = kept_archive(manifest, root), manifest.archive
    if kept is None or archive is None:
        return False
    try:
        _take(_in_zip(kept, wanted), wanted, manifest, root / manifest.name, kept)
    except DataError:
        if sha256_of_file(kept) == archive.sha256:
            raise
        kept.unlink()  # damaged since it came: it is fetched again
        return False
    return True


def _from_mirrors(
    manifest: Manifest, wanted: list[DataFile], root: Path, progress: Progress
) -> bool:
    total = sum(file.size_bytes or 0 for file in wanted)
    for file in wanted if manifest.mirrors else ():
        addresses = tuple(mirror + file.name for mirror in manifest.mirrors)
        asked = Wanted(file.name, file.size_bytes or 0, file.sha256, addresses)
        download(asked, root / manifest.name, partial(_count, progress, total))
    return bool(manifest.mirrors)


def _from_archive(
    keep: bool, manifest: Manifest, wanted: list[DataFile], root: Path, progress: Progress
) -> bool:
    archive, folder, shelf = manifest.archive, root / manifest.name, root / "archives"
    if archive is None:
        return False
    asked = Wanted(archive.name, archive.size_bytes, archive.sha256, archive.addresses)
    path = download(asked, shelf, partial(_count, progress, archive.size_bytes))
    lacking = [file for file in wanted if not _is_right(folder / file.name, file)]
    _take(_in_zip(path, lacking), lacking, manifest, folder, path)
    if not keep:
        path.unlink()
        with contextlib.suppress(OSError):
            shelf.rmdir()
    return True


def _count(progress: Progress, total: int, more: int) -> None:
    progress(more, total)


Found = tuple[DataFile, str, Iterable[bytes]]
"""A file, where its copy is in words, and the bytes of that."""


def _take(
    found: Iterator[Found], wanted: list[DataFile], manifest: Manifest, folder: Path, source: Path
) -> None:
    """Put each copy that has its checksum into its place."""
    missing = {file.name for file in wanted}
    for file, place, blocks in found:
        if file.name in missing:
            _put(file, place, blocks, manifest, folder)
            missing.discard(file.name)
    if missing:
        lacking = ", no ".join(sorted(missing))
        raise DataError(f"{source} holds no {lacking}{_hint(source, manifest)}")


def _hint(source: Path, manifest: Manifest) -> str:
    """Return a word to those who have the files unpacked, as torchvision leaves them."""
    if not all((source / file.name.removesuffix(".gz")).is_file() for file in manifest.files):
        return ""
    beginning = source / manifest.name
    return (
        ". What it holds is unpacked, and has no published checksums: `penstroke data import NAME "
        f"{beginning}{import_options(manifest)}` takes it, under a name of its own"
    )


def _put(
    file: DataFile, place: str, blocks: Iterable[bytes], manifest: Manifest, folder: Path
) -> None:
    with PartialFile(folder / file.name) as part:
        part.clear()
        try:
            for block in blocks:
                part.write(block)
        except BaseException:
            part.clear()  # nothing here goes on where it was cut
            raise
        if part.sha256() == file.sha256:
            part.finish()
            return
        said = what_it_is(part.part, file, manifest)
        part.clear()
    raise DataError(f"{place} {said}")


def _copies(source: Path, wanted: list[DataFile]) -> Iterator[Found]:
    if source.is_file():
        return _in_zip(source, wanted)
    if not source.is_dir():
        raise DataError(f"there is no {source}: give a zip, or a folder with the files")
    packed = [path for path in (source / "gzip.zip", source / "emnist.zip") if path.is_file()]
    loose = [_in_folder(source, file) for file in wanted]
    if packed and not all(loose):
        return _in_zip(packed[0], wanted)
    return (
        (file, str(path), _blocks_of(path))
        for file, path in zip(wanted, loose, strict=True)
        if path
    )


def _in_folder(source: Path, file: DataFile) -> Path | None:
    candidates = (source / file.name, source / "gzip" / file.name)
    return next((path for path in candidates if path.is_file()), None)


def _in_zip(path: Path, wanted: list[DataFile]) -> Iterator[Found]:
    by_name = {file.name: file for file in wanted}
    for member in archives.members(path, suffixes=tuple(by_name), largest_bytes=_LARGEST_FILE):
        if file := by_name.get(member.name.rpartition("/")[2]):
            yield file, f"{path}: {member.name}", member.blocks()


def _blocks_of(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                yield block
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
