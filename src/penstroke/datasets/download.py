"""Fetching a catalogued data set: mirrors in turn, resumed when cut, checked, placed whole."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstroke.datasets.catalogue import DataFile, Manifest
from penstroke.errors import DownloadError, MissingExtraError, StorageError
from penstroke.files import reason, sha256_of_file

Progress = Callable[[int], None]
"""Told how many more bytes have come; a negative number where some must come again."""

_ATTEMPTS_A_MIRROR = 3
_BLOCK_BYTES = 1 << 14
_TIMEOUT_SECONDS = (10, 30)  # to connect, and between two blocks


def fetch(manifest: Manifest, root: Path, progress: Progress = lambda _: None) -> list[Path]:
    """Bring every file of `manifest` to `root/<name>/` and return their paths.

    Files that are there with the right checksum are left alone; damaged ones are replaced.

    Raises:
        DownloadError: no mirror delivered a file; says what each of them answered.
        StorageError: the folder cannot be written.
    """
    folder = root / manifest.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_fetch_file(file, manifest.mirrors, folder, progress) for file in manifest.files]
    except OSError as error:
        raise StorageError(
            f"cannot write {folder}: {reason(error)}; PENSTROKE_DATA names another place"
        ) from error


def _fetch_file(file: DataFile, mirrors: tuple[str, ...], folder: Path, progress: Progress) -> Path:
    path = folder / file.name
    if path.exists() and sha256_of_file(path) == file.sha256:
        progress(file.size_bytes)
        return path
    answers = []
    for mirror in mirrors:
        for attempt in range(_ATTEMPTS_A_MIRROR):
            try:
                return _retrieve(mirror + file.name, file, folder, progress)
            except _Unusable as error:
                answers.append(f"  {mirror}: {error}")
                if not error.worth_another_try:
                    break
                time.sleep(0.2 * 2**attempt)
    raise DownloadError(
        f"no mirror delivered {file.name} with its checksum:\n" + "\n".join(dict.fromkeys(answers))
    )


class _Unusable(Exception):  # noqa: N818 - not an error of its own: the next try or mirror follows
    def __init__(self, message: str, *, worth_another_try: bool) -> None:
        super().__init__(message)
        self.worth_another_try = worth_another_try


def _retrieve(url: str, file: DataFile, folder: Path, progress: Progress) -> Path:
    try:
        import pooch
    except ImportError as error:
        raise MissingExtraError.for_extra("train", error.name) from None
    pooch.get_logger().setLevel(logging.ERROR)
    downloader = _ResumingDownloader(folder / f".{file.name}.part", file.size_bytes, progress)
    try:
        placed = pooch.retrieve(
            url, f"sha256:{file.sha256}", fname=file.name, path=folder, downloader=downloader
        )
    except ValueError:  # pooch's word for a wrong checksum
        progress(-downloader.received)
        raise _Unusable("wrong checksum: not the file asked for", worth_another_try=False) from None
    return Path(placed)


class _ResumingDownloader:
    """Downloads for pooch, going on from the part that an earlier try left (HTTP range)."""

    def __init__(self, part: Path, size_bytes: int, progress: Progress) -> None:
        self.part = part
        self.size_bytes = size_bytes
        self.progress = progress
        self.received = 0

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        import requests

        try:
            with requests.get(
                url, stream=True, timeout=_TIMEOUT_SECONDS, headers=self._headers()
            ) as response:
                self._refuse(response.status_code)
                self._receive(response.iter_content(_BLOCK_BYTES), response.status_code == 206)
        except requests.RequestException as error:
            self._count(-self.received)  # counted again when the part is gone on with
            raise _Unusable(_in_short(error), worth_another_try=True) from None
        shutil.move(self.part, output_file)

    def _headers(self) -> dict[str, str]:
        # Without "identity" a server may say the .gz is an encoding, and it would be unpacked.
        headers = {"Accept-Encoding": "identity", "User-Agent": "penstroke"}
        if self.part.exists() and 0 < self.part.stat().st_size < self.size_bytes:
            headers["Range"] = f"bytes={self.part.stat().st_size}-"
        return headers

    def _refuse(self, status: int) -> None:
        if status not in (200, 206):
            self.part.unlink(missing_ok=True)
            raise _Unusable(f"HTTP status {status}", worth_another_try=status >= 500)

    def _receive(self, blocks: Any, goes_on: bool) -> None:
        self._count((self.part.stat().st_size if goes_on else 0) - self.received)
        with self.part.open("ab" if goes_on else "wb") as stream:
            for block in blocks:
                stream.write(block)
                self._count(len(block))
                if self.received > self.size_bytes:
                    break
        if self.received != self.size_bytes:
            self.part.unlink()
            self._count(-self.received)
            raise _Unusable(f"its length is not {self.size_bytes} bytes", worth_another_try=False)

    def _count(self, more: int) -> None:
        self.received += more
        self.progress(more)


def _in_short(error: Exception) -> str:
    """Return the innermost cause: requests wraps 'connection refused' in three layers."""
    cause: BaseException = error
    while cause.__context__ is not None:
        cause = cause.__context__
    return str(cause) or type(cause).__name__
