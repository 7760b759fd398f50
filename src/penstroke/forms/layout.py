"""Where on a form's pages its fields, markers and QR code stand, and what the code says."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from urllib.parse import quote

import segno

from penstroke.forms.description import COMBS, MARKS, Area, Form, FormField

MARKER_MM, MARKER_CENTRE_MM = 6.0, 10.0
"""Side of the square markers, and how far from both edges of a corner their middles are."""
QR_MM, QR_RIGHT_MM, QR_TOP_MM = 18.0, 27.0, 18.0
"""Side of the QR code with its quiet zone, and its middle from the right and upper edges."""
QR_BORDER = 4
"""Modules of the quiet zone on each side."""
QR_PREFIX = "penstroke"
LEFT_MM, RIGHT_MM = 20.0, 20.0
TITLE_MM, TEXT_LINE_MM = 3.4, 4.2
"""From the top of a text to its base line, and from line to line, in 9 points."""
_BELOW_TITLE_MM = 1.6
INSTRUCTIONS_MM, MODELS_MM = 34.0, (72.0, 8.0)
"""Top of the instructions, and width and height of the model digits on their right."""
_HEAD_MM, _END_MM = 33.0, 20.0
_BOX, _PITCH = (7.0, 9.0), 8.0
_DATE_GAP, _FIELD_GAP, _ROW_GAP = 4.0, 8.0, 6.0
_MARK, _MARK_GAP = 4.5, 2.0
_LINE_HEIGHT, _NUMBER_WIDTH, _SIGNATURE = 10.0, 50.0, (75.0, 16.0)
_WITH_DIGITS = ("digits", "characters", "date", "number")
_CHARACTER_MM = 1.9
"""Greatest mean width of a printed character of 9 points."""


def qr_text(form: Form, page: int, person: str = "") -> str:
    """Return what the QR code of a page says."""
    parts = [QR_PREFIX, quote(form.name, safe=""), str(form.version), str(page)]
    return ":".join([*parts, quote(person, safe="")] if person else parts)


def qr_code(form: Form, page: int, person: str = "") -> segno.QRCode:
    """Return the QR code of a page."""
    return segno.make_qr(qr_text(form, page, person), error="m")


def text_width_mm(text: str) -> float:
    """Return a bound of the width of `text`, printed in 9 points."""
    return _CHARACTER_MM * len(text)


def wrapped(text: str, width_mm: float) -> list[str]:
    """Return the lines of `text`, printed in 9 points."""
    return textwrap.wrap(text, max(1, int(width_mm / _CHARACTER_MM)))


def title_lines(field: FormField, form: Form) -> list[str]:
    """Return what is printed above the boxes of `field`."""
    title = (field.title or field.name) + ("" if field.required else " (optional)")
    left = field.boxes[0].left if field.boxes else LEFT_MM
    return wrapped(title, form.size_mm[0] - RIGHT_MM - min(left, form.size_mm[0] - 60))


def instruction_lines(form: Form) -> list[str]:
    """Return the lines of the instructions, beside the model digits where there are digits."""
    room = form.size_mm[0] - LEFT_MM - RIGHT_MM - (MODELS_MM[0] + 5) * shows_models(form)
    return wrapped(form.instructions, room)


def shows_models(form: Form) -> bool:
    """Return whether the instructions have model digits beside them."""
    return bool(form.instructions) and any(f.type in _WITH_DIGITS for f in form.fields)


def lay_out(form: Form) -> Form:
    """Return `form` with boxes for the fields that have none, in their order, page after page.

    Fields stand beside each other where there is room. Pages hold given boxes or laid-out ones.
    """
    width = form.size_mm[0] - LEFT_MM - RIGHT_MM
    x, y, tall = 0.0, _first_mm(form), 0.0
    page = 1
    fields = []
    for field in form.fields:
        if field.boxes:
            fields.append(field)
            continue
        boxes = list(_boxes(field, width))
        titles = title_lines(field, form)
        above = _BELOW_TITLE_MM + TITLE_MM + TEXT_LINE_MM * (len(titles) - 1)
        wide = max(max(box.right for box in boxes), *map(text_width_mm, titles))
        if field.type in MARKS:
            wide = max(
                box.right + _MARK_GAP + text_width_mm(option)
                for box, option in zip(boxes, field.options, strict=True)
            )
        high = max(box.bottom for box in boxes) + above
        if x and x + wide > width:
            x, y, tall = 0.0, y + tall + _ROW_GAP, 0.0
        if y + high > form.size_mm[1] - _END_MM:
            page, x, y, tall = page + 1, 0.0, _HEAD_MM, 0.0
        moved = tuple(
            Area(left=round(LEFT_MM + x + box.left, 2), top=round(y + above + box.top, 2),
                 width=box.width, height=box.height)
            for box in boxes
        )  # fmt: skip
        fields.append(field.model_copy(update={"boxes": moved, "page": page}))
        x, tall = x + wide + _FIELD_GAP, max(tall, high)
    return form.model_copy(update={"fields": tuple(fields)})


def _first_mm(form: Form) -> float:
    if not form.instructions:
        return _HEAD_MM
    lines = TEXT_LINE_MM * len(instruction_lines(form))
    return INSTRUCTIONS_MM + max(lines, MODELS_MM[1] * shows_models(form)) + 4


def _boxes(field: FormField, width: float) -> Iterator[Area]:
    """Yield the boxes of `field`, as if they began at (0, 0)."""
    if field.type in COMBS:
        across = int((width + _PITCH - _BOX[0]) // _PITCH)
        for index in range(field.box_count):
            row, column = divmod(index, across)
            yield _area(column * _PITCH, row * (_BOX[1] + 2), *_BOX)
    elif field.type == "date":
        for index in range(field.box_count):
            gaps = (index >= 2) + (index >= 4)
            yield _area(index * _PITCH + gaps * _DATE_GAP, 0, *_BOX)
    elif field.type in MARKS:
        x = y = 0.0
        for option in field.options:
            needed = _MARK + _MARK_GAP + text_width_mm(option)
            if x and x + needed > width:
                x, y = 0.0, y + _MARK + 3
            yield _area(x, y, _MARK, _MARK)
            x += needed + 4
    elif field.type == "signature":
        yield _area(0, 0, *_SIGNATURE)
    else:
        yield _area(0, 0, _NUMBER_WIDTH if field.type == "number" else width, _LINE_HEIGHT)


def _area(left: float, top: float, width: float, height: float) -> Area:
    return Area(left=left, top=top, width=width, height=height)
