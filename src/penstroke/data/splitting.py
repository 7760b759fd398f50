"""Seeded splits: training, validation and test, folds, and the test images of an import."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from penstroke.config.settings import DataConfig
from penstroke.data.dataset import Dataset, DataSplits, Labels, Rows, SealedTest
from penstroke.errors import ConfigError
from penstroke.files import sha256


def split(
    whole: Dataset, test: Dataset, config: DataConfig, parts: Sequence[Labels] | None = None
) -> DataSplits:
    """Return `whole` divided into training and validation images as `config` says, `test` sealed.

    Each part of a union is split as it would be alone: what a run on one of them validates on, a
    run on the union never trains on, so that the one can start from the other (`penstroke train
    --init-from`).

    `config.dataset` is only a name here; `parts` are the labels of each data set in a union. Raises
    ConfigError if there are fewer images than the split needs, or an excluded one is not there.
    """
    kept = _not_excluded(whole, config)
    _check_class_sizes(whole.labels[kept], whole.classes, config)
    splits: list[list[Rows]] = []
    first = 0
    for labels in parts or [whole.labels]:
        rows = kept[(kept >= first) & (kept < first + len(labels))]
        splits.append([rows[side] for side in _hold_out(labels[rows - first], config)])
        first += len(labels)
    train, validation = map(np.concatenate, zip(*splits, strict=True))
    if (count := config.max_train_images) is not None:
        if count > len(train):
            raise ConfigError(
                f"data.max_train_images: {count} is more than the {len(train)} images of "
                f"{config.dataset} that are left for training"
            )
        _, chosen = stratified_split(whole.labels[train], count, config.split_seed)
        train = train[chosen]
    fingerprint = sha256(f"{whole.fingerprint} {test.fingerprint}".encode())
    return DataSplits(
        config.dataset, whole.subset(train), whole.subset(validation), SealedTest(test), fingerprint
    )


def stratified_split(
    labels: Labels, count: int, seed: int, *, from_each: bool = False
) -> tuple[Rows, Rows]:
    """Return (the rest, `count` drawn rows), with each class drawn in its proportion.

    Shares are rounded by the largest remainder, so that exactly `count` are drawn; with
    `from_each`, a class that is rounded to none gets one from where rounding gave most. Both
    results are sorted; the same seed draws the same images on every machine.
    """
    shares = np.bincount(labels) * (count / max(len(labels), 1))
    quotas = np.floor(shares).astype(np.int64)
    by_remainder = np.argsort(quotas - shares, kind="stable")
    quotas[by_remainder[: count - int(quotas.sum())]] += 1
    for label in np.flatnonzero((quotas == 0) & (shares > 0)) if from_each else ():
        giver = int(np.where(quotas > 1, quotas - shares, -np.inf).argmax())
        if quotas[giver] > 1:
            quotas[[giver, label]] += [-1, 1]
    random = np.random.default_rng(seed)
    drawn = [random.permutation(np.flatnonzero(labels == k))[:n] for k, n in enumerate(quotas)]
    chosen = np.sort(np.concatenate([np.arange(0), *drawn]))
    rest = np.setdiff1d(np.arange(len(labels)), chosen, assume_unique=True)
    return rest, chosen


def stratified_folds(labels: Labels, folds: int, seed: int) -> list[Rows]:
    """Return the rows of each fold, sorted; classes and sizes differ by at most one image.

    The images of each class are shuffled and dealt out one by one, from where the class before
    ended.
    """
    random = np.random.default_rng(seed)
    by_class = [random.permutation(np.flatnonzero(labels == k)) for k in np.unique(labels)]
    dealt = np.concatenate([np.arange(0), *by_class])
    return [np.sort(dealt[fold::folds]) for fold in range(folds)]


def draw_test(
    labels: Labels, digests: npt.NDArray[np.uint8], fraction: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Return which images (N,) to test on: `fraction` of each class, at least one of two.

    Copies byte for byte, of equal `digests` (N, 16), are on one side, so that no test image is
    trained on.
    """
    _, first, group = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    random = np.random.default_rng(seed)
    is_test = np.zeros(len(labels), bool)
    leaders = np.sort(first)
    for label in np.unique(labels[leaders]):
        members = leaders[labels[leaders] == label]
        count = min(max(round(fraction * len(members)), 1), len(members) - 1) if fraction else 0
        is_test[random.permutation(members)[:count]] = True
    return np.asarray(is_test[first][group.reshape(-1)])


def _not_excluded(whole: Dataset, config: DataConfig) -> Rows:
    exclude = config.exclude or ()  # sorted
    if exclude and (last := exclude[-1]) >= len(whole):
        raise ConfigError(
            f"data.exclude: there is no training image {last} in {config.dataset}, which has "
            f"{len(whole)}, the first being 0"
        )
    if exclude and len(exclude) == len(whole):
        raise ConfigError(f"data.exclude: it leaves no training image of {config.dataset}")
    return np.delete(np.arange(len(whole)), np.array(exclude, np.intp))


def _hold_out(labels: Labels, config: DataConfig) -> tuple[Rows, Rows]:
    """Return rows of (training, validation) among the images of one data set."""
    if config.folds is not None:
        folds = stratified_folds(labels, config.folds, config.split_seed)
        held_out = folds.pop(config.fold or 0)
        return np.sort(np.concatenate(folds)), held_out
    count = round(_validation_fraction(np.bincount(labels), config) * len(labels))
    return stratified_split(labels, count, config.split_seed, from_each=True)


def _validation_fraction(counts: Labels, config: DataConfig) -> float:
    """Return the share to validate on: of small data more, up to a tenth, for one of each class."""
    if not config.validation_fraction or not counts.any():
        return 0.0
    rarest = int(counts[counts > 0].min())
    return max(config.validation_fraction, min(0.1, 0.51 / rarest))


def _check_class_sizes(labels: Labels, classes: Sequence[str], config: DataConfig) -> None:
    """Refuse data whose rarest class would leave nothing to validate on."""
    counts = np.bincount(labels, minlength=len(classes))
    present = np.flatnonzero(counts)
    rarest = int(present[counts[present].argmin()])
    fraction = 1 / config.folds if config.folds else _validation_fraction(counts, config)
    if not fraction or round(fraction * int(counts[rarest])) >= 1:
        return
    problem = (
        f'{config.dataset} has only {counts[rarest]} training images of "{classes[rarest]}": '
        f"too few to"
    )
    if config.folds:
        raise ConfigError(f"data.folds: {problem} make {config.folds} folds; set fewer")
    raise ConfigError(
        f"data.validation_fraction: {problem} hold {fraction:g} of them out; raise it, or set "
        "data.validation_fraction=0 and train.checkpoint_metric=last"
    )
