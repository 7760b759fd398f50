"""Your own lines, images with the text of each, as a data set of strips."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from penstroke.data.image_import import (
    Import,
    ImportSettings,
    Preparation,
    Progress,
    divide,
    list_sources,
    refs_of,
    run_import,
)
from penstroke.data.lines import LineDataset, printable_alphabet
from penstroke.data.shards import OK, PreprocessedImages
from penstroke.data.sources.contents import ImageRef, LeftOut, Part, SourceContents
from penstroke.errors import DataError
from penstroke.preprocessing.strips import COLUMN_WIDTH, STRIP_HEIGHT, needed_columns

_SHOWN_CHARACTERS = 20


@dataclass(frozen=True)
class LineImportResult(Import[LineDataset]):
    """An imported data set of lines."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        splits = {"train": self.train, "test": self.test}
        return super().to_dict() | {
            "kind": "lines",
            "alphabet": self.train.alphabet,
            "character_counts": {k: split.character_counts() for k, split in splits.items()},
        }


def import_lines(
    name: str, source: Path, destination: Path, settings: ImportSettings, *,
    workers: int = 1, progress: Progress = lambda done, total: None, replace_existing: bool = True,
    finish: Callable[[LineImportResult], None] = lambda result: None,
) -> LineImportResult:  # fmt: skip
    """Bring the lines of `source` into the stored data set `destination`.

    As `image_import.import_images`, but each image becomes a strip, and what the source says of it
    is its text. The alphabet is that of all texts. `settings.options` ask for lines; of the others,
    those on classes and arrays are without effect.

    Raises DataError also if all lines have the same text, which then says nothing of them.
    """
    listed = list_sources(name, source, settings)
    left_out = [file for contents in listed for file in contents.left_out]
    parts = tuple(_select(listed, left_out))
    texts = {image.label for part in parts for image in part.images}
    if len(texts) < 2:
        left_out += [image for contents in listed for image in contents.missing]
        only = f"all lines have the text {texts.pop()!r}" if texts else "there are no lines"
        first = f"; {left_out[0].name} {left_out[0].reason}" if left_out else ""
        raise DataError(f"{source}: {only}, but two are needed that differ{first}")
    decisions = {
        "texts": listed[0].description,
        "preprocessing": f"scaled to {STRIP_HEIGHT} pixels in height, contrast evened",
    }

    def assemble(images: PreprocessedImages, unreadable: tuple[LeftOut, ...]) -> LineImportResult:
        refs = refs_of(parts)
        too_long = dict(_too_long(refs, images))
        rows = np.array([r for r in np.flatnonzero(images.status == OK) if r not in too_long], int)
        if not len(rows):
            raise DataError(f"{source}: no line is left: {_reasons(images, too_long)}")
        alphabet = "".join(sorted({c for row in rows for c in refs[row].label}))
        division = divide(source, settings, refs, images, rows, np.zeros(len(rows), np.int64))
        train, test = (
            LineDataset.of(
                images.images[rows[side]], [refs[row].label for row in rows[side]], alphabet,
                division.writers_of(side),
            )
            for side in division.sides
        )  # fmt: skip
        counts = {"alphabet": f"{len(alphabet)} characters: {printable_alphabet(alphabet)}"}
        notes = (*(note for contents in listed for note in contents.notes), *division.notes)
        return LineImportResult(
            name, source, train, test, division.rows,
            {**decisions, **counts, **division.decisions("the lines")},
            (*notes, *_character_notes(train, test)), parts, images, unreadable,
            (*left_out, *too_long.values()), division.conflicts,
        )  # fmt: skip

    return run_import(
        name, source, destination, settings, Preparation(listed, parts, "line", assemble),
        workers=workers, progress=progress, replace_existing=replace_existing, finish=finish,
    )  # fmt: skip


def _select(listed: list[SourceContents], left_out: list[LeftOut]) -> Iterator[Part]:
    """Yield the parts with the images whose text can be learned, and add others to `left_out`."""
    for number, contents in enumerate(listed):
        for part in contents.parts:
            images = []
            for image in part.images:
                if why := _why_refused(image.label):
                    left_out.append(LeftOut(image.name, why))
                elif len(listed) > 1:
                    images.append(image._replace(split="test" if number else "train"))
                else:
                    images.append(image)
            if images:
                yield replace(part, images=tuple(images))


def _why_refused(text: str) -> str:
    if "\n" in text:
        return "has a text of several lines: cut it into one image per line"
    if strange := next((c for c in text if not c.isprintable()), ""):
        return f"has a text with a character that cannot be printed (U+{ord(strange):04X})"
    return ""


def _too_long(refs: list[ImageRef], images: PreprocessedImages) -> Iterator[tuple[int, LeftOut]]:
    """Yield each line, by its row, that is too narrow for its text to be read column by column."""
    for row in np.flatnonzero(images.status == OK):
        columns = -(-images.images[row].shape[1] // COLUMN_WIDTH)
        if (needed := needed_columns(refs[row].label)) > columns:
            yield (
                int(row),
                LeftOut(
                    refs[row].name,
                    f"is too narrow for its text: {columns} columns, but {needed} are needed",
                ),
            )


def _reasons(images: PreprocessedImages, too_long: dict[int, LeftOut]) -> str:
    empty = len(images.status) - len(too_long) - len(images.errors)
    return (
        f"{len(too_long):,} are too narrow for their texts, {empty:,} without ink, "
        f"{len(images.errors):,} unreadable"
    )


def _character_notes(train: LineDataset, test: LineDataset) -> Iterator[str]:
    """Yield notes on characters that cannot be learned."""
    if not len(test):
        yield "there are no test lines, but training needs some"
        return
    counts = train.character_counts()
    if names := "".join(character for character, count in counts.items() if not count):
        yield f"no training line holds {names[:_SHOWN_CHARACTERS]!r}, but test lines do"
