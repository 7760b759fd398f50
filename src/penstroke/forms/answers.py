"""What was read of a pile of scanned forms, page by page and field by field."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

MARK_SEPARATOR = ";"
"""Between the marked options in the value of a field."""
SIGNED = "signed"
"""Value of a field with a signature."""
FieldStatus = Literal["accepted", "doubtful", "empty", "rejected"]
"""`accepted`: at least as probable as the precision that was asked for needs; `doubtful`: to be
reviewed; `rejected`: nothing that the field's constraints admit is written there."""
PageProblem = Literal[
    "not_this_form", "blank_page", "cut_off", "several_pages", "not_registered", "damaged",
    "repeated",
]  # fmt: skip
"""Why nothing of a page is in the table. `repeated`: this page of this person is there already."""


@dataclass(frozen=True)
class FieldAnswer:
    """What one field of one page says.

    Attributes:
        value: as written into the table; for `choices`, the marked options joined by ";".
        probability: that the whole value is right.
        box: (left, top, right, bottom) of the field on the registered page, in its pixels.
        alternatives: other values with their probabilities, likeliest first.
        characters: for fields with a box for each character: its value ("" where it is empty),
            probability and box on the registered page.
    """

    field: str
    value: str
    probability: float
    status: FieldStatus
    box: tuple[int, int, int, int]
    alternatives: tuple[tuple[str, float], ...] = ()
    characters: tuple[tuple[str, float, tuple[int, int, int, int]], ...] = ()


@dataclass(frozen=True)
class PageAnswer:
    """What one scanned page says.

    Attributes:
        id: of the page: a hash of the file's content, and its number in the file.
        source: the file; `source_page` counts from 1.
        form_page: which page of the form it is, from 1; None where it was not recognised.
        person: who it was printed for, from its QR code.
        registration_error_mm: how far, typically, what is printed lies from where it should.
        image: file name of the registered page in the answers' folder.
        problem: why nothing was read; `detail` says it in words, and what to do.
    """

    id: str
    source: str
    source_page: int
    form_page: int | None = None
    person: str | None = None
    registration_error_mm: float | None = None
    image: str | None = None
    fields: Mapping[str, FieldAnswer] | None = None
    problem: PageProblem | None = None
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Return what `to_dict` made plain values of, through JSON too."""
        fields = plain["fields"]
        if fields is not None:
            fields = {name: _field_answer(values) for name, values in fields.items()}
        return cls(**{**plain, "fields": fields})


@dataclass(frozen=True)
class Change:
    """A value that a person gave to a field of a page in the review.

    `time` is in ISO format, UTC; `old` is the value that the person saw. `new` None takes back the
    last change of the field that holds.
    """

    who: str
    time: str
    page: str
    field: str
    old: str
    new: str | None


def _field_answer(plain: Mapping[str, Any]) -> FieldAnswer:
    return FieldAnswer(
        **{
            **plain,
            "box": tuple(plain["box"]),
            "alternatives": tuple((value, p) for value, p in plain["alternatives"]),
            "characters": tuple((value, p, tuple(box)) for value, p, box in plain["characters"]),
        }
    )
