"""What a form asks for, and where on its pages: read from TOML, with positions in millimetres."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field as Setting

from penstroke.config.settings import ListOf, Settings

FieldType = Literal[
    "digits", "letters", "characters", "number", "text", "date", "choice", "choices", "signature"
]
"""`digits`, `letters` and `characters` have a box for each; `number` and `text` are one line;
`date` is eight boxes, DDMMYYYY; `choice` and `choices` are marks, of which one or any number is
made; a `signature` is only said to be there or not."""
PAPER_MM = {"A4": (210.0, 297.0), "Letter": (215.9, 279.4)}
"""Width and height."""


class Area(Settings):
    """A rectangle on a page, in millimetres from its upper left corner."""

    left: float = Setting(ge=0)
    top: float = Setting(ge=0)
    width: float = Setting(gt=0)
    height: float = Setting(gt=0)


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
    check_digit: Literal["luhn", "isbn", "iban"] | None = None
    options: ListOf[str] = Setting((), description="what can be marked")
    page: int = Setting(1, ge=1)
    boxes: ListOf[Area] = Setting(
        (), description="one for each character or option, or one for all; none: laid out by itself"
    )


class Form(Settings):
    """A form of one or several pages.

    With `blank`, a picture or PDF of the empty form, scans are registered by what is printed
    there; without it, by the corner markers and the QR code that `penstroke form print` adds.
    """

    name: str = Setting(pattern=r"^[A-Za-z0-9][\w-]*$")
    title: str = ""
    version: int = Setting(1, ge=1)
    paper: Literal["A4", "Letter"] = "A4"
    instructions: str = ""
    blank: str | None = Setting(None, description="picture or PDF of the empty form")
    fields: ListOf[FormField] = Setting(min_length=1)


def read_form(path: str | Path) -> Form:
    """Return the form described at `path`, every field with its boxes laid out.

    ConfigError: names the field that is wrong, lies outside the page or overlaps another.
    """
    raise NotImplementedError
