"""Files that are whole or not there: atomic writes, checksums, and where things live."""

import contextlib
import csv
import hashlib
import io
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from penstroke.errors import ConfigError, PenstrokeError, StorageError

_TEMPORARY = ".penstroke-part"
"""The end of the names of files that are being written; no person gives it to one."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader, or a crash, sees all of it or none.

    Temporary name in the same folder, fsync, rename, fsync of the folder. A StorageError (disk
    full, read-only or not permitted) leaves nothing behind.
    """
    with explained(f"write {path}", StorageError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(_TEMPORARY, f".{path.name}.", path.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.umask(mask := os.umask(0))  # the only way to read it
            Path(temporary).chmod(0o666 & ~mask)
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
        _sync_folder(path.parent)


def remove_half_written(folder: Path) -> None:
    """Delete what a killed `write_atomically` left in `folder` and below."""
    for path in folder.rglob(f".*{_TEMPORARY}"):
        path.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Write `text` as UTF-8; see `write_atomically`."""
    write_atomically(path, text.encode())


def append_lines(path: Path, text: str) -> None:
    """Append `text`, whole lines, to `path`, durably; a last line that was cut short goes first."""
    with explained(f"write {path}", StorageError):
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        with path.open("ab+") as stream:
            stream.seek(0)
            stream.truncate(stream.read().rfind(b"\n") + 1)
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())
        if is_new:
            _sync_folder(path.parent)


def text_lines(path: str | Path) -> list[str]:
    """Return the lines of a text file (UTF-8) without blanks around them; blank ones are skipped.

    ConfigError: it cannot be read.
    """
    with explained(f"read {path}", ConfigError):
        try:
            lines = Path(path).read_text("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} is not text in UTF-8: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def check_writable(path: Path) -> None:
    """Raise StorageError now, and not after hours of work, if `path` cannot be written."""
    if path.is_dir():
        raise StorageError(f"cannot write {path}: it is a folder")
    probe = path.with_name(f".{path.name}.probe")
    write_atomically(probe, b"")
    probe.unlink()


def move_into_place(temporary: Path, path: Path) -> None:
    """Rename the finished file `temporary` to `path`, durably: a power cut leaves it whole."""
    with temporary.open("rb+") as stream:
        os.fsync(stream.fileno())
    temporary.replace(path)
    _sync_folder(path.parent)


def lock(path: Path) -> int:
    """Lock the file at `path`, created if missing, and return its descriptor, open to append.

    The lock ends when the descriptor is closed, or its process ends in any way. BlockingIOError:
    another process holds it. On Windows there are no such locks.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND)
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows: nothing keeps a second process away
        return descriptor
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def csv_of(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> bytes:
    """Return `rows` as CSV with a header; what is not in `columns` is left out."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def sha256(content: bytes | memoryview) -> str:
    """Return the SHA-256 of `content` as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of the file's content, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def time_stamp(path: Path) -> int:
    """Return when the file was last changed, in nanoseconds; 0 if there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def data_root() -> Path:
    """Return the folder of downloads and corrections: PENSTROKE_DATA, or the user's data folder."""
    if chosen := os.environ.get("PENSTROKE_DATA"):
        return Path(chosen).expanduser()
    from platformdirs import user_data_path

    return user_data_path("penstroke")


def cache_root() -> Path:
    """Return the folder of decoded and imported data: PENSTROKE_CACHE, or the platform's cache."""
    if chosen := os.environ.get("PENSTROKE_CACHE"):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("penstroke") / "cache"


def runs_root() -> Path:
    """Return the folder of run directories: PENSTROKE_RUNS, or `runs` here."""
    return Path(os.environ.get("PENSTROKE_RUNS") or "runs").expanduser()


@contextlib.contextmanager
def explained(attempt: str, error_type: type[PenstrokeError]) -> Iterator[None]:
    """Raise an OSError inside as `error_type`: "cannot ATTEMPT: REASON"."""
    try:
        yield
    except OSError as error:
        raise error_type(f"cannot {attempt}: {reason(error)}") from error


def reason(error: OSError) -> str:
    """Return the operating system's message for `error`, without its number."""
    return error.strerror or str(error)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; folders cannot be opened on Windows, where it is not needed."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
