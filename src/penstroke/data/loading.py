"""From a name to verified arrays: catalogue, downloads, IDX files, imports, seeded splits."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from penstroke.config.settings import DataConfig
from penstroke.data import collected, digits, store
from penstroke.data.catalogue import ROLES, DataFile, Manifest, Role, catalogue
from penstroke.data.dataset import (
    Dataset,
    DataSplits,
    Images,
    Labels,
    SealedTest,
    sealed,
    stratified_folds,
    stratified_split,
)
from penstroke.data.fetching import what_it_is
from penstroke.data.idx import decode_idx
from penstroke.data.union import SIGN, united, united_classes
from penstroke.errors import ConfigError, DataError, StorageError, near_match
from penstroke.files import cache_root, data_root, reason, sha256

__all__ = [
    "DataSplits",
    "Dataset",
    "Images",
    "Labels",
    "SealedTest",
    "imported_folder",
    "imported_names",
    "load_dataset",
    "sealed",
    "split",
    "stratified_split",
]


Rows = npt.NDArray[np.int64]
_MOST_RAISED_TO = 0.1


def load_dataset(config: DataConfig | str) -> DataSplits:
    """Return the training, validation and sealed test images that `config` asks for.

    A name alone stands for `DataConfig(dataset=name)`.

    Its fingerprint is that of the data set as it comes: which of its images are left out, held
    out or trained on is said by the settings, beside which a record keeps it.

    Raises:
        ConfigError: no data set of that name, fewer images than the split needs, or one to be
            left out that is not there.
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
    parts = _open(config.dataset)
    whole, test = _united(parts)
    if config.validates and not config.folds and not len(test):
        raise DataError(  # who only looks at it, or cuts it into folds, asks for no test split
            f"{config.dataset} has {len(whole)} images to train on, but none to test with yet: "
            "it takes a few more, or `penstroke train --folds 5`, which needs none"
        )
    return split(whole, test, config, [part.labels for part, _ in parts])


def split(
    whole: Dataset, test: Dataset, config: DataConfig, parts: Sequence[Labels] | None = None
) -> DataSplits:
    """Return `whole` cut into training and validation images as `config` says, `test` sealed.

    `config.dataset` is only its name here: the images may come from anywhere. `parts` are the
    labels of each data set in a union, which are split one by one; else `whole` is one.

    Raises:
        ConfigError: fewer images than the split needs, or one to be left out that is not there.
    """
    left = _left_in(whole, config)
    _refuse_small_classes(whole.labels[left], whole.classes, config)
    train, validation = _held_out(parts or [whole.labels], left, config)
    if config.max_train_images is not None:
        if config.max_train_images > len(train):
            raise ConfigError(
                f"data.max_train_images: {config.max_train_images} images are asked for, "
                f"{len(train)} are left for training in {config.dataset}"
            )
        _, kept = stratified_split(whole.labels[train], config.max_train_images, config.split_seed)
        train = train[kept]
    return DataSplits(
        name=config.dataset,
        train=whole.take(train),
        validation=whole.take(validation),
        test=SealedTest(test),
        fingerprint=sha256(f"{whole.fingerprint} {test.fingerprint}".encode()),
    )


def _left_in(whole: Dataset, config: DataConfig) -> Rows:
    """Return the rows of `whole` that are not to be left out."""
    rows = np.arange(len(whole))
    if config.exclude is None:
        return rows
    last = config.exclude[-1]
    if last >= len(whole):
        raise ConfigError(
            f"data.exclude: there is no training image {last} in {config.dataset}, which has "
            f"{len(whole)}, the first being 0"
        )
    if len(config.exclude) == len(whole):
        raise ConfigError(f"data.exclude: it leaves no training image of {config.dataset}")
    return np.delete(rows, config.exclude)


def _held_out(parts: Sequence[Labels], left: Rows, config: DataConfig) -> tuple[Rows, Rows]:
    """Return the rows of (training, validation), of all parts of a union.

    Each part is split as it would be alone: what a run on one of them validates on, a run on the
    union never trains on, so that the one can begin from the other (`penstroke train --init-from`).
    """
    training, validation = [], []
    first = 0
    for labels in parts:
        rows = left[(left >= first) & (left < first + len(labels))]
        train, held_out = _split(labels[rows - first], config)
        training.append(rows[train])
        validation.append(rows[held_out])
        first += len(labels)
    return np.concatenate(training), np.concatenate(validation)


def _split(labels: Labels, config: DataConfig) -> tuple[Rows, Rows]:
    """Return indices of (training, validation) in the images of one data set."""
    if config.folds is not None:
        folds = stratified_folds(labels, config.folds, config.split_seed)
        rest = [fold for index, fold in enumerate(folds) if index != config.fold]
        return np.sort(np.concatenate(rest)), folds[config.fold or 0]
    count = round(_share_held_out(np.bincount(labels), config) * len(labels))
    return stratified_split(labels, count, config.split_seed, from_each=True)


def _share_held_out(counts: Labels, config: DataConfig) -> float:
    """Return the share to validate on: of small data more, up to a tenth, for one of each class."""
    if not config.validation_fraction or not counts.any():
        return 0.0
    rarest = int(counts[counts > 0].min())
    return max(config.validation_fraction, min(_MOST_RAISED_TO, 0.51 / rarest))


def _refuse_small_classes(labels: Labels, classes: Sequence[str], config: DataConfig) -> None:
    """Refuse data whose rarest class would leave nothing to validate on."""
    counts = np.bincount(labels, minlength=len(classes))
    present = np.flatnonzero(counts)
    rarest = int(present[counts[present].argmin()])
    share = 1 / config.folds if config.folds else _share_held_out(counts, config)
    if not share or round(share * int(counts[rarest])) >= 1:
        return
    found = (
        f'{config.dataset} has {counts[rarest]} training images of "{classes[rarest]}", too few to'
    )
    if config.folds:
        raise ConfigError(f"data.folds: {found} cut them into {config.folds} folds: ask for fewer")
    raise ConfigError(
        f"data.validation_fraction: {found} hold {share:g} of them out: raise "
        "it, or set data.validation_fraction=0 and train.checkpoint_metric=last"
    )


def _open(name: str) -> list[tuple[Dataset, Dataset]]:
    """Return (train, test) of each part of the data set `name`, verified; see `load_dataset`."""
    names = name.split(SIGN)
    if len(set(names)) < len(names):
        raise ConfigError(f'data.dataset: "{name}" names a data set twice')
    return [_open_one(part) for part in names]


def _united(parts: list[tuple[Dataset, Dataset]]) -> tuple[Dataset, Dataset]:
    """Return training images with training images, test with test."""
    if len(parts) == 1:
        return parts[0]
    classes = united_classes([split for part in parts for split in part])
    train, test = (united(splits, classes) for splits in zip(*parts, strict=True))
    return train, test


def _open_one(name: str) -> tuple[Dataset, Dataset]:
    manifests = catalogue()
    if name == collected.NAME:
        return collected.load()
    if name in manifests:
        return _open_catalogued(manifests[name])
    if name in imported_names():
        return store.load(imported_folder(name))
    known = [*manifests, *imported_names(), collected.NAME]
    raise ConfigError(
        f'data.dataset: there is no data set "{name}"{near_match(name, known)}; '
        f"`penstroke data list` shows {', '.join(known)}"
    )


def imported_folder(name: str) -> Path:
    """Return where the imported data set `name` is kept."""
    return cache_root() / "imported" / name


def imported_names() -> list[str]:
    """Return the names of the imported data sets, sorted."""
    folder = imported_folder("")
    return sorted(p.parent.name for p in folder.glob("[a-z0-9]*/dataset.toml"))


def _open_catalogued(manifest: Manifest) -> tuple[Dataset, Dataset]:
    if not manifest.files:
        return _cached(manifest.name, digits.cache_key(), lambda: digits.build(manifest))
    # The files are hashed at every opening (12 MB of MNIST: 10 ms), so that a change is always
    # noticed; what is kept from the first time is their decoded form.
    contents = {file.role: _read_verified(manifest, file) for file in manifest.files}
    key = sha256("".join(file.sha256 for file in manifest.files).encode())
    return _cached(manifest.name, key, lambda: _decode(manifest, contents))


def _read_verified(manifest: Manifest, file: DataFile) -> bytes:
    path = data_root() / manifest.name / file.name
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(
            f"{path} is not there: `penstroke data download {manifest.name}` brings it "
            f"({manifest.size_bytes / 1e6:.0f} MB), or point PENSTROKE_DATA to where it is"
        ) from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    if sha256(content) != file.sha256:
        raise DataError(
            f"{path} {what_it_is(path, file, manifest)}; "
            f"`penstroke data download {manifest.name}` replaces it"
        )
    return content


def _decode(manifest: Manifest, contents: dict[Role, bytes]) -> tuple[Dataset, Dataset]:
    arrays = {
        role: decode_idx(contents[role], rank=3 if role.endswith("images") else 1, name=role)
        for role in ROLES
    }
    splits = []
    for split in ("train", "test"):
        images, labels = (arrays[role] for role in ROLES if role.startswith(split))
        upright = images.transpose(0, 2, 1) if manifest.transposed else images
        numbers = labels.astype(np.int64) - manifest.label_offset
        splits.append(Dataset(np.ascontiguousarray(upright), numbers, manifest.classes))
    return splits[0], splits[1]


def _cached(
    name: str, key: str, build: Callable[[], tuple[Dataset, Dataset]]
) -> tuple[Dataset, Dataset]:
    """Return the decoded splits kept under `key`, or build and keep them."""
    folder = cache_root() / "decoded" / f"{name}-{key[:16]}"
    with contextlib.suppress(DataError):
        return store.load(folder)
    splits = build()
    with contextlib.suppress(StorageError):  # a cache that cannot be written only costs time
        store.save(folder, name, *splits)
    return splits
