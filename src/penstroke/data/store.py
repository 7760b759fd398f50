"""Decoded arrays on disk: one folder per data set, checked whole each time it is loaded."""

import contextlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from penstroke.config.settings import ListOf, Settings
from penstroke.config.toml import read_toml
from penstroke.data.dataset import Dataset, Writers
from penstroke.data.lines import LineDataset
from penstroke.errors import ConfigError, DataError, StorageError
from penstroke.files import explained, sha256, write_text_atomically

FORMAT_VERSION = 3  # 2 knew no lines, 1 no writers
INDEX = "dataset.toml"

Stored = TypeVar("Stored", Dataset, LineDataset)


class StoredIndex(Settings):
    """The dataset.toml of a stored data set."""

    format_version: int = Field(description="of this folder's layout")
    name: str = Field(description="data set")
    title: str = Field("", description="one line for a list")
    classes: ListOf[str] = Field((), description="class names; none of lines")
    alphabet: str | None = Field(None, description="characters of the texts of lines")
    lines: int | None = Field(None, description="number of lines, of both splits")
    train_fingerprint: str = Field(description="SHA-256 of the training split")
    test_fingerprint: str = Field(description="SHA-256 of the test split")
    writers: str | None = Field(None, description="SHA-256 of the writers of both, if known")


def save(
    folder: Path, name: str, train: Stored, test: Stored, title: str = "",
    beside: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Write the two splits to `folder`, replacing what was there, all of it or nothing.

    `beside` are texts to keep with them, by the name of their file. Raises StorageError if it
    cannot be written; nothing is left behind.
    """
    what: dict[str, Any] = (
        {"classes": train.classes} if isinstance(train, Dataset)
        else {"alphabet": train.alphabet, "lines": len(train) + len(test)}
    )  # fmt: skip
    index = StoredIndex(
        format_version=FORMAT_VERSION, name=name, title=title, **what,
        train_fingerprint=train.fingerprint, test_fingerprint=test.fingerprint,
        writers=_writers_sha256(train.writers, test.writers),
    )  # fmt: skip
    with explained(f"write {folder}", StorageError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for split, dataset in (("train", train), ("test", test)):
                for kind, array in _arrays(dataset).items():
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


def _arrays(dataset: Dataset | LineDataset) -> dict[str, npt.NDArray[Any]]:
    """Return what is stored of `dataset`, by the name of its file."""
    arrays = {} if dataset.writers is None else {"writers": dataset.writers}
    if isinstance(dataset, Dataset):
        return {"images": dataset.images, "labels": dataset.labels, **arrays}
    texts = np.array(dataset.texts, np.str_)
    return {"pixels": dataset.pixels, "widths": dataset.widths, "texts": texts, **arrays}


def load(folder: Path) -> tuple[Dataset, Dataset]:
    """Return (train, test) from `folder`.

    Raises DataError if it is not there, holds lines, was written by a newer version, is damaged or
    was changed.
    """
    index = load_index(folder)
    if index.alphabet is not None:
        raise DataError(f"{folder} holds lines, not characters")

    def read(split: str, writers: Writers | None) -> Dataset:
        labels = _read_npy(folder / f"{split}-labels.npy").astype(np.int64, copy=False)
        return Dataset(_read_npy(folder / f"{split}-images.npy"), labels, index.classes, writers)

    return _load(folder, index, read)


def load_lines(folder: Path) -> tuple[LineDataset, LineDataset]:
    """Return (train, test) of a data set of lines from `folder`; raises as `load`."""
    index = load_index(folder)
    if (alphabet := index.alphabet) is None:
        raise DataError(f"{folder} holds characters, not lines")

    def read(split: str, writers: Writers | None) -> LineDataset:
        widths = _read_npy(folder / f"{split}-widths.npy").astype(np.int64, copy=False)
        texts = tuple(_read_npy(folder / f"{split}-texts.npy", "U").tolist())
        pixels = _read_npy(folder / f"{split}-pixels.npy")
        return LineDataset(pixels, widths, texts, alphabet, writers)

    return _load(folder, index, read)


def _load(
    folder: Path, index: StoredIndex, read: Callable[[str, Writers | None], Stored]
) -> tuple[Stored, Stored]:
    splits: list[Stored] = []
    for split in ("train", "test"):
        writers = _read_npy(folder / f"{split}-writers.npy", "U") if index.writers else None
        dataset = read(split, writers)
        if dataset.fingerprint != getattr(index, f"{split}_fingerprint"):
            raise DataError(
                f"{folder}/{split}-*.npy was changed: its SHA-256 is not the recorded one"
            )
        splits.append(dataset)
    if _writers_sha256(*(split.writers for split in splits)) != index.writers:
        raise DataError(f"{folder}/*-writers.npy was changed: its SHA-256 is not the recorded one")
    return splits[0], splits[1]


def _writers_sha256(*writers: Writers | None) -> str | None:
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
