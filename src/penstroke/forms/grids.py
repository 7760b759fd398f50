"""The largest grid of cells in a scan or photograph: found, flattened, and cut into its cells.

The grid's lines hang together, so that its hull gives four corners and a first homography. In what
that flattens, each line is followed from band to band: pages are curved and folded. The cells
between the crossings are mapped piece by piece. A stroke that crosses a line is kept whole, in the
cell that most of it is in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from penstroke.errors import ImageError
from penstroke.forms.page_images import Grey

Floats = npt.NDArray[np.float32]
_WORKING_SIDE = 2000
"""Pixels of the longer side of the picture that lines are looked for in."""
_FAINTEST = (0.3, 0.15, 0.07, 0.035)
"""Of the paper's level: how much darker lines are, tried in this order."""
_CANDIDATES = 4
"""Components that are looked at, from the largest hull on."""
_SMALLEST = 0.02
"""Of the picture: grids cover more."""
_SHORTEST = 60
"""Pixels of a grid's side."""
_BORDER = 0.04
"""Of a flattened grid's sides: margin around it, as its corners are not exact."""
_BANDS = 24
"""Strips across the lines, in each of which a line is looked for."""
_STEP = 0.009
"""Of the grid's side: how far, at most, a line moves from one band to the next."""
_OVERLAP = 3
"""Strips in a band: columns of writing are not dark all along it."""
_COVERED = 0.75
"""Of a band's height: a line is darker than the paper along more of it."""
_FOLLOWED = 0.75
"""Of the bands: a line is found in more."""
_GRAIN = 2
"""Pixels: noise is averaged along lines before they are looked for."""
_PALE = 0.08
"""Of the paper's level: what is darker is a line, however dark, unless lines are darker here."""
_MOST_FOLDS = 2
"""Lines too many, which may be folds of the paper, where a number is asked for."""
_EVEN = 0.08
"""Of their mean: distances between lines that deviate less are even."""
_LIGHTEST = 0.07
"""Of the paper's level: what is darker may be ink."""
_REACH = 0.12
"""Of a cell's shorter side: how far from where it should be a line is looked for."""
_LONGEST = 1.35
"""Of a cell's side: what is longer is several strokes that touch."""
_SPECK = 0.12
"""Of a cell's shorter side: what is smaller is dirt."""
_CELL_SIDES = (48, 64)
"""Pixels of the shorter side of a flattened cell, at least and at most."""


@dataclass(frozen=True, eq=False)
class GridCell:
    """One cell, flat, upright and without lines and neighbours.

    `image` (H, W) has even white paper, and reaches as far as the strokes do; `box` is the (left,
    top, right, bottom) of the cell in the picture.
    """

    row: int
    column: int
    image: Grey
    box: tuple[int, int, int, int]
    is_empty: bool


@dataclass(frozen=True, eq=False)
class Grid:
    """A grid that was found.

    `crossings` (rows + 1, columns + 1, 2) are x and y in the picture; `cells` go row by row; `page`
    (H, W) is the grid flattened, its lines still there.
    """

    rows: int
    columns: int
    crossings: Floats
    page: Grey
    cells: tuple[GridCell, ...]


def find_grid(grey: Grey, rows: int | None = None, columns: int | None = None) -> Grid:
    """Return the largest grid in a picture (H, W), of `rows` and `columns` where they are given.

    ImageError: there is none; it is of another size, which is named; or it is cut off.
    """
    scale = min(1.0, _WORKING_SIDE / max(grey.shape))
    small = grey
    if scale < 1:
        resized = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        small = np.asarray(resized, np.uint8)
    found = [
        lines for corners in _candidates(small)
        if (lines := _find_lines(small, corners, rows, columns)) is not None
    ]  # fmt: skip
    fitting = [
        lines for lines in found
        if rows in (None, lines.rows) and columns in (None, lines.columns)
    ]  # fmt: skip
    if fitting:
        return _cut(grey, max(fitting, key=_Lines.score).crossings / np.float32(scale))
    wanted = f"{rows or 'any number of'} rows and {columns or 'any number of'} columns"
    if found:
        largest = max(found, key=_Lines.score)
        raise ImageError(
            f"no grid of {wanted}: the largest found has {largest.rows} rows and "
            f"{largest.columns} columns, or lines are missing or cut off"
        )
    raise ImageError(
        "no grid found: all four of its sides have to be in the picture, its lines sharp enough to "
        "see and not broken"
    )


class _Lines(NamedTuple):
    """Where the lines of what may be a grid cross, and which share of their length was seen."""

    crossings: Floats
    covered: float

    @property
    def rows(self) -> int:
        return len(self.crossings) - 1

    @property
    def columns(self) -> int:
        return int(self.crossings.shape[1]) - 1

    def score(self) -> float:
        """Return the area in pixels; less where lines are broken, or unevenly apart."""
        area = cv2.contourArea(self.crossings[[0, 0, -1, -1], [0, -1, -1, 0]])
        gaps = [
            np.hypot(*np.diff(self.crossings, axis=axis).mean(axis=1 - axis).T) for axis in (0, 1)
        ]
        unevenness = sum(float(gap.std() / gap.mean()) for gap in gaps)
        return float(area * self.covered**4 / (1 + unevenness))


def _candidates(grey: Grey) -> Iterator[Floats]:
    """Yield the corners (4, 2) of what may be grids: from the upper left one, clockwise."""
    seen: list[Floats] = []
    dark = _darkness(grey, max(grey.shape) // 20, max(grey.shape) // 20)
    bridge = np.ones((max(grey.shape) // 40 | 1,) * 2, np.uint8)
    for faintest in _FAINTEST:
        mask = cv2.dilate((dark > faintest).astype(np.uint8), np.ones((3, 3), np.uint8))
        outlines = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
        filled = cv2.drawContours(np.zeros_like(mask), outlines, -1, 1, cv2.FILLED)
        # Filled up, and without folds and strokes that bind a grid to what is beside it.
        for parts in (mask, cv2.morphologyEx(filled, cv2.MORPH_OPEN, bridge)):
            _, labels, facts, _ = cv2.connectedComponentsWithStats(parts)
            areas = facts[1:, cv2.CC_STAT_WIDTH] * facts[1:, cv2.CC_STAT_HEIGHT]
            for label in 1 + np.argsort(-areas)[:_CANDIDATES]:
                if areas[label - 1] < _SMALLEST * grey.size:
                    break
                left, top, width, height = facts[label, :4]
                part = labels[top : top + height, left : left + width] == label
                corners = _quadrilateral(part) + np.array([left, top], np.float32)
                if all(np.abs(corners - other).max() > 0.01 * max(grey.shape) for other in seen):
                    seen.append(corners)
                    yield corners


def _darkness(grey: npt.NDArray[Any], width: int, height: int) -> Floats:
    """Return by which share of the paper's level around it each pixel (H, W) is darker.

    Only what is narrower than `width`, or lower than `height`, is not paper.
    """
    kernel = np.ones((max(height, 1) | 1, max(width, 1) | 1), np.uint8)
    paper = cv2.morphologyEx(grey, cv2.MORPH_CLOSE, kernel).astype(np.float32)
    return np.asarray(1 - grey / np.maximum(paper, 1), np.float32)


def _quadrilateral(part: npt.NDArray[np.bool_]) -> Floats:
    """Return the corners (4, 2) of the largest quadrilateral in the hull of a component (H, W)."""
    points = cv2.findNonZero(part.astype(np.uint8))
    hull = cv2.convexHull(points)
    around = cv2.arcLength(hull, closed=True)
    tolerance = 0.002
    while len(hull) > 20:
        hull = cv2.approxPolyDP(hull, tolerance * around, closed=True)
        tolerance *= 1.5
    corners = hull[:, 0].astype(np.float32)
    if len(corners) < 4:
        return np.asarray(cv2.boxPoints(cv2.minAreaRect(points)), np.float32)
    fours = corners[np.array(list(combinations(range(len(corners)), 4)))]
    x, y = np.moveaxis(fours, 2, 0)
    areas = np.abs((x * np.roll(y, -1, 1) - y * np.roll(x, -1, 1)).sum(axis=1))
    best = fours[int(areas.argmax())]
    # Clockwise, from the corner that is nearest to the upper left.
    from_middle = best - best.mean(axis=0)
    best = best[np.argsort(np.arctan2(from_middle[:, 1], from_middle[:, 0]))]
    return np.roll(best, -int(best.sum(axis=1).argmin()), axis=0)


def _find_lines(
    grey: Grey, corners: Floats, rows: int | None, columns: int | None, *, again: bool = True
) -> _Lines | None:
    """Return the lines between `corners` (4, 2), or None where they make no grid.

    Where a number of rows or columns is given and the lines are evenly apart, one or two more, such
    as folds, are left out; missing ones are put into gaps, or at the edge of the picture. Corners
    that do not fit the lines that are found are corrected once.
    """
    sides = np.hypot(*(np.roll(corners, -1, 0) - corners).T)
    if sides.min() < _SHORTEST:
        return None
    size = np.array([(sides[0] + sides[2]) / 2, (sides[1] + sides[3]) / 2])
    border = _BORDER * size
    inner = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size + border
    to_flat = cv2.getPerspectiveTransform(corners, inner.astype(np.float32))
    width, height = (int(side) for side in np.rint(size + 2 * border))
    flat = cv2.warpPerspective(grey, to_flat, (width, height), borderMode=cv2.BORDER_REPLICATE)
    upright, level = _lines(flat, columns), _lines(np.ascontiguousarray(flat.T), rows)
    if min(len(upright.places), len(level.places)) < 3:  # a frame alone is no grid
        return None
    along_y, along_x = np.arange(height), np.arange(width)
    x = np.broadcast_to(upright.places.mean(axis=1), (len(level.places), len(upright.places)))
    for _ in range(8):
        y = np.stack([np.interp(x[k], along_x, line) for k, line in enumerate(level.places)])
        x = np.stack(
            [np.interp(y[:, k], along_y, line) for k, line in enumerate(upright.places)], axis=1
        )
    crossings = np.asarray(
        cv2.perspectiveTransform(np.stack([x, y], axis=2), np.linalg.inv(to_flat)), np.float32
    )
    left, right = upright.missing(size[0])
    top, bottom = level.missing(size[1])
    if left or right or top or bottom:
        beyond = np.pad(crossings, ((1, 1), (1, 1), (0, 0)), "reflect", reflect_type="odd")
        part = beyond[1 - top : len(beyond) - 1 + bottom, 1 - left : beyond.shape[1] - 1 + right]
        if not again:
            is_given = (len(part) - 1, part.shape[1] - 1) == (rows, columns)
            is_seen = left + right + top + bottom == 1 and _is_within(part, grey.shape)
            return _Lines(part, 0.5) if is_given and is_seen else None
        corners = np.ascontiguousarray(part[[0, 0, -1, -1], [0, -1, -1, 0]])
        return _find_lines(grey, corners, rows, columns, again=False)
    return _Lines(crossings, float(np.mean([*upright.covered, *level.covered])))


def _is_within(crossings: Floats, shape: tuple[int, ...]) -> bool:
    """Return whether the middle of each line is in a picture of `shape` (H, W)."""
    middles = np.concatenate([crossings.mean(axis=0), crossings.mean(axis=1)])
    return bool((middles > 0).all() and (middles < np.array(shape[::-1])).all())


class _Parallels(NamedTuple):
    """Where lines of one direction are at each pixel along them, and how much of each was seen."""

    places: npt.NDArray[np.float64]
    covered: npt.NDArray[np.float64]

    def missing(self, size: float) -> tuple[bool, bool]:
        """Return whether a line is missing where each end of a grid of `size` pixels should be."""
        first, *_, last = self.places.mean(axis=1) / size - _BORDER
        return abs(first) > 0.6 * _BORDER, abs(last - 1) > 0.6 * _BORDER


def _lines(flat: npt.NDArray[Any], count: int | None) -> _Parallels:
    """Return the upright lines of a flattened grid (H, W): their places are (lines, H)."""
    height, width = flat.shape
    smooth = cv2.GaussianBlur(flat, (1, 4 * _GRAIN + 1), 0.3, sigmaY=_GRAIN)
    # A line may lean by a pixel within a band.
    dark = cv2.dilate(_darkness(smooth, width // 25, 1), np.ones((1, 3), np.uint8))
    top = round(_BORDER / (1 + 2 * _BORDER) * height)
    edges = np.linspace(top, height - top, _BANDS + 1).astype(int)
    bands = list(zip(edges[:-_OVERLAP], edges[_OVERLAP:], strict=True))
    rows, middles = np.arange(height), np.mean(bands, axis=1)
    found, places, level = _Parallels(np.empty((0, height)), np.empty(0)), rows, _PALE
    for _ in range(2):  # the second time, knowing how dark lines are here
        covered = np.minimum(dark / level, 1)
        found = _follow(np.stack([covered[low:high].mean(axis=0) for low, high in bands]), width)
        if not len(found.places):
            return found
        places = np.stack([np.interp(rows, middles, _smooth(line)) for line in found.places])
        darkness = np.quantile(dark[rows, np.rint(places).astype(int)][:, top:-top], 0.25, axis=1)
        level = max(_PALE, 0.4 * float(np.median(darkness)))
    return _Parallels(*_chosen(places, found.covered, count))


def _follow(profiles: Floats, width: int) -> _Parallels:
    """Return the lines in `profiles` (bands, W), their places in each band: (lines, bands)."""
    reach = max(2.0, _STEP * width)
    tracks: list[dict[int, tuple[float, float]]] = []
    for band, profile in enumerate(profiles):
        ends = np.flatnonzero(np.diff(np.pad(profile > _COVERED, 1).astype(np.int8)))
        for place, strength in (
            ((low + high - 1) / 2, float(profile[low:high].mean()))
            for low, high in ends.reshape(-1, 2)
        ):
            near = [t for t in tracks if band not in t
                    and abs(t[max(t)][0] - place) <= reach * min(3, band - max(t))]  # fmt: skip
            if near:
                best = min(near, key=lambda t: abs(t[max(t)][0] - place))
                best[band] = (place, strength)
            else:
                tracks.append({band: (place, strength)})
    outside = 0.5 * _BORDER * width
    kept = [
        track for track in tracks if len(track) >= _FOLLOWED * len(profiles)
        and outside < np.mean([place for place, _ in track.values()]) < width - outside
    ]  # fmt: skip
    bands = np.arange(len(profiles))
    kept.sort(key=lambda track: float(np.mean([place for place, _ in track.values()])))
    places = [
        np.interp(bands, list(track), [place for place, _ in track.values()]) for track in kept
    ]
    strengths = [sum(strength for _, strength in track.values()) for track in kept]
    return _Parallels(np.array(places), np.array(strengths) / len(profiles))


def _chosen(tracks: Any, strengths: Any, count: int | None) -> tuple[Any, Any]:
    """Return the tracks (lines, bands) of a grid of `count` columns, and their strengths."""
    while len(tracks) > 2:  # double lines are one
        gaps = np.diff(tracks.mean(axis=1))
        narrowest = int(gaps.argmin())
        if gaps[narrowest] > 0.3 * np.median(gaps):
            break
        weaker = narrowest + int(strengths[narrowest] > strengths[narrowest + 1])
        tracks, strengths = np.delete(tracks, weaker, 0), np.delete(strengths, weaker)
    if count is None or len(tracks) < 2:
        return tracks, strengths
    if 0 < len(tracks) - count - 1 <= _MOST_FOLDS:  # folds and rules are among them
        inner = combinations(range(1, len(tracks) - 1), count - 1)
        choices = np.array([(0, *lines, len(tracks) - 1) for lines in inner])
        gaps = np.diff(tracks.mean(axis=1)[choices], axis=1)
        unevenness = gaps.std(axis=1) / gaps.mean(axis=1)
        if unevenness.min() < _EVEN:
            evenest = choices[unevenness.argmin()]
            return tracks[evenest], strengths[evenest]
    gaps = np.diff(tracks.mean(axis=1))
    parts = np.rint(gaps / ((tracks[-1] - tracks[0]).mean() / count)).astype(int)
    if len(tracks) <= count and parts.sum() == count and parts.min() > 0:
        filled = [tracks[:1]]
        for k, part in enumerate(parts):
            shares = np.arange(1, part + 1)[:, None] / part
            filled.append(tracks[k] + shares * (tracks[k + 1] - tracks[k]))
        tracks = np.concatenate(filled)
    return tracks, strengths


def _smooth(track: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the places of a line (bands,) without those that jump."""
    padded = np.pad(track, 2, mode="reflect", reflect_type="odd")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1))


def _cut(grey: Grey, crossings: Floats) -> Grid:
    """Flatten the grid in a picture (H, W), and cut it into cells without lines and neighbours."""
    size = _cell_size(crossings)
    page = _flattened(grey, crossings, size)
    paper = cv2.morphologyEx(page, cv2.MORPH_CLOSE, np.ones((2 * size[0] // 3 | 1,) * 2, np.uint8))
    level = np.asarray(page / np.maximum(paper.astype(np.float32), 1), np.float32)
    rows, columns = len(crossings) - 1, crossings.shape[1] - 1
    ink = (1 - level) > _faintest(1 - level, rows, columns, size)
    is_line = _line_pixels(ink, rows, columns, size)
    owners = _owners(ink & ~is_line, rows, columns, size)
    white = np.rint(level * 255).astype(np.uint8)
    boxes = _boxes(crossings)
    cells = []
    for row in range(rows):
        for column in range(columns):
            image, is_empty = _cell(white, owners, row * columns + column + 1, row, column, size)
            cells.append(GridCell(row, column, image, boxes[row, column], is_empty))
    return Grid(rows, columns, crossings, page, tuple(cells))


def _cell_size(crossings: Floats) -> tuple[int, int]:
    """Return height and width of a flattened cell, in pixels: about those in the picture."""
    height, width = (
        float(np.median(np.hypot(*np.moveaxis(np.diff(crossings, axis=axis), 2, 0))))
        for axis in (0, 1)
    )
    low, high = _CELL_SIDES
    scale = np.clip(min(height, width), low, high) / min(height, width)
    return round(height * scale), round(min(width * scale, 12 * high))


def _flattened(grey: Grey, crossings: Floats, size: tuple[int, int]) -> Grey:
    """Return the grid with cells of `size` (height, width), and half a cell around it."""
    beyond = np.pad(crossings, ((1, 1), (1, 1), (0, 0)), "reflect", reflect_type="odd")
    rows, columns = beyond.shape[0] - 2, beyond.shape[1] - 2
    y = (np.arange(rows * size[0]) + 0.5) / size[0] + 0.5
    x = (np.arange(columns * size[1]) + 0.5) / size[1] + 0.5
    places = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    maps = [
        cv2.remap(np.ascontiguousarray(beyond[:, :, axis]), *places, cv2.INTER_LINEAR)
        for axis in (0, 1)
    ]
    flat = cv2.remap(grey, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(flat, np.uint8)


def _inside(row: int, column: int, size: tuple[int, int], inset: float = 0) -> Any:
    """Return the slices of a cell in the flattened grid, less a share of its sides all around."""
    top, left = round((row + 0.5 + inset) * size[0]), round((column + 0.5 + inset) * size[1])
    height, width = (round(side * (1 - 2 * inset)) for side in size)
    return slice(top, top + height), slice(left, left + width)


def _faintest(dark: Floats, rows: int, columns: int, size: tuple[int, int]) -> Floats:
    """Return how dark ink is at least, for each pixel (H, W): some of the darkest in its cell."""
    darkest = np.array([
        [
            np.quantile(dark[_inside(row, column, size, 0.2)][::2, ::2], 0.98)
            for column in range(columns)
        ]
        for row in range(rows)
    ])  # fmt: skip
    limits = np.maximum(0.35 * darkest, _LIGHTEST).astype(np.float32)
    around = np.pad(limits, 1, "edge").repeat(size[0], 0).repeat(size[1], 1)
    top, left = size[0] - size[0] // 2, size[1] - size[1] // 2
    return np.asarray(around[top : top + dark.shape[0], left : left + dark.shape[1]], np.float32)


def _line_pixels(
    ink: npt.NDArray[np.bool_], rows: int, columns: int, size: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Return which pixels of `ink` (H, W) are the grid's lines, and no stroke that crosses them."""
    upright = _upright_lines(ink, rows, columns, size)
    level = _upright_lines(ink.T, columns, rows, size[::-1]).T
    return np.asarray(upright | level)


def _upright_lines(
    ink: npt.NDArray[np.bool_], rows: int, columns: int, size: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    lines = np.zeros_like(ink)
    reach = max(3, round(_REACH * min(size)))
    for line in range(columns + 1):
        middle = round((line + 0.5) * size[1])
        low = max(0, middle - reach)
        for row in range(-1, rows + 1):
            top = max(0, round((row + 0.5) * size[0]))
            part = ink[top : round((row + 1.5) * size[0]), low : middle + reach + 1]
            if not part.size or (row in (-1, rows) and part.mean(axis=0).max() < _COVERED):
                continue
            covered = np.flatnonzero(part.mean(axis=0) > 0.5)
            if not len(covered):
                continue
            # Of several runs, that which is nearest to where the line should be.
            runs = np.split(covered, np.flatnonzero(np.diff(covered) > 1) + 1)
            run = min(runs, key=lambda run: abs(run.mean() + low - middle))
            first, last = max(0, run[0] - 1), min(part.shape[1] - 1, run[-1] + 1)
            # Where ink goes on at both sides of the line, a stroke crosses it.
            left = (
                part[:, max(0, first - 2) : first].any(axis=1)
                if first
                else np.zeros(len(part), bool)
            )
            right = part[:, last + 1 : last + 3].any(axis=1)
            crosses = np.asarray(left & right)
            crosses[:reach] = crosses[-reach:] = False  # there the other lines cross
            lines[top : top + len(part), low + first : low + last + 1] |= ~crosses[:, None]
    return lines


def _owners(
    ink: npt.NDArray[np.bool_], rows: int, columns: int, size: tuple[int, int]
) -> npt.NDArray[np.int32]:
    """Return the number of the cell (from 1) that each pixel of ink (H, W) belongs to; or 0.

    A stroke belongs as a whole to the cell that most of it is in, unless it reaches so far into
    another that it is two that touch.
    """
    cells = np.zeros(ink.shape, np.int32)
    for row in range(rows):
        for column in range(columns):
            cells[_inside(row, column, size)] = row * columns + column + 1
    count, labels, facts, _ = cv2.connectedComponentsWithStats(ink.astype(np.uint8))
    shares = np.zeros(count, np.int32)
    flat = labels.ravel().astype(np.int64) * (rows * columns + 1) + cells.ravel()
    pairs, sizes = np.unique(flat[ink.ravel()], return_counts=True)
    label, cell = np.divmod(pairs, rows * columns + 1)
    for k in np.argsort(sizes):
        shares[label[k]] = cell[k]
    too_far = (facts[:, cv2.CC_STAT_WIDTH] > _LONGEST * size[1]) | (
        facts[:, cv2.CC_STAT_HEIGHT] > _LONGEST * size[0]
    )
    return np.where(ink, np.where(too_far[labels], cells, shares[labels]), 0)


def _cell(
    white: Grey, owners: npt.NDArray[np.int32], number: int, row: int, column: int,
    size: tuple[int, int],
) -> tuple[Grey, bool]:  # fmt: skip
    """Return the image of one cell, as large as its strokes need, and whether it is empty."""
    top, left = (
        max(0, round(index * side)) for index, side in zip((row, column), size, strict=True)
    )
    around = slice(top, top + 2 * size[0]), slice(left, left + 2 * size[1])
    own = (owners[around] == number).astype(np.uint8)
    _, labels, facts, _ = cv2.connectedComponentsWithStats(own)
    sides = facts[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    inside = _inside(row, column, size)
    inner = _inside(row, column, size, _REACH)
    core = labels[
        inner[0].start - top : inner[0].stop - top, inner[1].start - left : inner[1].stop - left
    ]
    is_stroke = np.zeros(len(facts), bool)
    is_stroke[np.unique(core)] = True  # along the border there is only what is left of lines
    is_stroke &= sides > _SPECK * min(size)
    is_stroke[0] = False
    own = is_stroke[labels].astype(np.uint8)
    low = [inside[0].start - top, inside[1].start - left]
    high = [inside[0].stop - top, inside[1].stop - left]
    is_empty = not own.any()
    if not is_empty:
        places = np.argwhere(own)
        low = np.maximum(np.minimum(low, places.min(axis=0) - 3), 0).tolist()
        high = np.maximum(high, places.max(axis=0) + 4).tolist()
    near = cv2.dilate(own, np.ones((5, 5), np.uint8))
    image = np.where(near > 0, white[around], 255).astype(np.uint8)
    return np.ascontiguousarray(image[low[0] : high[0], low[1] : high[1]]), is_empty


def _boxes(crossings: Floats) -> Any:
    """Return (left, top, right, bottom) of each cell in the picture: an array of tuples."""
    corners = np.stack([crossings[:-1, :-1], crossings[:-1, 1:], crossings[1:, 1:],
                        crossings[1:, :-1]])  # fmt: skip
    bounds = np.concatenate([corners.min(axis=0), corners.max(axis=0)], axis=2)
    boxes = np.empty(bounds.shape[:2], object)
    for index in np.ndindex(boxes.shape):
        left, top, right, bottom = np.rint(bounds[index]).astype(int).tolist()
        boxes[index] = (left, top, right, bottom)
    return boxes
