"""Seeded splits: training, validation and test, folds, and the test images of an import.

By image, or by writer: whole writers are then held out, so that figures hold for people whose
writing was not trained on.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from penstroke.config.class_names import class_of
from penstroke.config.settings import DataConfig
from penstroke.data.dataset import (
    Dataset,
    DataSplits,
    Images,
    Labels,
    Rows,
    Sealed,
    SealedTest,
    Sources,
    Writers,
)
from penstroke.data.lines import LineDataset, LineSplits, united_alphabet, united_lines
from penstroke.errors import ConfigError, DataError
from penstroke.files import sha256

Part = tuple[Labels, npt.NDArray[np.bool_] | None]
"""Labels of one data set in a union, and which of its images are for validation, if it says so."""


def split(
    whole: Dataset,
    test: Dataset,
    config: DataConfig,
    parts: Sequence[Part] | None = None,
    writers: Writers | None = None,
) -> DataSplits:
    """Return `whole` divided into training and validation images as `config` says, `test` sealed.

    Each part of a union is split as it would be alone: what a run on one of them validates on, a
    run on the union never trains on, so that the one can start from the other (`penstroke train
    --init-from`). A writer of several parts who is held out in one is held out in all.

    `config.dataset` is only a name here, or names joined by + of the `parts`, the data sets in a
    union; `config.classes` are the first of those of `whole`; the images of one of the `writers`
    (N,) are kept together, but those of "" are on their own. Raises ConfigError if there are fewer
    images or writers than the split needs, or an excluded image is not there; DataError if none are
    left to validate on.
    """
    kept, kept_test = _kept(whole, test, config)
    parts = parts or [(whole.labels, None)]
    train, validation = _divided(whole.labels, whole.classes, kept, config, parts, writers)
    classes, used = config.classes or whole.classes, whole
    trained, validated, tested = (
        replace(dataset.subset(rows), classes=classes)
        for dataset, rows in ((whole, train), (whole, validation), (test, kept_test))
    )
    if config.classes:  # images of other classes may come and go
        used = whole.subset(np.flatnonzero(whole.labels < len(classes)))
    outliers = _outliers(whole, config)
    prints = [replace(used, classes=classes).fingerprint, tested.fingerprint]
    if outliers is not None:
        prints.append(sha256(outliers.tobytes()))
    return DataSplits(
        config.dataset, trained, validated, SealedTest(tested), sha256(" ".join(prints).encode()),
        _writers_sha256(writers), _sources(config, parts)[validation], outliers,
    )  # fmt: skip


def split_lines(
    parts: Sequence[tuple[LineDataset, LineDataset]],
    config: DataConfig,
    writers: Writers | None = None,
) -> LineSplits:
    """Return the lines of the `parts`, (train, test) each, divided as `split` divides images.

    Lines have no classes: they are drawn at random, whatever their texts. Raises ConfigError if
    there are fewer lines or writers than the split needs, an excluded line is not there, or a
    setting is for characters only.
    """
    for setting in ("classes", "outlier_classes"):
        if getattr(config, setting):
            raise ConfigError(
                f"data.{setting}: lines, which {config.dataset} holds, have no classes"
            )
    whole, test = (united_lines(splits) for splits in zip(*parts, strict=True))
    alphabet = united_alphabet((whole, test))
    whole, test = (replace(lines, alphabet=alphabet) for lines in (whole, test))
    drawn: list[Part] = [(np.zeros(len(train), np.int64), None) for train, _ in parts]
    kept, labels = _not_excluded(len(whole), config), np.zeros(len(whole), np.int64)
    train, validation = _divided(labels, ("line",), kept, config, drawn, writers)
    return LineSplits(
        config.dataset, whole.subset(train), whole.subset(validation), Sealed(len(test), test),
        sha256(f"{whole.fingerprint} {test.fingerprint}".encode()),
        split_writers=_writers_sha256(writers),
        validation_sources=_sources(config, drawn)[validation],
    )  # fmt: skip


def _writers_sha256(writers: Writers | None) -> str | None:
    return None if writers is None else sha256("\n".join(writers.tolist()).encode())


def _sources(config: DataConfig, parts: Sequence[Part]) -> Sources:
    """Return which data set of `config.dataset` each image of the `parts` is of."""
    datasets = config.dataset.split("+") if len(parts) > 1 else [config.dataset]
    return np.repeat(datasets, [len(labels) for labels, _ in parts])


def _divided(
    everything: Labels, classes: Sequence[str], kept: Rows, config: DataConfig,
    parts: Sequence[Part], writers: Writers | None,
) -> tuple[Rows, Rows]:  # fmt: skip
    """Return which of the `kept` images to train on and which to validate on; see `split`.

    `everything` are the labels of all images, of the `classes`, whether kept or not.
    """
    parts = [
        (labels, fixed if config.validates and not config.folds else None)
        for labels, fixed in parts
    ]
    is_drawn = np.concatenate([np.full(len(labels), fixed is None) for labels, fixed in parts])
    _check_class_sizes(everything[kept[is_drawn[kept]]], classes, config)
    sides = np.full(len(everything), -1)  # of the excluded images
    first = 0
    for labels, fixed in parts:
        rows = kept[(kept >= first) & (kept < first + len(labels))]
        if fixed is None:
            together = None if writers is None else writers[rows]
            sides[rows] = _sides(labels[rows - first], config, together)
        else:
            sides[rows] = fixed[rows - first]
        first += len(labels)
    if writers is not None:
        names, writer = np.unique(writers, return_inverse=True)
        of_writer = np.full(len(names), -1)
        np.maximum.at(of_writer, writer, sides)
        sides = np.where((writers == "") | (sides < 0), sides, of_writer[writer])
        _check_every_class_is_trained_on(everything, classes, sides, config)
    held_out = 1 if config.folds is None else config.fold
    train = np.flatnonzero((sides >= 0) & (sides != held_out))
    validation = np.flatnonzero(sides == held_out)
    if config.validates and not len(validation):
        raise DataError(f"{config.dataset} has no images to validate on yet: add more")
    if (count := config.max_train_images) is not None:
        drawn = train[is_drawn[train]]
        if count > len(drawn):
            raise ConfigError(
                f"data.max_train_images: {count} is more than the {len(drawn)} images of "
                f"{config.dataset} that are left for training"
            )
        _, chosen = stratified_split(everything[drawn], count, config.split_seed)
        train = np.sort(np.concatenate([drawn[chosen], train[~is_drawn[train]]]))
    return train, validation


def _outliers(whole: Dataset, config: DataConfig) -> Images | None:
    """Return the images of `whole` of the classes to be rejected; None if there are no such."""
    numbers = []
    for name in config.outlier_classes or ():
        if (there := class_of(name, whole.classes)) is None:
            raise ConfigError(f'data.outlier_classes: {config.dataset} has no images of "{name}"')
        numbers.append(whole.classes.index(there))
    rows = _not_excluded(len(whole), config)
    return whole.images[rows[np.isin(whole.labels[rows], numbers)]] if numbers else None


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


def group_sides(labels: Labels, groups: Rows, shares: Sequence[float], seed: int) -> Rows:
    """Return the side (N,) of each image: `groups` (N,) stay whole, and each side has a group.

    Sides get their `shares` of the images and of each class, as nearly as whole groups allow: from
    large to small, in random order among those of about a size, each group goes where it raises
    the chi-square distance from the shares least. There have to be as many groups as sides.
    """
    _, groups = np.unique(groups, return_inverse=True)
    counts = np.zeros((groups.max() + 1, labels.max() + 2))  # the last column counts all images
    np.add.at(counts, (groups, labels), 1)
    counts = counts[:, counts.any(axis=0)]
    counts = np.column_stack([counts, counts.sum(axis=1)])
    sizes = counts[:, -1]
    wanted = np.outer(shares, counts.sum(axis=0))
    order = np.random.default_rng(seed).permutation(len(counts))
    sides, filled = np.zeros(len(counts), np.int64), np.zeros_like(wanted)
    for group in order[np.argsort(-np.log2(sizes[order]).astype(int), kind="stable")]:
        rise = (counts[group] * (counts[group] + 2 * filled) / wanted).sum(axis=1)
        sides[group] = rise.argmin()
        filled[sides[group]] += counts[group]
    for side in range(len(shares)):
        if not (sides == side).any():
            can_go = np.bincount(sides, minlength=len(shares))[sides] > 1
            distance = np.where(can_go, np.abs(sizes - wanted[side, -1]), np.inf)
            sides[distance.argmin()] = side
    return np.asarray(sides[groups])


def draw_test(
    labels: Labels,
    digests: npt.NDArray[np.uint8],
    fraction: float,
    seed: int,
    writers: Writers | None = None,
) -> npt.NDArray[np.bool_]:
    """Return which images (N,) to test on: `fraction` of each class, at least one of two.

    Copies byte for byte, of equal `digests` (N, 16), are on one side, so that no test image is
    trained on; and so are the images of one of the `writers` (N,), if there are two, "" apart.
    Classes are in proportion then as nearly as whole writers allow.
    """
    _, first, group = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    if writers is not None and fraction:
        together = _linked(writer_groups(writers), group.reshape(-1))
        if len(np.unique(together)) > 1:
            return np.equal(group_sides(labels, together, (1 - fraction, fraction), seed), 1)
    random = np.random.default_rng(seed)
    is_test = np.zeros(len(labels), bool)
    leaders = np.sort(first)
    for label in np.unique(labels[leaders]):
        members = leaders[labels[leaders] == label]
        count = min(max(round(fraction * len(members)), 1), len(members) - 1) if fraction else 0
        is_test[random.permutation(members)[:count]] = True
    return np.asarray(is_test[first][group.reshape(-1)])


def writer_groups(writers: Writers) -> Rows:
    """Return a number for each image: that of its writer, or its own if no writer is known."""
    _, groups = np.unique(writers, return_inverse=True)
    return np.where(writers == "", len(writers) + np.arange(len(writers)), groups)


def _linked(one: Rows, other: Rows) -> Rows:
    """Return groups (N,) that keep together what either grouping does."""
    _, groups = np.unique(one, return_inverse=True)
    _, others = np.unique(other, return_inverse=True)
    while True:
        least = np.full(len(groups), len(groups))
        np.minimum.at(least, others, groups)
        joined = least[others]
        least = np.full(len(groups), len(groups))
        np.minimum.at(least, groups, joined)
        if np.array_equal(least[groups], groups):
            return groups
        groups = least[groups]


def _kept(whole: Dataset, test: Dataset, config: DataConfig) -> tuple[Rows, Rows]:
    """Return the rows of `whole` and of `test` that `config` does not leave out."""
    kept, kept_test = _not_excluded(len(whole), config), np.arange(len(test))
    if config.classes:
        count = len(config.classes)
        kept = kept[whole.labels[kept] < count]
        kept_test = kept_test[test.labels < count]
        missing = np.flatnonzero(np.bincount(whole.labels[kept], minlength=count) == 0)
        if len(missing):
            raise ConfigError(
                f"data.classes: {config.dataset} has no training images of "
                f'"{config.classes[missing[0]]}"'
            )
    return kept, kept_test


def _not_excluded(count: int, config: DataConfig) -> Rows:
    exclude = config.exclude or ()  # sorted
    if exclude and (last := exclude[-1]) >= count:
        raise ConfigError(
            f"data.exclude: there is no training image {last} in {config.dataset}, which has "
            f"{count}, the first being 0"
        )
    if exclude and len(exclude) == count:
        raise ConfigError(f"data.exclude: it leaves no training image of {config.dataset}")
    return np.delete(np.arange(count), np.array(exclude, np.intp))


def _sides(labels: Labels, config: DataConfig, writers: Writers | None) -> Rows:
    """Return the fold of each image of one data set; without folds, 1 is validation."""
    fraction, sides = _validation_fraction(np.bincount(labels), config), np.zeros_like(labels)
    if writers is not None and (writers != "").any() and config.validates:
        groups = writer_groups(writers)
        shares = [1 / config.folds] * config.folds if config.folds else [1 - fraction, fraction]
        if len(np.unique(groups)) < len(shares):
            raise ConfigError(
                f"data.{'folds' if config.folds else 'split_by'}: {config.dataset} has fewer than "
                f"{len(shares)} writers to keep apart; data.split_by=image splits by image"
            )
        return group_sides(labels, groups, shares, config.split_seed)
    if config.folds is not None:
        for fold, rows in enumerate(stratified_folds(labels, config.folds, config.split_seed)):
            sides[rows] = fold
    else:
        count = round(fraction * len(labels))
        sides[stratified_split(labels, count, config.split_seed, from_each=True)[1]] = 1
    return sides


def _check_every_class_is_trained_on(
    labels: Labels, classes: Sequence[str], sides: Rows, config: DataConfig
) -> None:
    """Refuse to hold out all images of a class because one writer wrote them."""
    for label in np.unique(labels[sides >= 0]):
        present = np.unique(sides[(labels == label) & (sides >= 0)])
        if len(present) == 1 and (config.folds or present[0] == 1):
            raise ConfigError(
                f'data.split_by: too few writers of {config.dataset} wrote "{classes[label]}"'
                ": holding out whole writers leaves none of it to train on; data.split_by=image "
                "splits by image"
            )


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
    if not len(present):
        return
    rarest = int(present[counts[present].argmin()])
    fraction = 1 / config.folds if config.folds else _validation_fraction(counts, config)
    if not fraction or round(fraction * int(counts[rarest])) >= 1:
        return
    of_class = f' of "{classes[rarest]}"' if len(classes) > 1 else ""
    problem = f"{config.dataset} has only {counts[rarest]} training images{of_class}: too few to"
    if config.folds:
        raise ConfigError(f"data.folds: {problem} make {config.folds} folds; set fewer")
    raise ConfigError(
        f"data.validation_fraction: {problem} hold {fraction:g} of them out; raise it, or set "
        "data.validation_fraction=0 and train.checkpoint_metric=last"
    )
