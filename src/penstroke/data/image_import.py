"""Your own images as a data set: listed, read, brought to 28×28, split, and stored."""

import json
import os
import re
import shutil
import string
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from penstroke.config.class_names import check_class_name, class_order, merged
from penstroke.data import store
from penstroke.data.catalogue import check_new_name
from penstroke.data.dataset import Dataset, Labels, Rows, Writers, writer_count
from penstroke.data.shards import (
    EMPTY,
    OK,
    Kind,
    PreprocessedImages,
    read_shards,
    shard_jobs,
    working_folder,
)
from penstroke.data.sources.contents import (
    ImageRef,
    LeftOut,
    Part,
    SourceContents,
    SourceOptions,
    Split,
    printable,
)
from penstroke.data.sources.listing import list_source
from penstroke.data.splitting import draw_test
from penstroke.data.store import Stored
from penstroke.errors import ConfigError, DataError, StorageError, near_match
from penstroke.files import explained, lock, write_text_atomically

GROUPS: Mapping[str, str] = {
    "digits": string.digits,
    "upper": string.ascii_uppercase,
    "lower": string.ascii_lowercase,
    "letters": string.ascii_uppercase + string.ascii_lowercase,
    "alphanumeric": string.digits + string.ascii_uppercase + string.ascii_lowercase,
}
"""Names that stand for many classes."""
_MAX_LABELS_SHOWN = 80
_SHOWN_UNREADABLE = 5
_SHOWN_CLASSES = 10
_MAX_RANGE = 10_000
_LETTERS_NOTE = "the 26 labels {0} to {1} were read as A to Z; --map {0}-{1}={0}-{1} keeps numbers"


@dataclass(frozen=True)
class ClassMap:
    """From a label to a class.

    Classes are kept in the order of `wanted`, which may name `GROUPS` of them; None keeps all.
    Labels, or names of folders, are `renamed` to their classes; "" leaves them out.
    With `merge_case`, both cases of a letter are one class, `Aa`.
    """

    wanted: tuple[str, ...] | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    merge_case: bool = False

    def class_of(self, given: str, label: str) -> str | None:
        """Return the class of an image of `label` in a folder `given`; None if it is left out."""
        label = self.renamed.get(given, label)
        label = self.renamed.get(label, label)
        return self._merged(label) or None

    def chosen(self, present: Counter[str]) -> tuple[str, ...]:
        """Return the classes of a data set that has images of the classes `present`.

        Raises ConfigError if a wanted class has no image, DataError if fewer than two are left or a
        name is not allowed.
        """
        classes = sorted(present, key=class_order)
        listed = ", ".join(classes) or "none"
        if self.wanted is not None:
            spelled = [self._merged(n) for word in self.wanted for n in GROUPS.get(word, (word,))]
            classes = [name for name in dict.fromkeys(spelled) if name in present]
            for word in self.wanted:
                if word not in GROUPS and (name := self._merged(word)) not in present:
                    hint = near_match(name, [*present, *GROUPS])
                    raise ConfigError(
                        f'--classes: no image shows "{name}"{hint}; the classes are {listed}'
                    )
        for name in classes:
            try:
                check_class_name(name)
            except ValueError as error:
                raise DataError(f"{error}; rename it with --map") from None
        if len(classes) < 2:
            problem = f'only one class, "{classes[0]}"' if classes else "none of these classes"
            raise DataError(f"there are images of {problem}, but two are needed; labels: {listed}")
        return tuple(classes)

    def _merged(self, label: str) -> str:
        return merged(label) if self.merge_case else label


@dataclass(frozen=True)
class ImportSettings:
    """How images become a data set."""

    options: SourceOptions = field(default_factory=SourceOptions)
    test: Path | None = None  # another source, whose images are the test split
    classes: ClassMap = field(default_factory=ClassMap)
    test_fraction: float = 0.2  # of each class, if no source says which images to test on
    seed: int = 0  # of drawing them
    max_unreadable: float | int = 0.05  # a share (float) or a number (int) of the images
    preprocessed: bool | None = None  # arrays are; None: if they look like MNIST's


@dataclass(frozen=True)
class Import(Generic[Stored]):
    """An imported data set, and how it came about."""

    name: str
    source: Path
    train: Stored  # validation among them
    test: Stored
    rows: tuple[Rows, Rows]  # positions of the training and of the test images in `images`
    decisions: dict[str, str]  # where labels came from, preprocessing, the split
    notes: tuple[str, ...]  # what was left out or is worth knowing, one line each
    parts: tuple[Part, ...]  # the images of the source that were read, labelled by class or text
    images: PreprocessedImages  # the same, preprocessed
    unreadable: tuple[LeftOut, ...]
    left_out: tuple[LeftOut, ...]  # images without a label, files of other kinds
    conflicts: tuple[tuple[str, ...], ...]  # names of the same bytes under different labels

    @cached_property
    def refs(self) -> list[ImageRef]:
        """The images of all parts, in the order of `images`."""
        return refs_of(self.parts)

    @property
    def empty(self) -> list[str]:
        """Names of the images without ink, which were left out."""
        return [self.refs[row].name for row in np.flatnonzero(self.images.status == EMPTY)]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        splits = {"train": self.train, "test": self.test}
        return {
            "name": self.name, "source": printable(str(self.source)),
            "train": len(self.train), "test": len(self.test),
            "writers": {k: split.writer_count for k, split in splits.items()},
            "decisions": self.decisions, "notes": list(self.notes), "empty": self.empty,
            "unreadable": [image._asdict() for image in self.unreadable],
            "left_out": [image._asdict() for image in self.left_out],
            "conflicts": [list(group) for group in self.conflicts],
        }  # fmt: skip


@dataclass(frozen=True)
class ImportResult(Import[Dataset]):
    """An imported data set of characters."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        splits = {"train": self.train, "test": self.test}
        return super().to_dict() | {
            "classes": self.train.classes,
            "class_counts": {k: split.class_counts().tolist() for k, split in splits.items()},
        }


Result = TypeVar("Result", bound=Import[Any])
Progress = Callable[[int, int], None]
"""Called with how many images were read, and of how many."""


@dataclass(frozen=True)
class Preparation(Generic[Result]):
    """What an import will read: the `parts` of what was `listed`, each image as of the `kind`.

    `assemble` makes the data set of what was read, and of what could not be.
    """

    listed: Sequence[SourceContents]
    parts: tuple[Part, ...]
    kind: Kind
    assemble: Callable[[PreprocessedImages, tuple[LeftOut, ...]], Result]


def import_images(
    name: str, source: Path, destination: Path, settings: ImportSettings, *,
    workers: int = 1, progress: Progress = lambda done, total: None,
    replace_existing: bool = True, finish: Callable[[ImportResult], None] = lambda result: None,
) -> ImportResult:  # fmt: skip
    """Bring the images of `source` into the stored data set `destination`.

    After an interruption the same call continues, and ends with the same data set; `finish` is a
    part of it, called when the data set is stored. The source is listed by
    `sources.listing.list_source`, and read by `workers` processes; 1 reads in this one.

    Raises ConfigError if the name is taken (by another import, unless `replace_existing`) or a
    setting does not go with the source; DataError if there are no images, too few classes, or too
    many unreadable images; nothing is written.
    """
    listed = list_sources(name, source, settings)
    parts, notes = _select(listed, settings.classes)
    preprocessed = settings.preprocessed
    if preprocessed is None:
        preprocessed = all(contents.are_preprocessed for contents in listed)
    elif preprocessed and not all(c.parts[0].source.pixels for c in listed):
        raise ConfigError(
            "--preprocessed goes with arrays and pixel tables: image files need preprocessing"
        )
    decisions = {
        "labels": listed[0].description,
        "preprocessing": "28×28 arrays, bright on black, taken as they are (--preprocess changes "
        "that)" if preprocessed else "ink found, its longer side scaled to 20 pixels, its centre "
        "of mass moved to the middle",
    }  # fmt: skip
    left_out = tuple(file for contents in listed for file in contents.left_out)

    def assemble(images: PreprocessedImages, unreadable: tuple[LeftOut, ...]) -> ImportResult:
        problems = (unreadable, left_out)
        return _assemble(name, source, settings, parts, images, problems, decisions, notes)

    preparation = Preparation(listed, parts, "array" if preprocessed else "image", assemble)
    return run_import(
        name, source, destination, settings, preparation, workers=workers, progress=progress,
        replace_existing=replace_existing, finish=finish,
    )  # fmt: skip


def list_sources(name: str, source: Path, settings: ImportSettings) -> list[SourceContents]:
    """Return what `source`, and the source of the test images if there is one, hold.

    Raises ConfigError if a data set cannot have that `name`, or a setting is out of range.
    """
    check_new_name(name)
    if not 0 <= settings.test_fraction < 1:
        raise ConfigError(
            f"--test-fraction: {settings.test_fraction:g} is out of range: from 0 to below 1"
        )
    sources = [source] if settings.test is None else [source, settings.test]
    return [list_source(path, settings.options) for path in sources]


def run_import(
    name: str, source: Path, destination: Path, settings: ImportSettings,
    preparation: Preparation[Result], *, workers: int, progress: Progress, replace_existing: bool,
    finish: Callable[[Result], None],
) -> Result:  # fmt: skip
    """Read, assemble and store the data set of `preparation`; see `import_images`."""
    parts, kind = preparation.parts, preparation.kind
    missing = tuple(image for contents in preparation.listed for image in contents.missing)
    folder = working_folder(name, parts, kind=kind)
    stored = folder / "stored"  # an import that was killed after the data set was written
    if not replace_existing and destination.exists() and not _says(stored, repr(settings)):
        raise ConfigError(f'the data set "{name}" already exists; use --replace')
    with _locked(folder):
        images = PreprocessedImages.allocate(sum(len(part.images) for part in parts), kind)
        jobs = shard_jobs(parts, folder, kind=kind)
        firsts = np.cumsum([0, *(len(job.places) for job in jobs)])
        total, done = len(images.status), 0
        limit = settings.max_unreadable
        most = limit if isinstance(limit, int) else int(limit * (total + len(missing)))
        with closing(read_shards(jobs, workers)) as shards:
            progress(done, total)
            for position, shard in shards:
                images.put(int(firsts[position]), shard)
                done += len(shard.status)
                progress(done, total)
                if len(images.errors) + len(missing) > most:
                    break
        refs, errors = refs_of(parts), sorted(images.errors.items())
        unreadable = (*(LeftOut(refs[row].name, printable(e)) for row, e in errors), *missing)
        if len(unreadable) > most:
            shutil.rmtree(folder, ignore_errors=True)
            count, more = len(unreadable), len(unreadable) - _SHOWN_UNREADABLE
            shown = "".join(f"\n  {name}: {why}" for name, why in unreadable[:_SHOWN_UNREADABLE])
            shown += f"\n  and {more:,} more" if more > 0 else ""
            raise DataError(
                f"{source}: {count:,} of {total:,} images cannot be read (after {done:,}), more "
                f"than --max-unreadable {limit:g} allows; nothing was written{shown}"
            )
        result = preparation.assemble(images, unreadable)
        used = ([refs[row].name for row in rows] for rows in result.rows)
        names = dict(zip(("train", "test"), used, strict=True))  # in the order of the arrays
        record = json.dumps(result.to_dict() | {"images": names}, ensure_ascii=False, indent=1)
        title = f"imported from {printable(str(source.resolve()))}"
        beside = {"import.json": record + "\n"}  # where images came from, and what was left out
        write_text_atomically(stored, repr(settings))
        store.save(destination, name, result.train, result.test, title, beside)
        finish(result)
        shutil.rmtree(folder, ignore_errors=True)
    _discard_abandoned(name, folder.parent)
    return result


def parse_map(changes: Iterable[str]) -> dict[str, str]:
    """Return `--map` options as a mapping: `upper_A=A`; `junk=` leaves out; `===x` renames `==`.

    Raises ConfigError if one is not of that form, or contradicts another.
    """
    renamed: dict[str, str] = {}
    for change in changes:
        at = change.find("=", 1)
        if at < 0:
            raise ConfigError(f"--map: {change!r} is not of the form LABEL=CLASS")
        name, new = change[:at], change[at + 1 :]
        if renamed.setdefault(name, new) != new:
            raise ConfigError(f"--map: {name!r} is mapped to {renamed[name]!r} and to {new!r}")
    return renamed


def expand_ranges(renamed: Mapping[str, str], known: Sequence[str]) -> dict[str, str]:
    """Return `renamed` with `0-25=A-Z` replaced by what it stands for, of the labels `known`."""
    expanded: dict[str, str] = {}
    for name, new in renamed.items():
        old_names, new_names = _range(name), _range(new)
        if name in known or not old_names or len(old_names) != len(new_names):
            expanded[name] = new
            continue
        pairs = dict(zip(old_names, new_names, strict=True))
        expanded |= {old: pairs[old] for old in known if old in pairs} or {name: new}
    return expanded


def _range(text: str) -> list[str]:
    """Return the labels in `0-25` or `A-Z`; none if it is not a range."""
    first, _, last = text.partition("-")
    if first.isdecimal() and last.isdecimal() and first.isascii() and last.isascii():
        if int(last) - int(first) < _MAX_RANGE:
            return [str(number) for number in range(int(first), int(last) + 1)]
    elif len(first) == len(last) == 1 and ord(last) - ord(first) < _MAX_RANGE:
        return [chr(code) for code in range(ord(first), ord(last) + 1)]
    return []


def _as_letters(labels: Sequence[str]) -> dict[str, str]:
    """Return the letters that 26 numbers from 0 or from 1 on stand for; none for other labels."""
    for first in (0, 1):
        letters = {str(first + k): letter for k, letter in enumerate(string.ascii_uppercase)}
        if set(labels) == set(letters):
            return letters
    return {}


def check_renamed(renamed: Mapping[str, str], known: Sequence[str]) -> None:
    """Raise ConfigError if no image has a label that is to be renamed."""
    for name in renamed:
        if name not in known:
            labels = sorted(known, key=class_order)[:_MAX_LABELS_SHOWN]
            raise ConfigError(
                f"--map: no image is labelled {name!r}{near_match(name, known)}; the labels are "
                f"{', '.join(labels)}"
            )


def refs_of(parts: Sequence[Part]) -> list[ImageRef]:
    """Return the images of all `parts`."""
    return [image for part in parts for image in part.images]


def _select(listed: list[SourceContents], classes: ClassMap) -> tuple[tuple[Part, ...], list[str]]:
    """Return the parts with the images that are wanted, labelled by class, and notes."""
    given = [image for contents in listed for image in refs_of(contents.parts)]
    words = sorted({word for image in given for word in (image.given, image.label)})
    renamed = expand_ranges(classes.renamed, words)
    notes = [note for contents in listed for note in contents.notes]
    if not renamed and all(part.source.pixels for c in listed for part in c.parts):
        renamed = _as_letters(words)
        notes += [_LETTERS_NOTE.format(words[0], max(words, key=int))] if renamed else []
    check_renamed(renamed, words)
    classes = replace(classes, renamed=renamed)
    present = Counter(filter(None, (classes.class_of(i.given, i.label) for i in given)))
    missing = [image for contents in listed for image in contents.missing]
    if not present and missing:
        raise DataError(
            f"all {len(missing):,} images are missing: {' '.join(missing[0])}; --images names the "
            "folder or zip that they lie in"
        )
    wanted = set(classes.chosen(present))
    splits: list[Split] = ["train", "test"]
    parts = [
        replace(part, images=tuple(
            image._replace(label=label, split=split if len(listed) > 1 else image.split)
            for image in part.images
            if (label := classes.class_of(image.given, image.label)) in wanted
        ))
        for contents, split in zip(listed, splits, strict=False)
        for part in contents.parts
    ]  # fmt: skip
    if count := sum(image.split == "validation" for image in given):
        notes.append(
            f"{count:,} images of a validation split are training images here: each run carves its "
            "own validation images from those"
        )
    if others := len(given) - len(refs_of(parts)):
        notes.append(f"{others:,} images of other classes were left out")
    return tuple(part for part in parts if part.images), notes


def _assemble(
    name: str, source: Path, settings: ImportSettings, parts: tuple[Part, ...],
    images: PreprocessedImages, missing: tuple[tuple[LeftOut, ...], tuple[LeftOut, ...]],
    decisions: dict[str, str], notes: list[str],
) -> ImportResult:  # fmt: skip
    """Choose the classes, split, and note what is worth knowing."""
    refs = refs_of(parts)
    rows = np.flatnonzero(images.status == OK)
    classes = settings.classes.chosen(Counter(refs[row].label for row in rows))
    index = {name: number for number, name in enumerate(classes)}
    labels: Labels = np.array([index[refs[row].label] for row in rows], np.int64)
    division = divide(source, settings, refs, images, rows, labels)
    train, test = (
        Dataset(images.images[rows[side]], labels[side], classes, division.writers_of(side))
        for side in division.sides
    )
    decisions = {**decisions, **division.decisions("each class")}
    notes += [*division.notes, *_class_notes(train, test)]
    return ImportResult(
        name, source, train, test, division.rows, decisions, tuple(notes), parts, images, *missing,
        division.conflicts,
    )  # fmt: skip


@dataclass(frozen=True)
class Division:
    """Images of an import, divided into training and test images."""

    rows: tuple[Rows, Rows]  # of the training and of the test images
    sides: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]  # the same, among all of them
    drawn: str  # how the test images were drawn, with {} for of what; "" if they were given
    writers: Writers
    notes: tuple[str, ...]
    conflicts: tuple[tuple[str, ...], ...]

    def writers_of(self, side: npt.NDArray[np.bool_]) -> Writers | None:
        """Return the writers of the images of one side; None if none is known at all."""
        return self.writers[side] if (self.writers != "").any() else None

    def decisions(self, drawn_of: str) -> dict[str, str]:
        """Return in words how the images were split, and how many writers are on each side."""
        given = "given by the source; each run carves its validation images from training"
        split = {"split": self.drawn.format(drawn_of) or given}
        if not (self.writers != "").any():
            return split
        train, test = (writer_count(self.writers[side]) for side in self.sides)
        return {"writers": f"{train:,} of training images, {test:,} of test images", **split}


def divide(
    source: Path, settings: ImportSettings, refs: list[ImageRef], images: PreprocessedImages,
    rows: Rows, labels: Labels,
) -> Division:  # fmt: skip
    """Divide the images at `rows`, of the `labels` that are drawn evenly, into training and test.

    DataError: the source has test images only.
    """
    digests = images.digests[rows]
    is_test = np.array([refs[row].split == "test" for row in rows], bool)
    writers = np.array([refs[row].writer for row in rows], np.str_)
    drawn = ""
    if settings.test is None and not is_test.any():
        several = len(np.unique(writers[writers != ""])) > 1
        is_test = draw_test(
            labels, digests, settings.test_fraction, settings.seed, writers if several else None
        )
        drawn = f"test drawn: {100 * settings.test_fraction:g} % of {{}}, seed {settings.seed}"
        drawn += ", whole writers" if several else ""
    if is_test.all():
        raise DataError(f"{source} holds test images only, and none to train on")
    copies, conflicts = _find_copies(refs, images, rows)
    notes = [*copies, *_page_notes(refs, images, rows)]
    training = set(map(bytes, digests[~is_test]))
    if count := sum(bytes(digest) in training for digest in digests[is_test]):
        notes.append(  # a given split may have some
            f"{count:,} test images are training images too, byte for byte: the test is too easy"
        )
    if (writers != "").any():
        notes += _writer_notes(writers, is_test)
    return Division(
        (rows[~is_test], rows[is_test]), (~is_test, is_test), drawn, writers, tuple(notes),
        conflicts,
    )  # fmt: skip


def _find_copies(
    refs: list[ImageRef], images: PreprocessedImages, rows: Rows
) -> tuple[list[str], tuple[tuple[str, ...], ...]]:
    """Return notes on copies byte for byte, and the groups of them whose labels differ."""
    groups: dict[bytes, list[ImageRef]] = {}
    for row in rows:
        groups.setdefault(images.digests[row].tobytes(), []).append(refs[row])
    copies = [group for group in groups.values() if len(group) > 1]
    conflicts = [group for group in copies if len({image.label for image in group}) > 1]
    notes = []
    if count := sum(len(group) - 1 for group in copies):
        notes.append(f"{count:,} images are copies of others, byte for byte; they were kept")
    if conflicts:
        shown = ", ".join(f'{image.name} "{image.label}"' for image in conflicts[0])
        more = " and others" if len(conflicts) > 1 else ""
        notes.append(f"{len(conflicts):,} images have copies with another label: {shown}{more}")
    return notes, tuple(tuple(f"{i.name} = {i.label}" for i in group) for group in conflicts)


def _page_notes(refs: list[ImageRef], images: PreprocessedImages, rows: Rows) -> Iterator[str]:
    several = [row for row in rows if images.pages[row] > 1]
    if several:
        shown = ", ".join(f"{refs[row].name} ({images.pages[row]} pages)" for row in several[:5])
        more = f" and {len(several) - 5:,} more" if len(several) > 5 else ""
        yield f"of files with several pages, the first was read: {shown}{more}"


def _writer_notes(writers: Writers, is_test: npt.NDArray[np.bool_]) -> Iterator[str]:
    """Yield notes on writers of both splits, and on images whose writer is not known."""
    known = writers != ""
    if both := np.intersect1d(writers[known & is_test], writers[known & ~is_test]).tolist():
        shown = ", ".join(both[:_SHOWN_CLASSES]) + (" …" if len(both) > _SHOWN_CLASSES else "")
        yield f"{len(both):,} writers have images in training and in test: {shown}"
    if count := int((~known).sum()):
        yield f"{count:,} images have no writer"


def _class_notes(train: Dataset, test: Dataset) -> Iterator[str]:
    """Yield notes on classes that cannot be tested or learned."""
    if not len(test):
        yield "there are no test images, but training needs some"
        return
    for data, what in ((train, "training"), (test, "test")):
        if names := [data.classes[label] for label in np.flatnonzero(data.class_counts() == 0)]:
            more = len(names) - _SHOWN_CLASSES
            shown = ", ".join(f'"{name}"' for name in names[:_SHOWN_CLASSES])
            yield f"no {what} image of {shown}{f' and {more} more' if more > 0 else ''}"


def _says(path: Path, text: str) -> bool:
    with suppress(OSError):
        return path.read_text() == text
    return False


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with explained(f"write {folder}", StorageError):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = lock(folder / ".lock")
        except BlockingIOError:
            raise DataError(
                f"{folder} is in use by another import of the same images: wait until it ends"
            ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def _discard_abandoned(name: str, folder: Path) -> None:
    """Remove what interrupted imports of that name left behind."""
    for path in folder.glob(f"{name}-*"):
        if re.fullmatch(rf"{name}-[0-9a-f]{{16}}", path.name):
            with suppress(OSError):  # one that is in use
                os.close(lock(path / ".lock"))
                shutil.rmtree(path, ignore_errors=True)
