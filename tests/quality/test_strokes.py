from __future__ import annotations

import numpy as np
import pytest

from auditing import drawn_strokes
from penstroke.data.dataset import Images
from penstroke.quality.data_audit import blank, clipped, find_outliers
from penstroke.quality.duplicates import descriptors, nearest


def test_blank_images() -> None:
    images = drawn_strokes(20)
    images[2] = 0
    images[3] = 90
    images[4] = 0
    images[4, 10, 10] = 255  # a speck
    images[5] = 200 + images[5] // 20  # next to no contrast
    assert blank(images).tolist() == [2, 3, 4, 5]


def test_faint_ink_is_ink() -> None:
    assert blank(drawn_strokes(20) // 4).tolist() == []


@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
def test_ink_cut_off_at_any_side(side: str) -> None:
    images = drawn_strokes(30)
    for row in (4, 9):
        images[row] = cut(images[row], side)
    assert sorted(clipped(images)) == [4, 9]


def test_whole_strokes_and_a_touching_tip_are_not_clipped() -> None:
    images = drawn_strokes(30)
    images[0, 0, 14] = 255
    assert clipped(images).tolist() == []
    assert clipped(np.full((2, 28, 28), 255, np.uint8)).tolist() == []  # blank, not clipped


def test_an_outlier_of_its_class() -> None:
    random = np.random.default_rng(0)
    images = np.stack([bar(random) for _ in range(200)])
    images[17] = drawn_strokes(1)[0]
    placed = descriptors(images)
    neighbours = nearest(placed, placed, lambda *_: None, is_same=True)
    found = find_outliers(np.zeros(200, np.int64), neighbours, np.arange(0))
    assert found[0][0] == 17
    assert len(found) < 5
    assert [
        row for row, _ in find_outliers(np.zeros(200, np.int64), neighbours, np.array([17]))
    ] == [row for row, _ in found[1:]]


def bar(random: np.random.Generator) -> Images:
    """An upright bar, a little different each time."""
    image = np.zeros((28, 28), np.uint8)
    image[4 + random.integers(3) : 22 + random.integers(3), 12 : 15 + random.integers(3)] = 255
    return np.where(image > 0, image - random.integers(0, 60, image.shape), 0).astype(np.uint8)


def cut(image: Images, side: str) -> Images:
    """Move the image beyond a side, to where that cuts the most of its ink."""
    turns = ["top", "right", "bottom", "left"].index(side)
    upright = np.rot90(image, turns)
    row = int((upright >= 128).sum(axis=1).argmax())
    moved = np.zeros_like(upright)
    moved[: 28 - row] = upright[row:]
    return np.ascontiguousarray(np.rot90(moved, -turns))
