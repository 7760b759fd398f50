"""Decoded arrays on disk: one folder per data set, checked whole each time it is loaded."""

import contextlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from penstroke.config.settings import ListOf, Settings
from penstroke.config.toml import read_toml
from penstroke.data.dataset import Dataset
from penstroke.errors import ConfigError, DataError, StorageError
from penstroke.files import explained, sha256, write_text_atomically

FORMAT_VERSION = 2  # 1 knew no writers
INDEX = "dataset.toml"


class StoredIndex(Settings):
    """The dataset.toml of a stored data set."""

    format_version: int = Field(description="of this folder's layout")
    name: str = Field(description="data set")
    title: str = Field("", description="one line for a list")
    classes: ListOf[str] = Field(description="class names")
    train_fingerprint: str = Field(description="SHA-256 of the training split")
    test_fingerprint: str = Field(description="SHA-256 of the test split")
    writers: str | None = Field(None, description="SHA-256 of the writers of both, if known")


def save(
    folder: Path, name: str, train: Dataset, test: Dataset, title: str = "",
    beside: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Write the two splits to `folder`, replacing what was there, all of it or nothing.

    `beside` are texts to keep with them, by the name of their file. Raises StorageError if it
    cannot be written; nothing is left behind.
    """
    index = StoredIndex(
        format_version=FORMAT_VERSION, name=name, title=title, classes=train.classes,
        train_fingerprint=train.fingerprint, test_fingerprint=test.fingerprint,
        writers=_writers_sha256((train, test)),
    )  # fmt: skip
    with explained(f"write {folder}", StorageError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for split, dataset in (("train", train), ("test", test)):
                for kind in ("images", "labels", "writers"):
                    if (array := getattr(dataset, kind)) is None:
                        continue
                    with (temporary / f"{split}-{kind}.npy").open("wb") as stream:
                        np.save(stream, np.ascontiguousarray(array), allow_pickle=False)  # no copy
                        stream.flush()
                        os.fsync(stream.fileno())
            for file, text in (beside or {}).items():
                write_text_atomically(temporary / file, text)
            write_text_atomically(temporary / INDEX, index.to_toml())
            temporary.chmod(0o755)
            aside = temporary.with_name(f"{temporary.name}.old")
            with contextlib.suppress(FileNotFoundError):
                folder.rename(aside)  # a rename does not replace a full folder
            temporary.rename(folder)
            shutil.rmtree(aside, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def load(folder: Path) -> tuple[Dataset, Dataset]:
    """Return (train, test) from `folder`.

    Raises DataError if it is not there, was written by a newer version, is damaged or was changed.
    """
    index = load_index(folder)
    splits: list[Dataset] = []
    for split in ("train", "test"):
        labels = _read_npy(folder / f"{split}-labels.npy").astype(np.int64, copy=False)
        writers = _read_npy(folder / f"{split}-writers.npy", "U") if index.writers else None
        images = _read_npy(folder / f"{split}-images.npy")
        dataset = Dataset(images, labels, index.classes, writers)
        if dataset.fingerprint != getattr(index, f"{split}_fingerprint"):
            raise DataError(
                f"{folder}/{split}-*.npy was changed: its SHA-256 is not the recorded one"
            )
        splits.append(dataset)
    if _writers_sha256(splits) != index.writers:
        raise DataError(f"{folder}/*-writers.npy was changed: its SHA-256 is not the recorded one")
    return splits[0], splits[1]


def _writers_sha256(splits: Sequence[Dataset]) -> str | None:
    writers = [split.writers for split in splits]
    known = [names.tolist() for names in writers if names is not None]
    return sha256(json.dumps(known).encode()) if known else None


def load_index(folder: Path) -> StoredIndex:
    """Return the index of the data set in `folder`, without its arrays."""
    try:
        values = read_toml(folder / INDEX)
        version = values.get("format_version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise DataError(
                f"{folder} was written by a newer Penstroke (format {version}): upgrade"
            )
        return StoredIndex.parse(values, source=str(folder / INDEX))
    except ConfigError as error:
        raise DataError(f"{folder} is not a stored data set: {error}") from error


def _read_npy(path: Path, kinds: str = "iu") -> npt.NDArray[Any]:
    try:
        with warnings.catch_warnings(action="ignore"):  # about the version of a header
            # Mapped first, which compares what the header promises with the length of the file.
            array: npt.NDArray[Any] = np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError, SyntaxError, TypeError, TokenError) as error:
        raise DataError(f"{path} is missing or damaged: {error}") from error
    if array.dtype.kind not in kinds:
        raise DataError(f"{path} is damaged: it holds {array.dtype}")
    return array
