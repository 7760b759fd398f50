"""`collected`: images that were drawn or corrected on the page, as a data set.

Each image is one JSON file, whole or absent, named by its time, with the 28×28 that the network
read, the label a person gave, and what it was drawn from. An image's split follows from its name:
as the collection grows, no image moves from training to validation or to the test.
"""

import base64
import binascii
import contextlib
import io
import json
import secrets
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field, field_validator

from penstroke.config.class_names import MAX_CLASS_NAME, check_class_name
from penstroke.config.settings import IMAGE_SIZE, Settings
from penstroke.data.dataset import Dataset, Images
from penstroke.errors import ConfigError, DataError
from penstroke.files import data_root, reason, sha256, write_text_atomically

NAME = "collected"
TITLE = "images drawn and labelled on the page of `penstroke serve`"
FORMAT_VERSION = 1
MAX_IMAGES = 100_000
MAX_BYTES = 1_000_000_000

Split = Literal["train", "validation", "test"]
_SPLITS: tuple[Split, ...] = ("test", "validation", "train", "train", "train")


class Answer(Settings):
    """What a network read."""

    label: str | None = Field(
        None, max_length=MAX_CLASS_NAME, description="class, if it was certain"
    )
    probability: float = Field(ge=0, le=1, description="probability of that class")
    model: str = Field(max_length=200, description="name of the model")


class Collected(Settings):
    """One image of the collection, as it lies on disk."""

    format_version: int = Field(FORMAT_VERSION, description="format of this file")
    label: str = Field(description="label that a person gave")
    created: str = Field(description="time, in UTC")
    input_image: str = Field(description="28×28 that a network reads: grey PNG in base64")
    image: str | None = Field(None, description="original image: PNG in base64")
    strokes: dict[str, Any] | None = Field(None, description="strokes as they were drawn")
    answer: Answer | None = Field(None, description="what a network read")

    _check_label = field_validator("label")(check_class_name)

    @property
    def pixels(self) -> Images:
        """The image (28, 28) uint8, ink bright on dark; ValueError if it is damaged."""
        try:
            content = io.BytesIO(base64.b64decode(self.input_image, validate=True))
            pixels = np.asarray(Image.open(content, formats=("PNG",)).convert("L"), np.uint8)
        except (binascii.Error, OSError, SyntaxError) as error:
            raise ValueError(f"input_image: {error}") from error
        if pixels.shape != (IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(f"input_image: {pixels.shape}, not 28×28")
        return pixels


def folder() -> Path:
    """Return where the collection is kept: beside the downloaded data sets."""
    return data_root() / NAME


def add(image: Collected) -> str:
    """Write `image`, whole or not at all, and return its new name.

    Raises ConfigError if the collection is full, StorageError if it cannot be written.
    """
    text = json.dumps(image.to_dict(), ensure_ascii=False) + "\n"
    sizes = list(map(_size, folder().glob("*")))
    if len(sizes) >= MAX_IMAGES or sum(sizes) + len(text.encode()) > MAX_BYTES:
        raise ConfigError(
            f"{folder()} is full ({MAX_IMAGES:,} images or {MAX_BYTES / 1e9:g} GB): move some away"
        )
    name = f"{time.time_ns():016x}-{secrets.token_hex(4)}"
    write_text_atomically(folder() / f"{name}.json", text)
    return name


def remove(name: str) -> bool:
    """Delete the image `name`, which is never used as a path; return whether there was one."""
    for path in folder().glob("*.json"):
        if path.stem == name:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                return True
    return False


@lru_cache(maxsize=MAX_IMAGES)
def _size(path: Path) -> int:
    """Return the size of a file of the collection; files are written once and never changed."""
    with contextlib.suppress(FileNotFoundError):  # removed since it was listed
        return path.stat().st_size
    return 0


def names() -> list[str]:
    """Return the names of all images, oldest first."""
    return sorted(path.stem for path in folder().glob("[!.]*.json"))


def read(wanted: Iterable[str]) -> dict[str, Collected]:
    """Return those images that are still there: one may be removed at any moment.

    Raises DataError if a file is damaged or of a newer version.
    """
    images = {}
    for name in sorted(wanted):
        path = folder() / f"{name}.json"
        try:
            values = json.loads(path.read_bytes())
            if values["format_version"] > FORMAT_VERSION:
                raise DataError(f"{path} was written by a newer Penstroke: upgrade")
            images[name] = Collected.parse(values, source=str(path))
            _ = images[name].pixels
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DataError(f"cannot read {path}: {reason(error)}") from error
        except (ValueError, KeyError, TypeError, RecursionError, ConfigError) as error:
            raise DataError(f"{path} is damaged: {error}; move it away") from error
    return images


def labels(known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the labels of all images by name, oldest first; those `known` are not read again."""
    known = known or {}
    added = read(set(names()) - known.keys())
    return {n: known.get(n) or added[n].label for n in names() if n in known or n in added}


def split_of(name: str) -> Split:
    """Return the split of the image `name`: of five, one is for validation and one for the test."""
    return _SPLITS[int(sha256(name.encode())[:8], 16) % len(_SPLITS)]


def load() -> tuple[Dataset, Dataset, npt.NDArray[np.bool_]]:
    """Return (train, test, which of train are for validation) of what has been collected so far.

    Classes are the labels, sorted. Raises DataError if a file is damaged, or there is nothing to
    train on yet.
    """
    images = read(names())
    splits = {name: split_of(name) for name in images}
    test = [image for name, image in images.items() if splits[name] == "test"]
    train = [image for name, image in images.items() if splits[name] != "test"]
    if "train" not in splits.values():
        raise DataError(
            f"{folder()} holds no training images yet, {len(test)} in all: draw on the page of "
            "`penstroke serve`, and label what you draw"
        )
    classes = tuple(sorted({image.label for image in images.values()}))
    is_validation = [split == "validation" for split in splits.values() if split != "test"]
    return _dataset(train, classes), _dataset(test, classes), np.array(is_validation, bool)


def _dataset(decoded: list[Collected], classes: tuple[str, ...]) -> Dataset:
    images = np.array([image.pixels for image in decoded], np.uint8)
    labels = np.array([classes.index(image.label) for image in decoded], np.int64)
    return Dataset(images.reshape(-1, IMAGE_SIZE, IMAGE_SIZE), labels, classes)
