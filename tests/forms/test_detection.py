"""The boxes of somebody else's form."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from filled_forms import scanned
from helpers import Outcome
from penstroke.forms.description import read_form
from penstroke.forms.detection import detect_page
from strangers_forms import STYLES, strangers_page, write_number


@pytest.mark.parametrize("style", STYLES)
def test_the_boxes_of_a_blank_page_are_found(style: str) -> None:
    stranger = strangers_page(style, 4)
    page = detect_page(stranger.page)
    combs = [comb for comb in page.combs if len(comb) == 9]
    assert len(combs) == 1
    for found, box in zip(combs[0], stranger.boxes, strict=True):
        assert found.area.left == pytest.approx(box.left, abs=0.6)
        assert found.area.right == pytest.approx(box.right, abs=0.6)
        assert found.area.bottom == pytest.approx(box.bottom, abs=0.6)
    scan = detect_page(scanned(stranger.page, np.random.default_rng(5)))
    assert 9 in [len(comb) for comb in scan.combs]


def test_a_form_is_described_from_filled_copies(
    tmp_path: Path, glyphs: dict[str, np.ndarray], penstroke: Callable[..., Outcome]
) -> None:
    stranger, rng = strangers_page("adjoining", 1), np.random.default_rng(1)
    files = []
    for index in range(6):
        number = "".join(map(str, rng.integers(0, 10, 9)))
        filled = scanned(write_number(stranger, number, glyphs, rng), rng)
        files.append(tmp_path / f"scan-{index}.png")
        cv2.imwrite(str(files[-1]), filled)
    output = tmp_path / "theirs.toml"
    answer = penstroke("form", "detect", *files, "-o", output)
    assert answer.exit_code == 0, answer
    form = read_form(output)
    assert [field.count for field in form.fields if field.type == "digits"] == [9]
    assert form.blank == str(tmp_path / "theirs-blank.png")
    assert (tmp_path / "theirs-preview.png").exists()
    again = penstroke("form", "detect", *files, "-o", output)
    assert again.exit_code == 2
    assert "exists" in again.err


def test_a_page_without_boxes_is_no_form(tmp_path: Path, penstroke: Callable[..., Outcome]) -> None:
    picture = tmp_path / "letter.png"
    page = np.full((2376, 1680), 250, np.uint8)
    for line in range(12):
        cv2.putText(page, "Dear Sir or Madam, nothing here is a box", (150, 300 + 60 * line),
                    cv2.FONT_HERSHEY_SIMPLEX, 1.2, 0, 2)  # fmt: skip
    cv2.imwrite(str(picture), page)
    answer = penstroke("form", "detect", picture, "-o", tmp_path / "letter.toml")
    assert answer.exit_code == 1
    assert "no boxes" in answer.err
    assert not (tmp_path / "letter.toml").exists()
