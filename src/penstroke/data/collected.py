"""`collected`: images drawn and corrected on the page, one after the other, a data set like any.

Each image is one JSON file that is whole or not there, named by when it came, with what the
network read as 28×28, the label a person gave, and all that it was drawn from. An image's split
follows from its own name: as the collection grows, no image moves from training to the test.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import json
import secrets
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image
from pydantic import Field, model_validator

from penstroke.config.settings import IMAGE_SIZE, Settings
from penstroke.data.dataset import Dataset, Images
from penstroke.errors import ConfigError, DataError
from penstroke.files import cache_root, reason, sha256, write_text_atomically

NAME = "collected"
TITLE = "images drawn and labelled on the page of `penstroke serve`"
FORMAT_VERSION = 1
MAX_IMAGES = 100_000
_TEST_SHARE = 5
"""One image in so many belongs to the test split."""


class Answer(Settings):
    """What a network said of the image."""

    label: str | None = Field(None, max_length=32, description="the class it read, if any")
    probability: float = Field(ge=0, le=1, description="that it gave it")
    model: str = Field(max_length=200, description="its name")


class Collected(Settings):
    """One image of the collection, as it lies on disk."""

    format_version: int = Field(FORMAT_VERSION, description="of this file")
    label: str = Field(min_length=1, max_length=32, description="what a person says it shows")
    created: str = Field(description="when, in UTC")
    input_image: str = Field(description="the 28×28 that a network reads: grey PNG in base64")
    image: str | None = Field(None, description="the image as it came: PNG in base64")
    strokes: dict[str, Any] | None = Field(None, description="as they were drawn")
    answer: Answer | None = Field(None, description="what a network said of it")

    @model_validator(mode="after")
    def _be_printable(self) -> Self:
        check_label(self.label)
        return self

    @property
    def pixels(self) -> Images:
        """The image (28, 28) uint8, ink bright on dark."""
        return _decoded(self.input_image)


def check_label(label: str) -> None:
    """Raise ValueError where `label` is blank or holds what cannot be printed."""
    if not label.isprintable() or label != label.strip() or not label:
        raise ValueError("label: 1 to 32 printable characters, without blanks around them")


def folder() -> Path:
    """Return where the collection is kept."""
    return cache_root() / "imported" / NAME


def add(image: Collected) -> str:
    """Write `image`, whole or not at all, and return its new name.

    Raises:
        ConfigError: the collection is full.
        StorageError: it cannot be written.
    """
    if len(names()) >= MAX_IMAGES:
        raise ConfigError(f"{folder()} holds {MAX_IMAGES:,} images: move some away")
    name = f"{time.time_ns():016x}-{secrets.token_hex(4)}"
    text = json.dumps(image.to_dict(), ensure_ascii=False)
    write_text_atomically(folder() / f"{name}.json", text + "\n")
    return name


def remove(name: str) -> bool:
    """Delete the image `name`; return whether there was one. `name` is only ever compared."""
    for path in folder().glob("*.json"):
        if path.stem == name:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                return True
    return False


def names() -> list[str]:
    """Return the names of all images, oldest first."""
    return sorted(path.stem for path in folder().glob("[!.]*.json"))


def read(name: str) -> Collected:
    """Return the image `name`, which is one of `names()`.

    Raises:
        DataError: its file is missing, damaged or of a newer version.
    """
    path = folder() / f"{name}.json"
    try:
        return _parse(path, path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error


def labels(known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the label of each image by its name, oldest first; those `known` are not read again.

    Raises:
        DataError: a file is damaged or of a newer version.
    """
    known = known or {}
    added = _read_all(set(names()) - known.keys())
    return {n: known.get(n) or added[n].label for n in names() if n in known or n in added}


def is_test(name: str) -> bool:
    """Return whether the image `name` belongs to the test split: one in five, by its name."""
    return int(sha256(name.encode())[:8], 16) % _TEST_SHARE == 0


def load() -> tuple[Dataset, Dataset]:
    """Return (train, test) of what has been collected so far; classes are the labels, sorted.

    Raises:
        DataError: a file is damaged, or there is nothing to train on yet.
    """
    found = _read_all(names())
    if all(map(is_test, found)):
        raise DataError(
            f"{folder()} holds no training images yet, {len(found)} in all: draw on the page of "
            "`penstroke serve`, and say what it shows"
        )
    classes = tuple(sorted({image.label for image in found.values()}))
    train = [image for name, image in found.items() if not is_test(name)]
    test = [image for name, image in found.items() if is_test(name)]
    return _dataset(train, classes), _dataset(test, classes)


def encoded(content: bytes) -> str:
    """Return the bytes of a PNG as they stand in a file."""
    return base64.b64encode(content).decode()


def _read_all(wanted: Iterable[str]) -> dict[str, Collected]:
    """Return the images that are still there: one may be taken back at any moment."""
    found = {}
    for name in sorted(wanted):
        path = folder() / f"{name}.json"
        with contextlib.suppress(FileNotFoundError):
            found[name] = _parse(path, path.read_bytes())
    return found


def _parse(path: Path, content: bytes) -> Collected:
    try:
        values: Mapping[str, Any] = json.loads(content)
        if values["format_version"] > FORMAT_VERSION:
            raise DataError(f"{path} was written by a newer Penstroke: upgrade")
        found = Collected.parse(values, source=str(path))
        _ = found.pixels
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise DataError(f"{path} is damaged: {error}; move it away") from error
    return found


def _dataset(decoded: list[Collected], classes: tuple[str, ...]) -> Dataset:
    images = np.zeros((len(decoded), IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for index, image in enumerate(decoded):
        images[index] = image.pixels
    labels = np.array([classes.index(image.label) for image in decoded], np.int64)
    return Dataset(images, labels, classes)


def _decoded(text: str) -> Images:
    try:
        image = Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",))
        pixels = np.asarray(image.convert("L"), np.uint8)
    except (binascii.Error, OSError, SyntaxError) as error:
        raise ValueError(f"input_image: {error}") from error
    if pixels.shape != (IMAGE_SIZE, IMAGE_SIZE):
        raise ValueError(f"input_image: {pixels.shape}, not 28×28")
    return pixels
