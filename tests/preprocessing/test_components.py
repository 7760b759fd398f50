from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from penstroke.preprocessing.components import count_characters, find_components
from writing import Strokes, drawn

CORNERS_TOUCH = np.ones((3, 3))


@pytest.mark.parametrize("seed", range(60))
def test_the_same_components_as_scipy(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.random(tuple(random.integers(1, 40, 2))) < random.random()
    components = find_components(mask)
    labels, count = ndimage.label(mask, CORNERS_TOUCH)
    assert len(components.boxes) == count
    assert np.array_equal(components.labels > 0, mask)
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        (ours,) = np.unique(components.labels[labels == number])
        box = (columns.start, rows.start, columns.stop, rows.stop)
        assert tuple(components.boxes[ours - 1]) == box


def test_a_spiral_is_one_component() -> None:
    mask = np.zeros((41, 41), bool)
    row, column, step, length = 20, 20, (0, 1), 1
    for turn in range(38):
        for _ in range(length):
            mask[row, column] = True
            row, column = row + step[0], column + step[1]
        step = (step[1], -step[0])
        length += 2 * (turn % 2)
        if not (0 <= row < 41 and 0 <= column < 41) or length > 36:
            break
    assert len(find_components(mask).boxes) == ndimage.label(mask, CORNERS_TOUCH)[1] == 1


def test_nothing_has_no_components() -> None:
    components = find_components(np.zeros((5, 7), bool))
    assert components.boxes.shape == (0, 4)
    assert not components.labels.any()


SEVEN = [[(0, 0), (50, 0), (20, 100)]]
FIVE_WITH_BAR = [[(10, 10), (10, 45), (45, 70), (5, 100)], [(14, 0), (60, 0)]]


def moved(strokes: Strokes, right: float, down: float = 0, scale: float = 1.0) -> Strokes:
    return [[(right + scale * x, down + scale * y) for x, y in points] for points in strokes]


@pytest.mark.parametrize(
    ("strokes", "characters"),
    [
        ([], 0),
        (SEVEN, 1),
        ([*SEVEN, *moved(SEVEN, 60)], 2),
        ([*SEVEN, *moved(SEVEN, 60), *moved(SEVEN, 140)], 3),
        ([[(0, 0), (0, 100)], [(40, 0), (40, 100)]], 2),  # eleven
        (FIVE_WITH_BAR, 1),
        ([[(0, 0), (0, 3)], [(0, 30), (0, 100)]], 1),  # i
        ([[(0, 0), (60, 0)], [(0, 40), (60, 40)]], 1),  # =
        ([[(0, 0), (0, 100)], [(20, 50), (40, 50)], [(60, 0), (60, 100)]], 1),  # H, in three parts
        ([[(30, 0), (0, 50), (30, 100)], [(42, 0), (72, 50), (42, 100)]], 1),  # 0, cut through
        ([*SEVEN, *moved(SEVEN, 60, 0, 0.3)], 1),  # a small mark beside it
    ],
)
def test_characters_stand_side_by_side(strokes: Strokes, characters: int) -> None:
    ink = drawn(moved(strokes, 60, 30), (400, 160), 8)
    assert count_characters(ink) == characters
