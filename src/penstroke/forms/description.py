"""What a form asks for, and where on its pages: read from TOML, with positions in millimetres."""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import Field as Setting

from penstroke.config.settings import ListOf, Settings
from penstroke.config.toml import read_toml
from penstroke.errors import ConfigError
from penstroke.files import explained
from penstroke.inference.check_digits import CheckDigitName
from penstroke.inference.constraints import AllOf, CheckDigit, Choices, Constraint, Format

FieldType = Literal[
    "digits", "letters", "characters", "number", "text", "date", "choice", "choices", "signature"
]
"""`digits`, `letters` and `characters` have a box for each; `number` and `text` are one line;
`date` is eight boxes, DDMMYYYY; `choice` and `choices` are marks, of which one or any number is
made; a `signature` is only said to be there or not."""
COMBS = ("digits", "letters", "characters")
"""Types with a box for each character."""
MARKS = ("choice", "choices")
DATE_DIGITS = 8
Paper = Literal["A4", "Letter"]
PAPER_MM: dict[Paper, tuple[float, float]] = {"A4": (210.0, 297.0), "Letter": (215.9, 279.4)}
"""Width and height."""


class Area(Settings):
    """A rectangle on a page, in millimetres from its upper left corner."""

    left: float = Setting(ge=0, description="distance from the left edge of the paper, in mm")
    top: float = Setting(ge=0, description="distance from the upper edge of the paper, in mm")
    width: float = Setting(gt=0, description="in mm")
    height: float = Setting(gt=0, description="in mm")

    @property
    def right(self) -> float:
        """Of its right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Of its lower edge."""
        return self.top + self.height

    def overlaps(self, other: Area) -> bool:
        """Return whether the two have more than an edge in common."""
        return (
            self.left < other.right and other.left < self.right
            and self.top < other.bottom and other.top < self.bottom
        )  # fmt: skip


class FormField(Settings):
    """One thing that is asked for."""

    name: str = Setting(pattern=r"^[A-Za-z_]\w*$", description="its column in the table")
    title: str = Setting("", description="what is printed beside it; empty: the name")
    type: FieldType = Setting("digits", description="what is written there")
    count: int | None = Setting(None, ge=1, le=60, description="boxes for characters")
    required: bool = Setting(True, description="whether an empty field is shown in the review")
    format: str | None = Setting(None, description="regular expression of the whole value")
    least: float | None = Setting(None, description="least value of a number")
    greatest: float | None = Setting(None, description="greatest value of a number")
    one_of: str | None = Setting(
        None, description="list of all values: a text file, or file.csv:column"
    )
    values: ListOf[str] = Setting((), description="all values, where they are few")
    check_digit: CheckDigitName | None = Setting(None, description="scheme of its check digit")
    options: ListOf[str] = Setting((), description="what can be marked")
    page: int = Setting(1, ge=1, description="page of its boxes")
    boxes: ListOf[Area] = Setting(
        (), description="one for each character or option, or one for all; none: laid out by itself"
    )

    @property
    def box_count(self) -> int:
        """The number of its boxes."""
        if self.type == "date":
            return DATE_DIGITS
        if self.type in MARKS:
            return len(self.options)
        return (self.count or 0) if self.type in COMBS else 1

    @property
    def constraint(self) -> Constraint | None:
        """What its value keeps to, besides a range; None for anything."""
        parts: list[Constraint] = []
        if self.format is not None:
            parts.append(Format(self.format))
        if self.values:
            parts.append(Choices(self.values))
        if self.check_digit:
            parts.append(CheckDigit(self.check_digit))
        return AllOf(tuple(parts)) if len(parts) > 1 else next(iter(parts), None)


class Form(Settings):
    """A form of one or several pages.

    With `blank`, a picture or PDF of the empty form, scans are registered by what is printed
    there; without it, by the corner markers and the QR code that `penstroke form print` adds.
    """

    name: str = Setting(pattern=r"^[A-Za-z0-9][\w-]*$", description="in the QR code of each page")
    title: str = Setting("", description="at the top of each page; empty: the name")
    version: int = Setting(1, ge=1, description="raised when the fields change after printing")
    paper: Paper = Setting("A4", description="size of the paper")
    instructions: str = Setting("", description="below the title of the first page")
    blank: str | None = Setting(None, description="picture or PDF of the empty form")
    fields: ListOf[FormField] = Setting(min_length=1, description="what is asked for, in order")

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height of its paper."""
        return PAPER_MM[self.paper]

    @property
    def page_count(self) -> int:
        """The number of its pages."""
        return max(field.page for field in self.fields)

    def on_page(self, page: int) -> list[FormField]:
        """Return the fields of one page, from 1."""
        return [field for field in self.fields if field.page == page]


def read_form(path: str | Path) -> Form:
    """Return the form described at `path`: lists are read into `values`, and all boxes laid out.

    What it returns needs no other files but `blank`, whose path is then absolute.

    ConfigError: names the field that is wrong, lies outside the page or overlaps another.
    """
    from penstroke.forms.layout import lay_out

    path = Path(path)
    form = Form.parse(read_toml(path), source=str(path))
    counts = Counter(field.name for field in form.fields)
    if repeated := next((name for name, count in counts.items() if count > 1), None):
        raise ConfigError(f"{path}: two fields have the name {repeated!r}")
    fields = []
    for field in form.fields:
        try:
            complete = _with_values(field, path.parent)
            _check(complete)
        except ConfigError as error:
            raise ConfigError(f"{path}: field {field.name}: {error}") from error
        fields.append(complete)
    blank = None if form.blank is None else str((path.parent / form.blank).resolve())
    form = lay_out(form.model_copy(update={"fields": tuple(fields), "blank": blank}))
    _check_places(form, path)
    return form


def column_of(file: Path, column: str = "") -> tuple[str, list[str]]:
    """Return the name of a column of a CSV file, and what stands there, "" where nothing does.

    Without a name, the column is the first. ConfigError: the file has no such column, or no rows.
    """
    with explained(f"read {file}", ConfigError):
        rows = list(csv.DictReader(file.read_text("utf-8-sig").splitlines()))
    if not rows:
        raise ConfigError(f"{file} has no rows below its heading")
    column = column or next(iter(rows[0]))
    if column not in rows[0]:
        raise ConfigError(f"{file} has no column {column!r}; it has {', '.join(rows[0])}")
    return column, [(row[column] or "").strip() for row in rows]


def _with_values(field: FormField, folder: Path) -> FormField:
    """Return `field` with the values of the list that it names."""
    if field.one_of is None:
        return field
    name, _, column = field.one_of.partition(":")
    file = folder / name
    values = column_of(file, column)[1] if column else Choices.read(file).texts
    values = tuple(filter(None, values))
    return field.model_copy(update={"values": values, "one_of": None})


def _check(field: FormField) -> None:
    """Raise ConfigError for settings that do not fit each other."""
    if field.type in COMBS and field.count is None:
        raise ConfigError(f"count: give the number of boxes for {field.type}")
    if field.type in MARKS and len(field.options) < (2 if field.type == "choice" else 1):
        raise ConfigError(f"options: a {field.type} needs words to mark")
    if field.boxes and len(field.boxes) != field.box_count:
        raise ConfigError(f"boxes: {len(field.boxes)}, but {field.box_count} are needed")
    for what, texts in (("options", field.options), ("values", field.values)):
        if twice := [text for text, count in Counter(texts).items() if count > 1]:
            raise ConfigError(f"{what}: {twice[0]!r} is given twice")
    if too_long := [v for v in field.values if field.count is not None and len(v) > field.count]:
        raise ConfigError(f"values: {too_long[0]!r} does not fit into {field.count} boxes")
    _ = field.constraint  # refuses a format that is not one


def _check_places(form: Form, path: Path) -> None:
    width, height = form.size_mm
    for field in form.fields:
        for box in field.boxes:
            if box.right > width or box.bottom > height:
                raise ConfigError(
                    f"{path}: field {field.name}: a box ends at {box.right:.1f} × {box.bottom:.1f} "
                    f"mm, outside the page of {width:g} × {height:g} mm"
                )
    for one, other in itertools.combinations(form.fields, 2):
        if one.page == other.page and any(
            box.overlaps(another) for box in one.boxes for another in other.boxes
        ):
            raise ConfigError(f"{path}: the fields {one.name} and {other.name} overlap")
