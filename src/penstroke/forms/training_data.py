"""What people said in a review, as images with labels and writers that `data import` reads."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from penstroke.errors import ConfigError, DataError
from penstroke.files import csv_of, explained, write_atomically
from penstroke.forms.answers import PageAnswer
from penstroke.forms.answers_folder import AnswersFolder, in_force
from penstroke.forms.cells import cut
from penstroke.forms.description import COMBS, MARKS, FormField
from penstroke.forms.page_images import Grey

CHARACTERS, LINES = "characters.csv", "lines.csv"
_COLUMNS = ("file", "label", "writer")
_MARKER = ".training-data"
"""File that says that a folder is ours to write into."""


@dataclass(frozen=True)
class TrainingData:
    """The tables of characters and of lines that were written, None where there are none.

    `left_out` says of which fields, and why.
    """

    characters: int
    lines: int
    writers: int
    characters_table: str | None
    lines_table: str | None
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class _Example:
    label: str
    image: Grey
    is_line: bool


def write_training_data(answers: AnswersFolder, folder: Path) -> TrainingData:
    """Write the fields that people accepted or corrected: an image for each character or line.

    The person that a page was printed for is the writer; else the page is.

    Raises:
        ConfigError: `folder` holds something else, or nobody has reviewed anything.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARKER).exists():
        raise ConfigError(f"{folder} is not empty: choose another --output")
    rows: dict[bool, list[dict[str, str]]] = {False: [], True: []}
    left_out: list[str] = []
    write_atomically(folder / _MARKER, b"")
    for page, name, found in _reviewed(answers):
        if isinstance(found, DataError):
            left_out.append(f"{page.source}, page {page.source_page}, {name}: {found}")
            continue
        for number, example in enumerate(found):
            kind = "lines" if example.is_line else "characters"
            file = f"{kind}/{page.id}-{name}-{number}.png"
            stream = io.BytesIO()
            Image.fromarray(example.image).save(stream, "PNG")
            write_atomically(folder / file, stream.getvalue())
            rows[example.is_line].append(
                {"file": file, "label": example.label, "writer": page.person or page.id}
            )
    if not (rows[False] or rows[True]):
        why = f"; {left_out[0]}" if left_out else ""
        raise ConfigError(
            f"no character or line of {answers.path} was accepted or corrected by a person yet: "
            f"`penstroke form review`{why}"
        )
    tables: dict[bool, str | None] = {False: None, True: None}
    for is_line, name in ((False, CHARACTERS), (True, LINES)):
        if rows[is_line]:
            write_atomically(folder / name, csv_of(_COLUMNS, rows[is_line]))
            tables[is_line] = str(folder / name)
    writers = {row["writer"] for of_kind in rows.values() for row in of_kind}
    return TrainingData(
        characters=len(rows[False]), lines=len(rows[True]), writers=len(writers),
        characters_table=tables[False], lines_table=tables[True], left_out=tuple(left_out),
    )  # fmt: skip


def _reviewed(
    answers: AnswersFolder,
) -> Iterator[tuple[PageAnswer, str, list[_Example] | DataError]]:
    """Yield the examples of each field that a person gave a value to, or why there are none."""
    fields = {field.name: field for field in answers.form.fields}
    holds = in_force(answers.changes())
    for page in answers.pages():
        image: Grey | None = None
        for name in page.fields or {}:
            changes = holds.get((page.id, name))
            if name not in fields or not changes or not changes[-1].new:
                continue
            try:
                image = _page_image(answers, page) if image is None else image
                yield page, name, list(_examples(image, fields[name], changes[-1].new))
            except DataError as error:
                yield page, name, error


def _page_image(answers: AnswersFolder, page: PageAnswer) -> Grey:
    path = answers.path / "pages" / Path(page.image or "none").name
    with explained(f"read {path}", DataError):
        content = path.read_bytes()
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise DataError(f"{path} is damaged")
    return np.asarray(image, np.uint8)


def _examples(image: Grey, field: FormField, value: str) -> Iterator[_Example]:
    """Yield the characters, or the line, of one field; DataError: boxes and value do not agree."""
    if field.type in MARKS or field.type == "signature":
        return
    cells = cut(image, field.boxes)
    if field.type not in (*COMBS, "date"):
        yield _Example(value, cells[0].image, is_line=True)
        return
    written = [cell for cell in cells if not cell.is_empty]
    text = _as_written(field, value)
    if len(text) != len(written):
        raise DataError(
            f"{value!r} has {len(text)} characters, but {len(written)} boxes are written in"
        )
    for character, cell in zip(text, written, strict=True):
        if character.isalnum():
            yield _Example(character, cell.image, is_line=False)


def _as_written(field: FormField, value: str) -> str:
    """Return the characters of a value in the order of the boxes."""
    if field.type == "date":
        try:
            return date.fromisoformat(value).strftime("%d%m%Y")
        except ValueError as error:
            raise DataError(f"{value!r} is no day") from error
    return value.replace(" ", "")
