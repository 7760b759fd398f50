"""The lines of writing on a page, found where its characters are large enough."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from penstroke.inference.segments import Box, UnsplitLine, find_unsplit_lines
from penstroke.preprocessing.decoding import Intensities, read_grey
from penstroke.preprocessing.ink import MARGIN, InkSettings, correct_illumination, find_ink

_WORKING_SIDES = (1200, 2400, 4800)
"""Pixels of the longer side: lines are sought at about this size first, and larger where characters
are small."""
_LEAST_HEIGHT = 24  # pixels of a character, of which 20 are kept: with fewer, a larger side pays
_MOST_HEIGHT = 200  # pixels of a character: the image is made smaller where they are higher
_GOOD_HEIGHT = 100  # pixels of a character: then they have about this height


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


def find_page_lines(whole: Intensities, settings: InkSettings) -> tuple[list[UnsplitLine], Scale]:
    """Return the lines of a grey image (H, W), found where characters are large enough."""
    height, width = whole.shape
    for side in _WORKING_SIDES:
        found, sides = _lines_at(whole, side, settings)
        enough = not found or _median_height(found) >= _LEAST_HEIGHT
        if enough or sides == whole.shape:
            break
    if found and _median_height(found) > _MOST_HEIGHT:
        side = round(max(sides) * _GOOD_HEIGHT / _median_height(found))
        smaller, smaller_sides = _lines_at(whole, side, settings)
        if smaller and _median_height(smaller) >= _LEAST_HEIGHT:
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
