"""Downloading a data set of the catalogue: from a copy, from mirrors, or out of an archive.

Wherever a file comes from, its SHA-256 is checked before it gets its name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from penstroke.data.archives import ZipReader
from penstroke.data.catalogue import DataFile, Manifest
from penstroke.data.file_download import PartialFile, RemoteFile, download_file
from penstroke.data.idx import read_shape
from penstroke.errors import DataError, DownloadError, StorageError
from penstroke.files import reason, sha256_of_file

Progress = Callable[[int, int], None]
"""Called with the bytes that have come, negative if some must come again, and those of all."""

_MAX_FILE_BYTES = 1_000_000_000
_BLOCK_BYTES = 1 << 20


def download_dataset(
    manifest: Manifest,
    root: Path,
    progress: Progress = lambda _, __: None,
    *,
    copy: Path | None = None,
    keep_archive: bool = True,
) -> list[Path]:
    """Bring the files of `manifest` to `root/<name>/` and return their paths.

    Files that are there with the right checksum are kept; damaged ones are replaced.

    Args:
        manifest: the data set.
        root: folder of data sets.
        progress: see `Progress`.
        copy: a zip or a folder to take the files from, instead of downloading them.
        keep_archive: keep a downloaded archive, for the other data sets in it.

    Raises:
        DataError: the copy lacks a file, or has another of that name.
        DownloadError: a file could not be downloaded; says what each address answered.
        StorageError: the folder cannot be written.
    """
    folder = root / manifest.name
    try:
        if missing := _missing(manifest, folder):
            if copy is not None:
                _take(_copies(copy, missing), missing, manifest, folder, copy)
            elif not _take_from_kept_archive(manifest, missing, root):
                _download(manifest, missing, root, progress, keep_archive)
    except OSError as error:
        raise StorageError(
            f"cannot write {folder}: {reason(error)}; set PENSTROKE_DATA to another folder"
        ) from error
    return [folder / file.name for file in manifest.files]


def kept_archive(manifest: Manifest, root: Path) -> Path | None:
    """Return the path of the archive of `manifest`, if it was kept."""
    path = root / "archives" / manifest.archive.name if manifest.archive else None
    return path if path and path.exists() else None


def explain_mismatch(path: Path, file: DataFile, manifest: Manifest) -> str:
    """Return what is wrong with the file at `path`, whose checksum is not that of `file`."""
    kind = "images" if file.role.endswith("images") else "labels"
    split = "train" if file.role.startswith("train") else "test"
    usual: int | None = getattr(manifest, split)
    try:
        count: int | None = read_shape(path, rank=3 if kind == "images" else 1)[0]
    except DataError:
        count = usual
    if count == usual:
        return "is damaged or was changed: its SHA-256 is not the catalogue's"
    text = f"holds {count:,} {kind}, but {manifest.name} in the catalogue has {usual:,}"
    for release in manifest.other_releases:
        if count == getattr(release, split):
            text += (
                f": {release.what}. Its checksums are not known; to use it all the same, unpack it "
                f"and import it under another name: `penstroke data import NAME "
                f"FOLDER/{manifest.name}{manifest.import_options}`"
            )
    return text


def _missing(manifest: Manifest, folder: Path) -> list[DataFile]:
    return [file for file in manifest.files if not _is_right(folder / file.name, file)]


def _is_right(path: Path, file: DataFile) -> bool:
    return path.exists() and sha256_of_file(path) == file.sha256


def _download(
    manifest: Manifest, missing: list[DataFile], root: Path, progress: Progress, keep: bool
) -> None:
    """Download single files from the mirrors; if that fails, the archive."""
    folder, archive = root / manifest.name, manifest.archive
    problems = []
    try:
        total = sum(file.size_bytes or 0 for file in missing)
        for file in missing if manifest.mirrors else ():
            addresses = tuple(mirror + file.name for mirror in manifest.mirrors)
            remote = RemoteFile(file.name, file.size_bytes or 0, file.sha256, addresses)
            download_file(remote, folder, lambda more: progress(more, total))
        if manifest.mirrors:
            return
    except DownloadError as error:
        problems.append(str(error))
    if archive is None:
        raise DownloadError("\n".join(problems))
    remote = RemoteFile(archive.name, archive.size_bytes, archive.sha256, archive.addresses)
    try:
        path = download_file(
            remote, root / "archives", lambda more: progress(more, archive.size_bytes)
        )
    except DownloadError as error:
        raise DownloadError("\n".join([*problems, str(error)])) from None
    missing = _missing(manifest, folder)
    _take(_in_zip(path, missing), missing, manifest, folder, path)
    if not keep:
        path.unlink()
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def _take_from_kept_archive(manifest: Manifest, missing: list[DataFile], root: Path) -> bool:
    kept, archive = kept_archive(manifest, root), manifest.archive
    if kept is None or archive is None:
        return False
    try:
        _take(_in_zip(kept, missing), missing, manifest, root / manifest.name, kept)
    except DataError:
        if sha256_of_file(kept) == archive.sha256:
            raise
        kept.unlink()  # damaged since: it is downloaded again
        return False
    return True


Copy = tuple[DataFile, str, Iterable[bytes]]
"""A file, the place of its copy in words, and the bytes of that."""


def _take(
    copies: Iterator[Copy], files: list[DataFile], manifest: Manifest, folder: Path, source: Path
) -> None:
    """Write each copy that has its checksum to `folder`."""
    missing = {file.name for file in files}
    for file, place, blocks in copies:
        if file.name in missing:
            _write(file, place, blocks, manifest, folder)
            missing.discard(file.name)
    if not missing:
        return
    message = f"{source} holds no {', no '.join(sorted(missing))}"
    if all((source / file.name.removesuffix(".gz")).is_file() for file in manifest.files):
        message += (  # unpacked, as torchvision leaves them
            ". Its files are unpacked, and unpacked files have no published checksums: `penstroke "
            f"data import NAME {source / manifest.name}{manifest.import_options}` imports them "
            "under another name"
        )
    raise DataError(message)


def _write(
    file: DataFile, place: str, blocks: Iterable[bytes], manifest: Manifest, folder: Path
) -> None:
    with PartialFile(folder / file.name) as part:
        part.clear()
        try:
            for block in blocks:
                part.write(block)
        except BaseException:
            part.clear()  # a copy is never resumed
            raise
        if part.sha256() == file.sha256:
            part.finish()
            return
        problem = explain_mismatch(part.partial_path, file, manifest)
        part.clear()
    raise DataError(f"{place} {problem}")


def _copies(source: Path, files: list[DataFile]) -> Iterator[Copy]:
    if source.is_file():
        yield from _in_zip(source, files)
        return
    if not source.is_dir():
        raise DataError(f"there is no {source}: give a zip, or a folder with the files")
    loose = []
    for file in files:
        candidates = (source / file.name, source / "gzip" / file.name)
        loose += [(file, path) for path in candidates if path.is_file()][:1]
    packed = [path for path in (source / "gzip.zip", source / "emnist.zip") if path.is_file()]
    if packed and len(loose) < len(files):
        yield from _in_zip(packed[0], files)
        return
    for file, path in loose:
        yield file, str(path), _blocks_of(path)


def _in_zip(path: Path, files: list[DataFile]) -> Iterator[Copy]:
    by_name = {file.name: file for file in files}
    with ZipReader(path, max_file_bytes=_MAX_FILE_BYTES) as archive:
        for name in archive.files:
            if file := by_name.get(name.rpartition("/")[2]):
                yield file, f"{path}: {name}", archive.blocks(name)


def _blocks_of(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                yield block
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
