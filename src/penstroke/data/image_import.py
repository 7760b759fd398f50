"""Somebody's own images as a data set: found, read, brought to 28×28, split, kept whole."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from penstroke.data import shards as reading
from penstroke.data import store
from penstroke.data.class_map import ClassMap, refuse_unused
from penstroke.data.dataset import Dataset, Labels
from penstroke.data.idx_import import check_name
from penstroke.data.shards import EMPTY, OK, Readings, ReadingSettings
from penstroke.data.sources.entries import Entry, Listing, Missing, Part, printable
from penstroke.data.sources.listing import How, list_source
from penstroke.data.splitting import Rows, draw_test, find_copies, say_what_lacks, say_what_leaks
from penstroke.errors import ConfigError, DataError, StorageError
from penstroke.files import lock, reason

RECORD = "import.json"
"""Beside the arrays: where each image came from, and what was left out."""
_NAMED = 5

Progress = Callable[[int, int], None]
"""Told how many images are done, of how many."""


@dataclass(frozen=True)
class ImportSettings:
    """How images become a data set.

    Attributes:
        how: how their source says what they show.
        test: another source, whose images are the test split.
        classes: which classes, and what they are called.
        test_share: share of each class to test on, where no source says which.
        seed: of drawing them.
        max_unreadable: most images that may be unreadable: a share (float) or a number (int).
        placed: arrays are preprocessed already; None: where they look like MNIST's.
    """

    how: How = field(default_factory=How)
    test: Path | None = None
    classes: ClassMap = field(default_factory=ClassMap)
    test_share: float = 0.2
    seed: int = 0
    max_unreadable: float | int = 0.05
    placed: bool | None = None


@dataclass(frozen=True)
class Imported:
    """What came of a source.

    Attributes:
        name: of the data set.
        source: where it came from.
        train: training images, validation among them.
        test: test images.
        rows: where the training and the test images stand among all that were read.
        how: what was decided, in words: labels, placing, split.
        notes: what was passed over or is worth knowing, a line each.
        parts: the images that were read, labelled by class, and where.
        readings: what they came to, in that order.
        unreadable: what could not be read, and why.
        conflicts: groups of names of the same bytes under different labels.
    """

    name: str
    source: Path
    train: Dataset
    test: Dataset
    rows: tuple[Rows, Rows]
    how: dict[str, str]
    notes: tuple[str, ...]
    parts: tuple[Part, ...]
    readings: Readings
    unreadable: tuple[Missing, ...]
    conflicts: tuple[tuple[str, ...], ...]

    @property
    def empty(self) -> list[str]:
        """Names of the images without ink, which were left out."""
        entries = reading.entries_of(self.parts)
        return [entries[row].name for row in np.flatnonzero(self.readings.status == EMPTY)]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "name": self.name, "source": printable(str(self.source)), "classes": self.train.classes,
            "train": len(self.train), "test": len(self.test),
            "class_counts": {
                split: [int(count) for count in data.class_counts()]
                for split, data in (("train", self.train), ("test", self.test))
            },
            "how": self.how, "notes": list(self.notes), "empty": self.empty,
            "unreadable": [missing._asdict() for missing in self.unreadable],
            "conflicts": [list(group) for group in self.conflicts],
        }  # fmt: skip

    def to_record(self) -> dict[str, Any]:
        """Return what is kept beside the arrays: also the name of each image, in their order."""
        entries = reading.entries_of(self.parts)
        train, test = ([entries[row].name for row in rows] for rows in self.rows)
        return {**self.to_dict(), "images": {"train": train, "test": test}}


def import_images(
    name: str, source: Path, destination: Path, settings: ImportSettings, *,
    workers: int = 1, progress: Progress = lambda done, total: None,
) -> Imported:  # fmt: skip
    """Bring the images of `source` into the stored data set `destination`.

    Interrupted, the same call goes on where it was, and ends with the same data set.

    Args:
        name: what the data set is called from now on.
        source: see `sources.list_source`.
        destination: folder to write.
        settings: how.
        workers: processes that read; 1 reads in this one.
        progress: see `Progress`.

    Raises:
        ConfigError: the name is taken by the catalogue, or a setting does not go with the source.
        DataError: there are no images, too few classes, or too many are unreadable; nothing is
            written.
        StorageError: it cannot be written.
    """
    check_name(name)
    if not 0 <= settings.test_share < 1:
        raise ConfigError(f"--test-fraction: {settings.test_share:g} is no share: 0 to less than 1")
    listings = [list_source(source, settings.how)]
    if settings.test is not None:
        listings.append(list_source(settings.test, settings.how))
    parts, missing, notes = _selected(listings, settings.classes)
    as_they_are = _as_they_are(listings, settings.placed)
    reading_settings = ReadingSettings(as_they_are=as_they_are)
    folder = reading.working_folder(name, parts, reading_settings)
    with _held(folder):
        watch = _watched(source, parts, missing, settings, folder, progress)
        jobs = reading.jobs_of(parts, folder, reading_settings)
        readings = reading.read_all(jobs, workers, watch)
        how = {"labels": listings[0].how, "placing": _placing(listings, as_they_are)}
        made = _made(name, source, settings, parts, readings, missing, how, notes)
        record = json.dumps(made.to_record(), ensure_ascii=False, indent=1)
        title = f"imported from {printable(str(source.resolve()))}"
        store.save(destination, name, made.train, made.test, title, {RECORD: record + "\n"})
        reading.discard(folder)
    _discard_abandoned(name, folder.parent)
    return made


def _selected(
    listings: list[Listing], classes: ClassMap
) -> tuple[tuple[Part, ...], tuple[Missing, ...], list[str]]:
    """Return the parts with the images that are wanted, their labels being classes."""
    found = []
    for number, listing in enumerate(listings):
        for part in listing.parts:
            split = ("train", "test")[number] if len(listings) > 1 else None
            found.append(replace(part, entries=tuple(_renamed(part.entries, classes, split))))
    known = {word for listing in listings for part in listing.parts for entry in part.entries
             for word in (entry.given, entry.label)}  # fmt: skip
    refuse_unused(classes.renamed, sorted(known))
    present = Counter(entry.label for part in found for entry in part.entries if entry.label)
    missing = tuple(lost for listing in listings for lost in listing.missing)
    if not present and missing:
        raise DataError(
            f"none of {len(missing):,} images is there: {missing[0].name}: {missing[0].reason}"
        )
    chosen = set(classes.chosen(present))
    parts = tuple(
        replace(part, entries=tuple(entry for entry in part.entries if entry.label in chosen))
        for part in found
    )
    notes = [note for listing in listings for note in listing.notes]
    if others := sum(len(listing) for listing in listings) - sum(len(p.entries) for p in parts):
        notes.append(f"{others:,} images of classes that were not asked for were left out")
    return tuple(part for part in parts if part.entries), missing, notes


def _renamed(entries: tuple[Entry, ...], classes: ClassMap, split: str | None) -> Iterator[Entry]:
    for entry in entries:
        name = classes.class_of(entry.given, entry.label) or ""
        yield entry._replace(label=name, split=split or entry.split)


def _as_they_are(listings: list[Listing], placed: bool | None) -> bool:
    kinds = {part.source.kind for listing in listings for part in listing.parts}
    if placed and kinds != {"npz"}:
        raise ConfigError("--preprocessed goes with arrays: image files have to be placed")
    return all(listing.are_preprocessed for listing in listings) if placed is None else placed


def _placing(listings: list[Listing], as_they_are: bool) -> str:
    if as_they_are:
        return "28×28 arrays, bright on black: taken as they are (--preprocess places them anew)"
    return "ink found, its longer side brought to 20 pixels, its centre of mass to the middle"


def _watched(
    source: Path, parts: tuple[Part, ...], missing: tuple[Missing, ...],
    settings: ImportSettings, folder: Path, progress: Progress,
) -> Callable[[int, Readings], None]:  # fmt: skip
    """Return what follows the reading: it tells the progress, and stops where too much is lost."""
    total = sum(len(part.entries) for part in parts)
    limit = settings.max_unreadable
    most = limit if isinstance(limit, int) else int(limit * (total + len(missing)))
    done = 0

    def watch(more: int, readings: Readings) -> None:
        nonlocal done
        done += more
        progress(done, total)
        if len(readings.errors) + len(missing) > most:
            reading.discard(folder)
            raise _too_many(source, _unreadable(parts, readings, missing), total, limit, done)

    watch(0, Readings.of(0))
    return watch


def _too_many(
    source: Path, unreadable: tuple[Missing, ...], total: int, limit: float, done: int
) -> DataError:
    first = "".join(f"\n  {name}: {why}" for name, why in unreadable[:_NAMED])
    more = f"\n  and {len(unreadable) - _NAMED:,} more" if len(unreadable) > _NAMED else ""
    return DataError(
        f"{source}: {len(unreadable):,} of {total:,} images cannot be read (after {done:,}), "
        f"more than --max-unreadable {limit:g} allows; nothing was written{first}{more}"
    )


def _unreadable(
    parts: tuple[Part, ...], readings: Readings, missing: tuple[Missing, ...]
) -> tuple[Missing, ...]:
    entries = reading.entries_of(parts)
    errors = sorted(readings.errors.items())
    return (*(Missing(entries[row].name, printable(why)) for row, why in errors), *missing)


def _made(
    name: str, source: Path, settings: ImportSettings, parts: tuple[Part, ...],
    readings: Readings, missing: tuple[Missing, ...], how: dict[str, str], notes: list[str],
) -> Imported:  # fmt: skip
    entries = reading.entries_of(parts)
    rows = np.flatnonzero(readings.status == OK)
    classes = settings.classes.chosen(Counter(entries[row].label for row in rows))
    place = {name: index for index, name in enumerate(classes)}
    labels = np.array([place[entries[row].label] for row in rows], np.int64)
    is_test, how["split"] = _split(entries, rows, labels, readings, settings)
    if is_test.all():
        raise DataError(f"{source} holds test images only, and none to train on")
    train, test = (
        Dataset(readings.images[rows[side]], labels[side], classes) for side in (~is_test, is_test)
    )
    copies, conflicts = find_copies(entries, readings, rows)
    leaks = say_what_leaks(readings.digests[rows], is_test)
    notes = [*notes, *copies, *leaks, *say_what_lacks(train, test)]
    return Imported(
        name, source, train, test, (rows[~is_test], rows[is_test]), how, tuple(notes), parts,
        readings, _unreadable(parts, readings, missing), conflicts,
    )  # fmt: skip


def _split(
    entries: list[Entry], rows: Rows, labels: Labels, readings: Readings, settings: ImportSettings
) -> tuple[npt.NDArray[np.bool_], str]:
    """Return which of `rows` to test on, and how that was decided."""
    is_test = np.array([entries[row].split == "test" for row in rows])
    if settings.test is not None or is_test.any():
        return is_test, "as the source gives it; validation is carved from training by each run"
    is_test = draw_test(labels, readings.digests[rows], settings.test_share, settings.seed)
    share = f"{100 * settings.test_share:g} % of each class"
    return is_test, f"test drawn: {share}, seed {settings.seed}"


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = lock(folder / ".lock")
    except BlockingIOError:
        raise DataError(f"{folder} is being worked on by another import of the same") from None
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {reason(error)}") from error
    try:
        yield
    finally:
        os.close(descriptor)


def _discard_abandoned(name: str, folder: Path) -> None:
    """Remove what imports of that name left behind that nobody went on with."""
    for path in folder.glob(f"{name}-*"):
        if re.fullmatch(rf"{name}-[0-9a-f]{{16}}", path.name):
            try:
                os.close(lock(path / ".lock"))
            except OSError:
                continue
            reading.discard(path)
