"""Lines of writing in an image of ink, each a row of segments: parts of characters, or whole ones.

No network is asked here. What touches is split wherever a split may be right, so that a character
is one segment or several neighbouring ones, and hardly ever less than one (over-segmentation: Casey
and Lecolinet 1996). Which neighbours make a character, `character_lines` decides.
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
_MOST_AREA = 10  # of the boxes of all components, and of all lines, in areas of the image
_MOST_SPLIT = 8_000_000  # pixels of the boxes of all that may be split: a second
_TALLEST = 4.0  # of the height: what is taller is not split: characters that touch are lower
_SLANTS = np.tan(np.radians(np.arange(-30, 46, 3)))
_REACH = 0.2  # how far a split may stray from its straight line, in heights of a character
_STEP = 0.05  # distance between the lines that are tried, in heights
_NARROWEST = 0.5  # of the height: no two characters are looked for in less
_EDGE = 0.12  # least width of a part that is split off, in heights
_TOGETHER = 2_000_000  # places on paths that are sought at once: 30 MB
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


@dataclass(frozen=True)
class UnsplitLine:
    """What lies on one line, what is `tall` there, and the median height of that, in pixels."""

    parts: Sequence[InkPart]
    tall: Sequence[InkPart]
    height: float


def find_lines(ink: Intensities) -> list[TextLine]:
    """Return the lines in `ink` (H, W), from top to bottom; none where there is no ink."""
    return split_lines(find_unsplit_lines(ink))


def split_lines(lines: Sequence[UnsplitLine]) -> list[TextLine]:
    """Return `lines` as segments: each is split wherever a split may be right."""
    boxes = [part.box for line in lines for part in line.parts if _may_be_split(part, line.height)]
    if sum(box.width * box.height for box in boxes) > _MOST_SPLIT:
        raise too_complex("large shapes that may be several characters each, all over")
    return [_split(line) for line in lines]


def _may_be_split(part: InkPart, height: float) -> bool:
    return part.box.width >= _NARROWEST * height and part.box.height <= _TALLEST * height


def find_unsplit_lines(ink: Intensities) -> list[UnsplitLine]:
    """Return what lies on each line in `ink` (H, W), not split yet, from top to bottom."""
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
    if sum(box.width * box.height for box in boxes) > _MOST_AREA * ink.size:
        raise too_complex("lines that overlap all over")
    lines = []
    for row in rows:
        median = np.median([part.box.height for part in row])
        tall = [part for part in row if part.box.height >= 0.6 * median]
        lines.append(UnsplitLine(row, tall, float(np.median([p.box.height for p in tall]))))
    return lines


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
    components = find_components(ink > 0)
    labels, boxes = components.labels, components.boxes
    mass = np.bincount(labels.ravel(), ink.ravel(), len(boxes) + 1)[1:]
    parts = []
    fullest = np.sort(np.argsort(-mass, kind="stable")[:_MOST_COMPONENTS])
    left, top, right, bottom = boxes[fullest].T
    if ((right - left) * (bottom - top)).sum() > _MOST_AREA * ink.size:
        raise too_complex("shapes that enclose one another, or cross, all over")
    for number in fullest:
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

    def distance(self, part: InkPart, level: float) -> float:
        """Return how far above or below the line `part` lies, beside its nearest members."""
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
    ends = np.empty(_MOST_LINES + 1)  # the level to which the last members of each lead
    for part in tall:
        level = part.level(slope)
        distances = np.abs(level - ends[: len(rows)])
        if distances.min(initial=np.inf) < 0.6 * height:
            number = int(distances.argmin())
            row = rows[number]
            row.parts.append(part)
            row.levels.append(level)
        else:
            number, row = len(rows), _Row([part], [level])
            rows.append(row)
            if len(rows) > _MOST_LINES:
                raise too_complex(f"more than {_MOST_LINES} lines")
        ends[number] = sum(row.levels[-3:]) / len(row.levels[-3:])
    members = [list(row.parts) for row in rows]
    reach = 0.9 * height
    lefts, rights, lowest, highest = np.array([
        (row.parts[0].box.left, row.parts[-1].box.right, min(row.levels), max(row.levels))
        for row in rows
    ]).reshape(-1, 4).T  # fmt: skip
    for part in (p for p in parts if p.box.height < _TALL * height):
        level = part.level(slope)
        near = (part.box.right >= lefts - height) & (part.box.left <= rights + height)
        near &= (level > lowest - reach) & (level < highest + reach)
        numbers = np.flatnonzero(near).tolist()
        away = [rows[number].distance(part, level) for number in numbers]
        if min(away, default=np.inf) < reach:
            members[numbers[int(np.argmin(away))]].append(part)
    order = np.argsort([np.mean(row.levels) for row in rows], kind="stable")
    return [members[number] for number in order]


def _slope(tall: Sequence[InkPart], height: float) -> float:
    """Return the median slope from one tall part to the next on its right, as a tangent."""
    middles = np.array([part.box.middle for part in tall]).reshape(-1, 2)
    middles = middles[np.argsort(middles[:, 0], kind="stable")]
    slopes = []
    firsts, afters = np.searchsorted(middles[:, 0], [middles[:, 0], middles[:, 0] + 3 * height])
    for number, (first, after) in enumerate(zip(firsts, afters, strict=True)):
        across, down = (middles[first:after] - middles[number]).T
        near = (across > 0) & (across < 3 * height) & (np.abs(down) < 0.5 * height)
        if near.any():
            neighbour = int(np.where(near, across, np.inf).argmin())
            slopes.append(down[neighbour] / across[neighbour])
    return float(np.median(slopes)) if slopes else 0.0


def _split(line: UnsplitLine) -> TextLine:
    height = line.height
    slant, stroke = _slant(line.tall), _stroke_width(line.tall)
    parts = _joined(line.parts, height, slant)
    segments = []
    for part, splits in zip(parts, _find_splits(parts, height, stroke, slant), strict=True):
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
    parts: Sequence[InkPart], height: float, stroke: float, slant: float
) -> list[list[SplitCandidate]]:
    """Return the cheapest paths through each of `parts`, from left to right.

    `height`, `stroke` and `slant` are those of their line (see `TextLine`).
    """
    found: list[list[SplitCandidate]] = [[] for _ in parts]
    edge, step = _EDGE * height, max(1, round(_STEP * height))
    lines: dict[int, npt.NDArray[np.int64]] = {}
    for number, part in enumerate(parts):
        rows = np.arange(part.box.height)
        lean = np.round(slant * (part.box.height / 2 - rows)).astype(np.int64)
        down, along = np.nonzero(part.ink)
        across = along - lean[down]
        first, last = int(across.min()), int(across.max()) + 1
        middles = np.arange(round(first + edge), round(last - edge) + 1, step)
        is_lone = last - first < _NARROWEST * height or not len(middles)
        if not is_lone and part.box.height <= _TALLEST * height:
            lines[number] = middles[:, None] + lean
    inks = [parts[number].ink for number in lines]
    paths = _cheapest_paths(inks, list(lines.values()), max(1, round(_REACH * height)))
    for number, (path, crossed) in zip(lines, paths, strict=True):
        costs = crossed / stroke
        beside = np.concatenate([[np.inf], costs, [np.inf]])
        is_valley = (costs <= beside[:-2]) & (costs <= beside[2:]) & (costs <= _DEEPEST)
        valleys = zip(path[is_valley], costs[is_valley].tolist(), strict=True)
        splits = [SplitCandidate(path, cost) for path, cost in valleys]
        found[number] = _apart(splits, parts[number].ink, edge)
    return found


def _split_ink(ink: Intensities, splits: Sequence[SplitCandidate]) -> Iterator[Intensities]:
    """Yield the ink (H, W) of each part between `splits`, from left to right; none is blank."""
    columns, number = np.arange(ink.shape[1]), np.zeros(ink.shape, np.int64)
    for split in splits:
        number += columns >= split.path[:, None]
    for k in range(len(splits) + 1):
        yield np.where(number == k, ink, 0)


def _cheapest_paths(
    inks: Sequence[Intensities], lines: Sequence[npt.NDArray[np.int64]], reach: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
    """Yield for each of `inks` (H, W) the cheapest paths near its `lines` (N, H), and their ink.

    A path keeps within `reach` of its line and moves by one column a row at most beside it: dynamic
    programming from the top down, for many of `inks` at once.
    """
    width = 2 * reach + 1
    at = 0
    while at < len(inks):
        end, rows = at, 0
        while end < len(inks) and (end == at or rows * width <= _TOGETHER):
            rows += lines[end].size
            end += 1
        yield from _paths_together(inks[at:end], lines[at:end], reach)
        at = end


def _paths_together(
    inks: Sequence[Intensities], lines: Sequence[npt.NDArray[np.int64]], reach: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
    """Yield the results of `_cheapest_paths`."""
    order = sorted(range(len(inks)), key=lambda number: -len(inks[number]))  # tallest first
    counts = [len(lines[number]) for number in order]
    ends = np.cumsum(counts)
    heights = np.repeat([len(inks[number]) for number in order], counts)
    offsets = np.arange(-reach, reach + 1)
    taken = np.zeros((heights[0], len(heights), len(offsets)), np.float32)
    for number, end, count in zip(order, ends, counts, strict=True):
        ink = inks[number]
        columns = lines[number].T[:, :, None] + offsets
        inside = (columns >= 0) & (columns < ink.shape[1])
        block = ink[np.arange(len(ink))[:, None, None], columns.clip(0, ink.shape[1] - 1)]
        taken[: len(ink), end - count : end] = block * inside
    beside = 1e-3 * np.abs(offsets)
    total = np.full((len(heights), len(offsets) + 2), np.inf)
    total[:, 1:-1] = taken[0].astype(np.float64) + beside
    steps = np.zeros(taken.shape, np.int8)
    active = [int(np.searchsorted(-heights, -row)) for row in range(len(taken))]
    for row in range(1, len(taken)):
        these = total[: active[row]]
        left, middle, right = these[:, :-2] + _STRAYING, these[:, 1:-1], these[:, 2:] + _STRAYING
        step = steps[row, : active[row]]
        least = np.minimum(left, middle)
        np.negative(left <= middle, out=step, casting="unsafe", dtype=np.int8)
        step[right < least] = 1
        np.minimum(least, right, out=least)
        least += taken[row, : active[row]]
        least += beside
        these[:, 1:-1] = least
    places = np.empty(taken.shape[:2], np.int64)
    place = total[:, 1:-1].argmin(1)
    rows = np.arange(len(heights))
    for row in range(len(taken) - 1, -1, -1):
        places[row] = place
        some = active[row]
        place[:some] += steps[row, rows[:some], place[:some]]
    crossed_all = np.take_along_axis(taken, places[:, :, None], 2)[:, :, 0]
    results = {}
    for number, end, count in zip(order, ends, counts, strict=True):
        place = places[: len(inks[number]), end - count : end].T
        crossed = np.ascontiguousarray(crossed_all[: len(inks[number]), end - count : end].T).sum(1)
        results[number] = lines[number] + place - reach, crossed.astype(np.float64)
    for number in range(len(inks)):
        yield results[number]


def _apart(splits: Sequence[SplitCandidate], ink: Intensities, edge: float) -> list[SplitCandidate]:
    """Return splits of which none crosses another and none splits off next to nothing."""
    dark, columns = ink > 0.4, np.arange(ink.shape[1])

    def width(after: SplitCandidate | None, before: SplitCandidate | None) -> int:
        between = dark
        if after is not None:
            between = between & (columns >= after.path[:, None])
        if before is not None:
            between = between & (columns < before.path[:, None])
        return int(between.any(axis=0).sum())

    kept: list[SplitCandidate] = []
    for split in splits:
        last = kept[-1] if kept else None
        if last is not None:
            split = split._replace(path=np.maximum(split.path, last.path))
        if width(split, None) < edge:
            continue
        if width(last, split) >= edge:
            kept.append(split)
        elif last is not None and split.cost < last.cost:
            kept[-1] = split
    return kept
