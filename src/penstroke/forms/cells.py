"""What is written in the boxes of a registered page, without what is printed there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from penstroke.forms.description import Area
from penstroke.forms.page_images import Grey
from penstroke.forms.registration import PIXELS_PER_MM

PAPER = 250
"""The grey of paper on registered pages, and of what was removed."""
_BAND_MM = 0.8
"""Half the width of the band, around where an edge of a box should be, in which it is removed."""
_MARGIN_MM = 2.0
"""How far beyond its box a stroke is followed."""
_FAINTEST_PRINT = 20
"""Grey levels by which the printed edge of a box is darker than paper, at least."""
_INK = 205
"""Greys below are ink, once the boxes are gone."""
_LEAST_SPECK_MM2, _LEAST_EXTENT_MM = 0.06, 1.0
_OWN_SHARE = 0.75
"""Share of a connected piece of ink in one box from which all of it belongs there."""
_INSIDE_SHARE = 0.3
"""Share of a piece that has to lie inside boxes: titles and neighbours do not."""


@dataclass(frozen=True, eq=False)
class Cell:
    """What is written in one box.

    Attributes:
        image: (H, W) uint8, the ink of this box alone on paper of `PAPER`.
        box: (left, top, right, bottom) of the image on the registered page, in its pixels.
        ink_share: of the inside of the box, how much is ink.
        is_empty: whether nothing of the size of a stroke is there.
    """

    image: Grey
    box: tuple[int, int, int, int]
    ink_share: float
    is_empty: bool


def cut(page: Grey, boxes: Sequence[Area]) -> list[Cell]:
    """Return what is written in each of `boxes`, which stand beside each other or in rows.

    The printed edges are removed but where a stroke crosses them. Ink that reaches beyond its box
    is kept, up to two millimetres; ink that belongs to a neighbour is not.
    """
    left, top, right, bottom = _region(page, boxes)
    region = page[top:bottom, left:right].copy()
    rectangles = np.array([
        (box.left * PIXELS_PER_MM - left, box.top * PIXELS_PER_MM - top,
         box.right * PIXELS_PER_MM - left, box.bottom * PIXELS_PER_MM - top)
        for box in boxes
    ])  # fmt: skip
    for rectangle in rectangles:
        _remove_edges(region, rectangle)
    owner = _owners(region.shape, rectangles)
    inside = _inside(region.shape, rectangles)
    belongs = _assigned((region < _INK).astype(np.uint8), owner, inside, len(boxes))
    cells = []
    for index, rectangle in enumerate(rectangles):
        is_own = belongs == index
        x0, y0 = np.maximum(np.rint(rectangle[:2]).astype(int) - _px(_MARGIN_MM), 0)
        x1, y1 = np.rint(rectangle[2:]).astype(int) + _px(_MARGIN_MM)
        x1, y1 = min(x1, region.shape[1]), min(y1, region.shape[0])
        own = is_own[y0:y1, x0:x1].astype(np.uint8)
        soft = cv2.dilate(own, np.ones((3, 3), np.uint8)) > 0  # with the grey border of strokes
        others = (belongs[y0:y1, x0:x1] >= 0) & (own == 0)
        image = np.where(soft & ~others, region[y0:y1, x0:x1], PAPER).astype(np.uint8)
        rows, columns = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
        extent = max(int(np.ptp(rows)), int(np.ptp(columns))) if len(rows) else 0
        ix0, iy0, ix1, iy1 = np.add(np.rint(rectangle).astype(int), (4, 4, -4, -4)).tolist()
        within = region[max(iy0, 0) : iy1, max(ix0, 0) : ix1] < _INK
        cells.append(Cell(
            image, (left + int(x0), top + int(y0), left + int(x1), top + int(y1)),
            float(within.mean()) if within.size else 0.0, extent < _px(_LEAST_EXTENT_MM),
        ))  # fmt: skip
    return cells


def _px(mm: float) -> int:
    return round(mm * PIXELS_PER_MM)


def _region(page: Grey, boxes: Sequence[Area]) -> tuple[int, int, int, int]:
    """Return the pixels (left, top, right, bottom) around `boxes`, with a margin."""
    margin = _MARGIN_MM + 0.5
    left, top = min(box.left for box in boxes), min(box.top for box in boxes)
    right, bottom = max(box.right for box in boxes), max(box.bottom for box in boxes)
    return (
        max(_px(left - margin), 0), max(_px(top - margin), 0),
        min(_px(right + margin), page.shape[1]), min(_px(bottom + margin), page.shape[0]),
    )  # fmt: skip


def _remove_edges(region: Grey, rectangle: npt.NDArray[np.float64]) -> None:
    """Paint the four edges of a box out of `region`, but for strokes that cross them."""
    left, top, right, bottom = (round(value) for value in rectangle.tolist())
    band = _px(_BAND_MM)
    for image, at, start, end in (
        (region, top, left, right), (region, bottom, left, right),
        (region.T, left, top, bottom), (region.T, right, top, bottom),
    ):  # fmt: skip
        first, last = max(at - band, 0), min(at + band + 1, image.shape[0])
        start, end = max(start - band, 0), min(end + band + 1, image.shape[1])
        # Only rows that are dark all along are print: strokes may lie beside it, or on it.
        along = image[first:last, start + band : end - band]
        if not along.size:
            continue
        tones = np.percentile(along, 65, axis=1)
        depths = PAPER - tones
        rows = np.flatnonzero(depths > _FAINTEST_PRINT)
        if not len(rows):
            continue
        core = np.flatnonzero(depths > depths.max() / 2)
        edge = image[first:last, start:end]
        is_darker = edge < tones.min() - max(25.0, 0.25 * depths.max())
        over, under = max(core[0] - 1, 0), min(core[-1] + 1, len(edge) - 1)
        crosses = np.ones(edge.shape[1], bool)
        for row in (over, under):
            crosses &= edge[row] < min(tones[row] - _FAINTEST_PRINT, _INK - 30)
        band_rows = slice(max(rows[0] - 1, 0), rows[-1] + 2)
        edge[band_rows][~(is_darker | crosses)[band_rows]] = PAPER


def _owners(shape: tuple[int, ...], rectangles: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Return for each pixel the nearest box."""
    down, across = np.arange(shape[0])[:, None, None], np.arange(shape[1])[None, :, None]
    dx = np.maximum(rectangles[:, 0] - across, across - rectangles[:, 2])
    dy = np.maximum(rectangles[:, 1] - down, down - rectangles[:, 3])
    return np.asarray(np.argmin(np.maximum(dx, dy), axis=2))


def _inside(shape: tuple[int, ...], rectangles: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    inside = np.zeros(shape, bool)
    for left, top, right, bottom in np.rint(rectangles).astype(int):
        inside[max(top, 0) : bottom, max(left, 0) : right] = True
    return inside


def _assigned(
    is_ink: npt.NDArray[np.uint8], owner: npt.NDArray[np.intp], inside: npt.NDArray[np.bool_],
    count: int,
) -> npt.NDArray[np.intp]:  # fmt: skip
    """Return for each pixel of ink the box that it belongs to, -1 for all others."""
    pieces, labels, stats, _ = cv2.connectedComponentsWithStats(is_ink, connectivity=8)
    labels = np.asarray(labels, np.intp)
    pairs = np.bincount((labels * count + owner).ravel(), minlength=pieces * count)
    shares = pairs.reshape(pieces, count)
    total = np.maximum(shares.sum(1), 1)
    is_inside = np.bincount(labels[inside], minlength=pieces) >= _INSIDE_SHARE * total
    is_large = stats[:, cv2.CC_STAT_AREA] >= _LEAST_SPECK_MM2 * PIXELS_PER_MM**2
    is_kept = is_inside & is_large
    is_kept[0] = False
    best = shares.argmax(1)
    is_one = shares.max(1) >= _OWN_SHARE * total
    by_piece = np.where(is_one[labels], best[labels], owner)
    return np.where(is_kept[labels], by_piece, -1)
