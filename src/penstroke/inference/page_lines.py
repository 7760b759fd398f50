"""The lines of writing on a page, found where its characters are large enough."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from penstroke.inference.segments import Box, UnsplitLine, find_unsplit_lines
from penstroke.preprocessing.decoding import Intensities, read_grey
from penstroke.preprocessing.ink import MARGIN, InkSettings, correct_illumination, find_ink

_WORKING_SIDES = (1200, 2400, 4800)
"""Pixels of the longer side: lines are sought at about this size first, and larger where characters
are small."""
_LEAST_HEIGHT = 24  # pixels of a character, of which 20 are kept: with fewer, a larger side pays
_MOST_HEIGHT = 200  # pixels of a character: the image is made smaller where they are higher
_GOOD_HEIGHT = 100  # pixels of a character: then they have about this height
_MARGIN = 0.2  # around a line that is cut out, of its height
_REACH = 0.6  # how far a line goes above and below its tall characters, in heights of one
_LEAST_TALL = 4  # tall characters that a line needs for its slope to be measured
_SLIGHT = 0.3  # rise over a whole line, in heights of a character, that is left as it is
_STEEPEST = np.radians(20)  # steeper lines are not lines


@dataclass(frozen=True)
class Scale:
    """How an image of `width`×`height` was reduced: a pixel is `across`×`down` of the image's."""

    width: int
    height: int
    across: int
    down: int

    def original(self, box: Box) -> Box:
        """Return `box`, found in the reduced image with its margin, in pixels of the image."""
        return Box(
            max(0, box.left - MARGIN) * self.across,
            max(0, box.top - MARGIN) * self.down,
            min(self.width, (box.right - MARGIN) * self.across),
            min(self.height, (box.bottom - MARGIN) * self.down),
        )


def find_page_lines(
    whole: Intensities, settings: InkSettings, least_height: int = _LEAST_HEIGHT
) -> tuple[list[UnsplitLine], Scale]:
    """Return the lines of a grey image (H, W), found where characters are large enough.

    That is `least_height` pixels.
    """
    height, width = whole.shape
    for side in _WORKING_SIDES:
        found, sides = _lines_at(whole, side, settings)
        enough = not found or _median_height(found) >= least_height
        if enough or sides == whole.shape:
            break
    if found and _median_height(found) > _MOST_HEIGHT:
        side = round(max(sides) * _GOOD_HEIGHT / _median_height(found))
        smaller, smaller_sides = _lines_at(whole, side, settings)
        if smaller and _median_height(smaller) >= least_height:
            found, sides = smaller, smaller_sides
    factor = round(max(whole.shape) / max(sides))
    return found, Scale(width, height, min(factor, width), min(factor, height))


def _lines_at(
    whole: Intensities, side: int, settings: InkSettings
) -> tuple[list[UnsplitLine], tuple[int, ...]]:
    """Return the lines of `whole` (H, W) when it is averaged down to `side`, and its sides then."""
    grey = read_grey(whole, settings.max_pixels, side)
    ink = find_ink(correct_illumination(grey), settings, alone=False)
    return find_unsplit_lines(ink), grey.shape


def _median_height(lines: Sequence[UnsplitLine]) -> float:
    return float(np.median([line.height for line in lines]))


@dataclass(frozen=True, eq=False)
class LineImage:
    """One line of writing, cut out of an image and turned level.

    `grey` (H, W) in 0..1; `sides` (H, W): of the whole image; `left` and `top`: where its corner
    lies in that, pixels; `angle`: by how much the line falls to the right there, radians.
    """

    grey: Intensities
    sides: tuple[int, ...]
    left: float = 0.0
    top: float = 0.0
    angle: float = 0.0

    def original(self, left: float, top: float, right: float, bottom: float) -> Box:
        """Return the box around what lies in that box of this image, in pixels of the whole one."""
        across, down = np.array([left, right, left, right]), np.array([top, top, bottom, bottom])
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        x = self.left + cosine * across - sine * down
        y = self.top + sine * across + cosine * down
        edges = [
            np.rint(np.array([values.min(), values.max()])).clip(0, side).astype(int).tolist()
            for values, side in ((x, self.sides[1]), (y, self.sides[0]))
        ]
        return Box(edges[0][0], edges[1][0], edges[0][1], edges[1][1])


def cut_out(whole: Intensities, found: Sequence[UnsplitLine], scale: Scale) -> list[LineImage]:
    """Return the lines that were found in `whole` (H, W), each with a margin and turned level."""
    image = Image.fromarray(whole)
    return [_cut_out(image, line, scale) for line in found]


def _cut_out(image: Image.Image, line: UnsplitLine, scale: Scale) -> LineImage:
    boxes, tall = (
        np.array([scale.original(part.box) for part in parts], np.float64)
        for parts in (line.parts, line.tall)
    )
    sides = (image.height, image.width)
    height = float(np.median(tall[:, 3] - tall[:, 1]))
    angle = _angle(tall, height)
    lefts, tops, rights, bottoms = _turned(boxes, angle).T
    _, tall_tops, _, tall_bottoms = _turned(tall, angle).T
    # What reaches far above or below the others is a ruled line, or of another line.
    top = max(tops.min(), np.median(tall_tops) - _REACH * height)
    bottom = min(bottoms.max(), np.median(tall_bottoms) + _REACH * height)
    margin = _MARGIN * (bottom - top)
    left, top, right, bottom = (
        lefts.min() - margin, top - margin, rights.max() + margin, bottom + margin
    )  # fmt: skip
    if not angle:
        left, top = max(0, int(left)), max(0, int(top))
        edges = (left, top, min(image.width, int(right) + 1), min(image.height, int(bottom) + 1))
        return LineImage(np.asarray(image.crop(edges)), sides, left, top)
    size = (round(right - left), round(bottom - top))
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = cosine * left - sine * top, sine * left + cosine * top
    grey = image.transform(
        size, Image.Transform.AFFINE, (cosine, -sine, x, sine, cosine, y),
        Image.Resampling.BILINEAR, fillcolor=np.nan,
    )  # fmt: skip
    level = np.asarray(grey)
    is_outside = np.isnan(level)
    if is_outside.any():
        level = np.where(is_outside, np.median(level[~is_outside]), level)
    return LineImage(level, sides, float(x), float(y), angle)


def _turned(boxes: npt.NDArray[np.float64], angle: float) -> npt.NDArray[np.float64]:
    """Return boxes (N, 4) of the image as they are when it is turned level about its corner."""
    across, down = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    along = np.cos(angle) * across + np.sin(angle) * down
    below = np.cos(angle) * down - np.sin(angle) * across
    halves = (boxes[:, 2:] - boxes[:, :2]) / 2
    middles = np.stack([along, below], axis=1)
    return np.concatenate([middles - halves, middles + halves], axis=1)


def _angle(tall: npt.NDArray[np.float64], height: float) -> float:
    """Return by how much tall boxes (N, 4) of a line fall to the right, radians; 0 if hardly.

    It is the median slope of all pairs (Theil 1950, Sen 1968).
    """
    some = tall[:: max(1, len(tall) // 100)]
    across, down = (some[:, 0] + some[:, 2]) / 2, (some[:, 1] + some[:, 3]) / 2
    first, second = np.triu_indices(len(some), 1)
    far = np.abs(across[second] - across[first]) > height
    first, second = first[far], second[far]
    if len(some) < _LEAST_TALL or not len(first):
        return 0.0
    slopes = (down[second] - down[first]) / (across[second] - across[first])
    angle = float(np.arctan(np.median(slopes)))
    is_slight = abs(np.tan(angle)) * float(np.ptp(across)) < _SLIGHT * height
    return 0.0 if is_slight or abs(angle) > _STEEPEST else angle
