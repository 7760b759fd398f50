"""Directories of runs and studies: a record at the start, a summary at the end, a lock, removal."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Generic, Self, TypeVar

from pydantic import Field, ValidationError

from penstroke.config.settings import ListOf, Resolved, RunConfig, Settings
from penstroke.config.toml import read_toml
from penstroke.errors import ConfigError, PenstrokeError, RunError
from penstroke.files import lock, runs_root, time_stamp, write_text_atomically
from penstroke.preprocessing.ink import DEFAULT_INK, InkSettings

FORMAT_VERSION = 1


class DataFacts(Settings):
    """The data set a network was trained on."""

    fingerprint: str = Field(description="SHA-256 of the data set")
    classes: ListOf[str] = Field(description="class names")
    train_images: int = Field(description="images trained on")
    validation_images: int = Field(description="images that chose the epoch")
    test_images: int = Field(description="images under seal")
    mean: float = Field(description="of the training pixels, in 0..1")
    std: float = Field(description="of the training pixels, in 0..1")
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
        try:
            return cls.model_validate_json(path.read_text()) if path.exists() else None
        except ValidationError as error:
            raise RunError(f"{path} is damaged: {error}") from error

    def write(self, folder: Path) -> None:
        """Write it into `folder`."""
        text = self.model_dump_json(indent=2, exclude_none=True)
        write_text_atomically(folder / "summary.json", text + "\n")


RecordT = TypeVar("RecordT", bound=Settings)


class Folder(Generic[RecordT]):
    """A directory that begins with its record, and that one process at a time may change."""

    record_file: str
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
        return self.path.name

    @cached_property
    def size_bytes(self) -> int:
        """What the directory takes on disk."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    @classmethod
    def create(cls, path: Path, record: RecordT) -> Self:
        """Write a new directory with its record."""
        write_text_atomically(path / cls.record_file, record.to_toml())
        return cls(path, record)

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
            raise cls.error_type(f"{path} is not a valid {cls.kind}: {error}") from error

    @classmethod
    def at(cls, path: Path) -> Self | None:
        """Open the directory at `path`, if there is one."""
        return cls.open(path) if (path / cls.record_file).exists() else None

    @classmethod
    def find(cls, name: str | Path) -> Self | None:
        """Open the directory at the path `name`, or of that name beside the runs, if any."""
        return cls.at(Path(name)) or cls.at(runs_root() / name)

    @classmethod
    def paths(cls) -> list[Path]:
        """Return the directories beside the runs, oldest first; none that is being removed."""
        files = runs_root().glob(f"[!.]*/{cls.record_file}")
        return [file.parent for file in sorted(files, key=time_stamp)]

    @classmethod
    def all(cls) -> list[Self]:
        """Open the directories beside the runs, oldest first, except those that are damaged."""
        opened = []
        for path in cls.paths():
            with contextlib.suppress(cls.error_type):
                opened.append(cls.open(path))
        return opened

    def remove(self) -> None:
        """Delete the directory with all its files, or nothing if another process has locked it."""
        with self.locked():
            self.remove_elsewhere()
            going = self.path.with_name(f".{self.name}.going")
            shutil.rmtree(going, ignore_errors=True)  # left by a process that was killed
            self.path.rename(going)  # at once: a kill in between leaves no half of it
            shutil.rmtree(going)

    def remove_elsewhere(self) -> None:
        """Delete what is stored outside the directory."""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the directory until this process leaves the block, or ends in any way."""
        try:
            descriptor = lock(self.path / ".lock")
        except BlockingIOError:
            raise self.error_type(f"{self.path} {self.locked_message}") from None
        try:
            for half_written in self.path.rglob(".*.*"):  # left by a killed write_atomically
                half_written.unlink(missing_ok=True)
            yield
        finally:
            os.close(descriptor)


def now() -> str:
    """Return the time in UTC, to the second, ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
