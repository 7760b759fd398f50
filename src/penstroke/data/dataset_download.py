"""Downloading a data set of the catalogue: from a copy, from mirrors, or out of an archive.

Wherever a file comes from, its SHA-256 is checked before it gets its name.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from penstroke.data.archives import ZipReader
from penstroke.data.catalogue import DataFile, Manifest, RemoteFile
from penstroke.data.file_download import PartialFile, download_file
from penstroke.data.idx import read_shape
from penstroke.errors import DataError, DownloadError, StorageError
from penstroke.files import explained, reason, sha256_of_file

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

    They are taken from `copy`, a zip or a folder, if it is given. With `keep_archive`, a downloaded
    archive is kept for the other data sets in it.

    Raises:
        DataError: the copy lacks a file, or has another of that name.
        DownloadError: a file could not be downloaded; says what each address answered.
        StorageError: the folder cannot be written.
    """
    folder = root / manifest.name
    try:
        if missing := _missing(manifest, folder):
            if copy is not None:
                _take(copy, missing, manifest, folder)
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
    """Return the files that are not in `folder` with their checksum."""
    return [
        file for file in manifest.files
        if not (path := folder / file.name).exists() or sha256_of_file(path) != file.sha256
    ]  # fmt: skip


def _take_from_kept_archive(manifest: Manifest, missing: list[DataFile], root: Path) -> bool:
    kept, archive = kept_archive(manifest, root), manifest.archive
    if kept is None or archive is None:
        return False
    try:
        _take(kept, missing, manifest, root / manifest.name)
    except DataError:
        if sha256_of_file(kept) == archive.sha256:
            raise
        kept.unlink()  # damaged since: it is downloaded again
        return False
    return True


def _download(
    manifest: Manifest, missing: list[DataFile], root: Path, progress: Progress, keep: bool
) -> None:
    """Download single files from the mirrors; if that fails, the archive."""
    folder, problems = root / manifest.name, []
    if manifest.mirrors:
        total = sum(file.size_bytes or 0 for file in missing)
        try:
            for file in missing:
                remote = RemoteFile(
                    name=file.name, size_bytes=file.size_bytes or 0, sha256=file.sha256,
                    addresses=tuple(mirror + file.name for mirror in manifest.mirrors),
                )  # fmt: skip
                download_file(remote, folder, lambda more: progress(more, total))
        except DownloadError as error:
            problems.append(str(error))
        else:
            return
    if archive := manifest.archive:
        size = archive.size_bytes
        try:
            path = download_file(archive, root / "archives", lambda more: progress(more, size))
        except DownloadError as error:
            problems.append(str(error))
        else:
            _take(path, _missing(manifest, folder), manifest, folder)
            if not keep:
                path.unlink()
                with contextlib.suppress(OSError):
                    path.parent.rmdir()
            return
    raise DownloadError("\n".join(problems))


def _take(source: Path, files: list[DataFile], manifest: Manifest, folder: Path) -> None:
    """Write those of `files` that `source` has a copy of, with its checksum, to `folder`."""
    missing = {file.name for file in files}
    for file, place, blocks in _copies(source, files):
        if file.name not in missing:
            continue
        with PartialFile(folder / file.name) as part:
            part.clear()
            try:
                for block in blocks:
                    part.write(block)
                is_right = part.sha256() == file.sha256
                problem = "" if is_right else explain_mismatch(part.partial_path, file, manifest)
            except BaseException:
                part.clear()  # a copy is never resumed
                raise
            if problem:
                part.clear()
                raise DataError(f"{place} {problem}")
            part.finish()
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


def _copies(source: Path, files: list[DataFile]) -> Iterator[tuple[DataFile, str, Iterable[bytes]]]:
    """Yield each file of which a zip or a folder has a copy, its place in words, and its bytes."""
    if not source.exists():
        raise DataError(f"there is no {source}: give a zip, or a folder with the files")
    archive = source
    if source.is_dir():
        loose = []
        for file in files:
            candidates = (source / file.name, source / "gzip" / file.name)
            loose += [(file, path) for path in candidates if path.is_file()][:1]
        packed = [p for p in (source / "gzip.zip", source / "emnist.zip") if p.is_file()]
        if not packed or len(loose) == len(files):
            for file, path in loose:
                yield file, str(path), _blocks_of(path)
            return
        archive = packed[0]
    by_name = {file.name: file for file in files}
    with ZipReader(archive, max_file_bytes=_MAX_FILE_BYTES) as reader:
        for name in reader.files:
            if wanted := by_name.get(name.rpartition("/")[2]):
                yield wanted, f"{archive}: {name}", reader.blocks(name)


def _blocks_of(path: Path) -> Iterator[bytes]:
    with explained(f"read {path}", DataError), path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            yield block
