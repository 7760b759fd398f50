"""Lines of writing in an image of ink, each a row of pieces: parts of characters, or whole ones.

No network is asked here. What touches is cut wherever a cut may be right, so that a character is
one piece or several neighbouring ones, and hardly ever less than one (over-segmentation: Casey and
Lecolinet 1996). Which neighbours make a character, `penstroke.inference.line_reader` decides.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from penstroke.inference.split_candidates import Cut, find_cuts, part
from penstroke.preprocessing.components import find_components
from penstroke.preprocessing.decoding import Intensities

_TALL = 0.45
"""Of a character's height: what is lower says nothing about where lines run."""
_MOST_BLOBS = 5000
"""A page of 60 lines of 80 characters has fewer."""
_SLANTS = np.tan(np.radians(np.arange(-30, 46, 3)))


class Box(NamedTuple):
    """A rectangle in pixels; right and bottom lie just outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """In pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """In pixels."""
        return self.bottom - self.top


def around(boxes: Sequence[Box]) -> Box:
    """Return the box around `boxes`."""
    return Box(
        min(b.left for b in boxes), min(b.top for b in boxes),
        max(b.right for b in boxes), max(b.bottom for b in boxes),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Piece:
    """Some ink of a line.

    Attributes:
        box: around the ink.
        ink: (height, width) float32 in 0..1; ink of other pieces is left out.
        start, end: where it lies along the line, measured along the slant, in pixels.
        cut: how much ink was cut through to part it from the piece before, in widths of the
            stroke; None where it is no part of the same component.
    """

    box: Box
    ink: Intensities
    start: float
    end: float
    cut: Cut | None = None


@dataclass(frozen=True, eq=False)
class TextLine:
    """Pieces in reading order.

    Attributes:
        pieces: by where their middle lies along the line.
        height: the median height of what is tall, in pixels.
        stroke: the width of the pen's stroke, in pixels.
        slant: how far to the right a stroke leans, as a tangent.
    """

    pieces: tuple[Piece, ...]
    height: float
    stroke: float
    slant: float


def find_lines(ink: Intensities) -> list[TextLine]:
    """Return the lines in `ink` (H, W), from top to bottom; none where there is no ink."""
    blobs = _blobs(ink)
    if not blobs:
        return []
    height = _weighted_median([b.box.height for b in blobs], [b.mass for b in blobs])
    stroke = _stroke_width(blobs)
    kept = [blob for blob in blobs if not _is_speck(blob, height, stroke)]
    return [_text_line(row) for row in _rows(kept, height)] if kept else []


@dataclass(frozen=True, eq=False)
class _Blob:
    """A connected component, or some that belong together."""

    box: Box
    ink: Intensities

    @property
    def mass(self) -> float:
        return float(self.ink.sum())

    @property
    def middle(self) -> tuple[float, float]:
        return (self.box.left + self.box.right) / 2, (self.box.top + self.box.bottom) / 2

    def level(self, slope: float) -> float:
        """Return how high it would stand on the page, were lines of `slope` level."""
        x, y = self.middle
        return y - slope * x


def _blobs(ink: Intensities) -> list[_Blob]:
    """Return the components of `ink` (H, W): the fullest, if more than any page has."""
    found = find_components(ink > 0)
    mass = np.bincount(found.labels.ravel(), ink.ravel(), len(found.boxes) + 1)[1:]
    numbers = np.sort(np.argsort(-mass, kind="stable")[:_MOST_BLOBS])
    blobs = []
    for number in numbers:
        box = Box(*map(int, found.boxes[number]))
        region = np.s_[box.top : box.bottom, box.left : box.right]
        blobs.append(_Blob(box, np.where(found.labels[region] == number + 1, ink[region], 0)))
    return blobs


def _united(blobs: Sequence[_Blob]) -> _Blob:
    return _Blob(*overlaid([(blob.box, blob.ink) for blob in blobs]))


def overlaid(parts: Sequence[tuple[Box, Intensities]]) -> tuple[Box, Intensities]:
    """Return the box around `parts`, and their ink in it."""
    box = around([own for own, _ in parts])
    ink = np.zeros((box.height, box.width), np.float32)
    for own, some in parts:
        top, left = own.top - box.top, own.left - box.left
        region = ink[top : top + own.height, left : left + own.width]
        np.maximum(region, some, out=region)
    return box, ink


def _is_speck(blob: _Blob, height: float, stroke: float) -> bool:
    """Return whether it is less than a dot of the pen."""
    longest = max(blob.box.height, blob.box.width)
    return longest < 0.1 * height or blob.mass < 0.6 * stroke**2 or float(blob.ink.max()) < 0.4


def _stroke_width(blobs: Sequence[_Blob]) -> float:
    """Return the median length of a horizontal run of ink, weighted by the ink of its blob."""
    widths, masses = [], []
    for blob in blobs:
        dark = blob.ink > 0.5
        if dark.any():
            steps = np.diff(np.pad(dark, ((0, 0), (1, 1))).astype(np.int8), axis=1)
            lengths = np.nonzero(steps == -1)[1] - np.nonzero(steps == 1)[1]
            widths.append(float(np.median(lengths)))
            masses.append(blob.mass)
    return _weighted_median(widths, masses) if widths else 1.0


def _weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    order = np.argsort(values)
    share = np.cumsum(np.asarray(weights)[order])
    return float(np.asarray(values)[order][np.searchsorted(share, share[-1] / 2)])


def _rows(blobs: Sequence[_Blob], height: float) -> list[list[_Blob]]:
    """Return blobs by line, lines from top to bottom.

    What is tall is followed from left to right, each to the line whose last members lead to it, so
    that lines may slope, and each as it likes; what is small goes to the nearest line.
    """
    tall = sorted((b for b in blobs if b.box.height >= _TALL * height), key=lambda b: b.box.left)
    slope = _slope(tall, height)
    rows: list[_Row] = []
    for blob in tall:
        level = blob.level(slope)
        distances = [abs(level - row.last_level) for row in rows]
        if distances and min(distances) < 0.6 * height:
            rows[int(np.argmin(distances))].add(blob, level)
        else:
            rows.append(_Row([blob], [level]))
    members = [list(row.blobs) for row in rows]
    for blob in (b for b in blobs if b.box.height < _TALL * height):
        distances = [row.distance(blob, blob.level(slope), height) for row in rows]
        if distances and min(distances) < 0.9 * height:
            members[int(np.argmin(distances))].append(blob)
    order = np.argsort([np.mean(row.levels) for row in rows], kind="stable")
    return [members[number] for number in order]


@dataclass
class _Row:
    """What is tall in a line, from left to right, and each one's level on the page's slope."""

    blobs: list[_Blob]
    levels: list[float]

    @property
    def last_level(self) -> float:
        last = self.levels[-3:]
        return sum(last) / len(last)

    def add(self, blob: _Blob, level: float) -> None:
        self.blobs.append(blob)
        self.levels.append(level)

    def distance(self, blob: _Blob, level: float, height: float) -> float:
        """Return how far above or below the line `blob` lies; infinitely where it is far beside."""
        if blob.box.right < self.blobs[0].box.left - height:
            return np.inf
        if blob.box.left > self.blobs[-1].box.right + height:
            return np.inf
        nearest = bisect_left(self.blobs, blob.middle[0], key=lambda b: b.middle[0])
        around_it = self.levels[max(0, nearest - 2) : nearest + 2]
        return abs(level - sum(around_it) / len(around_it))


def _slope(tall: Sequence[_Blob], height: float) -> float:
    """Return the median slope from one tall blob to the next on its right, as a tangent."""
    middles = np.array([blob.middle for blob in tall]).reshape(-1, 2)
    slopes = []
    for x, y in middles:
        across, down = middles[:, 0] - x, middles[:, 1] - y
        near = (across > 0) & (across < 3 * height) & (np.abs(down) < 0.5 * height)
        if near.any():
            next_one = int(np.where(near, across, np.inf).argmin())
            slopes.append(down[next_one] / across[next_one])
    return float(np.median(slopes)) if slopes else 0.0


def _text_line(row: Sequence[_Blob]) -> TextLine:
    height = float(np.median([b.box.height for b in row]))
    tall = [b for b in row if b.box.height >= 0.6 * height]
    height, slant = float(np.median([b.box.height for b in tall])), _slant(tall)
    stroke = _stroke_width(tall)
    pieces: list[Piece] = []
    for blob in _joined(row, height, slant):
        pieces += _pieces(blob, height, stroke, slant)
    return TextLine(tuple(sorted(pieces, key=lambda p: p.start + p.end)), height, stroke, slant)


def _slant(blobs: Sequence[_Blob]) -> float:
    """Return the slant along which the ink of each blob falls into the fewest, fullest columns.

    The sum of squares of the projection is largest there (after Vinciarelli and Luettin 2001).
    """
    scores = np.zeros(len(_SLANTS))
    for blob in blobs:
        down, across = np.nonzero(blob.ink >= 0.5 * blob.ink.max())
        for number, slant in enumerate(_SLANTS):
            columns = np.rint(across + slant * down).astype(np.int64)
            scores[number] += float((np.bincount(columns - columns.min()) ** 2).sum())
    return float(_SLANTS[scores.argmax()])


def _span(blob: _Blob, slant: float) -> tuple[float, float]:
    """Return where the ink begins and ends along the line, measured along the slant."""
    down, across = np.nonzero(blob.ink > 0.4)
    if not len(down):
        down, across = np.nonzero(blob.ink > 0)
    along = blob.box.left + across + slant * (blob.box.top + down)
    return float(along.min()), float(along.max()) + 1


def _joined(row: Sequence[_Blob], height: float, slant: float) -> list[_Blob]:
    """Unite what is low, as the bar of a 5 or the dot of an i, with what stands above or below."""
    groups = [[b] for b in row if b.box.height >= 0.6 * height]
    for blob in (b for b in row if b.box.height < 0.6 * height):
        start, end = _span(blob, slant)
        shared = []
        for group in groups:
            first, last = _span(group[0], slant)
            shared.append((min(end, last) - max(start, first)) / (end - start))
        if shared and max(shared) >= 0.5:
            groups[int(np.argmax(shared))].append(blob)
        else:
            groups.append([blob])
    return [_united(group) for group in groups]


def _pieces(blob: _Blob, height: float, stroke: float, slant: float) -> list[Piece]:
    cuts = find_cuts(blob.ink, height, stroke, slant)
    pieces = []
    for cut, ink in zip([None, *cuts], part(blob.ink, cuts), strict=True):
        own = _Blob(*_cropped(blob.box, ink))
        pieces.append(Piece(own.box, own.ink, *_span(own, slant), cut))
    return pieces


def _cropped(box: Box, ink: Intensities) -> tuple[Box, Intensities]:
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    top, bottom, left, right = (
        int(rows[0]),
        int(rows[-1]) + 1,
        int(columns[0]),
        int(columns[-1]) + 1,
    )
    inner = Box(box.left + left, box.top + top, box.left + right, box.top + bottom)
    return inner, ink[top:bottom, left:right]
