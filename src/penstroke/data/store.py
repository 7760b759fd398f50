"""Decoded arrays on disk: one folder a data set, checked whole each time it is opened."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Annotated

import numpy as np
from pydantic import Field

from penstroke.config.settings import Settings
from penstroke.config.toml import read_toml
from penstroke.data.dataset import Dataset, Images, Labels
from penstroke.errors import ConfigError, DataError, StorageError
from penstroke.files import reason, write_text_atomically

FORMAT_VERSION = 1
_INDEX = "dataset.toml"


class StoredIndex(Settings):
    """The dataset.toml of a stored data set."""

    format_version: int = Field(description="of this folder's layout")
    name: str = Field(description="data set")
    title: str = Field("", description="one line for a list")
    classes: Annotated[tuple[str, ...], Field(strict=False)] = Field(description="class names")
    train_fingerprint: str = Field(description="SHA-256 of the training split")
    test_fingerprint: str = Field(description="SHA-256 of the test split")


def save(
    folder: Path, name: str, train: Dataset, test: Dataset, title: str = "",
    beside: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Place the two splits in `folder`, all of it or nothing; what was there is replaced.

    `beside` are texts to keep with them, by the name of their file.

    Raises:
        StorageError: it cannot be written; nothing is left behind.
    """
    index = StoredIndex(
        format_version=FORMAT_VERSION, name=name, title=title, classes=train.classes,
        train_fingerprint=train.fingerprint, test_fingerprint=test.fingerprint,
    )  # fmt: skip
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {reason(error)}") from error
    try:
        for split, dataset in (("train", train), ("test", test)):
            _write_npy(making / f"{split}-images.npy", dataset.images)
            _write_npy(making / f"{split}-labels.npy", dataset.labels)
        for file, text in (beside or {}).items():
            write_text_atomically(making / file, text)
        write_text_atomically(making / _INDEX, index.to_toml())
        _swap(making, folder)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {reason(error)}") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


def load(folder: Path) -> tuple[Dataset, Dataset]:
    """Return (train, test) from `folder`.

    Raises:
        DataError: it is not there, was written by a newer version, is damaged or was changed.
    """
    index = load_index(folder)
    splits = []
    for split, fingerprint in (
        ("train", index.train_fingerprint),
        ("test", index.test_fingerprint),
    ):
        dataset = Dataset(
            _read_npy(folder / f"{split}-images.npy"),
            _read_npy(folder / f"{split}-labels.npy").astype(np.int64, copy=False),
            index.classes,
        )
        if dataset.fingerprint != fingerprint:
            raise DataError(
                f"{folder}/{split}-*.npy has changed: its SHA-256 is not the recorded one"
            )
        splits.append(dataset)
    return splits[0], splits[1]


def load_index(folder: Path) -> StoredIndex:
    """Return what is known of the data set in `folder` without opening its arrays."""
    try:
        values = read_toml(folder / _INDEX)
        version = values.get("format_version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise DataError(
                f"{folder} was written by a newer Penstroke (format {version}): upgrade"
            )
        return StoredIndex.parse(values, source=str(folder / _INDEX))
    except ConfigError as error:
        raise DataError(f"{folder} is no stored data set: {error}") from error


def _swap(making: Path, folder: Path) -> None:
    """Rename `making` to `folder`, which is moved first: no rename goes over a full folder."""
    aside = making.with_name(f"{making.name}.old")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(aside)
    making.chmod(0o755)
    os.replace(making, folder)  # noqa: PTH105 - Path.replace reads as if it were a file
    shutil.rmtree(aside, ignore_errors=True)


def _write_npy(path: Path, array: Images | Labels) -> None:
    """Write without a copy in memory: 550 MB in EMNIST ByClass. The folder is what is placed."""
    with path.open("wb") as stream:
        np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
        stream.flush()
        os.fsync(stream.fileno())


def _read_npy(path: Path) -> Images:
    try:
        with warnings.catch_warnings(action="ignore"):  # of a header to be read with more patience
            # Mapped first: what a header promises is held against the file's length so.
            array: Images = np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError, SyntaxError, TypeError, TokenError) as error:
        raise DataError(f"{path} is missing or damaged: {error}") from error
    if array.dtype.kind not in "iu":
        raise DataError(f"{path} is damaged: it holds {array.dtype}")
    return array
