"""Importing somebody's IDX files: orientation and labels are mended once, at the door."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from penstroke.config.settings import IMAGE_SIZE
from penstroke.data import collected, store
from penstroke.data.catalogue import ROLES, Role, catalogue
from penstroke.data.dataset import Dataset, Images, Labels
from penstroke.data.idx import read_idx
from penstroke.errors import ConfigError, DataError

_IDX_NAME = re.compile(
    r"(?P<prefix>.*?)(?P<split>train|test|t10k)-(?P<kind>images|labels)[.-]idx[13]-ubyte(\.gz)?"
)
_DATASET_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


def import_idx(
    name: str,
    source: Path,
    destination: Path,
    *,
    transposed: bool | None = None,
    label_offset: int = 0,
    classes: tuple[str, ...] | None = None,
) -> tuple[Dataset, Dataset]:
    """Bring the IDX files at `source` into the stored data set `destination`.

    Args:
        name: what the data set is called from now on.
        source: a folder with one set of train and test files, or the beginning of their names.
        destination: folder to write.
        transposed: the images lie on their side, as EMNIST's do; None where nothing is said.
        label_offset: label of the first class in the files; 1 for EMNIST letters.
        classes: names of the classes; else those of a mapping.txt, else the numbers.

    Raises:
        ConfigError: the name is taken by the catalogue or is no plain word; or the files are
            EMNIST's, and nothing is said of how they lie.
        DataError: files are missing, damaged, or do not fit together; nothing is written.
    """
    check_name(name)
    files, prefix = _find_files(source)
    mapping = files["train_images"].with_name(f"{prefix}mapping.txt")
    if transposed is None and prefix.lower().startswith("emnist"):
        _ask_how_they_lie(files, prefix)
    named = classes or _read_mapping(mapping, label_offset)
    train, test = (
        _read_split(files, split, bool(transposed), label_offset, named)
        for split in ("train", "test")
    )
    named = named or tuple(str(k) for k in range(int(max(train[1].max(), test[1].max())) + 1))
    _check_labels(train[1], named, label_offset, files["train_labels"])
    _check_labels(test[1], named, label_offset, files["test_labels"])
    splits = Dataset(*train, named), Dataset(*test, named)
    store.save(destination, name, *splits, title=f"imported from {source.resolve()}")
    return splits


def holds_idx(source: Path) -> bool:
    """Return whether `source` is a folder of IDX files, or the beginning of their names."""
    if source.is_file():
        return False
    folder, prefix = (source, "") if source.is_dir() else (source.parent, source.name)
    if not folder.is_dir():
        return False
    return any(
        _IDX_NAME.fullmatch(path.name) and path.name.startswith(prefix) for path in folder.iterdir()
    )


def check_name(name: str) -> None:
    """Refuse a name that is no plain word or stands in the catalogue already."""
    if not _DATASET_NAME.fullmatch(name):
        raise ConfigError(f'"{name}" is no name for a data set: use a-z, 0-9 and -')
    if name in catalogue() or name == collected.NAME:
        raise ConfigError(
            f'"{name}" is in the catalogue already: choose another name, or, if yours is a copy of '
            f"that one, penstroke data download {name} --init-from PATH"
        )


def _find_files(source: Path) -> tuple[dict[Role, Path], str]:
    """Return the four files, and what all of their names begin with."""
    folder, wanted = (source, None) if source.is_dir() else (source.parent, source.name)
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    found: dict[str, dict[Role, Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _IDX_NAME.fullmatch(path.name)
        if match and (wanted is None or match["prefix"].rstrip("-") == wanted.rstrip("-")):
            split = "train" if match["split"] == "train" else "test"
            role = next(r for r in ROLES if r == f"{split}_{match['kind']}")
            found.setdefault(match["prefix"], {})[role] = path
    if not found:
        raise DataError(f"{source} holds no IDX files (…train-images-idx3-ubyte.gz and so on)")
    if len(found) > 1:
        choices = " or ".join(str(folder / prefix.rstrip("-")) for prefix in found)
        raise DataError(f"{source} holds several data sets: name one, {choices}")
    prefix, files = found.popitem()
    if missing := [role.replace("_", " ") for role in ROLES if role not in files]:
        raise DataError(f"{folder / prefix}…: {', '.join(missing)} missing")
    return files, prefix


def _ask_how_they_lie(files: dict[Role, Path], prefix: str) -> None:
    start = files["train_images"].with_name(prefix.rstrip("-"))
    first = int(read_idx(files["train_labels"], rank=1).min(initial=255))
    offset = f" --label-offset {first}" if 0 < first < 255 else ""
    raise ConfigError(
        f"{start}…: as EMNIST ships them, images lie on their side"
        + (f" and labels start at {first}" if offset else "")
        + f": add --transposed{offset}; or --upright, where they were turned since"
    )


def _read_split(
    files: dict[Role, Path],
    split: str,
    transposed: bool,
    label_offset: int,
    classes: tuple[str, ...] | None,
) -> tuple[Images, Labels]:
    image_file, label_file = (files[r] for r in ROLES if r.startswith(split))
    images, labels = read_idx(image_file, rank=3), read_idx(label_file, rank=1)
    if images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise DataError(f"{image_file}: images are {images.shape[1]}×{images.shape[2]}, not 28×28")
    if len(images) != len(labels):
        raise DataError(
            f"{image_file} holds {len(images)} images, but {label_file.name} {len(labels)} labels"
        )
    if not len(images):
        raise DataError(f"{image_file} holds no images")
    upright = np.ascontiguousarray(images.transpose(0, 2, 1)) if transposed else images
    return upright, labels.astype(np.int64) - label_offset


def _check_labels(labels: Labels, classes: tuple[str, ...], offset: int, path: Path) -> None:
    low, high = int(labels.min()) + offset, int(labels.max()) + offset
    if low < offset or high >= len(classes) + offset:
        raise DataError(
            f"{path}: labels run from {low} to {high}, but with {len(classes)} classes they should "
            f"run from {offset} to {offset + len(classes) - 1}; is --label-offset {low} meant?"
        )
    if low == offset + 1 and high == offset + len(classes) - 1:
        raise DataError(
            f"{path}: no image has label {offset}, the first class: labels seem to start at "
            f"{low}; give --label-offset {low}"
        )


def _read_mapping(path: Path, label_offset: int) -> tuple[str, ...] | None:
    """Return the class names in EMNIST's mapping.txt (label, then a character code or two)."""
    if not path.exists():
        return None
    names: dict[int, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            label, *codes = (int(word) for word in line.split())
            names[label] = "".join(map(chr, codes))
        except (ValueError, OverflowError) as error:
            raise DataError(f"{path}, line {number}: expected a label and codes: {line}") from error
    first = min(names, default=0)
    if sorted(names) != list(range(first, first + len(names))) or first != label_offset:
        raise DataError(f"{path}: its labels start at {first}; is --label-offset {first} meant?")
    return tuple(names[label] for label in sorted(names))
