"""Exam pages as strangers make them, filled with known numbers: to test what finds their boxes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from reportlab.lib.pagesizes import A4, LETTER
from reportlab.pdfgen.canvas import Canvas

from filled_forms import SCALE, Glyphs, Hand
from penstroke.forms.description import Area
from penstroke.forms.page_images import Grey, pdf_pages

MM = 72 / 25.4
STYLES = ("adjoining", "separate", "thick", "grey", "ticks", "small", "large", "table")
_WORDS = (
    "the of a question points time minutes answer page calculators allowed not write name marks "
    "total instructions read carefully before begin each every sheet"
)


@dataclass(frozen=True, eq=False)
class Stranger:
    """A page, `SCALE` pixels a millimetre, and where its boxes for a number are."""

    page: Grey
    boxes: list[Area]


def strangers_page(style: str, seed: int, digits: int = 9) -> Stranger:
    """Return an exam's first page with boxes for a number, drawn in one of `STYLES`."""
    rng = np.random.default_rng(seed)
    size = A4 if rng.random() < 0.5 else LETTER
    stream = io.BytesIO()
    canvas = Canvas(stream, size, invariant=1)
    height = size[1] / MM
    wide = {"small": 5.0, "large": 11.0}.get(style, rng.uniform(6.5, 8.5))
    high = wide * rng.uniform(1.0, 1.4)
    pitch = wide + (rng.uniform(1.0, 2.5) if style in ("separate", "grey") else 0.0)
    left, top = rng.uniform(20, 180 - digits * pitch), rng.uniform(55, 90)
    _write_text(canvas, height, rng)
    canvas.setFont("Helvetica", 10)
    canvas.drawString(20 * MM, (height - top + 2.5) * MM, "Student number:")
    canvas.setLineWidth({"thick": 2.2, "small": 0.5}.get(style, 0.8))
    canvas.setStrokeGray(0.65 if style == "grey" else 0.0)
    boxes = [Area(left=left + k * pitch, top=top, width=wide, height=high) for k in range(digits)]
    for box in boxes:
        x, y = box.left * MM, (height - box.bottom) * MM
        if style == "ticks":
            canvas.line(x, y, x + wide * MM, y)
            canvas.line(x, y, x, y + 0.45 * high * MM)
            canvas.line(x + wide * MM, y, x + wide * MM, y + 0.45 * high * MM)
        else:
            canvas.rect(x, y, wide * MM, high * MM)
    canvas.setStrokeGray(0)
    _draw_table(canvas, height, top + 35, rng, rows=2 if style != "table" else 6)
    canvas.save()
    page = pdf_pages(stream.getvalue())[0]
    shape = [round(SCALE * side / MM) for side in size]
    return Stranger(np.asarray(cv2.resize(page, shape), np.uint8), boxes)


def write_number(stranger: Stranger, number: str, glyphs: Glyphs, rng: np.random.Generator) -> Grey:
    """Return the page with `number` written into its boxes by one hand."""
    page, hand = stranger.page.copy(), Hand(glyphs, rng)
    hand.height_mm = stranger.boxes[0].height * rng.uniform(0.6, 0.95)
    for character, box in zip(number, stranger.boxes, strict=True):
        hand.write_in(page, box, character)
    return page


def _write_text(canvas: Any, height: float, rng: np.random.Generator) -> None:
    canvas.setFont("Helvetica-Bold", 16)
    canvas.drawString(20 * MM, (height - 22) * MM, "Midterm examination II")
    canvas.setFont("Times-Roman", 10)
    words = _WORDS.split()
    for line in range(4):
        text = " ".join(rng.choice(words, 12))
        canvas.drawString(20 * MM, (height - 30 - 5 * line) * MM, text)
    if rng.random() < 0.6:
        canvas.circle(185 * MM, (height - 25) * MM, 9 * MM)
        canvas.rect(178 * MM, (height - 27) * MM, 14 * MM, 4 * MM)
    for line in range(12):
        text = " ".join(rng.choice(words, 14))
        canvas.drawString(20 * MM, (height - 190 - 5.5 * line) * MM, text)


def _draw_table(
    canvas: Any, height: float, top: float, rng: np.random.Generator, rows: int
) -> None:
    columns = int(rng.integers(5, 9))
    canvas.setLineWidth(0.7)
    for row in range(rows):
        for column in range(columns):
            x, y = (20 + 18 * column) * MM, (height - top - 9 * (row + 1)) * MM
            canvas.rect(x, y, 18 * MM, 9 * MM)
            if row == 0:
                canvas.drawString(x + 3 * MM, y + 3 * MM, "Q" + str(column + 1))
