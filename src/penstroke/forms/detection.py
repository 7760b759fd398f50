"""The boxes of somebody else's form, found on a page of it: what may be written in, and where."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from penstroke.errors import FormPageError, ImageError
from penstroke.forms.description import PAPER_MM, Area, FieldType, Form, FormField, Paper
from penstroke.forms.page_images import Grey
from penstroke.forms.registration import PIXELS_PER_MM, register, whitened

Mask = npt.NDArray[np.uint8]

_PAPER_SHARE = 0.25
"""Of a photograph: paper covers at least as much."""
_LINES_MM, _GAP_MM = ((3.5, 3.5), (3.5, 5.0), (4.5, 6.5), (5.5, 8.0), (7.0, 10.0)), 0.8
"""Shortest printed lines, level and upright, that are looked for, and their widest gap."""
_HALF_LINE_MM = 0.3
_SIDES_MM = (2.2, 120.0)
"""Of what may be a box."""
_LEAST_FILLED, _ROUND_FILLED = 0.82, 0.72
"""Share of its rectangle that the inside of a box fills, and of one to be marked."""
_CHARACTER_MM = (3.2, 16.0)
"""Width of boxes for one character."""
_MARK_MM = (2.2, 7.5)
"""Side of boxes to be marked."""
_LEAST_IN_COMB = 3
_TICK_MM = (2.0, 10.0)
"""Height of the ticks that part places for characters: at least, and less than."""
_ALIKE = 0.25
"""By how much sizes in a row may differ, as a share."""
_PRINTED = 0.015
"""Share of ink inside from which a box of a table is a heading."""
_FEWEST_COPIES, _MOST_COPIES = 4, 15
"""Filled copies of a page from which its print can be found."""
_RULE_MM = 25.0
"""Shortest line to write on."""


class DetectedBox(NamedTuple):
    """A closed box on the flattened page, in millimetres: the insides of its lines."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """From left to right."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """From top to bottom."""
        return self.bottom - self.top

    @property
    def area(self) -> Area:
        """The same as a field's box, up to the middle of its lines."""
        return Area(
            left=round(max(self.left - _HALF_LINE_MM, 0), 2),
            top=round(max(self.top - _HALF_LINE_MM, 0), 2),
            width=round(self.width + 2 * _HALF_LINE_MM, 2),
            height=round(self.height + 2 * _HALF_LINE_MM, 2),
        )


@dataclass(frozen=True, eq=False)
class DetectedPage:
    """A page, flat and upright at `PIXELS_PER_MM` if it is of `paper`, and its boxes."""

    image: Grey
    paper: Paper
    boxes: list[DetectedBox]
    combs: list[list[DetectedBox]]
    rules: list[DetectedBox]


def detect_page(image: Grey) -> DetectedPage:
    """Return the boxes on a scan or photograph (H, W) of a page that lies about upright."""
    page, paper = _flattened(image)
    dark = _dark(page)
    lines = _line_mask(dark, *_LINES_MM[0])
    boxes = _boxes(lines)
    combs = _combs(boxes)
    # What is written in boxes is taken for lines too, unless only longer ones count.
    for level_mm, upright_mm in _LINES_MM[1:]:
        combs += _combs(_boxes(_line_mask(dark, level_mm, upright_mm)))
    combs = _longest([*combs, *_ticked(dark)])
    return DetectedPage(page, paper, boxes, combs, _rules(page, lines, boxes))


def detect_form(
    pages: Sequence[DetectedPage], name: str, blank: str, paper: Paper | None = None
) -> Form:
    """Return a form with all fields found on its pages, whose pictures are in the file `blank`.

    ImageError: there is nothing to write in.
    """
    fields: list[FormField] = []
    for number, page in enumerate(pages, start=1):
        for field in sorted(_fields(page), key=_reading_order):
            changes = {"name": f"field_{len(fields) + 1}", "page": number}
            fields.append(field.model_copy(update=changes))
    if not fields:
        raise ImageError(
            "no boxes and no lines to write on were found: is the page upright, sharp and whole?"
        )
    return Form(name=name, paper=paper or pages[0].paper, blank=blank, fields=tuple(fields))


def common_page(images: Sequence[Grey], folder: Path) -> Grey:
    """Return what scans of the same page, filled by different people, have in common.

    Each is registered on the first, in a file in `folder`; print is dark in nearly all. ImageError:
    too few of them show the same page.
    """
    first, paper = _flattened(images[0])
    file = folder / "first.png"
    cv2.imwrite(str(file), first)
    width, height = PAPER_MM[paper]
    middle = Area(left=width / 2, top=height / 2, width=1, height=1)
    form = Form(
        name="first",
        paper=paper,
        blank=str(file),
        fields=(FormField(name="x", type="text", boxes=(middle,)),),
    )
    pages = [first]
    for image in images[1:_MOST_COPIES]:
        with contextlib.suppress(FormPageError):
            pages.append(register(image, form).image)
    if len(pages) < _FEWEST_COPIES:
        raise ImageError(
            f"{len(pages)} of {len(images)} pictures show the same page, and {_FEWEST_COPIES} are "
            "needed to tell print from writing: give a blank page, or more of them"
        )
    shape = pages[0].shape
    same = [cv2.resize(page, shape[::-1]) if page.shape != shape else page for page in pages]
    stack = np.stack([np.asarray(one) for one in same])
    return np.asarray(np.percentile(stack, 75, axis=0), np.uint8)  # ink is in few of them


def preview(page: DetectedPage, fields: Sequence[FormField]) -> Grey:
    """Return the page in colour (H, W, 3), blue first, each field drawn with its name."""
    picture = cv2.cvtColor(page.image, cv2.COLOR_GRAY2BGR)
    for field in fields:
        for box in field.boxes:
            corners = [_px(v) for v in (box.left, box.top, box.right, box.bottom)]
            cv2.rectangle(picture, corners[:2], corners[2:], (200, 80, 0), 3)
        first = field.boxes[0]
        text = f"{field.name}: {field.type} {field.count or ''}".rstrip()
        place = (_px(first.left), max(_px(first.top) - 6, 20))
        cv2.putText(
            picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 200), 2, cv2.LINE_AA
        )
    return np.asarray(picture, np.uint8)


def _reading_order(field: FormField) -> tuple[int, float]:
    first = field.boxes[0]
    return round((first.top + first.height) / 6), first.left


# The page


def _flattened(image: Grey) -> tuple[Grey, Paper]:
    """Return the page turned level, or its paper cut out of a photograph, scaled to millimetres."""
    corners = _paper_corners(image)
    if corners is None:
        height, width = image.shape
        corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
        corners = _turned(corners, _angle(image))
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    across, down = (sides[0] + sides[2]) / 2, (sides[1] + sides[3]) / 2
    papers: tuple[Paper, ...] = ("A4", "Letter")
    paper = min(papers, key=lambda name: abs(down / across - PAPER_MM[name][1] / PAPER_MM[name][0]))
    size_mm = PAPER_MM[paper]
    if down < across:  # across, or a part of a page
        size_mm = (size_mm[1], size_mm[1] * down / across)
    elif abs(down / across - size_mm[1] / size_mm[0]) > 0.12:
        size_mm = (size_mm[0], size_mm[0] * down / across)
    size = np.rint(np.array(size_mm) * PIXELS_PER_MM).astype(int)
    place = np.array([(0, 0), (size[0], 0), (size[0], size[1]), (0, size[1])], np.float32)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), place)
    small = image
    if across > 2 * size[0]:
        small = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.3 * across / size[0]), np.uint8)
    flat = cv2.warpPerspective(small, matrix, size.tolist(), flags=cv2.INTER_LINEAR,
                               borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    return whitened(np.asarray(flat, np.uint8)), paper


def _paper_corners(image: Grey) -> npt.NDArray[np.float64] | None:
    """Return the corners (4, 2), clockwise, of paper on a darker table; None if it fills all."""
    scale = 600 / max(image.shape)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    small = cv2.morphologyEx(small, cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    _, bright = cv2.threshold(small, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    outer = np.asarray(np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]]))
    if (outer > 0).mean() > 0.5:
        return None
    contours, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest = max(contours, key=cv2.contourArea)
    hull = cv2.convexHull(largest)
    area = cv2.contourArea(hull)
    if area < _PAPER_SHARE * small.size or cv2.contourArea(largest) < 0.9 * area:
        return None
    for share in (0.02, 0.03, 0.05):
        polygon = cv2.approxPolyDP(hull, share * cv2.arcLength(hull, True), True).reshape(-1, 2)
        if len(polygon) == 4 and cv2.contourArea(polygon) > 0.9 * area:
            corners = polygon.astype(float) / scale
            first = int(np.argmin(corners.sum(axis=1)))
            corners = np.roll(corners, -first, axis=0)
            is_clockwise = corners[1, 0] > corners[3, 0]
            return np.asarray(corners if is_clockwise else np.roll(corners[::-1], 1, axis=0))
    return None


def _angle(image: Grey) -> float:
    """Return by how many radians what is printed is turned, at most a tenth."""
    scale = min(1.0, 1600 / max(image.shape))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    dark = cv2.adaptiveThreshold(
        small, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, 25, 8
    )
    segments = cv2.HoughLinesP(dark, 1, np.pi / 1800, 100, minLineLength=80, maxLineGap=4)
    if segments is None:
        return 0.0
    delta = np.diff(segments.reshape(-1, 2, 2), axis=1)[:, 0].astype(float)
    length, angle = np.hypot(*delta.T), np.arctan2(delta[:, 1], delta[:, 0])
    angle = (angle + np.pi / 4) % (np.pi / 2) - np.pi / 4
    near = np.abs(angle) < 0.1
    if not near.any():
        return 0.0
    order = np.argsort(angle[near])
    weights = np.cumsum(length[near][order])
    return float(angle[near][order][np.searchsorted(weights, weights[-1] / 2)])


def _turned(corners: npt.NDArray[np.float64], angle: float) -> npt.NDArray[np.float64]:
    middle = corners.mean(axis=0)
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.asarray((corners - middle) @ np.array([[cosine, sine], [-sine, cosine]]) + middle)


# Lines and boxes


def _px(mm: float) -> int:
    return max(1, round(mm * PIXELS_PER_MM))


def _dark(page: Grey) -> Mask:
    """Return what is darker than its surroundings, however little, 255 there."""
    closed = cv2.morphologyEx(page, cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    depth = np.asarray(cv2.subtract(np.asarray(closed), page))
    noise = float(np.percentile(depth[::7, ::7], 75))
    return np.asarray(np.where(depth > max(12.0, 2.5 * noise), 255, 0), np.uint8)


def _line_mask(dark: Mask, level_mm: float, upright_mm: float) -> Mask:
    """Return where straight lines are, level and upright ones of at least these lengths."""
    lines = np.zeros_like(dark)
    for shape in ((1, _px(level_mm)), (_px(upright_mm), 1)):
        gap = tuple(_px(_GAP_MM) if side > 1 else 1 for side in shape)
        thick = (3, 1) if shape[0] == 1 else (1, 3)
        wide = cv2.dilate(dark, np.ones(thick, np.uint8))  # lines that are not quite straight
        closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, np.ones(gap, np.uint8))
        lines |= np.asarray(cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones(shape, np.uint8)))
    return np.asarray(cv2.morphologyEx(lines, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)), np.uint8)


def _boxes(lines: Mask) -> list[DetectedBox]:
    """Return what lines close in, if it is a rectangle, from the upper left on."""
    lines = _framing(lines)
    padded = cv2.copyMakeBorder(lines, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0,))
    count, _, stats, _ = cv2.connectedComponentsWithStats(
        np.asarray(255 - np.asarray(padded), np.uint8), connectivity=4
    )
    least, most = (_px(side) for side in _SIDES_MM)
    boxes = []
    for left, top, width, height, area in stats[1:count].tolist():
        if not (least <= height <= most and least <= width):
            continue
        is_mark = max(width, height) <= _px(_MARK_MM[1])  # which may be round
        least_filled = _ROUND_FILLED if is_mark else _LEAST_FILLED
        if width * height > 0.3 * lines.size or area < least_filled * width * height:
            continue
        edges = np.array([left - 1, top - 1, left - 1 + width, top - 1 + height]) / PIXELS_PER_MM
        boxes.append(DetectedBox(*edges.tolist()))
    return sorted(boxes, key=lambda box: (box.top, box.left))


def _framing(lines: Mask) -> Mask:
    """Return the pieces of `lines` that close something in: strokes inside boxes do not."""
    contours, tree = cv2.findContours(lines, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    kept = np.zeros_like(lines)
    for index, contour in enumerate(contours):
        if tree[0][index][3] < 0 and tree[0][index][2] >= 0:
            cv2.drawContours(kept, [contour], -1, 255, cv2.FILLED)
    return lines & kept


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= _ALIKE * max(one, other)


def _combs(boxes: Iterable[DetectedBox]) -> list[list[DetectedBox]]:
    """Return rows of boxes for one character each: alike, level, and close to each other."""
    least, most = _CHARACTER_MM
    likely = [
        box for box in boxes if least <= box.width <= most and 0.7 < box.height / box.width < 2.6
    ]
    combs: list[list[DetectedBox]] = []
    taken: set[DetectedBox] = set()
    for first in sorted(likely, key=lambda box: box.left):
        if first in taken:
            continue
        row = [first]
        while (following := _next_in_row(row[-1], likely)) is not None and following not in taken:
            row.append(following)
        if len(row) >= _LEAST_IN_COMB:
            combs.append(row)
            taken.update(row)
    return combs


def _ticked(dark: Mask) -> list[list[DetectedBox]]:
    """Return rows of places for a character that are told apart by ticks on one level line."""
    level = _line_mask(dark, _RULE_MM, 1000.0)
    upright = _line_mask(dark, 1000.0, _TICK_MM[0])
    count, _, stats, _ = cv2.connectedComponentsWithStats(level)
    combs = []
    for left, top, width, height, _ in stats[1:count].tolist():
        if height > _px(1.5):
            continue
        above = upright[max(top - _px(_TICK_MM[0]), 0) : max(top - 2, 1), left : left + width]
        beyond = upright[max(top - _px(_TICK_MM[1]), 0) : max(top - _px(_TICK_MM[1]) + 3, 1),
                         left : left + width]  # fmt: skip
        is_tick = (above.mean(axis=0) > 150) & (beyond.max(axis=0) == 0)
        edges = np.flatnonzero(np.diff(is_tick.astype(int), prepend=0, append=0))
        places = (edges[::2] + edges[1::2] - 1) / 2 / PIXELS_PER_MM
        pitch = np.diff(places)
        least, most = _CHARACTER_MM
        if len(pitch) < _LEAST_IN_COMB or not least < np.median(pitch) < most:
            continue
        if np.abs(pitch - np.median(pitch)).max() > 0.12 * np.median(pitch):
            continue
        bottom = (top + height / 2) / PIXELS_PER_MM
        tall = 1.25 * float(np.median(pitch))
        x = left / PIXELS_PER_MM + places
        combs.append([
            DetectedBox(float(start), bottom - tall, float(end), bottom)
            for start, end in pairwise(x)
        ])  # fmt: skip
    return combs


def _longest(combs: Sequence[list[DetectedBox]]) -> list[list[DetectedBox]]:
    """Return, of combs that overlap, the one with the most boxes."""
    kept: list[list[DetectedBox]] = []
    for comb in sorted(combs, key=len, reverse=True):
        if not any(
            one.area.overlaps(other.area) for known in kept for one in known for other in comb
        ):
            kept.append(comb)
    return kept


def _next_in_row(box: DetectedBox, boxes: Iterable[DetectedBox]) -> DetectedBox | None:
    near = [
        other for other in boxes
        if -0.3 < other.left - box.right < 0.75 * box.width
        and abs(other.top - box.top) < 0.25 * box.height
        and _alike(other.height, box.height) and _alike(other.width, box.width)
    ]  # fmt: skip
    return min(near, key=lambda other: other.left, default=None)


def _rules(page: Grey, lines: Mask, boxes: Sequence[DetectedBox]) -> list[DetectedBox]:
    """Return the room above long level lines that are no side of a box, and where nothing is."""
    level = cv2.morphologyEx(lines, cv2.MORPH_OPEN, np.ones((1, _px(_RULE_MM)), np.uint8))
    count, _, stats, _ = cv2.connectedComponentsWithStats(np.asarray(level, np.uint8))
    rules = []
    for left, top, width, height, _ in stats[1:count].tolist():
        y = top / PIXELS_PER_MM
        box = DetectedBox(left / PIXELS_PER_MM, y - 8, (left + width) / PIXELS_PER_MM, y)
        room = page[max(top - _px(7), 0) : top - 3, left : left + width]
        is_free = room.size > 0 and float((room < 160).mean()) < 0.005
        is_side = any(
            other.left < box.right and box.left < other.right
            and min(abs(y - other.top), abs(y + height / PIXELS_PER_MM - other.bottom),
                    abs(y - other.bottom)) < 2.5
            for other in boxes
        )  # fmt: skip
        if is_free and not is_side and height < _px(1.5):
            rules.append(box)
    return rules


# Fields


def _fields(page: DetectedPage) -> Iterable[FormField]:
    """Yield combs, cells of tables, boxes to be marked, and lines to write on, without names."""
    taken = {box for comb in page.combs for box in comb}
    for comb in _joined(page.combs):
        boxes = tuple(box.area for box in comb)
        yield FormField(name="x", type="digits", count=len(comb), boxes=boxes)
    others = [box for box in page.boxes if box not in taken and not _holds_boxes(box, page.boxes)]
    marks = [
        box for box in others
        if _MARK_MM[0] <= box.width <= _MARK_MM[1] and 0.75 < box.height / box.width < 1.33
        and not _touches(box, others)
    ]  # fmt: skip
    for group in _rows(marks):
        options = tuple(map(str, range(1, len(group) + 1)))
        boxes = tuple(box.area for box in group)
        yield FormField(name="x", type="choices", required=False, options=options, boxes=boxes)
    for box in others:
        if box in marks or box.height < 4.0 or box.width < 4.0 or _ink(page.image, box) > _PRINTED:
            continue
        kind: FieldType = "text" if box.width > 60 else "number"
        yield FormField(name="x", type=kind, required=False, boxes=(box.area,))
    for rule in page.rules:
        yield FormField(name="x", type="text", required=False, boxes=(rule.area,))


def _joined(combs: list[list[DetectedBox]]) -> list[list[DetectedBox]]:
    """Return combs whose rows do not stand one below the other, as the cells of a table do."""
    return [
        comb for comb in combs
        if not any(
            other is not comb and len(other) == len(comb)
            and abs(other[0].left - comb[0].left) < 0.2 * comb[0].width
            and 0 < abs(other[0].top - comb[0].top) < 1.15 * comb[0].height
            for other in combs
        )
    ]  # fmt: skip


def _holds_boxes(box: DetectedBox, boxes: Sequence[DetectedBox]) -> bool:
    return any(
        other is not box and box.left < (other.left + other.right) / 2 < box.right
        and box.top < (other.top + other.bottom) / 2 < box.bottom
        and other.width < box.width and other.height < box.height
        for other in boxes
    )  # fmt: skip


def _touches(box: DetectedBox, boxes: Sequence[DetectedBox]) -> bool:
    """Return whether `box` shares a line with another, as cells do."""
    return any(
        other is not box and other.left - box.right < 1.2 and box.left - other.right < 1.2
        and other.top - box.bottom < 1.2 and box.top - other.bottom < 1.2
        for other in boxes
    )  # fmt: skip


def _rows(boxes: Sequence[DetectedBox]) -> list[list[DetectedBox]]:
    rows: list[list[DetectedBox]] = []
    for box in sorted(boxes, key=lambda box: (box.top, box.left)):
        if rows and abs(rows[-1][0].top - box.top) < 0.6 * box.height:
            rows[-1].append(box)
        else:
            rows.append([box])
    return [sorted(row, key=lambda box: box.left) for row in rows]


def _ink(page: Grey, box: DetectedBox) -> float:
    rows = slice(_px(box.top + 0.6), _px(box.bottom - 0.6))
    inside = page[rows, _px(box.left + 0.6) : _px(box.right - 0.6)]
    return float((inside < 160).mean()) if inside.size else 0.0
