"""Importing IDX files as a data set: orientation and labels are fixed once, here."""

import re
from pathlib import Path

import numpy as np

from penstroke.config.settings import IMAGE_SIZE
from penstroke.data import store
from penstroke.data.catalogue import ROLES, Role
from penstroke.data.dataset import Dataset, Images, Labels
from penstroke.data.idx import read_idx
from penstroke.data.loading import check_new_name
from penstroke.errors import ConfigError, DataError

_IDX_NAME = re.compile(
    r"(?P<prefix>.*?)(?P<split>train|test|t10k)-(?P<kind>images|labels)[.-]idx[13]-ubyte(\.gz)?"
)


def import_idx(
    name: str,
    source: Path,
    destination: Path,
    *,
    transposed: bool | None = None,
    label_offset: int = 0,
    classes: tuple[str, ...] | None = None,
) -> tuple[Dataset, Dataset]:
    """Bring the IDX files at `source` into the stored data set `destination`; return its splits.

    `source` is a folder with one set of train and test files, or the beginning of their names.
    `transposed` images are stored as in EMNIST; None if that is not known. `label_offset` is the
    label of the first class in the files: 1 for EMNIST letters. The `classes` are else those of a
    mapping.txt, else the numbers.

    Raises:
        ConfigError: the name is taken or not valid; or the files are EMNIST's, and `transposed`
            is None.
        DataError: files are missing, damaged, or do not fit together; nothing is written.
    """
    check_new_name(name)
    files, prefix = _find_files(source)
    if transposed is None and prefix.lower().startswith("emnist"):
        first = int(read_idx(files["train_labels"], rank=1).min(initial=255))
        offset = f" --label-offset {first}" if 0 < first < 255 else ""
        raise ConfigError(
            f"{files['train_images'].with_name(prefix.rstrip('-'))}…: EMNIST stores images "
            f"transposed{f', and labels start at {first}' if offset else ''}: add "
            f"--transposed{offset}; or --upright, if they were turned since"
        )
    mapping = files["train_images"].with_name(f"{prefix}mapping.txt")
    names = classes or _read_mapping(mapping, label_offset)
    train, test = (
        _read_split(files[images], files[labels], bool(transposed), label_offset)
        for images, labels in (ROLES[:2], ROLES[2:])
    )
    names = names or tuple(str(k) for k in range(int(max(train[1].max(), test[1].max())) + 1))
    for (_, labels), role in ((train, ROLES[1]), (test, ROLES[3])):
        _check_labels(labels, names, label_offset, files[role])
    splits = Dataset(*train, names), Dataset(*test, names)
    store.save(destination, name, *splits, title=f"imported from {source.resolve()}")
    return splits


def holds_idx(source: Path) -> bool:
    """Return whether `source` is a folder of IDX files, or the beginning of their names."""
    if source.is_file():
        return False
    folder, prefix = (source, "") if source.is_dir() else (source.parent, source.name)
    return folder.is_dir() and any(
        _IDX_NAME.fullmatch(path.name) and path.name.startswith(prefix) for path in folder.iterdir()
    )


def _find_files(source: Path) -> tuple[dict[Role, Path], str]:
    """Return the four files, and the prefix of their names."""
    folder, wanted = (source, None) if source.is_dir() else (source.parent, source.name)
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    by_prefix: dict[str, dict[Role, Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _IDX_NAME.fullmatch(path.name)
        if match and (wanted is None or match["prefix"].rstrip("-") == wanted.rstrip("-")):
            split = "train" if match["split"] == "train" else "test"
            role = next(r for r in ROLES if r == f"{split}_{match['kind']}")
            by_prefix.setdefault(match["prefix"], {})[role] = path
    if not by_prefix:
        raise DataError(f"{source} holds no IDX files (…train-images-idx3-ubyte.gz and so on)")
    if len(by_prefix) > 1:
        choices = " or ".join(str(folder / prefix.rstrip("-")) for prefix in by_prefix)
        raise DataError(f"{source} holds several data sets: choose one, {choices}")
    prefix, files = by_prefix.popitem()
    if missing := [role.replace("_", " ") for role in ROLES if role not in files]:
        raise DataError(f"{folder / prefix}…: {', '.join(missing)} missing")
    return files, prefix


def _read_split(
    image_file: Path, label_file: Path, transposed: bool, label_offset: int
) -> tuple[Images, Labels]:
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
    last = len(classes) + offset - 1
    if low < offset or high > last:
        raise DataError(
            f"{path}: labels run from {low} to {high}, but with {len(classes)} classes they should "
            f"run from {offset} to {last}; did you mean --label-offset {low}?"
        )
    if low == offset + 1 and high == last:
        raise DataError(
            f"{path}: no image has label {offset}, the first class; labels seem to start at "
            f"{low}: add --label-offset {low}"
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
        raise DataError(f"{path}: labels start at {first}; did you mean --label-offset {first}?")
    return tuple(names[label] for label in sorted(names))
