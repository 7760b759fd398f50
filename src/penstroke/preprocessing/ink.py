"""The ONE mapping from any image to the 28×28 that a network reads.

It follows the way MNIST was made (LeCun et al. 1998, section III.A): the ink is cropped, its longer
side scaled to 20 pixels with the proportion kept, and its centre of mass put at the centre of a
28×28 field. Before that the ink must be found: by a threshold where nothing but ink is on even
paper, dark on light or light on dark; by a small network (`segmentation`) elsewhere. Used to import
images, and by every recogniser, with the settings stored in its model.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from pydantic import Field

from penstroke.config.settings import IMAGE_SIZE, Settings
from penstroke.preprocessing.components import SPECK, count_characters, find_components
from penstroke.preprocessing.decoding import (
    MAX_PIXELS,
    ImageLike,
    Intensities,
    averaged,
    median,
    read_grey,
)
from penstroke.preprocessing.segmentation import SIDE, segment

Pixels = npt.NDArray[np.uint8]


class InkSettings(Settings):
    """How ink is found and normalised; stored with every model, to match its training images."""

    box_pixels: int = Field(20, ge=4, le=IMAGE_SIZE, description="longer side of the ink")
    center: str = Field("mass", pattern="^(mass|box)$", description="what is put at the centre")
    min_contrast: float = Field(
        0.12, gt=0, lt=1, description="least step from paper to ink, of the full range"
    )
    noise_floor: float = Field(
        0.2, ge=0, lt=1, description="share of that step below which a pixel counts as paper"
    )
    max_pixels: int = Field(MAX_PIXELS, ge=1, description="larger images are refused")


class Preprocessed(NamedTuple):
    """What the network reads, and what may keep it from being read.

    `pixels` (28, 28) uint8 has ink bright on dark, and is blank if there is none; `characters` is
    how many stand side by side in it, and `is_faint` whether the ink was too faint for a threshold:
    if it `is_blank` as well, there is something that is too faint to tell ink from paper.
    """

    pixels: Pixels
    is_blank: bool
    characters: int = 1
    is_faint: bool = False


class LoneInk(NamedTuple):
    """The ink of an image that should show one character, (H, W) in 0..1, and what it is like.

    `left_out` is the share of all ink that was taken for dirt or for a neighbour; `characters` and
    `is_faint` are as in `Preprocessed`.
    """

    amount: Intensities
    left_out: float
    characters: int
    is_faint: bool


DEFAULT_INK = InkSettings()
_CENTER = 14.5
"""Where MNIST's centres of mass lie, from the image's edge: measured, 14.50 ± 0.3 both ways."""
_EVEN = 0.06
"""Where a fifth of the border's levels differ less than this, of the full range, there is paper."""
_BLANK = 0.07
"""Of the full range: an image of less contrast, 18 of 255, shows nothing."""
_UNEVEN = 0.03
"""Of the contrast: what is apart, on paper of levels that deviate more, may not be ink."""
_ROUGH = 0.03
"""Of the contrast: paper whose pixels differ more is patterned, or its light uneven."""
_COARSE = 17
"""Pixels of the longer side: smaller images are cropped to their character, and show no paper."""
_STRAIGHT = 0.85
"""Of the side of a box: ink all along it, as of a frame's."""
_MOST_LINES = 3
"""Rows and columns of ink all along the box: frames, grids and few characters have more."""
_FAINT = 40
"""Of 255: less ink does not tell where a character ends; the edges of EMNIST's are blurred."""
_STEPS = np.arange(256, dtype=np.float64)
MARGIN = 8
"""Pixels of blank paper laid around a page, so that ink at its border is not taken for paper."""
_BLOCKS, _BLOCKS_ACROSS = 48, 24
"""Levels of paper along the longer side of a page, as light changes slowly, and at least along the
shorter: on a narrow page a shadow would else be no wider than what may be ink."""
_SMALLEST_BLOCK = 8
"""Pixels."""
_WIDEST = 9
"""Blocks. What is narrower is ink, or may be; what is wider is shadow."""


def preprocess(image: ImageLike, settings: InkSettings = DEFAULT_INK) -> Preprocessed:
    """Return the character in `image` as MNIST would have stored it.

    It is anything that `decoding.read_grey` takes, which raises ImageError for what is not an
    image: dark on light or light on dark, upright. Without ink the result is blank.
    """
    ink = inspect_ink(read_grey(image, settings.max_pixels), settings)
    pixels, is_blank, *_ = normalize(ink.amount, settings)
    return Preprocessed(pixels, is_blank, ink.characters, ink.is_faint)


def find_ink(
    grey: Intensities, settings: InkSettings = DEFAULT_INK, *, alone: bool = True
) -> Intensities:
    """Return how much ink each pixel of `grey` (H, W) bears, in 0..1; all zero if there is none.

    Paper and ink are the two classes that Otsu's threshold (1979) separates. Ink is measured in
    steps from paper to full ink; faint parts count where they hang on strong ones (hysteresis,
    Canny 1986). `alone`: the image shows one character, on any paper.
    """
    if alone:
        return inspect_ink(grey, settings).amount
    level = median(border(grey))
    return _without_dirt(*_measure_ink(grey, level, settings), alone=False)[0]


def inspect_ink(grey: Intensities, settings: InkSettings) -> LoneInk:
    """Return the `find_ink` of a lone character, and what else is to be known of it.

    Unless nothing but ink is on even paper, it is that of `segmentation.segment`, whose shape is
    another.
    """
    contrast = float(np.ptp(grey))
    if contrast < _BLANK:
        is_faint = contrast > 0 and bool(segment(grey).ink.any())
        return LoneInk(np.zeros_like(grey), 0.0, 0, is_faint)
    amount = np.zeros_like(grey)
    levels = np.sort(border(grey))
    fifths = 2 * len(levels) // 5
    is_coarse = max(grey.shape) < _COARSE
    if is_coarse or levels[-1 - fifths] - levels[fifths] < _EVEN:
        amount, strong = _measure_ink(grey, levels[len(levels) // 2], settings)
        sides = (amount[0], amount[-1], amount[:, 0], amount[:, -1])
        cut = sum(bool(side.any()) for side in sides)
        # An image that was cropped to its character shows nothing but that.
        if amount.any() and (is_coarse or cut in (0, len(sides))):
            ink, parts = _without_dirt(amount, strong, alone=True)
            if is_coarse or not _is_in_doubt(grey, ink, parts, is_cut=bool(cut)):
                left_out = 0.0 if ink is amount else 1 - float(ink.sum() / amount.sum())
                characters = count_characters(ink) if parts > 1 else 1
                return LoneInk(ink, left_out, characters, is_faint=False)
    ink, part = segment(grey)
    # What lies beside the strokes that were found, by more than a pixel of theirs.
    image = Image.fromarray(ink).resize(amount[part].shape[::-1], Image.Resampling.BILINEAR)
    found = float(amount[part][np.asarray(image) > 0].sum())
    left_out = 1 - found / float(amount.sum()) if amount.any() else 0.0
    is_faint = contrast < settings.min_contrast and bool(ink.any())
    return LoneInk(ink, left_out, count_characters(ink), is_faint)


def _is_in_doubt(grey: Intensities, ink: Intensities, parts: int, *, is_cut: bool) -> bool:
    """Return whether `ink`, of `parts` components, may not be just the one character in `grey`."""
    is_ink = ink > 0
    if parts > 1 or is_cut:
        is_uneven = float(grey[~is_ink].std()) > _UNEVEN * float(np.ptp(grey))
        if is_uneven or (parts > 1 and is_cut):
            return True
    rows, columns = np.flatnonzero(is_ink.any(axis=1)), np.flatnonzero(is_ink.any(axis=0))
    box = is_ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    lines = 0
    for side, counts in zip(box.shape, (box.sum(axis=0), box.sum(axis=1)), strict=True):
        is_line = counts > _STRAIGHT * side
        lines += int(is_line[0]) + int(np.count_nonzero(is_line[1:] & ~is_line[:-1]))
    return lines > _MOST_LINES or _is_rough(grey, ink)


def _is_rough(grey: Intensities, ink: Intensities) -> bool:
    """Return whether most of the paper differs from row to row, at the resolution of `segment`."""
    limit = _ROUGH * float(np.ptp(grey))
    if max(grey.shape) >= 2 * SIDE:
        grey, ink = averaged(grey, SIDE), averaged(ink, SIDE)
    is_paper = (ink[1:] == 0) & (ink[:-1] == 0)
    steps = np.abs(grey[1:] - grey[:-1])[is_paper]
    return 2 * int(np.count_nonzero(steps > limit)) >= len(steps)


def correct_illumination(grey: Intensities) -> Intensities:
    """Return `grey` (H, W) in 0..1 as dark ink on even white paper, with a margin of `MARGIN`.

    The paper's level is the closing of bright quantiles of small blocks; light ink on dark paper is
    inverted first.
    """
    medians = np.pad(np.median(_blocks(grey), axis=(1, 3)), _WIDEST // 2, mode="edge")
    around = np.median(sliding_window_view(medians, (_WIDEST, _WIDEST)), axis=(2, 3))
    departure = grey - _upsampled(around, grey.shape)
    if float((departure * departure * departure).sum()) > 0:  # a power takes five times as long
        grey = 1 - grey  # what deviates most is brighter than what is around it: ink is the rarer
    bright = np.quantile(_blocks(grey), 0.8, axis=(1, 3)).astype(np.float32)
    # A closing lifts the dark end of a slope at the border, so the nearest plane is removed first.
    down, across = np.indices(bright.shape, np.float32)
    terms = np.stack([np.ones(bright.size), down.ravel(), across.ravel()], axis=1)
    factors = np.linalg.lstsq(terms, bright.ravel(), rcond=None)[0]
    plane = np.asarray(terms @ factors, np.float32).reshape(bright.shape)
    paper = _upsampled(_closing(bright - plane, _WIDEST) + plane, grey.shape)
    return np.pad(np.minimum(grey / np.maximum(paper, np.float32(0.02)), 1), MARGIN,
                  constant_values=1)  # fmt: skip


def normalize(ink: Intensities, settings: InkSettings = DEFAULT_INK) -> Preprocessed:
    """Crop `ink` (H, W) in 0..1, scale it to the box and centre it: the geometry of MNIST."""
    field = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.float32)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return Preprocessed(field.astype(np.uint8), is_blank=True)
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = cropped.shape
    scale = settings.box_pixels / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    scaled: Intensities = cropped
    if size != (width, height):
        image = Image.fromarray(cropped).resize(size, Image.Resampling.BICUBIC)
        scaled = np.minimum(np.maximum(np.asarray(image), np.float32(0)), np.float32(1))
    # Shrinking greys a thin stroke; MNIST's strokes reach full white.
    scaled = np.asarray(scaled / max(float(scaled.max()), 1e-6), np.float32)
    corner = []
    for axis, length in enumerate(scaled.shape):
        offset = (IMAGE_SIZE - length) / 2
        if settings.center == "mass":
            profile = scaled.sum(axis=1 - axis)
            mass = float((profile * (np.arange(length) + 0.5)).sum() / profile.sum())
            offset = _CENTER - mass
        corner.append(min(max(round(offset), 0), IMAGE_SIZE - length))  # never partly outside
    top, left = corner
    field[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return Preprocessed(np.rint(field * 255).astype(np.uint8), is_blank=False)


def estimate_geometry(images: Pixels) -> InkSettings:
    """Return the settings by which `images` (N, 28, 28) seem to have been normalised.

    A network must be shown what it was trained on: MNIST's characters fill 20 pixels and have their
    centre of mass in the middle, EMNIST's fill 24 and have the middle of their box there. Of mass
    and box, the one that scatters less is taken. Up to 2,000 images are looked at.
    """
    ink = images[:: max(1, len(images) // 2000)]
    ink = ink[ink.any(axis=(1, 2))].astype(np.float64)
    if not len(ink):
        return DEFAULT_INK
    sides, boxes, masses = [], [], []
    for axis in (1, 2):
        profile = ink.sum(axis=axis)
        masses.append((profile @ (np.arange(IMAGE_SIZE) + 0.5)) / profile.sum(axis=1))
        inked = np.asarray((ink > _FAINT).any(axis=axis))
        first, last = inked.argmax(axis=1), IMAGE_SIZE - inked[:, ::-1].argmax(axis=1)
        sides.append(last - first)
        boxes.append((first + last) / 2)
    center = "mass" if np.std(masses, axis=1).sum() <= np.std(boxes, axis=1).sum() else "box"
    return InkSettings(box_pixels=max(4, int(np.median(np.max(sides, axis=0)))), center=center)


def _measure_ink(
    grey: Intensities, level: np.float32, settings: InkSettings
) -> tuple[Intensities, float]:
    """Return how much ink, dirt included, each pixel (H, W) bears, and above what it is strong.

    `level` is that of the paper.
    """
    depth = np.maximum(level - grey if grey.mean() < level else grey - level, np.float32(0))
    below, split = otsu(depth)
    paper, everything = below[split - 1], below[-1]
    # The nine-tenths quantile of what lies above the threshold is full ink. Half of a bell stands
    # above the paper's level: its 0.68 quantile is the standard deviation.
    quantiles = paper + 0.9 * (everything - paper), 0.84 * paper
    step, deviation = (np.searchsorted(below, quantiles) / 255).tolist()
    if step < settings.min_contrast:
        return np.zeros_like(grey), 1.0
    threshold = split / 255
    faint = max(settings.noise_floor, min(3 * deviation, 0.6 * threshold) / step)
    amount = np.minimum(depth / np.float32(step), np.float32(1))
    return np.where(amount < faint, np.float32(0), amount), threshold / step


def _without_dirt(amount: Intensities, strong: float, *, alone: bool) -> tuple[Intensities, int]:
    """Return `amount` (H, W) without components that nowhere exceed `strong`, and the number left.

    Around a lone character, without specks too.
    """
    components = find_components(amount > 0)
    count = len(components)
    if count < 2:
        return amount, count
    labels = components.labels
    keep = np.zeros(count + 1, np.bool_)
    keep[labels[amount > strong]] = True
    keep = keep[1:]
    if alone:
        mass = np.bincount(labels.ravel(), amount.ravel(), count + 1)[1:]
        keep &= mass > SPECK * mass.max()
    if keep.all() or not keep.any():
        return amount, count
    kept = np.where(np.concatenate([[False], keep])[labels], amount, np.float32(0))
    return kept, int(keep.sum())


def _closing(values: Intensities, side: int) -> Intensities:
    """Return `values` (H, W) with dark parts narrower than `side` pixels filled up (Serra 1982).

    What grows darker towards the border is taken to go on beyond it.
    """
    around = np.pad(values, side, mode="reflect", reflect_type="odd")
    return -_dilated(-_dilated(around, side), side)[side:-side, side:-side]


def _dilated(values: Intensities, side: int) -> Intensities:
    """Return the maximum of a square of `side` pixels around each pixel."""
    for axis in (0, 1):
        around = [(0, 0), (0, 0)]
        around[axis] = (side // 2, (side - 1) // 2)
        padded = np.pad(values, around, constant_values=-np.inf)
        values = sliding_window_view(padded, side, axis).max(axis=-1)
    return values


def _blocks(grey: Intensities) -> Intensities:
    """Return `grey` as (rows, block, columns, block), its border repeated to fill the last."""
    block = _block_side(grey.shape)
    fill = [(0, -side % block) for side in grey.shape]
    whole = np.pad(grey, fill, mode="edge")
    return whole.reshape(whole.shape[0] // block, block, whole.shape[1] // block, block)


def _block_side(shape: tuple[int, ...]) -> int:
    across = max(-(-min(shape) // _BLOCKS_ACROSS), _SMALLEST_BLOCK)
    return min(-(-max(shape) // _BLOCKS), across)


def _upsampled(levels: Intensities, shape: tuple[int, ...]) -> Intensities:
    """Return the levels of blocks (rows, columns) as those of an image of `shape` (H, W)."""
    block = _block_side(shape)
    size = (levels.shape[1] * block, levels.shape[0] * block)
    image = Image.fromarray(levels.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)[: shape[0], : shape[1]]


def border(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the outermost ring of `values` (H, W, …), its corners twice."""
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def otsu(depth: Intensities) -> tuple[npt.NDArray[np.int64], int]:
    """Return how many of `depth` lie below each of 256 steps, and the step that separates best.

    Of the two classes that it makes, the variance is least.
    """
    counts = np.bincount((depth.ravel() * np.float32(255)).astype(np.intp), minlength=256)
    everything = counts.cumsum()
    sums = (counts * _STEPS).cumsum()
    below, above = everything[:-1], everything[-1] - everything[:-1]
    gap = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return everything, int((below * above * gap**2).argmax()) + 1
