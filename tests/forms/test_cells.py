"""What is written in the boxes of a registered page."""

import cv2
import numpy as np
import pytest

from filled_forms import SCALE, filled_pages, photographed, scanned
from forms.conftest import Printed
from penstroke import Recognizer
from penstroke.forms.cells import PAPER, cut
from penstroke.forms.description import Area
from penstroke.forms.registration import register


def test_digits_of_filled_pages_are_read_and_empty_boxes_are_empty(
    exam: Printed, glyphs: dict[str, np.ndarray]
) -> None:
    digits = Recognizer.load("digits")
    right = total = 0
    for seed, (page, _, values) in enumerate(filled_pages(exam.pages, exam.form, glyphs, 6, 3)):
        rng = np.random.default_rng(seed)
        seen = (scanned if seed % 2 else photographed)(page, rng)
        image = register(seen, exam.form).image
        for field in exam.form.fields:
            if field.type != "digits":
                continue
            cells = cut(image, field.boxes)
            written = values[field.name]
            assert [cell.is_empty for cell in cells] == [
                k >= len(written) for k in range(len(cells))
            ]
            for cell, truth in zip(cells, written, strict=False):
                right += digits.recognize(cell.image).top(1)[0][0] == truth
                total += 1
    assert right / total > 0.95


BOXES = [Area(left=20 + 8 * k, top=30, width=7, height=9) for k in range(3)]


@pytest.mark.parametrize("print_grey", [200, 60, 0], ids=["drop-out", "dark", "black"])
def test_a_stroke_across_the_frame_stays_with_its_box(print_grey: int) -> None:
    page = np.full((80 * SCALE, 80 * SCALE), 250, np.uint8)
    for box in BOXES:
        corners = [round(SCALE * v) for v in (box.left, box.top, box.right, box.bottom)]
        cv2.rectangle(page, corners[:2], corners[2:], print_grey, 2)
    cv2.putText(page, "Title", (160, 225), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 0, 2)
    x, top, bottom = SCALE * 31 + 4, SCALE * 28 + 8, SCALE * 40 + 4  # through the second box
    cv2.line(page, (x, top), (x, bottom), 30, 4)
    first, second, third = cut(page, BOXES)
    assert first.is_empty
    assert third.is_empty
    assert not second.is_empty
    rows, columns = np.nonzero(second.image < 128)
    assert rows.min() + second.box[1] <= top + 2
    assert rows.max() + second.box[1] >= bottom - 2
    assert len(np.unique(rows)) >= 0.95 * (bottom - top)  # no gap where it crosses the frame
    assert np.ptp(columns) <= 6
    assert (first.image == PAPER).all()


def test_ink_of_a_neighbour_is_not_taken() -> None:
    page = np.full((80 * SCALE, 80 * SCALE), 250, np.uint8)
    # A stroke that begins in the first box and ends a little inside the second.
    cv2.line(page, (21 * SCALE, 34 * SCALE), (29 * SCALE, 34 * SCALE), 20, 5)
    first, second, _ = cut(page, BOXES)
    assert not first.is_empty
    assert second.is_empty
