"""Zip archives from strangers, read within bounds; no name inside one becomes a path here.

Refused whole: names that lead elsewhere, links, devices, passwords, the same name twice, and what
would unpack to far more than it is. What a member claims about itself is held against its bytes.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from penstroke.errors import ArchiveError
from penstroke.files import reason

LARGEST_BYTES = 50_000_000
MOST_MEMBERS = 200_000
MOST_UNPACKED = 200
"""Times the bytes of the zip. MNIST unpacks to 5 times its size; deflate can reach 1032."""

_ALWAYS_UNPACKED = 10_000_000  # so much may come of however little: blank bitmaps pack 1000 to 1
_DIRECTORY_BYTES = 128  # a member: 46 of header, and a name of some length
_BLOCK_BYTES = 1 << 16
_ENCRYPTED = 0x1
_KINDS = (0, stat.S_IFREG, stat.S_IFDIR)
_TURNS_A_TERMINAL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that write from right to left for a while."""

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError)


@dataclass(frozen=True)
class Member:
    """A file inside an archive; to be read while that is open.

    Attributes:
        name: as it stands in the archive, with `/` between folders.
        size_bytes: unpacked; reading fails where it is another.
    """

    name: str
    size_bytes: int
    _archive: zipfile.ZipFile
    _info: zipfile.ZipInfo

    def blocks(self) -> Iterator[bytes]:
        """Yield the content piece by piece; whole only where the last piece was given.

        Raises:
            ArchiveError: its bytes are not those that the archive promises.
        """
        place = f"{self._archive.filename}: {self.name}"
        unpacked = 0
        try:
            with self._archive.open(self._info) as stream:
                while block := stream.read(_BLOCK_BYTES):
                    unpacked += len(block)
                    yield block
        except _BROKEN as error:
            raise ArchiveError(f"{place} is damaged: {error}") from error
        except OSError as error:
            raise ArchiveError(f"cannot read {place}: {reason(error)}") from error
        if unpacked != self.size_bytes:
            raise ArchiveError(f"{place} is damaged: {unpacked:,} of {self.size_bytes:,} bytes")

    def read(self) -> bytes:
        """Return the content; see `blocks`."""
        return b"".join(self.blocks())


@contextmanager
def opened(
    path: Path,
    *,
    suffixes: tuple[str, ...] = ("",),
    largest_bytes: int = LARGEST_BYTES,
    most_members: int = MOST_MEMBERS,
) -> Iterator[dict[str, Member]]:
    """Give the files in the zip at `path` whose names end so, in any case, by name and sorted.

    Hidden files are passed over: names with a part that begins with a dot, and `__MACOSX`.
    Everything is looked at before anything is given; nothing is written anywhere.

    Args:
        path: a zip file; deflated or stored, without a password.
        suffixes: ends of the names wanted, in lower case; all by default.
        largest_bytes: most that a wanted member may unpack to.
        most_members: most files that the archive may hold, wanted or not.

    Raises:
        ArchiveError: it is no zip, is damaged, or is refused; says why, and names the member.
    """
    with ExitStack() as stack:
        archive = _open_zip(stack, path, most_members)
        found = _looked_at(archive, path, most_members)
        wanted = {n: info for n, info in sorted(found.items()) if n.lower().endswith(suffixes)}
        for name, info in wanted.items():
            _check_size(info, f"{path}: {name}", largest_bytes)
        _check_bomb(wanted.values(), path)
        yield {n: Member(n, info.file_size, archive, info) for n, info in wanted.items()}


def members(
    path: Path,
    *,
    suffixes: tuple[str, ...] = ("",),
    largest_bytes: int = LARGEST_BYTES,
    most_members: int = MOST_MEMBERS,
) -> Iterator[Member]:
    """Yield one after the other what `opened` gives."""
    with opened(
        path, suffixes=suffixes, largest_bytes=largest_bytes, most_members=most_members
    ) as found:
        yield from found.values()


def _open_zip(stack: ExitStack, path: Path, most_members: int) -> zipfile.ZipFile:
    try:
        stream = stack.enter_context(_Bounded(path))
        stream.most = _DIRECTORY_BYTES * most_members
        archive = stack.enter_context(zipfile.ZipFile(stream))
        stream.most = None
    except _TooMuchError:
        raise ArchiveError(
            f"{path} lists more than {most_members:,} files, or names of great length: unpack it, "
            "or divide it"
        ) from None
    except _BROKEN as error:
        raise ArchiveError(f"{path} is no zip that can be read: {error}") from error
    except OSError as error:
        raise ArchiveError(f"cannot read {path}: {reason(error)}") from error
    return archive


class _TooMuchError(Exception):
    """More was to be read at once than is read of a directory."""


class _Bounded(io.FileIO):
    """A file that refuses to hand out a huge directory: `zipfile` would take it in one piece."""

    most: int | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        if self.most is not None and size is not None and size > self.most:
            raise _TooMuchError
        return super().read(-1 if size is None else size) or b""


def _looked_at(
    archive: zipfile.ZipFile, path: Path, most_members: int
) -> dict[str, zipfile.ZipInfo]:
    """Return the files by name, after every one of them was held against what is refused."""
    infos = archive.infolist()
    if len(infos) > most_members:
        raise ArchiveError(
            f"{path} lists {len(infos):,} files, more than {most_members:,}: unpack it, "
            "or divide it"
        )
    found: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.filename.replace("\\", "/")
        if why := _why_refused(info, name):
            raise ArchiveError(f"{path} is refused: {_shown(info.orig_filename)} {why}")
        if name in found:
            raise ArchiveError(f"{path} is refused: {_shown(name)} stands in it twice")
        if not info.is_dir() and not _is_hidden(name):
            found[name] = info
    return found


def _why_refused(info: zipfile.ZipInfo, name: str) -> str | None:
    parts = name.split("/")
    if name.startswith("/") or re.match("[A-Za-z]:", name):
        return "is an absolute path"
    if ".." in parts:
        return "leads out of the archive"
    if not name or _TURNS_A_TERMINAL.search(info.orig_filename):
        return "is no name that can be printed"
    if stat.S_IFMT(info.external_attr >> 16) not in _KINDS:
        return "is a link or a device, not a file"
    if info.flag_bits & _ENCRYPTED:
        return "is locked with a password"
    return None


def _check_size(info: zipfile.ZipInfo, place: str, largest_bytes: int) -> None:
    if info.file_size > largest_bytes:
        raise ArchiveError(
            f"{place} is larger than {largest_bytes / 1e6:,.0f} MB: {info.file_size / 1e6:,.0f} MB"
        )
    # The other ways of packing would be unpacked by `zipfile` without a bound on memory.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveError(
            f"{place} is packed in way {info.compress_type}: pack it anew in the usual one, deflate"
        )


def _check_bomb(wanted: Iterable[zipfile.ZipInfo], path: Path) -> None:
    """Refuse what unpacks to many times the whole archive, overlapping members included."""
    unpacked = sum(info.file_size for info in wanted)
    packed = path.stat().st_size
    if unpacked > _ALWAYS_UNPACKED + MOST_UNPACKED * packed:
        raise ArchiveError(
            f"{path} is refused: its {packed / 1e6:,.1f} MB would unpack to "
            f"{unpacked / 1e6:,.0f} MB, more than {MOST_UNPACKED} times as much"
        )


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _shown(name: str) -> str:
    return ascii(name[:80])
