"""Lines of writing in an image of ink, each a row of segments: parts of characters, or whole ones.

No network is asked here. What touches is split wherever a split may be right, so that a character
is one segment or several neighbouring ones, and hardly ever less than one (over-segmentation: Casey
and Lecolinet 1996). Which neighbours make a character, `penstroke.inference.line_reader` decides.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from penstroke.errors import ImageTooComplexError
from penstroke.preprocessing.components import find_components
from penstroke.preprocessing.decoding import Intensities

_TALL = 0.45  # of a character's height: what is lower says nothing about where lines run
_MOST_COMPONENTS = 5000  # a page of 60 lines of 80 characters has fewer
_MOST_LINES = 1000
_MOST_PIXELS = 40  # of the boxes of all lines, or of all that may be split, in areas of the image
_TALLEST = 4.0  # of the height: what is taller is not split: characters that touch are lower
_SLANTS = np.tan(np.radians(np.arange(-30, 46, 3)))
_REACH = 0.2  # how far a split may stray from its straight line, in heights of a character
_STEP = 0.05  # distance between the lines that are tried, in heights
_NARROWEST = 0.5  # of the height: no two characters are looked for in less
_EDGE = 0.12  # least width of a part that is split off, in heights
_DEEPEST = 3.2  # splits through more strokes than this are not offered
_STRAYING = 0.1  # what a step to the side costs, in pixels of full ink


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

    @property
    def middle(self) -> tuple[float, float]:
        """(x, y) of the centre, in pixels."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


@dataclass(frozen=True, eq=False)
class InkPart:
    """Some ink of an image: (height, width) float32 in 0..1, all other ink left out, in its box."""

    box: Box
    ink: Intensities

    @property
    def mass(self) -> float:
        """Sum of the ink."""
        return float(self.ink.sum())

    def level(self, slope: float) -> float:
        """Return how high it would stand on the page, were lines of `slope` level; in pixels."""
        x, y = self.box.middle
        return y - slope * x

    def span(self, slant: float) -> tuple[float, float]:
        """Return where the ink begins and ends along the line, measured along the slant."""
        down, across = np.nonzero(self.ink > 0.4)
        if not len(down):
            down, across = np.nonzero(self.ink > 0)
        along = self.box.left + across + slant * (self.box.top + down)
        return float(along.min()), float(along.max()) + 1


class SplitCandidate(NamedTuple):
    """A path from top to bottom: in row y all before column `path[y]` is on the left of it.

    `cost` is the ink on the path, in widths of the stroke.
    """

    path: npt.NDArray[np.int64]
    cost: float


@dataclass(frozen=True, eq=False)
class Segment(InkPart):
    """Some ink of a line, from `start` to `end` along it, in pixels, measured along the slant.

    `split`: what separates it from the segment before; None where it begins a component.
    """

    start: float
    end: float
    split: SplitCandidate | None = None


@dataclass(frozen=True, eq=False)
class TextLine:
    """Segments in the order of their middles along the line.

    `height`: the median of what is tall, and `stroke`: the pen's width, in pixels; `slant`: how far
    to the right a stroke leans, as a tangent.
    """

    segments: tuple[Segment, ...]
    height: float
    stroke: float
    slant: float


def find_lines(ink: Intensities) -> list[TextLine]:
    """Return the lines in `ink` (H, W), from top to bottom; none where there is no ink."""
    parts = _components(ink)
    if not parts:
        return []
    height = _weighted_median([part.box.height for part in parts], [part.mass for part in parts])
    stroke = _stroke_width(parts)
    kept = [  # what is not less than a dot of the pen
        part
        for part in parts
        if max(part.box.height, part.box.width) >= 0.1 * height
        and part.mass >= 0.6 * stroke**2
        and float(part.ink.max()) >= 0.4
    ]
    rows = _rows(kept, height)
    boxes = [around(part.box for part in row) for row in rows]
    if sum(box.width * box.height for box in boxes) > _MOST_PIXELS * ink.size:
        raise too_complex("lines that overlap all over")
    return [_text_line(row) for row in rows]


def too_complex(what: str) -> ImageTooComplexError:
    """Return the error of an image with more of `what` than any page of writing has."""
    return ImageTooComplexError(
        f"the image holds {what}: it is not a page of writing, or needs to be cut into parts"
    )


def around(boxes: Iterable[Box]) -> Box:
    """Return the box around `boxes`."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return Box(min(lefts), min(tops), max(rights), max(bottoms))


def united(parts: Sequence[InkPart]) -> InkPart:
    """Return `parts` as one, in the box around them."""
    box = around(part.box for part in parts)
    ink = np.zeros((box.height, box.width), np.float32)
    for part in parts:
        top, left = part.box.top - box.top, part.box.left - box.left
        region = ink[top : top + part.box.height, left : left + part.box.width]
        np.maximum(region, part.ink, out=region)
    return InkPart(box, ink)


def _components(ink: Intensities) -> list[InkPart]:
    """Return the components of `ink` (H, W): the fullest, if more than any page has."""
    labels, boxes = find_components(ink > 0)
    mass = np.bincount(labels.ravel(), ink.ravel(), len(boxes) + 1)[1:]
    parts = []
    for number in np.sort(np.argsort(-mass, kind="stable")[:_MOST_COMPONENTS]):
        box = Box(*map(int, boxes[number]))
        region = np.s_[box.top : box.bottom, box.left : box.right]
        parts.append(InkPart(box, np.where(labels[region] == number + 1, ink[region], 0)))
    return parts


def _stroke_width(parts: Sequence[InkPart]) -> float:
    """Return the median length of a horizontal run of ink, weighted by the ink of its part."""
    widths, masses = [], []
    for part in parts:
        dark = part.ink > 0.5
        if dark.any():
            steps = np.diff(np.pad(dark, ((0, 0), (1, 1))).astype(np.int8), axis=1)
            lengths = np.nonzero(steps == -1)[1] - np.nonzero(steps == 1)[1]
            widths.append(float(np.median(lengths)))
            masses.append(part.mass)
    return _weighted_median(widths, masses) if widths else 1.0


def _weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    order = np.argsort(values)
    share = np.cumsum(np.asarray(weights)[order])
    return float(np.asarray(values)[order][np.searchsorted(share, share[-1] / 2)])


@dataclass
class _Row:
    """What is tall in a line, from left to right, and each one's level on the page's slope."""

    parts: list[InkPart]
    levels: list[float]

    def distance(self, part: InkPart, level: float, height: float) -> float:
        """Return how far above or below the line `part` lies; infinitely where it is far beside."""
        first, last = self.parts[0].box, self.parts[-1].box
        if part.box.right < first.left - height or part.box.left > last.right + height:
            return np.inf
        x = part.box.middle[0]
        nearest = bisect_left(self.parts, x, key=lambda other: other.box.middle[0])
        nearby = self.levels[max(0, nearest - 2) : nearest + 2]
        return abs(level - sum(nearby) / len(nearby))


def _rows(parts: Sequence[InkPart], height: float) -> list[list[InkPart]]:
    """Return parts by line, lines from top to bottom.

    What is tall is followed from left to right, each to the line whose last members lead to it, so
    that lines may slope, and each as it likes; what is small goes to the nearest line.
    """
    tall = sorted((p for p in parts if p.box.height >= _TALL * height), key=lambda p: p.box.left)
    slope = _slope(tall, height)
    rows: list[_Row] = []
    for part in tall:
        level = part.level(slope)
        distances = [abs(level - sum(row.levels[-3:]) / len(row.levels[-3:])) for row in rows]
        if min(distances, default=np.inf) < 0.6 * height:
            row = rows[int(np.argmin(distances))]
            row.parts.append(part)
            row.levels.append(level)
        else:
            rows.append(_Row([part], [level]))
            if len(rows) > _MOST_LINES:
                raise too_complex(f"more than {_MOST_LINES} lines")
    members = [list(row.parts) for row in rows]
    for part in (p for p in parts if p.box.height < _TALL * height):
        distances = [row.distance(part, part.level(slope), height) for row in rows]
        if min(distances, default=np.inf) < 0.9 * height:
            members[int(np.argmin(distances))].append(part)
    order = np.argsort([np.mean(row.levels) for row in rows], kind="stable")
    return [members[number] for number in order]


def _slope(tall: Sequence[InkPart], height: float) -> float:
    """Return the median slope from one tall part to the next on its right, as a tangent."""
    middles = np.array([part.box.middle for part in tall]).reshape(-1, 2)
    slopes = []
    for middle in middles:
        across, down = (middles - middle).T
        near = (across > 0) & (across < 3 * height) & (np.abs(down) < 0.5 * height)
        if near.any():
            neighbour = int(np.where(near, across, np.inf).argmin())
            slopes.append(down[neighbour] / across[neighbour])
    return float(np.median(slopes)) if slopes else 0.0


def _text_line(row: Sequence[InkPart]) -> TextLine:
    height = float(np.median([part.box.height for part in row]))
    tall = [part for part in row if part.box.height >= 0.6 * height]
    height = float(np.median([part.box.height for part in tall]))
    slant, stroke = _slant(tall), _stroke_width(tall)
    segments = []
    for part in _joined(row, height, slant):
        splits = _find_splits(part.ink, height, stroke, slant)
        for split, ink in zip([None, *splits], _split_ink(part.ink, splits), strict=True):
            down, across = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
            top, bottom, left, right = map(int, (down[0], down[-1] + 1, across[0], across[-1] + 1))
            x, y = part.box.left, part.box.top
            box = Box(x + left, y + top, x + right, y + bottom)
            cropped = InkPart(box, ink[top:bottom, left:right])
            segments.append(Segment(box, cropped.ink, *cropped.span(slant), split))
    segments.sort(key=lambda segment: segment.start + segment.end)
    return TextLine(tuple(segments), height, stroke, slant)


def _slant(parts: Sequence[InkPart]) -> float:
    """Return the slant along which the ink of each part falls into the fewest, fullest columns.

    The sum of squares of the projection is largest there (after Vinciarelli and Luettin 2001).
    """
    scores = np.zeros(len(_SLANTS))
    for part in parts:
        down, across = np.nonzero(part.ink >= 0.5 * part.ink.max())
        for number, slant in enumerate(_SLANTS):
            columns = np.rint(across + slant * down).astype(np.int64)
            scores[number] += float((np.bincount(columns - columns.min()) ** 2).sum())
    return float(_SLANTS[scores.argmax()])


def _joined(row: Sequence[InkPart], height: float, slant: float) -> list[InkPart]:
    """Unite what is low, as the bar of a 5 or the dot of an i, with what stands above or below."""
    groups = [[part] for part in row if part.box.height >= 0.6 * height]
    spans = np.empty((len(row), 2))  # of the first part of each group
    spans[: len(groups)] = np.reshape([group[0].span(slant) for group in groups], (-1, 2))
    for part in (part for part in row if part.box.height < 0.6 * height):
        start, end = part.span(slant)
        first, last = spans[: len(groups)].T
        shared = (np.minimum(end, last) - np.maximum(start, first)) / (end - start)
        if shared.max(initial=0) >= 0.5:
            groups[int(shared.argmax())].append(part)
        else:
            spans[len(groups)] = start, end
            groups.append([part])
    return [united(group) for group in groups]


def _find_splits(
    ink: Intensities, height: float, stroke: float, slant: float
) -> list[SplitCandidate]:
    """Return the cheapest paths through the `ink` (H, W) of one component, from left to right.

    `height`, `stroke` and `slant` are those of its line (see `TextLine`).
    """
    rows = np.arange(ink.shape[0])
    lean = np.round(slant * (ink.shape[0] / 2 - rows)).astype(np.int64)
    across = np.nonzero(ink)[1] - lean[np.nonzero(ink)[0]]
    first, last = int(across.min()), int(across.max()) + 1
    edge, step = _EDGE * height, max(1, round(_STEP * height))
    middles = np.arange(round(first + edge), round(last - edge) + 1, step)
    is_lone = last - first < _NARROWEST * height or not len(middles)
    if is_lone or ink.shape[0] > _TALLEST * height:
        return []
    paths, crossed = _cheapest_paths(ink, middles[:, None] + lean, max(1, round(_REACH * height)))
    costs = crossed / stroke
    beside = np.concatenate([[np.inf], costs, [np.inf]])
    is_valley = (costs <= beside[:-2]) & (costs <= beside[2:]) & (costs <= _DEEPEST)
    valleys = zip(paths[is_valley], costs[is_valley].tolist(), strict=True)
    return _apart([SplitCandidate(path, cost) for path, cost in valleys], ink, edge)


def _split_ink(ink: Intensities, splits: Sequence[SplitCandidate]) -> Iterator[Intensities]:
    """Yield the ink (H, W) of each part between `splits`, from left to right; none is blank."""
    columns, number = np.arange(ink.shape[1]), np.zeros(ink.shape, np.int64)
    for split in splits:
        number += columns >= split.path[:, None]
    for k in range(len(splits) + 1):
        yield np.where(number == k, ink, 0)


def _cheapest_paths(
    ink: Intensities, lines: npt.NDArray[np.int64], reach: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return for each of `lines` (N, H) the cheapest path within `reach` of it, and its ink.

    A path moves by one column a row at most beside its line: dynamic programming from the top down.
    """
    count, height = lines.shape
    offsets = np.arange(-reach, reach + 1)
    columns = lines[:, :, None] + offsets
    inside = (columns >= 0) & (columns < ink.shape[1])
    taken = ink[np.arange(height)[:, None], columns.clip(0, ink.shape[1] - 1)] * inside
    total = taken[:, 0].astype(np.float64) + 1e-3 * np.abs(offsets)
    steps = np.empty(taken.shape, np.int64)
    for row in range(1, height):
        padded = np.pad(total, ((0, 0), (1, 1)), constant_values=np.inf)
        choices = np.stack([padded[:, :-2] + _STRAYING, padded[:, 1:-1], padded[:, 2:] + _STRAYING])
        steps[:, row] = choices.argmin(0) - 1
        total = choices.min(0) + taken[:, row] + 1e-3 * np.abs(offsets)
    places = np.empty((count, height), np.int64)
    places[:, -1] = total.argmin(1)
    rows = np.arange(count)
    for row in range(height - 1, 0, -1):
        places[:, row - 1] = places[:, row] + steps[rows, row, places[:, row]]
    crossed = np.take_along_axis(taken, places[:, :, None], 2)[:, :, 0].sum(axis=1)
    return np.take_along_axis(columns, places[:, :, None], 2)[:, :, 0], crossed.astype(np.float64)


def _apart(splits: Sequence[SplitCandidate], ink: Intensities, edge: float) -> list[SplitCandidate]:
    """Return splits of which none crosses another and none splits off next to nothing."""
    kept: list[SplitCandidate] = []
    for split in splits:
        if kept:
            split = split._replace(path=np.maximum(split.path, kept[-1].path))
        if _width([*_split_ink(ink, [split])][1]) < edge:
            continue
        if _width([*_split_ink(ink, [*kept[-1:], split])][-2]) >= edge:
            kept.append(split)
        elif kept and split.cost < kept[-1].cost:
            kept[-1] = split
    return kept


def _width(ink: Intensities) -> int:
    return int((ink > 0.4).any(axis=0).sum())
