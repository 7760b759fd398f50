"""A form as a PDF to print: boxes in a light grey, corner markers and a QR code to find them by."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from reportlab.lib.utils import simpleSplit
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from penstroke.errors import ConfigError
from penstroke.files import write_atomically
from penstroke.forms.description import MARKS, Area, Form, FormField
from penstroke.forms.layout import (
    INSTRUCTIONS_MM,
    LEFT_MM,
    MARKER_CENTRE_MM,
    MARKER_MM,
    MODELS_MM,
    QR_BORDER,
    QR_MM,
    QR_RIGHT_MM,
    QR_TOP_MM,
    RIGHT_MM,
    TEXT_LINE_MM,
    TITLE_MM,
    instruction_lines,
    qr_code,
    shows_models,
    title_lines,
)

_HOLE_MM = 2.0
"""Of the upper left marker, by which a page that lies upside down is known."""
_DROP_OUT_GREY = 0.78
_LINE_MM = 0.25
_MM = 72 / 25.4
_FONT, _BOLD = "DejaVuSans", "DejaVuSans-Bold"
_MOST_MODULES = 49
"""Of a QR code, across: of more, each is under 0.32 mm, too small for scans at 200 dpi."""
_RULE_MM = 29.5
_MODELS: tuple[tuple[tuple[tuple[float, float], ...], ...], ...] = (
    (((.5, 0), (.1, .2), (0, .5), (.1, .8), (.5, 1), (.9, .8), (1, .5), (.9, .2), (.5, 0)),),
    (((.25, .22), (.6, 0), (.6, 1)),),
    (((.05, .22), (.25, .03), (.65, 0), (.92, .2), (.85, .45), (0, 1), (1, 1)),),
    (((.05, .05), (.95, .05), (.45, .4), (.85, .5), (1, .75), (.8, .95), (.4, 1), (0, .88)),),
    (((.35, 0), (0, .62), (1, .62)), ((.72, .25), (.72, 1))),
    (((.95, 0), (.15, 0), (.1, .45), (.6, .38), (1, .62), (.85, .92), (.4, 1), (0, .88)),),
    (((.75, 0), (.25, .3), (0, .7), (.2, .97), (.7, 1), (1, .75), (.8, .5), (.3, .5), (0, .7)),),
    (((0, 0), (1, 0), (.35, 1)),),
    (((.5, .45), (.1, .2), (.5, 0), (.9, .2), (.5, .45), (0, .7), (.5, 1), (1, .7), (.5, .45)),),
    (((.95, .3), (.6, .52), (.1, .42), (.1, .12), (.5, 0), (.95, .15), (.95, .35), (.8, 1)),),
)  # fmt: skip
"""Strokes of each digit through these points, in a box of one by one."""


def print_form(
    form: Form, path: Path, people: Sequence[str] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> int:  # fmt: skip
    """Write `form` to `path` as a PDF, once for each of `people`, or once; return its pages.

    ConfigError: a text has a character that the font lacks, or the QR code would be too fine.
    """
    if form.blank:
        raise ConfigError(f"the form is printed already: {form.blank} is its blank copy")
    write_atomically(path, pdf_of(form, people, progress))
    return form.page_count * max(1, len(people))


def pdf_of(
    form: Form, people: Sequence[str] = (), progress: Callable[[int], None] = lambda done: None
) -> bytes:
    """Return `form` as a PDF, the same bytes each time; raises as `print_form` does."""
    for name in (_FONT, _BOLD):
        if name not in pdfmetrics.getRegisteredFontNames():
            with resources.as_file(
                resources.files("penstroke.forms") / f"fonts/{name}.ttf"
            ) as file:
                pdfmetrics.registerFont(TTFont(name, str(file)))
    _check_texts(form, people)
    stream = io.BytesIO()
    width, height = (_MM * side for side in form.size_mm)
    canvas = Canvas(stream, (width, height), invariant=1)
    canvas.setTitle(form.title or form.name)
    for number, person in enumerate(people or [""], start=1):
        for page in range(1, form.page_count + 1):
            _Page(canvas, form, page).draw(person)
            canvas.showPage()
        progress(number)
    canvas.save()
    return stream.getvalue()


def _check_texts(form: Form, people: Sequence[str]) -> None:
    known = pdfmetrics.getFont(_FONT).face.charToGlyph
    texts = [form.title, form.instructions, *people]
    for field in form.fields:
        texts += [field.title, *field.options]
    for text in texts:
        if strange := [c for c in text if ord(c) not in known]:
            raise ConfigError(
                f"{text!r} cannot be printed: the font has Latin, Greek and Cyrillic letters, but "
                f"no {strange[0]!r}"
            )
    for person in people:
        if qr_code(form, form.page_count, person).symbol_size(border=0)[0] > _MOST_MODULES:
            raise ConfigError(
                f"{person!r} is too long for a QR code: tell people apart by a shorter column, "
                "such as a number (--for FILE.csv:COLUMN)"
            )


class _Page:
    """Draws in millimetres from the upper left corner, downwards."""

    def __init__(self, canvas: Any, form: Form, page: int) -> None:
        self._canvas, self._form, self._page = canvas, form, page
        self._width, self._height = form.size_mm

    def draw(self, person: str) -> None:
        form, far = self._form, (MARKER_CENTRE_MM, self._width - MARKER_CENTRE_MM)
        for x in far:
            for y in (MARKER_CENTRE_MM, self._height - MARKER_CENTRE_MM):
                self._square(x, y, MARKER_MM, 0.0)
        self._square(MARKER_CENTRE_MM, MARKER_CENTRE_MM, _HOLE_MM, 1.0)
        self._qr_code(person)
        self._head(person)
        if self._page == 1 and form.instructions:
            for number, line in enumerate(instruction_lines(form)):
                y = INSTRUCTIONS_MM + TITLE_MM + number * TEXT_LINE_MM
                self._text(LEFT_MM, y, line, 9, room=self._width - LEFT_MM - RIGHT_MM)
            if shows_models(form):
                self._models(self._width - RIGHT_MM - MODELS_MM[0], INSTRUCTIONS_MM)
        for field in form.on_page(self._page):
            self._field(field)

    def _head(self, person: str) -> None:
        """Print the title, on two lines where it is long, and what is below it."""
        form = self._form
        room = self._width - QR_RIGHT_MM - QR_MM / 2 - LEFT_MM - 3
        title = form.title or form.name
        points = 16 if len(simpleSplit(title, _BOLD, 16, room * _MM)) == 1 else 12
        lines = simpleSplit(title, _BOLD, points, room * _MM)
        if len(lines) > 2:
            lines = [lines[0], " ".join(lines[1:])]
        y = 17.5 if len(lines) == 1 else 15.5
        for line in lines:
            self._text(LEFT_MM, y, line, points, bold=True, room=room)
            y += 5.2
        several = f"page {self._page} of {form.page_count}" if form.page_count > 1 else ""
        below = "  ·  ".join(filter(None, (person, several)))
        self._text(LEFT_MM, max(y + 1.6, 24.6), below, 11, room=room)
        self._canvas.setStrokeGray(0.5)
        self._canvas.setLineWidth(0.2 * _MM)
        self._canvas.line(*self._at(LEFT_MM, _RULE_MM), *self._at(self._width - RIGHT_MM, _RULE_MM))

    def _models(self, left: float, top: float) -> None:
        """Draw a digit in each of ten boxes, as it should be written."""
        pitch, wide, high = MODELS_MM[0] / 10, MODELS_MM[0] / 10 - 1, MODELS_MM[1]
        for digit, strokes in enumerate(_MODELS):
            x = left + digit * pitch + 1
            self._box(Area(left=x, top=top, width=wide, height=high))
            self._canvas.setStrokeGray(0.25)
            self._canvas.setLineWidth(0.45 * _MM)
            self._canvas.setLineCap(1)
            self._canvas.setLineJoin(1)
            for stroke in strokes:
                points = [(x + wide * (0.24 + 0.52 * a), top + high * (0.16 + 0.68 * b))
                          for a, b in stroke]  # fmt: skip
                self._curve(points, smooth=digit not in (1, 4, 7))

    def _curve(self, points: Sequence[tuple[float, float]], *, smooth: bool) -> None:
        """Draw a line through `points`; smooth, as a Catmull-Rom spline."""
        path = self._canvas.beginPath()
        path.moveTo(*self._at(*points[0]))
        padded = [points[0], *points, points[-1]]
        for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
            if smooth:
                one = (b[0] + (c[0] - a[0]) / 6, b[1] + (c[1] - a[1]) / 6)
                two = (c[0] - (d[0] - b[0]) / 6, c[1] - (d[1] - b[1]) / 6)
                path.curveTo(*self._at(*one), *self._at(*two), *self._at(*c))
            else:
                path.lineTo(*self._at(*c))
        self._canvas.drawPath(path)

    def _field(self, field: FormField) -> None:
        first = field.boxes[0]
        lines = title_lines(field, self._form)
        for number, line in enumerate(reversed(lines)):
            y = first.top - 1.6 - number * TEXT_LINE_MM
            self._text(first.left, y, line, 9, room=self._width - RIGHT_MM / 2 - first.left)
        for index, box in enumerate(field.boxes):
            self._box(box)
            if field.type in MARKS:
                room = self._width - RIGHT_MM / 2 - box.right - 2
                self._text(box.right + 2, box.top + 3.4, field.options[index], 9, room=room)
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
        font = _BOLD if bold else _FONT
        if room is not None:
            wide = self._canvas.stringWidth(text, font, points) / _MM
            points *= min(1.0, room / max(wide, 1))
        self._canvas.setFillGray(grey)
        self._canvas.setFont(font, points)
        self._canvas.drawString(*self._at(x, y), text)

    def _qr_code(self, person: str) -> None:
        x, y = self._width - QR_RIGHT_MM, QR_TOP_MM
        modules = [*qr_code(self._form, self._page, person).matrix_iter(border=QR_BORDER)]
        size = QR_MM / len(modules)
        self._canvas.setFillGray(0)
        for row, line in enumerate(modules):
            for column, is_dark in enumerate(line):
                if is_dark:
                    left, top = x - QR_MM / 2 + column * size, y - QR_MM / 2 + row * size
                    corner = self._at(left, top + size)
                    self._canvas.rect(*corner, size * _MM, size * _MM, stroke=0, fill=1)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return x * _MM, (self._height - y) * _MM
