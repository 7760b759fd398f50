"""The one reader of untrusted zips, with bounds on the whole and on each file.

No name in a zip ever becomes a path on this machine. Refused as a whole are names that lead out of
it, links, devices, encryption, one name twice, too many files, and what would unpack to far more
than the zip itself.
"""

import contextlib
import io
import re
import stat
import weakref
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

from penstroke.errors import ArchiveError
from penstroke.files import explained

MAX_FILE_BYTES = 50_000_000
"""A larger file is not an image of one character."""
MAX_FILES = 200_000
MAX_BYTES = 20_000_000_000
"""Of all files together, unpacked."""
MAX_RATIO = 200
"""Of unpacked bytes to those of the zip. MNIST has 5; deflate can reach 1032."""

_FREE_BYTES = 10_000_000  # may come of however small a zip: blank bitmaps pack 1000 to 1
_DIRECTORY_BYTES = 128  # of one file: 46 of header, and its name
_BLOCK_BYTES = 1 << 16
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that change the direction of writing."""

DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError)
"""What `zipfile` raises for a damaged zip, beside OSError."""


class ZipReader:
    """The files in the zip at `path`, open for a `with` block or as long as the reader is kept.

    Hidden files are left out: a part of their name begins with a dot or is `__MACOSX`.

    `files` is what the directory says of each file, by name with `/` between folders, sorted.
    `max_file_bytes` bounds each file that is read, unpacked. ArchiveError says why the zip, or a
    file in it, is refused or damaged.
    """

    def __init__(self, path: Path, *, max_file_bytes: int = MAX_FILE_BYTES) -> None:
        self.path = path
        self._max_file_bytes = max_file_bytes
        with contextlib.ExitStack() as stack:
            try:
                with explained(f"read {path}", ArchiveError):
                    stream = stack.enter_context(_BoundedFile(path))
                    self._archive = stack.enter_context(zipfile.ZipFile(stream))
                    stream.is_directory_read = True
            except DAMAGE as error:
                raise ArchiveError(f"{path} is not a zip file, or is damaged: {error}") from error
            self.files = self._checked_files()
            self._close = weakref.finalize(self, stack.pop_all().close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open the file `name`; reading raises ArchiveError where it is not what was promised."""
        info, place = self.files[name], f"{self.path}: {name}"
        if info.file_size > self._max_file_bytes:
            raise ArchiveError(
                f"{place} has {info.file_size / 1e6:,.0f} MB, more than "
                f"{self._max_file_bytes / 1e6:,.0f} MB"
            )
        # The other methods would be unpacked by `zipfile` without a bound on memory.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArchiveError(
                f"{place} is compressed by method {info.compress_type}: compress it with deflate"
            )
        try:
            with explained(f"read {place}", ArchiveError), self._archive.open(info) as stream:
                yield stream
        except DAMAGE as error:
            raise ArchiveError(f"{place} is damaged: {error}") from error

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield the file piece by piece; it is whole only when the last piece has come."""
        with self.open(name) as stream:
            unpacked = 0
            while block := stream.read(_BLOCK_BYTES):
                unpacked += len(block)
                yield block
            if unpacked != (size := self.files[name].file_size):
                raise EOFError(f"{unpacked:,} of {size:,} bytes")

    def read(self, name: str) -> bytes:
        """Return the whole file; see `blocks`."""
        return b"".join(self.blocks(name))

    def _checked_files(self) -> dict[str, zipfile.ZipInfo]:
        infos = self._archive.infolist()
        if len(infos) > MAX_FILES:
            raise ArchiveError(
                f"{self.path} holds {len(infos):,} files, more than {MAX_FILES:,}: unpack or "
                "divide it"
            )
        by_name: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            name = info.filename.replace("\\", "/")
            why = "is in it twice" if name in by_name else _why_refused(info, name)
            if why:
                shown = ascii(info.orig_filename[:80])
                raise ArchiveError(f"{self.path} is refused: {shown} {why}")
            by_name[name] = info
        unpacked = sum(info.file_size for info in infos)
        # Held against the size of the whole zip, so that overlapping files count each time.
        size = self.path.stat().st_size
        if unpacked > min(_FREE_BYTES + MAX_RATIO * size, MAX_BYTES):
            raise ArchiveError(
                f"{self.path} is refused: its {size / 1e6:,.1f} MB would unpack to "
                f"{unpacked / 1e6:,.0f} MB, more than {MAX_RATIO} times as much or "
                f"{MAX_BYTES / 1e9:.0f} GB"
            )
        return {
            name: by_name[name]
            for name in sorted(by_name)
            if not by_name[name].is_dir() and not is_hidden(name)
        }


def is_hidden(name: str) -> bool:
    """Return whether the path `name` is hidden, or a system's: .DS_Store, __MACOSX/._1.png."""
    parts = (part for part in name.split("/") if part not in (".", ".."))
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _why_refused(info: zipfile.ZipInfo, name: str) -> str | None:
    if name.startswith("/") or re.match("[A-Za-z]:", name):
        return "is an absolute path"
    if ".." in name.split("/"):
        return "leads out of the archive"
    if not name or _UNPRINTABLE.search(info.orig_filename):
        return "is not a printable name"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device, not a file"
    if info.flag_bits & 1:
        return "is encrypted: pack it again without a password"
    return None


class _BoundedFile(io.FileIO):
    """A file that refuses to hand out a huge directory: `zipfile` would read it in one piece."""

    is_directory_read = False

    def read(self, size: int | None = -1, /) -> bytes:
        if not self.is_directory_read and (size or 0) > _DIRECTORY_BYTES * MAX_FILES:
            raise ArchiveError(
                f"{self.name} holds more than {MAX_FILES:,} files: unpack or divide it"
            )
        return super().read(-1 if size is None else size) or b""
