"""From a name to checked arrays: catalogue, imports, the collection, and unions of them."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from penstroke.config.settings import DataConfig
from penstroke.data import collected, store
from penstroke.data.catalogue import ROLES, DataFile, Manifest, Role, catalogue
from penstroke.data.dataset import Dataset, DataSplits, Writers, concatenate, united_classes
from penstroke.data.download import explain_mismatch
from penstroke.data.idx import decode_idx, to_dataset
from penstroke.data.lines import LineDataset, LineSplits
from penstroke.data.splitting import split, split_lines, stratified_split
from penstroke.errors import ConfigError, DataError, MissingExtraError, StorageError, near_match
from penstroke.files import cache_root, data_root, explained, sha256
from penstroke.preprocessing.decoding import read_grey
from penstroke.preprocessing.ink import find_ink, normalize

Pair = tuple[Dataset, Dataset]
"""Training images and test images."""
_DIGITS_TEST_IMAGES = 360
"""A fifth, drawn class by class with seed 0: scikit-learn ships no split of its own."""
_WRITER_COLUMN = 2
"""Of QMNIST's table, after class and NIST series."""
_DIGITS_VERSION = 1
"""Of how preprocessing maps these images: raised whenever one pixel of them changes."""


def load_dataset(config: DataConfig | str) -> DataSplits:
    """Return the training, validation and sealed test images that `config` asks for.

    A name alone stands for `DataConfig(dataset=name)`; `a+b` is a union.

    The fingerprint is that of the whole data set: which of its images are excluded, held out or
    trained on follows from the settings, which are recorded beside it.

    Raises:
        ConfigError: the data set is unknown, has fewer images than the split needs, or lacks an
            image that is to be excluded.
        DataError: its files are missing, damaged or changed, naming the file; or there is nothing
            to test with.

    Examples:
        >>> import penstroke
        >>> data = penstroke.load_dataset("digits")
        >>> len(data.train), len(data.validation), len(data.test)
        (1293, 144, 360)
    """
    if isinstance(config, str):
        config = DataConfig(dataset=config)
    names = _names(config)
    loaded = [_load_one(name) for name in names]
    parts = [pair for pair, _ in loaded]
    train, test = parts[0]
    if len(parts) > 1 or config.classes:
        classes = united_classes([split for part in parts for split in part], config.classes or ())
        train, test = (concatenate(splits, classes) for splits in zip(*parts, strict=True))
    if config.validates and not config.folds and not len(test):
        raise DataError(  # looking at the data, or folds, need no test split
            f"{config.dataset} has {len(train)} images to train on, but none to test with yet: "
            "add a few more, or use `penstroke train --folds 5`, which needs none"
        )
    together = _kept_together(names, [part for part, _ in parts], config)
    return split(train, test, config, [(pair[0].labels, fixed) for pair, fixed in loaded], together)


def load_lines(config: DataConfig | str) -> LineSplits:
    """Return the training, validation and sealed test lines that `config` asks for.

    As `load_dataset`, for imported data sets of lines; the alphabet of a union is that of all its
    parts.
    """
    if isinstance(config, str):
        config = DataConfig(dataset=config)
    names = _names(config)
    known = [name for name in imported_names() if holds_lines(name)]
    for name in names:
        if name not in known:
            others = [*catalogue(), *imported_names(), collected.NAME]
            problem = f'"{name}" holds characters, not lines'
            if name not in others:
                problem = f'unknown data set of lines "{name}"{near_match(name, known)}'
            raise ConfigError(
                f"data.dataset: {problem}; `penstroke data import NAME SOURCE --lines` makes one, "
                f"and there {'are' if known else 'is'} {', '.join(known) or 'none'}"
            )
    parts = [store.load_lines(imported_folder(name)) for name in names]
    return split_lines(parts, config, _kept_together(names, [train for train, _ in parts], config))


def holds_lines(name: str) -> bool:
    """Return whether `name` is, or begins with, a data set of lines, and not of characters."""
    first = name.split("+")[0]
    return first in imported_names() and (
        store.load_index(imported_folder(first)).alphabet is not None
    )


def _names(config: DataConfig) -> list[str]:
    names = config.dataset.split("+")
    if len(set(names)) < len(names):
        raise ConfigError(f'data.dataset: "{config.dataset}" names a data set twice')
    return names


def _kept_together(
    names: list[str], parts: Sequence[Dataset | LineDataset], config: DataConfig
) -> Writers | None:
    """Return the writer of each training image that is split by writer, "" of others; None: none.

    By default the catalogue's data sets are split by image, as their published runs were.
    """
    if config.split_by == "image":
        return None
    by_image, least = ({}, 1) if config.split_by else (catalogue(), 2)
    together = np.concatenate([
        np.full(len(part), "")
        if part.writers is None or name in by_image or part.writer_count < least
        else part.writers
        for name, part in zip(names, parts, strict=True)
    ])  # fmt: skip
    if (together != "").any():
        return together
    if config.split_by:
        raise ConfigError(
            f"data.split_by: the writers of {config.dataset} are not known; see the section "
            "Writers in docs/importing-data.md"
        )
    return None


def imported_folder(name: str) -> Path:
    """Return where the imported data set `name` is kept."""
    return cache_root() / "imported" / name


def imported_names() -> list[str]:
    """Return the names of the imported data sets, sorted."""
    return sorted(p.parent.name for p in imported_folder("").glob(f"[a-z0-9]*/{store.INDEX}"))


def _load_one(name: str) -> tuple[Pair, npt.NDArray[np.bool_] | None]:
    """Return the data set `name`, and which of its training images are for validation, if fixed."""
    manifests = catalogue()
    if name == collected.NAME:
        train, test, is_validation = collected.load()
        return (train, test), is_validation
    if name in manifests:
        return _load_catalogued(manifests[name]), None
    if name in imported_names():
        if holds_lines(name):
            raise ConfigError(
                f'data.dataset: "{name}" holds lines of text, not characters; `penstroke data '
                "list` shows which data sets hold characters"
            )
        return store.load(imported_folder(name)), None
    known = [*manifests, *imported_names(), collected.NAME]
    raise ConfigError(
        f'data.dataset: unknown data set "{name}"{near_match(name, known)}; '
        f"`penstroke data list` shows {', '.join(known)}"
    )


def _load_catalogued(manifest: Manifest) -> Pair:
    if not manifest.files:
        try:
            package = version("scikit-learn")
        except PackageNotFoundError:
            raise MissingExtraError.for_extra("train", "scikit-learn") from None
        key = sha256(f"{package} {_DIGITS_VERSION}".encode())
        return _cached(manifest.name, key, lambda: _build_digits(manifest))
    # The files are hashed at each loading (12 MB of MNIST: 10 ms), so that a change is always
    # noticed; their decoded form is kept from the first time.
    contents = {file.role: _read_verified(manifest, file) for file in manifest.files}
    key = sha256("".join(file.sha256 for file in manifest.files).encode())
    train, test = _cached(manifest.name, key, lambda: _decode(manifest, contents))
    return _with_writers(train, manifest, 0), _with_writers(test, manifest, 1)


def _with_writers(dataset: Dataset, manifest: Manifest, split: int) -> Dataset:
    """Return the training (0) or test images (1) with their writers, if the table is there."""
    paths = [data_root() / table.name for table in manifest.writers]
    if not paths or not all(path.exists() for path in paths):
        return dataset
    path, table = paths[split], manifest.writers[split]
    with explained(f"read {path}", DataError):
        content = path.read_bytes()
    if sha256(content) != table.sha256:
        raise DataError(
            f"{path} is damaged or was changed: its SHA-256 is not the catalogue's; remove it, or "
            f"replace it by `penstroke data download {manifest.name} --writers`"
        )
    rows = decode_idx(content, rank=2, name=str(path), dtype=">i4")
    writers = rows[: len(dataset), _WRITER_COLUMN]
    return replace(dataset, writers=writers.astype(str))


def _build_digits(manifest: Manifest) -> Pair:
    """Return the 8×8 images of 17 grey levels that come with scikit-learn, brought to 28×28."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # 16 of 16 is full ink; the border shows preprocessing that the ground is dark.
    levels = np.pad((bunch.images * 255 / 16).astype(np.uint8), ((0, 0), (2, 2), (2, 2)))
    # Nothing else is in these images: a threshold finds the ink.
    inks = [find_ink(read_grey(level), alone=False) for level in levels]
    images = np.stack([normalize(ink).pixels for ink in inks])
    everything = Dataset(images, bunch.target.astype(np.int64), manifest.classes)
    train, test = stratified_split(everything.labels, _DIGITS_TEST_IMAGES, seed=0)
    return everything.subset(train), everything.subset(test)


def _read_verified(manifest: Manifest, file: DataFile) -> bytes:
    path = data_root() / manifest.name / file.name
    command = f"`penstroke data download {manifest.name}`"
    with explained(f"read {path}", DataError):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise DataError(
                f"{path} is missing: {command} downloads it ({manifest.size_bytes / 1e6:.0f} MB), "
                f"or set PENSTROKE_DATA to the folder that holds {manifest.name}/{file.name}"
            ) from None
    if sha256(content) != file.sha256:
        raise DataError(f"{path} {explain_mismatch(path, file, manifest)}; {command} replaces it")
    return content


def _decode(manifest: Manifest, contents: dict[Role, bytes]) -> Pair:
    train, test = (
        to_dataset(
            decode_idx(contents[images], rank=3, name=images),
            decode_idx(contents[labels], rank=1, name=labels),
            manifest.classes, manifest.transposed, manifest.label_offset,
        )
        for images, labels in (ROLES[:2], ROLES[2:])
    )  # fmt: skip
    return train, test


def _cached(name: str, key: str, build: Callable[[], Pair]) -> Pair:
    """Return the decoded splits kept under `key`, or build and keep them."""
    folder = cache_root() / "decoded" / f"{name}-{key[:16]}"
    with contextlib.suppress(DataError):
        return store.load(folder)
    splits = build()
    with contextlib.suppress(StorageError):  # a cache that cannot be written only costs time
        store.save(folder, name, *splits)
    return splits
