"""Downloading one file: addresses in turn, gone on with where it was cut, checked, placed whole."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from penstroke.errors import DownloadError, MissingExtraError, StorageError
from penstroke.files import lock, move_into_place, sha256_of_file

if TYPE_CHECKING:
    from requests import Response

Count = Callable[[int], None]
"""Told how many more bytes have come; a negative number where some must come again."""

_TRIES = 3
"""In a row that bring next to nothing, before an address is given up."""
_PAUSE_SECONDS = 0.2
_BLOCK_BYTES = 1 << 16
_TIMEOUT_SECONDS = (10, 30)  # to connect, and between two packets
_PATIENCE_SECONDS = 60.0
_LEAST_BYTES_A_SECOND = 1000
_WORTH_ANOTHER_TRY = (408, 416, 425, 429)  # and all above 499


@dataclass(frozen=True)
class Wanted:
    """A file to download, known by its length and its checksum."""

    name: str
    size_bytes: int
    sha256: str
    addresses: tuple[str, ...]


def download(wanted: Wanted, folder: Path, count: Count = lambda _: None) -> Path:
    """Bring `wanted` into `folder`, and return where it is.

    What has come stays beside it under a hidden name until it is whole, so that a cut connection,
    a kill or a failure costs only what was on its way.

    Raises:
        DownloadError: no address delivered it; says what each of them answered.
        StorageError: another process is downloading it.
        OSError: the folder cannot be written.
    """
    with PartialFile(folder / wanted.name, count) as part:
        answers: list[str] = []
        if not any(_try_address(address, wanted, part, answers) for address in wanted.addresses):
            raise DownloadError(
                f"nobody delivered {wanted.name} with its checksum:\n"
                + "\n".join(dict.fromkeys(answers))
            )
        return part.finish()


class PartialFile:
    """The part of a file that has come so far, kept beside its place; locked while it is open."""

    def __init__(self, path: Path, count: Count = lambda _: None) -> None:
        self.path = path
        self.part = path.with_name(f".{path.name}.part")
        self.size = 0
        self._count = count
        self._stream: BinaryIO

    def __enter__(self) -> Self:
        self._made_folder = not self.part.parent.exists()
        self.part.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._stream = os.fdopen(lock(self.part), "ab")
        except BlockingIOError:
            raise StorageError(
                f"another process is writing {self.path}: let it finish, or end it"
            ) from None
        self._grow(self._stream.tell())
        return self

    def __exit__(self, *_: object) -> None:
        if not self._stream.closed:
            self._stream.close()
            if not self.size:
                self.part.unlink(missing_ok=True)
                if self._made_folder:
                    with contextlib.suppress(OSError):  # something else stands in it
                        self.part.parent.rmdir()

    def write(self, block: bytes) -> None:
        """Append `block`."""
        self._stream.write(block)
        self._stream.flush()  # what has come outlives a kill
        self._grow(len(block))

    def clear(self) -> None:
        """Begin anew."""
        self._stream.truncate(0)
        self._grow(-self.size)

    def sha256(self) -> str:
        """Return the checksum of what is there."""
        return sha256_of_file(self.part)

    def finish(self) -> Path:
        """Move it into its place, and return that."""
        if os.name == "nt":  # no open file can be renamed there
            self._stream.close()
        # Elsewhere it stays locked until it is in place: nobody may go on with it meanwhile.
        move_into_place(self.part, self.path)
        self._stream.close()
        return self.path

    def _grow(self, more: int) -> None:
        self.size += more
        self._count(more)


class _Unusable(Exception):  # noqa: N818 - not an error of its own: the next try or mirror follows
    def __init__(self, message: str, *, worth_another_try: bool) -> None:
        super().__init__(message)
        self.worth_another_try = worth_another_try


def _try_address(address: str, wanted: Wanted, part: PartialFile, answers: list[str]) -> bool:
    """Return whether `part` is all of `wanted` now; what went wrong joins `answers`."""
    fruitless, inherited = 0, part.size > 0
    while fruitless < _TRIES:
        before = part.size
        try:
            _receive(address, wanted, part)
        except _Unusable as error:
            answers.append(f"  {address}: {error}")
            if not error.worth_another_try:
                return False
        else:
            if part.sha256() == wanted.sha256:
                return True
            part.clear()
            answers.append(f"  {address}: wrong checksum, not the file asked for")
            if not inherited:
                return False
            inherited = False  # what an earlier process or another mirror left is to blame, perhaps
        brought_little = 100 * (part.size - before) < wanted.size_bytes
        fruitless = fruitless + 1 if brought_little else 0
        if 0 < fruitless < _TRIES:
            time.sleep(_PAUSE_SECONDS * 2**fruitless)
    return False


def _receive(address: str, wanted: Wanted, part: PartialFile) -> None:
    """Append to `part` what is missing; or raise what stands in the way."""
    try:
        import requests
        from urllib3.exceptions import HTTPError
    except ImportError as error:
        raise MissingExtraError.for_extra("train", error.name) from None
    if part.size >= wanted.size_bytes:
        part.clear()
    # Without "identity" a server may say the .gz is an encoding.
    headers = {"Accept-Encoding": "identity", "User-Agent": "penstroke"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
    try:
        with requests.get(
            address, stream=True, timeout=_TIMEOUT_SECONDS, headers=headers
        ) as response:
            _check_answer(response, wanted, part)
            for block in _blocks(response):
                part.write(block)
                if part.size > wanted.size_bytes:
                    break
    except (requests.RequestException, HTTPError) as error:
        raise _Unusable(_in_short(error), worth_another_try=True) from None
    if part.size > wanted.size_bytes:
        part.clear()
        raise _Unusable(f"longer than {wanted.size_bytes:,} bytes", worth_another_try=False)
    if part.size < wanted.size_bytes:
        raise _Unusable(
            f"cut after {part.size:,} of {wanted.size_bytes:,} bytes", worth_another_try=True
        )


def _check_answer(response: Response, wanted: Wanted, part: PartialFile) -> None:
    """Refuse, before a byte of it is taken, what is not the file or the part asked for."""
    status = response.status_code
    if status not in (200, 206):
        if status == 416:
            part.clear()
        again = status >= 500 or status in _WORTH_ANOTHER_TRY
        raise _Unusable(f"HTTP status {status}", worth_another_try=again)
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise _Unusable("a web page instead of the file", worth_another_try=False)
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    if status == 206:
        match = re.match(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not match or int(match[1]) != part.size:
            part.clear()
            raise _Unusable("another part than was asked for", worth_another_try=True)
        total = int(match[2]) if match[2].isdecimal() else None
    else:
        part.clear()
    if total is not None and total != wanted.size_bytes:
        raise _Unusable(
            f"{total:,} bytes long, where the file has {wanted.size_bytes:,}",
            worth_another_try=False,
        )


def _blocks(response: Response) -> Iterator[bytes]:
    """Yield what comes, as it comes; give up where that is next to nothing for long."""
    start, received = time.monotonic(), 0
    while block := response.raw.read1(_BLOCK_BYTES):
        yield block
        received += len(block)
        if (seconds := time.monotonic() - start) > _PATIENCE_SECONDS:
            if received < _LEAST_BYTES_A_SECOND * seconds:
                raise _Unusable(
                    f"{received:,} bytes in {seconds:.0f} s, too slow", worth_another_try=True
                )
            start, received = time.monotonic(), 0


def _in_short(error: Exception) -> str:
    """Return the innermost cause: requests wraps 'connection refused' in three layers."""
    cause: BaseException = error
    while cause.__context__ is not None:
        cause = cause.__context__
    return str(cause) or type(cause).__name__
