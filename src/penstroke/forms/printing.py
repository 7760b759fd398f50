"""A form as a PDF to print: boxes in a light grey, corner markers and a QR code to find them by."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reportlab.lib.utils import simpleSplit
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from penstroke.files import write_atomically
from penstroke.forms.description import MARKS, PAPER_MM, Area, Form, FormField
from penstroke.forms.layout import (
    LEFT_MM,
    MARKER_CENTRE_MM,
    MARKER_MM,
    QR_BORDER,
    QR_MM,
    QR_RIGHT_MM,
    QR_TOP_MM,
    TITLE_HEIGHT_MM,
    qr_code,
)

_HOLE_MM = 2.0
"""Of the upper left marker, by which a page that lies upside down is known."""
_DROP_OUT_GREY = 0.78
_LINE_MM = 0.25
_MM = 72 / 25.4
_FONT = "Vera"


def print_form(form: Form, path: Path, people: Sequence[str] = ()) -> int:
    """Write `form` to `path` as a PDF, once for each of `people`, or once; return its pages."""
    write_atomically(path, pdf_of(form, people))
    return form.page_count * max(1, len(people))


def pdf_of(form: Form, people: Sequence[str] = ()) -> bytes:
    """Return `form` as a PDF, once for each of `people`, or once; the same bytes each time."""
    _register_fonts()
    stream = io.BytesIO()
    width, height = (_MM * side for side in PAPER_MM[form.paper])
    canvas = Canvas(stream, (width, height), invariant=1)
    canvas.setTitle(form.title or form.name)
    for person in people or [""]:
        for page in range(1, form.page_count + 1):
            _Page(canvas, height).draw(form, page, person)
            canvas.showPage()
    canvas.save()
    return stream.getvalue()


class _Page:
    """Draws in millimetres from the upper left corner, downwards."""

    def __init__(self, canvas: Any, height: float) -> None:
        self._canvas, self._height = canvas, height

    def draw(self, form: Form, page: int, person: str) -> None:
        width, height = PAPER_MM[form.paper]
        for x in (MARKER_CENTRE_MM, width - MARKER_CENTRE_MM):
            for y in (MARKER_CENTRE_MM, height - MARKER_CENTRE_MM):
                self._square(x, y, MARKER_MM, 0.0)
        self._square(MARKER_CENTRE_MM, MARKER_CENTRE_MM, _HOLE_MM, 1.0)
        self._qr_code(form, page, person)
        room = width - QR_RIGHT_MM - QR_MM / 2 - LEFT_MM
        self._text(LEFT_MM, 17, form.title or form.name, 16, bold=True, room=room)
        below = " · ".join(
            [*filter(None, [person]), *([f"page {page} of {form.page_count}"]
             if form.page_count > 1 else [])]
        )  # fmt: skip
        self._text(LEFT_MM, 24, below, 10, room=room)
        if page == 1 and form.instructions:
            self._paragraph(LEFT_MM, 31, form.instructions, width - 2 * LEFT_MM)
        for field in form.on_page(page):
            self._field(field)

    def _field(self, field: FormField) -> None:
        first = field.boxes[0]
        note = "" if field.required else "  (if you like)"
        title = (field.title or field.name) + note
        self._text(first.left, first.top - TITLE_HEIGHT_MM + 3.4, title, 9)
        for index, box in enumerate(field.boxes):
            self._box(box)
            if field.type in MARKS:
                self._text(box.right + 2, box.top + 3.4, field.options[index], 9)
        if field.type == "date":
            for index, hint in enumerate("DDMMYYYY"):
                box = field.boxes[index]
                self._text(box.left + 2.6, box.bottom + 2.6, hint, 6, grey=0.6)

    def _box(self, box: Area) -> None:
        self._canvas.setStrokeGray(_DROP_OUT_GREY)
        self._canvas.setLineWidth(_LINE_MM * _MM)
        self._canvas.rect(*self._at(box.left, box.bottom), box.width * _MM, box.height * _MM)

    def _square(self, x: float, y: float, side: float, grey: float) -> None:
        self._canvas.setFillGray(grey)
        corner = self._at(x - side / 2, y + side / 2)
        self._canvas.rect(*corner, side * _MM, side * _MM, stroke=0, fill=1)

    def _text(
        self, x: float, y: float, text: str, points: float,
        *, bold: bool = False, grey: float = 0.0, room: float | None = None,
    ) -> None:  # fmt: skip
        font = _FONT + "Bd" * bold
        if room is not None:
            wide = self._canvas.stringWidth(text, font, points) / _MM
            points *= min(1.0, room / max(wide, 1))
        self._canvas.setFillGray(grey)
        self._canvas.setFont(font, points)
        self._canvas.drawString(*self._at(x, y), text)

    def _paragraph(self, x: float, y: float, text: str, width: float) -> None:
        for line in simpleSplit(text, _FONT, 9, width * _MM)[:3]:
            self._text(x, y, line, 9)
            y += 4.2

    def _qr_code(self, form: Form, page: int, person: str) -> None:
        x, y = form.size_mm[0] - QR_RIGHT_MM, QR_TOP_MM
        modules = [*qr_code(form, page, person).matrix_iter(border=QR_BORDER)]
        size = QR_MM / len(modules)
        self._canvas.setFillGray(0)
        for row, line in enumerate(modules):
            for column, is_dark in enumerate(line):
                if is_dark:
                    left, top = x - QR_MM / 2 + column * size, y - QR_MM / 2 + row * size
                    corner = self._at(left, top + size)
                    self._canvas.rect(*corner, size * _MM, size * _MM, stroke=0, fill=1)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return x * _MM, self._height - y * _MM


def _register_fonts() -> None:
    for name in (_FONT, f"{_FONT}Bd"):
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, f"{name}.ttf"))
