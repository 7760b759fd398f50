"""Sheets of handwriting that come with their labels, printed by us or any grid."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from filled_forms import Hand, photographed
from forms.conftest import pages_of
from helpers import Outcome
from penstroke.data import store
from penstroke.data.loading import imported_folder
from penstroke.forms.sheets import cells_of, sheet_form


def test_photos_of_a_sheet_become_a_data_set_with_writers(
    tmp_path: Path, glyphs: dict[str, np.ndarray], penstroke: Callable[..., Outcome]
) -> None:
    form, photos = sheet_form("digits"), tmp_path / "photos"
    photos.mkdir()
    for seed, writer in enumerate(("Ada", "Bo")):
        pdf = tmp_path / f"{writer}.pdf"
        assert penstroke("form", "sheet", "-o", pdf, "--writer", writer).exit_code == 0
        page = pages_of(pdf, form)[0].copy()
        rng = np.random.default_rng(seed)
        hand = Hand(glyphs, rng)
        for field in form.fields:
            for box in field.boxes[:6]:
                hand.write_in(page, box, field.title[0])
        struck = form.fields[3].boxes[10]
        corners = [round(8 * v) for v in (struck.left, struck.top, struck.right, struck.bottom)]
        page[corners[1] : corners[3], corners[0] : corners[2]] = 60
        cv2.imwrite(str(photos / f"{writer}.jpg"), photographed(page, rng))
    cv2.imwrite(str(photos / "cat.png"), np.full((900, 700), 200, np.uint8))
    done = penstroke("data", "import", "hands", photos, "--sheet", "--test-fraction", "0.2")
    assert done.exit_code == 0, done.err
    assert "cat.png" in done.out + done.err
    train, test = store.load(imported_folder("hands"))
    counts = np.bincount(np.concatenate([train.labels, test.labels]))
    assert counts.sum() >= 117  # a stroke may reach into the next box
    assert ((counts >= 11) & (counts <= 12)).all()
    assert train.writers is not None
    assert {*train.writers} | {*(test.writers if test.writers is not None else ())} == {"Ada", "Bo"}


def test_any_grid_is_a_sheet_whose_rows_are_named(glyphs: dict[str, np.ndarray]) -> None:
    page = np.full((900, 1300), 245, np.uint8)
    for line in range(7):
        cv2.line(page, (50, 50 + 130 * line), (1250, 50 + 130 * line), 40, 3)
    for line in range(11):
        cv2.line(page, (50 + 120 * line, 50), (50 + 120 * line, 830), 40, 3)
    for row in range(6):
        for column in range(9):
            image = glyphs[str(row % 3)][row * 9 + column]
            ink = 255 - np.asarray(cv2.resize(image, (84, 84)))
            top, left = 50 + 130 * row + 22, 50 + 120 * column + 18
            part = page[top : top + 84, left : left + 84]
            np.minimum(part, ink, out=part)
    cells = list(cells_of(page, ("0", "1", "2")))
    assert [cell.label for cell in cells] == [str(row % 3) for row in range(6) for _ in range(9)]
