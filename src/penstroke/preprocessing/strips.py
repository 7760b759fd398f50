"""An image of one line of writing as a strip: what a line reader's network reads."""

from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from penstroke.errors import ImageError
from penstroke.preprocessing.decoding import ImageLike, Intensities, read_grey

STRIP_HEIGHT: Final = 32
"""Pixels; a strip is as wide as its line, of the same proportions."""
COLUMN_WIDTH: Final = 4
"""Pixels of a strip that a network reads as one column: at most one character each."""
PAPER: Final = 64
"""The level of paper in a strip; ink is above, up to 255."""
LEVELS_PER_DEVIATION = 38
_LEAST_WIDTH, _GREATEST_WIDTH = 16, 16_384
_FAINTEST = 4 / 255
"""Standard deviation of the intensities below which an image counts as blank: it is noise."""
_FAINTEST_INK = 8 / 255
"""Intensities between the paper around it and the strongest stroke of a line."""

Strip = npt.NDArray[np.uint8]
"""A line (STRIP_HEIGHT, W): paper at PAPER, ink above it."""


def line_strip(image: ImageLike, max_pixels: int = 50_000_000) -> Strip:
    """Return the line in `image`, dark ink on lighter paper or the reverse, as a strip.

    ImageError: it is not an image, or has more than `max_pixels`.
    """
    return strip_of(read_grey(image, max_pixels, working_side=max_pixels))


def strip_of(grey: Intensities) -> Strip:
    """Return the line that fills `grey` (H, W), intensities in 0..1, as a strip.

    ImageError: it is over 500 times as wide as high.
    """
    return standardized(_scaled(grey))


def _scaled(grey: Intensities) -> Intensities:
    height, width = grey.shape
    wide = max(_LEAST_WIDTH, round(width * STRIP_HEIGHT / height))
    if wide > _GREATEST_WIDTH:
        raise ImageError(f"image is {width}×{height}: too long and low for a line")
    scaled = Image.fromarray(grey.astype(np.float32)).resize(
        (wide, STRIP_HEIGHT), Image.Resampling.BOX if height > STRIP_HEIGHT
        else Image.Resampling.BICUBIC,
    )  # fmt: skip
    return np.asarray(scaled)


def is_blank(grey: Intensities) -> bool:
    """Return whether `grey` (H, W), intensities in 0..1, shows nothing but paper, in any light."""
    image = Image.fromarray(_scaled(grey))
    light = image.resize((max(1, image.width // 16), 2), Image.Resampling.BOX)
    halves = (image.width // 2, STRIP_HEIGHT // 2)  # of noise, less than half remains
    contrast = np.asarray(image.resize(halves, Image.Resampling.BOX)) - np.asarray(
        light.resize(halves, Image.Resampling.BILINEAR)
    )
    return float(np.abs(contrast).max()) < _FAINTEST_INK


def needed_columns(text: str) -> int:
    """Return how many columns a strip needs to be read as `text`: equal neighbours need a gap."""
    return len(text) + sum(one == following for one, following in pairwise(text))


def stretched(strip: Strip, factor: float) -> Strip:
    """Return `strip` made wider by `factor`, or narrower."""
    width = max(_LEAST_WIDTH, round(factor * strip.shape[1]))
    scaled = Image.fromarray(strip).resize((width, STRIP_HEIGHT), Image.Resampling.BICUBIC)
    return np.asarray(scaled)


def standardized(grey: Intensities) -> Strip:
    """Return `grey` (STRIP_HEIGHT, W) as levels of a strip: its median at PAPER, ink above it.

    Ink is what is further from the median: writing covers less than half of the paper.
    """
    flat = grey.reshape(-1).astype(np.float32)
    middle = len(flat) // 2
    depth = np.partition(flat, middle)[middle] - flat
    squared = depth * depth
    depth /= np.sqrt(squared.mean()).clip(_FAINTEST)
    if np.einsum("i,i", squared, depth) < 0:
        depth = -depth
    levels = (PAPER + 0.5 + LEVELS_PER_DEVIATION * depth).clip(0, 255)
    return np.asarray(levels.astype(np.uint8).reshape(grey.shape))
