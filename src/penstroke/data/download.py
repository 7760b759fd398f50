"""Downloading a data set of the catalogue: from a copy, from mirrors, or out of an archive.

Mirrors are tried in turn, and a download resumes where it was cut. Wherever a file comes from, its
SHA-256 is checked before it gets its name.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from penstroke.data.archives import ZipReader
from penstroke.data.catalogue import DataFile, Manifest, RemoteFile
from penstroke.data.idx import read_shape
from penstroke.errors import (
    ConfigError,
    DataError,
    DownloadError,
    MissingExtraError,
    StorageError,
)
from penstroke.files import explained, lock, move_into_place, reason, sha256_of_file

if TYPE_CHECKING:
    from requests import Response

Progress = Callable[[int, int], None]
"""Called with the bytes that have come, negative if some must come again, and those of all."""
Count = Callable[[int], None]
"""Called with the number of bytes that have come; negative if some must come again."""

_TRIES = 3
"""In a row that bring almost nothing, before an address is given up."""
_PAUSE_SECONDS = 0.2
_BLOCK_BYTES = 1 << 16
_TIMEOUTS = (10, 30)  # seconds to connect, and between two packets
_PATIENCE_SECONDS = 60.0
_MIN_BYTES_PER_SECOND = 1000
_RETRIED_STATUSES = (408, 416, 425, 429)  # and all above 499
_MAX_FILE_BYTES = 1_000_000_000


def download_dataset(
    manifest: Manifest, root: Path, progress: Progress = lambda _, __: None, *,
    copy: Path | None = None, keep_archive: bool = True,
) -> list[Path]:  # fmt: skip
    """Bring the files of `manifest` to `root/<name>/` and return their paths.

    Files that are there with the right checksum are kept; damaged ones are replaced. They are taken
    from `copy`, a zip or a folder, if it is given. With `keep_archive`, a downloaded archive is
    kept for the other data sets in it.

    Raises DataError if the copy lacks a file or has another of that name, DownloadError with what
    each address answered, StorageError if the folder cannot be written.
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


def download_writers(
    manifest: Manifest, root: Path, progress: Progress = lambda _, __: None
) -> list[Path]:
    """Bring the tables of writers of `manifest` to `root`, where they are missing or damaged.

    Raises ConfigError if none are published, DownloadError with what each address answered.
    """
    if not manifest.writers:
        raise ConfigError(f"--writers: no table of the writers of {manifest.name} is published")
    for table in manifest.writers:
        if not (path := root / table.name).exists() or sha256_of_file(path) != table.sha256:
            size = table.size_bytes
            download_file(table, root, lambda more, size=size: progress(more, size))  # type: ignore[misc]
    return [root / table.name for table in manifest.writers]


def kept_archive(manifest: Manifest, root: Path) -> Path | None:
    """Return the path of the archive of `manifest`, if it was kept."""
    path = root / "archives" / manifest.archive.name if manifest.archive else None
    return path if path and path.exists() else None


def explain_mismatch(path: Path, file: DataFile, manifest: Manifest) -> str:
    """Return what is wrong with the file at `path`, whose checksum is not that of `file`."""
    split, kind = file.role.split("_")
    count = usual = getattr(manifest, split)
    with contextlib.suppress(DataError):
        count = read_shape(path, rank=3 if kind == "images" else 1)[0]
    if count == usual:
        return "is damaged or was changed: its SHA-256 is not the catalogue's"
    text = f"holds {count:,} {kind}, but {manifest.name} in the catalogue has {usual:,}"
    for release in manifest.other_releases:
        if count == getattr(release, split):
            text += (
                f": {release.what}. Its checksums are not known; to use it all the same, unpack it "
                f"and import it under another name: {manifest.import_command('FOLDER')}"
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
    if not kept or not archive:
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
        with PartialFile(folder / file.name) as part, contextlib.ExitStack() as on_failure:
            part.clear()
            on_failure.callback(part.clear)  # a copy is never resumed
            for block in blocks:
                part.write(block)
            if part.sha256() != file.sha256:
                raise DataError(f"{place} {explain_mismatch(part.partial_path, file, manifest)}")
            on_failure.pop_all()
            part.finish()
        missing.discard(file.name)
    if missing:
        message = f"{source} holds no {', no '.join(sorted(missing))}"
        if all((source / file.name.removesuffix(".gz")).is_file() for file in manifest.files):
            message += (  # unpacked, as torchvision leaves them
                ". Its files are unpacked, and unpacked files have no published checksums: "
                f"{manifest.import_command(str(source))} imports them under another name"
            )
        raise DataError(message)


def _copies(source: Path, files: list[DataFile]) -> Iterator[tuple[DataFile, str, Iterable[bytes]]]:
    """Yield each file of which a zip or a folder has a copy, its place in words, and its bytes."""
    if not source.exists():
        raise DataError(f"there is no {source}: give a zip, or a folder with the files")
    if source.is_dir():
        folders = (source / "gzip", source)  # the latter has precedence
        loose = {f: path / f.name for f in files for path in folders if (path / f.name).is_file()}
        packed = [p for p in (source / "gzip.zip", source / "emnist.zip") if p.is_file()]
        if not packed or len(loose) == len(files):
            for file, path in loose.items():
                yield file, str(path), _blocks_of(path)
            return
        source = packed[0]
    by_name = {file.name: file for file in files}
    with ZipReader(source, max_file_bytes=_MAX_FILE_BYTES) as archive:
        for name in archive.files:
            if wanted := by_name.get(name.rpartition("/")[2]):
                yield wanted, f"{source}: {name}", archive.blocks(name)


def _blocks_of(path: Path) -> Iterator[bytes]:
    with explained(f"read {path}", DataError), path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            yield block


def download_file(file: RemoteFile, folder: Path, count: Count = lambda _: None) -> Path:
    """Download `file` into `folder`, and return its path.

    What has come is kept under a hidden name until it is whole, so that after a cut connection, a
    kill or a failure only the rest is downloaded. Raises DownloadError with what each address
    answered, StorageError if another process is downloading it.
    """
    with PartialFile(folder / file.name, count) as part:
        problems: list[str] = []
        if not any(_try_address(address, file, part, problems) for address in file.addresses):
            raise DownloadError(
                f"no address delivered {file.name} with the right checksum:\n"
                + "\n".join(dict.fromkeys(problems))
            )
        return part.finish()


class PartialFile:
    """What has come of a file so far, beside its final place; locked while it is open."""

    def __init__(self, path: Path, count: Count = lambda _: None) -> None:
        self.path = path
        self.partial_path = path.with_name(f".{path.name}.part")
        self.size = 0
        self._count = count

    def __enter__(self) -> Self:
        self._created_folder = not self.partial_path.parent.exists()
        self.partial_path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._stream: BinaryIO = os.fdopen(lock(self.partial_path), "ab")
        except BlockingIOError:
            message = f"another process is writing {self.path}: wait until it ends"
            raise StorageError(message) from None
        self._grow(self._stream.tell())
        return self

    def __exit__(self, *_: object) -> None:
        if not self._stream.closed:
            self._stream.close()
            if not self.size:
                self.partial_path.unlink(missing_ok=True)
                if self._created_folder:
                    with contextlib.suppress(OSError):  # it is not empty
                        self.partial_path.parent.rmdir()

    def write(self, block: bytes) -> None:
        """Append `block`."""
        self._stream.write(block)
        self._stream.flush()  # what has come outlives a kill
        self._grow(len(block))

    def clear(self) -> None:
        """Discard what has come."""
        self._stream.truncate(0)
        self._grow(-self.size)

    def sha256(self) -> str:
        """Return the checksum of what has come."""
        return sha256_of_file(self.partial_path)

    def finish(self) -> Path:
        """Move it to its final place, and return that."""
        if os.name == "nt":  # an open file cannot be renamed there
            self._stream.close()
        # Elsewhere it stays locked until it is in place: no other process may write it meanwhile.
        move_into_place(self.partial_path, self.path)
        self._stream.close()
        return self.path

    def _grow(self, more: int) -> None:
        self.size += more
        self._count(more)


class _RefusedError(Exception):
    """A try that failed so that the next address follows."""


class _RetriedError(_RefusedError):
    """A try that failed so that the same address is tried again."""


def _try_address(address: str, file: RemoteFile, part: PartialFile, problems: list[str]) -> bool:
    """Return whether `part` is the whole of `file` now; otherwise `problems` says why not."""
    fruitless, inherited = 0, part.size > 0
    while fruitless < _TRIES:
        before = part.size
        try:
            _receive(address, file, part)
        except _RefusedError as error:
            problems.append(f"  {address}: {error}")
            if not isinstance(error, _RetriedError):
                return False
        else:
            if part.sha256() == file.sha256:
                return True
            part.clear()
            problems.append(f"  {address}: wrong checksum")
            if not inherited:
                return False
            inherited = False  # perhaps what an earlier process or another mirror left was wrong
        brought_little = 100 * (part.size - before) < file.size_bytes
        fruitless = fruitless + 1 if brought_little else 0
        if 0 < fruitless < _TRIES:
            time.sleep(_PAUSE_SECONDS * 2**fruitless)
    return False


def _receive(address: str, file: RemoteFile, part: PartialFile) -> None:
    """Append to `part` what is missing, or raise why it cannot be had."""
    try:
        import requests
        from urllib3.exceptions import HTTPError
    except ImportError as error:
        raise MissingExtraError.for_extra("train", error.name) from None
    if part.size >= file.size_bytes:
        part.clear()
    # Without "identity" a server may say that the .gz is an encoding.
    headers = {"Accept-Encoding": "identity", "User-Agent": "penstroke"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
    try:
        with requests.get(address, stream=True, timeout=_TIMEOUTS, headers=headers) as response:
            _check_response(response, file, part)
            for block in _blocks(response):
                part.write(block)
                if part.size > file.size_bytes:
                    part.clear()
                    raise _RefusedError(f"more than {file.size_bytes:,} bytes")
    except (requests.RequestException, HTTPError) as error:
        cause: BaseException = error  # requests wraps "connection refused" in three layers
        while cause.__context__ is not None:
            cause = cause.__context__
        raise _RetriedError(str(cause) or type(cause).__name__) from None
    if part.size < file.size_bytes:
        raise _RetriedError(f"cut after {part.size:,} of {file.size_bytes:,} bytes")


def _check_response(response: Response, file: RemoteFile, part: PartialFile) -> None:
    """Refuse, before a byte of it is read, what is not the file or the part asked for."""
    status = response.status_code
    if status not in (200, 206):
        if status == 416:
            part.clear()
        is_retried = status >= 500 or status in _RETRIED_STATUSES
        raise (_RetriedError if is_retried else _RefusedError)(f"HTTP status {status}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise _RefusedError("a web page instead of the file")
    total = response.headers.get("Content-Length", "")
    if status == 206:
        match = re.match(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not match or int(match[1]) != part.size:
            part.clear()
            raise _RetriedError("another part than was asked for")
        total = match[2]
    else:
        part.clear()
    if total.isdecimal() and int(total) != file.size_bytes:
        raise _RefusedError(f"{int(total):,} bytes long instead of {file.size_bytes:,}")


def _blocks(response: Response) -> Iterator[bytes]:
    """Yield what comes, as it comes; give up when almost nothing comes for long."""
    start, received = time.monotonic(), 0
    while block := response.raw.read1(_BLOCK_BYTES):
        yield block
        received += len(block)
        if (seconds := time.monotonic() - start) > _PATIENCE_SECONDS:
            if received < _MIN_BYTES_PER_SECOND * seconds:
                raise _RetriedError(f"too slow: {received:,} bytes in {seconds:.0f} s")
            start, received = time.monotonic(), 0
