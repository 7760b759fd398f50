"""Sheets whose rows say what is to be written in them: handwriting that comes with its labels."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from string import ascii_uppercase, digits
from typing import Literal, NamedTuple, get_args

from PIL import Image

from penstroke.errors import DataError, FormPageError, ImageError
from penstroke.files import csv_of, write_atomically
from penstroke.forms.cells import cut
from penstroke.forms.description import PAPER_MM, Form, FormField, Paper
from penstroke.forms.grids import find_grid
from penstroke.forms.layout import lay_out
from penstroke.forms.page_images import SUFFIXES, Grey, page_images
from penstroke.forms.registration import codes_on, register

SheetClasses = Literal["digits", "letters", "characters"]
_WRITTEN = {"digits": digits, "letters": ascii_uppercase, "characters": digits + ascii_uppercase}
_BOXES = 20
_PREFIX = "sheet"
_STRUCK_OUT = 0.45
"""Share of ink in a box from which it was crossed out by its writer."""


class SheetCell(NamedTuple):
    """One character of a sheet: what it is, who wrote it ("" if nobody says), its image (H, W)."""

    label: str
    writer: str
    image: Grey


def sheet_form(classes: SheetClasses, rows: int | None = None, paper: Paper = "A4") -> Form:
    """Return the form of a sheet: `rows` of boxes, for one character each, again and again."""
    written = _WRITTEN[classes]
    count = len(written) if rows is None else rows
    fields = tuple(
        FormField(
            name=f"row_{row + 1}", title=f"{written[row % len(written)]} in each box",
            type="characters", count=_BOXES,
        )
        for row in range(count)
    )  # fmt: skip
    return lay_out(Form(
        name=f"{_PREFIX}-{classes}-{count}-{paper}", paper=paper, title="Handwriting sheet",
        instructions="Write as you usually do. Scribble a box full if something went wrong in it.",
        fields=fields,
    ))  # fmt: skip


def cells_of(image: Grey, rows: Sequence[str] = ()) -> Iterator[SheetCell]:
    """Yield what is written on a sheet; empty and crossed-out boxes are left out.

    A sheet that Penstroke printed says what its rows hold. Any other grid holds `rows`, one
    character each, again and again from the top.

    ImageError: there is no such sheet, or no grid.
    """
    if rows:
        for one in find_grid(image).cells:
            if not one.is_empty:
                yield SheetCell(rows[one.row % len(rows)], "", one.image)
        return
    form = next((sheet for code in codes_on(image) if (sheet := _printed(code.form))), None)
    if form is None:
        raise FormPageError(
            "not_this_form",
            "no QR code of a sheet is seen on it: take all of it, sharp; or say with --rows what "
            "the rows of a grid hold",
        )
    page = register(image, form)
    for field in form.on_page(page.form_page):
        for cell in cut(page.image, field.boxes):
            if not cell.is_empty and cell.ink_share < _STRUCK_OUT:
                yield SheetCell(field.title[0], page.person or "", cell.image)


def cut_sheets(
    source: Path, folder: Path, rows: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[tuple[str, str]]:  # fmt: skip
    """Cut sheets into images of characters in `folder`, with labels.csv; return what was left out.

    `source` is a file or a folder of them. A sheet that names no writer is by its file's name.
    What is returned are pages and the reason. DataError: there is nothing on them.
    """
    files = [source] if source.is_file() else sorted(
        path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES
    )  # fmt: skip
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=folder.parent))
    table: list[dict[str, str]] = []
    left_out = []
    try:
        for done, file in enumerate(files):
            progress(done, len(files))
            try:
                for _, image in page_images(file):
                    for cell in cells_of(image, rows):
                        name = f"{len(table):06}.png"
                        Image.fromarray(cell.image).save(work / name)
                        writer = cell.writer or file.stem
                        table.append({"file": name, "label": cell.label, "writer": writer})
            except ImageError as error:
                left_out.append((str(file), str(error)))
        if not table:
            first = f": {left_out[0][0]}: {left_out[0][1]}" if left_out else ""
            raise DataError(f"{source} holds no sheets with writing{first}")
        write_atomically(work / "labels.csv", csv_of(("file", "label", "writer"), table))
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return left_out


def _printed(name: str) -> Form | None:
    """Return the sheet of that name; None if it is not one of ours."""
    for classes in get_args(SheetClasses):
        for paper in PAPER_MM:
            if found := re.fullmatch(rf"{_PREFIX}-{classes}-(\d{{1,3}})-{paper}", name):
                return sheet_form(classes, int(found[1]) or 1, paper)
    return None
