"""Directories of runs and studies: their names, a record, a summary, a lock, removal."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Generic, Self, TypeVar

from pydantic import Field

from penstroke.config.settings import ListOf, Resolved, RunConfig, Settings, read_json
from penstroke.config.toml import read_toml
from penstroke.errors import ConfigError, PenstrokeError, RunError, StorageError
from penstroke.files import (
    explained,
    lock,
    reason,
    remove_half_written,
    runs_root,
    time_stamp,
    write_text_atomically,
)
from penstroke.inference.bundled import bundled_run
from penstroke.preprocessing.ink import DEFAULT_INK, InkSettings

FORMAT_VERSION = 1
_NOT_IN_NAMES = frozenset('/\\:*?"<>|')
_MAX_NAME_BYTES = 150
"""Of the 255 that file systems allow: others are derived from it."""
_REMOVED = ".penstroke-removed"


def folder_path(name: str) -> Path:
    """Return the directory of the run or study `name`, directly beneath `runs_root()`.

    ConfigError unless it is a plain file name on every system: it could be outside, or not listed;
    or if it is that of a bundled model.
    """
    if bundled_run(name):
        raise ConfigError(f'"{name}" is the name of a bundled model: choose another --name')
    if (
        not name.isprintable()
        or not 0 < len(name.encode()) <= _MAX_NAME_BYTES
        or name[0] in ".- "
        or name[-1] in ". "
        or _NOT_IN_NAMES.intersection(name)
    ):
        raise ConfigError(
            f"{name!r} cannot be the name of a run: choose another --name, without "
            f"{' '.join(sorted(_NOT_IN_NAMES))}, without a dot, dash or space at its ends, and of "
            f"up to {_MAX_NAME_BYTES} bytes (PENSTROKE_RUNS is the folder that runs are in)"
        )
    return runs_root() / name


def finish_removals() -> None:
    """Delete what removals left behind that were killed."""
    for path in runs_root().glob(f".*{_REMOVED}"):
        shutil.rmtree(path, ignore_errors=True)


class DataFacts(Settings):
    """The data set a network was trained on."""

    fingerprint: str = Field(description="SHA-256 of the data set")
    classes: ListOf[str] = Field(
        description="class names; of lines the blank, an empty one, and the alphabet"
    )
    train_images: int = Field(description="images or lines trained on, without synthetic ones")
    validation_images: int = Field(description="images that chose the epoch")
    test_images: int = Field(description="images under seal")
    mean: float = Field(description="of the training pixels, in 0..1")
    std: float = Field(description="of the training pixels, in 0..1")
    split_writers: str | None = Field(
        None, description="SHA-256 of the writers who were kept together; none: split by image"
    )
    ink: InkSettings = Field(DEFAULT_INK, description="how the characters lie in their images")


class Record(Settings):
    """Everything that is decided before the first step."""

    format_version: int = Field(FORMAT_VERSION, description="of the directory")
    created: str = Field(description="when, in UTC")
    config: RunConfig = Field(description="the settings, before auto is resolved")
    resolved: Resolved = Field(description="what `auto` came to")
    data: DataFacts = Field(description="the images")
    versions: dict[str, str] = Field(description="of Python and the packages that compute")
    machine: dict[str, str | int] = Field(description="processor, cores, system")


class Summary(Settings):
    """Figures that are written when a directory is finished; its presence marks it as finished."""

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the summary in `folder`, None where there is none yet; RunError if damaged."""
        path = folder / "summary.json"
        return read_json(cls, path) if path.exists() else None

    def write(self, folder: Path) -> None:
        """Write it into `folder`."""
        text = self.model_dump_json(indent=2, exclude_none=True)
        write_text_atomically(folder / "summary.json", text + "\n")


RecordT = TypeVar("RecordT", bound=Settings)


class Folder(Generic[RecordT]):
    """A directory that begins with its record, and that one process at a time may change."""

    record_file: str
    other_files: tuple[str, ...] = ()  # that are there only if the record was
    record_type: type[RecordT]
    error_type: type[PenstrokeError]
    kind: str  # what such a directory is called in messages
    locked_message = "is being trained by another process"

    def __init__(self, path: Path, record: RecordT) -> None:
        self.path = path
        self.record = record

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.absolute().name

    @cached_property
    def size_bytes(self) -> int:
        """What the directory takes on disk."""
        return sum(map(_size, self.path.rglob("*")))

    @classmethod
    def create(cls, path: Path, record: RecordT, *, replace: bool = False) -> Self:
        """Write a new directory with its record; raise if another process has just done so.

        With `replace`, a record that is there is replaced.
        """
        finish_removals()
        cls.check_free(path)
        with explained(f"write {path}", StorageError):
            path.mkdir(parents=True, exist_ok=True)
        with cls._locked(path):
            if (path / cls.record_file).exists() and not replace:
                raise cls.error_type(
                    f"{path} has just been begun by another process: wait for it, or choose "
                    "another --name"
                )
            write_text_atomically(path / cls.record_file, record.to_toml())
        return cls(path, record)

    @classmethod
    def check_free(cls, path: Path) -> None:
        """Raise unless the directory at `path` is of this kind, or can become so."""
        others = [file.name for file in path.glob("*.toml")]
        if others and cls.record_file not in others:
            raise cls.error_type(
                f"{path} already holds something else ({others[0]}): choose another --name"
            )

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the directory at `path`, unless it is something else, damaged, or newer."""
        file = path / cls.record_file
        try:
            values = read_toml(file)
            version = values.get("format_version")
            if isinstance(version, int) and version > FORMAT_VERSION:
                raise cls.error_type(
                    f"{path} was written by a newer Penstroke (format {version}; this one reads up "
                    f"to {FORMAT_VERSION}): upgrade with pip install -U penstroke"
                )
            return cls(path, cls.record_type.parse(values, source=str(file)))
        except ConfigError as error:
            raise cls.error_type(
                f"{path} is not a valid {cls.kind}: {error}; --overwrite replaces it, "
                f"`penstroke runs rm {path.name}` removes it"
            ) from error

    @classmethod
    def at(cls, path: Path) -> Self | None:
        """Open the directory at `path`, if there is one."""
        return cls.open(path) if cls._is_at(path) else None

    @classmethod
    def at_or_damaged(cls, path: Path) -> "Self | Damaged | None":
        """Open the directory at `path`, if there is one; if it is damaged, so far as possible."""
        try:
            return cls.at(path)
        except cls.error_type as error:
            return Damaged(path, str(error))

    @classmethod
    def _is_at(cls, path: Path) -> bool:
        return any((path / name).exists() for name in (cls.record_file, *cls.other_files))

    @classmethod
    def find(cls, name: str | Path) -> Self | None:
        """Open the directory at the path `name`, or of that name beside the runs, if any."""
        return cls.at(Path(name)) or cls.at(runs_root() / name)

    @classmethod
    def find_or_damaged(cls, name: str | Path) -> "Self | Damaged | None":
        """Do as `find` does, but return what is damaged too."""
        return cls.at_or_damaged(Path(name)) or cls.at_or_damaged(runs_root() / name)

    @classmethod
    def paths(cls) -> list[Path]:
        """Return the directories beside the runs, oldest first; none that is being removed."""
        paths = filter(cls._is_at, runs_root().glob("[!.]*"))
        return sorted(paths, key=lambda path: time_stamp(path / cls.record_file))

    @classmethod
    def all(cls) -> list[Self]:
        """Open the directories beside the runs, oldest first, except those that are damaged."""
        opened = []
        for path in cls.paths():
            with contextlib.suppress(cls.error_type):
                opened.append(cls.open(path))
        return opened

    def remove(self) -> None:
        """Delete the directory with all its files; of a symbolic link, the link alone.

        Nothing is deleted if another process has locked it or a fold of it, or with a StorageError.
        """
        path = self.path.absolute()
        with explained(f"remove {self.path}", StorageError), contextlib.ExitStack() as locks:
            for folder in (self.path, *self.path.glob("fold-*/")):
                locks.enter_context(self._locked(folder))
            if path.is_symlink():
                path.unlink()
                return
            finish_removals()
            self.remove_elsewhere()
            removed = path.with_name(f".{path.name}{_REMOVED}")
            path.rename(removed)  # at once: a kill in between leaves no half of it
            shutil.rmtree(removed, ignore_errors=True)
            if removed.exists():
                raise StorageError(f"cannot remove all of {removed}: remove the rest by hand")

    def remove_elsewhere(self) -> None:
        """Delete what is stored outside the directory."""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the directory until this process leaves the block, or ends in any way."""
        with self._locked(self.path):
            yield

    @classmethod
    @contextlib.contextmanager
    def _locked(cls, path: Path) -> Iterator[None]:
        try:
            descriptor = lock(path / ".lock")
        except BlockingIOError:
            raise cls.error_type(f"{path} {cls.locked_message}") from None
        except OSError as error:
            raise StorageError(f"cannot lock {path}: {reason(error)}") from error
        try:
            with explained(f"change {path}", StorageError):
                remove_half_written(path)
            yield
        finally:
            os.close(descriptor)


class Damaged(Folder[Settings]):
    """A directory whose record cannot be read; `reason` says why. It can still be removed."""

    error_type = RunError

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, Settings())
        self.reason = reason


def _size(file: Path) -> int:
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:  # removed since it was listed
        return 0


def now() -> str:
    """Return the time in UTC, to the second, ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
