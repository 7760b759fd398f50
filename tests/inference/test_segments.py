from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from penstroke.errors import ImageTooComplexError
from penstroke.inference.segments import Box, TextLine, around, find_lines
from writing import Strokes, drawn, stems


def box_of(line: TextLine) -> Box:
    return around(s.box for s in line.segments)


def test_no_ink_no_lines() -> None:
    assert find_lines(np.zeros((40, 50), np.float32)) == []


def test_segments_go_from_left_to_right() -> None:
    (line,) = find_lines(drawn(stems(300, 50, 180, 120)))
    assert [segment.box.left + 2 for segment in line.segments] == [50, 120, 180, 300]
    assert line.height == pytest.approx(61, abs=1)
    assert line.stroke == pytest.approx(6, abs=1)
    assert all(segment.split is None for segment in line.segments)


def test_segments_hold_all_the_ink_and_each_its_own() -> None:
    ink = drawn([*stems(60, 120), [(200, 30), (260, 30), (260, 90), (200, 90), (200, 30)]])
    (line,) = find_lines(ink)
    again = np.zeros_like(ink)
    for segment in line.segments:
        box = segment.box
        again[box.top : box.bottom, box.left : box.right] += segment.ink
    assert np.array_equal(again, ink)


@pytest.mark.parametrize("slope", [-0.08, 0.0, 0.08])
def test_lines_go_from_top_to_bottom_though_they_slope(slope: float) -> None:
    strokes = [
        [(x, y + slope * x), (x, y + 40 + slope * x)]
        for y in (40, 120, 200)
        for x in range(40, 760, 60)
    ]
    lines = find_lines(drawn(strokes, (800, 340)))
    assert [len(line.segments) for line in lines] == [12, 12, 12]
    assert [box_of(line).top for line in lines] == sorted(box_of(line).top for line in lines)


def test_lines_that_fan_out() -> None:
    """As in a photograph taken from the side: the upper line falls, the lower one rises."""
    strokes = [
        [(x, y + slope * x), (x, y + 40 + slope * x)]
        for y, slope in ((60, -0.04), (140, 0.0), (220, 0.04))
        for x in range(40, 760, 60)
    ]
    assert [len(line.segments) for line in find_lines(drawn(strokes, (800, 340)))] == [12, 12, 12]


def test_the_dot_of_an_i_belongs_to_it() -> None:
    ink = drawn([[(100, 45), (100, 90)], [(100, 26), (100, 33)], *stems(180)])
    (line,) = find_lines(ink)
    assert [segment.box.top < 35 for segment in line.segments] == [True, True]
    assert len(line.segments) == 2


def test_the_bar_of_a_5_belongs_to_it() -> None:
    body = [(100, 45), (100, 60), (130, 62), (130, 88), (100, 90)]
    (line,) = find_lines(drawn([body, [(102, 32), (132, 32)], *stems(200)]))
    assert sum(segment.box.top < 35 and segment.box.right < 150 for segment in line.segments) >= 1
    first = [segment for segment in line.segments if segment.box.right < 150]
    assert around(s.box for s in first).top < 35


def test_specks_are_not_segments() -> None:
    ink = drawn(stems(60, 120, 180)).copy()
    random = np.random.default_rng(0)
    clean = [segment.box for segment in find_lines(ink)[0].segments]
    for row, column in random.integers(5, 110, (30, 2)):
        if not ink[row - 4 : row + 5, column + 196 : column + 205].any():
            ink[row : row + 2, column + 200 : column + 202] = 1
    assert [segment.box for segment in find_lines(ink)[0].segments] == clean


@pytest.mark.parametrize("degrees", [-15, 0, 20])
def test_the_slant_is_found(degrees: float) -> None:
    lean = np.tan(np.radians(degrees)) * 60
    strokes: Strokes = [[(x + lean, 30), (x, 90)] for x in range(60, 360, 40)]
    (line,) = find_lines(drawn(strokes))
    assert np.degrees(np.arctan(line.slant)) == pytest.approx(degrees, abs=3)


def test_what_touches_is_split_where_the_ink_is_thin() -> None:
    """Two rings, one thin bridge."""
    image = Image.new("L", (200, 120))
    pen = ImageDraw.Draw(image)
    pen.ellipse((30, 30, 80, 90), outline=255, width=6)
    pen.ellipse((84, 30, 134, 90), outline=255, width=6)
    pen.line((78, 60, 86, 60), fill=255, width=4)
    (line,) = find_lines(np.asarray(image, np.float32) / np.float32(255))
    cheapest = min((s for s in line.segments if s.split is not None), key=lambda s: s.split.cost)  # type: ignore[union-attr]
    assert 78 <= cheapest.box.left <= 86
    assert cheapest.split is not None
    assert cheapest.split.cost < 1.2


def test_a_stem_is_not_split() -> None:
    assert len(find_lines(drawn(stems(100), width=14))[0].segments) == 1


def test_more_lines_than_any_page_has() -> None:
    ink = np.zeros((4100, 20), np.float32)
    ink.reshape(1025, 4, 2, 10)[:, :3, :, :3] = 1
    with pytest.raises(ImageTooComplexError, match="more than 1000 lines"):
        find_lines(ink)


def test_shapes_that_enclose_one_another_all_over() -> None:
    y, x = np.indices((600, 600))
    ring = np.minimum(np.minimum(x, y), np.minimum(599 - x, 599 - y))
    with pytest.raises(ImageTooComplexError, match="enclose one another"):
        find_lines((ring % 3 == 1).astype(np.float32))


def test_large_shapes_that_may_be_split_all_over() -> None:
    ink = np.zeros((4000, 4000), np.float32)
    combs = ink.reshape(10, 400, 4000)
    combs[:, 50:350, ::8] = combs[:, 50:56] = 1
    with pytest.raises(ImageTooComplexError, match="several characters each"):
        find_lines(ink)


def test_what_is_far_taller_than_its_line_is_not_split() -> None:
    ink = np.zeros((900, 900), np.float32)
    ink[:, :600] = 1
    ink[8:-8, 8:592] = 0
    for left in (700, 740, 780):
        ink[400:500, left : left + 8] = 1
    assert all(segment.split is None for line in find_lines(ink) for segment in line.segments)
