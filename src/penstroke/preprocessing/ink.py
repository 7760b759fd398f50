"""The ONE mapping from any image to the 28×28 that a network reads.

It follows the way MNIST was made (LeCun et al. 1998, section III.A): the ink is cropped, its longer
side scaled to 20 pixels with the proportion kept, and its centre of mass put at the centre of a
28×28 field. Before that the ink must be found: by a threshold, on paper under even or uneven light,
dark on light or light on dark; by a small network (`segmentation`) where that leaves a doubt. Used
to import images, and by every recogniser, with the settings stored in its model.
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
_SURFACE_SIDE = 40
"""Pixels a side that suffice to describe the light on paper, which changes slowly."""
_WIDEST_STROKE = 0.6
"""Of the image's longer side: darker parts as wide as this are shadow, not ink."""
_THICKEST = 0.42
"""Of the image's longer side: no stroke is thicker, of a shadow most is."""
_EVEN = 0.06
"""Where the border's levels spread less than this, of the full range, the light is even."""
_BLANK = 0.07
"""Of the full range: an image of less contrast, 18 of 255, shows nothing."""
_UNEVEN = 0.03
"""Of the contrast: what is apart, on paper of levels that deviate more, may not be ink."""
_ROUGH = 0.03
"""Of the contrast: paper whose pixels differ more is patterned, or its light uneven."""
_COARSE = 17
"""Pixels of the longer side: smaller images are cropped to their character, and show no paper."""
_STRAIGHT = 0.85
"""Of the side of a box: ink all along it, as of a frame."""
_FAINT = 40
"""Of 255: less ink does not tell where a character ends; the edges of EMNIST's are blurred."""
_THIN = 0.12
"""Of the image: a component along the border that is no higher is an edge."""
MARGIN = 8
"""Pixels of blank paper laid around a page, so that ink at its border is not taken for paper."""
_BLOCKS = 48
"""Levels of paper along the longer side of a page: light changes slowly."""
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

    Paper and ink are the two classes that Otsu's threshold (1979) separates, after the light on
    the paper has been taken away where it is uneven. Ink is measured in steps from paper to full
    ink; faint parts count where they hang on strong ones (hysteresis, Canny 1986). `alone`: the
    image shows one character, so specks and what lies along the border do not belong to it.
    """
    if alone:
        return inspect_ink(grey, settings).amount
    amount, strong = _measure_ink(grey, settings)
    return _without_dirt(amount, strong, alone=False)[0]


def inspect_ink(grey: Intensities, settings: InkSettings) -> LoneInk:
    """Return the `find_ink` of a lone character, and what else is to be known of it.

    Where texture, lines, frames or neighbours leave a doubt, or the ink is faint, it is that of
    `segmentation.segment`, whose shape is another.
    """
    amount, strong = _measure_ink(grey, settings)
    ink, parts = _without_dirt(amount, strong, alone=True)
    left = 0.0 if ink is amount else 1 - float(ink.sum()) / max(float(amount.sum()), 1e-6)
    contrast = float(np.ptp(grey))
    is_in_doubt = contrast >= _BLANK and _is_in_doubt(grey, ink, parts)
    if is_in_doubt:
        ink = segment(grey)
    characters = count_characters(ink) if is_in_doubt or parts > 1 else parts
    is_faint = not parts and contrast > 0 and bool((ink if is_in_doubt else segment(grey)).any())
    return LoneInk(ink, left, characters, is_faint)


def _is_in_doubt(grey: Intensities, ink: Intensities, parts: int) -> bool:
    """Return whether `ink`, of `parts` components, may not be just the one character in `grey`."""
    if max(grey.shape) < _COARSE:
        return not parts
    if not parts or _is_rough(grey, ink):
        return True
    is_ink = ink > 0
    if parts > 1 and float(grey[~is_ink].std()) > _UNEVEN * float(np.ptp(grey)):
        return True
    rows, columns = np.flatnonzero(is_ink.any(axis=1)), np.flatnonzero(is_ink.any(axis=0))
    box = is_ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # A frame has ink all along the four sides of its box, and paper within.
    depth = -(-max(box.shape) // 7)
    sides = (box[:depth], box[-depth:], box[:, :depth].T, box[:, -depth:].T)
    straight = sum(bool(side.sum(axis=1).max() > _STRAIGHT * side.shape[1]) for side in sides)
    is_cut = [bool(end.any()) for end in (is_ink[0], is_ink[-1], is_ink[:, 0], is_ink[:, -1])]
    if not any(is_cut):
        return straight == len(sides) and float(box.mean()) < 0.5
    # An image that was cropped to its character has nothing but that.
    return not all(is_cut) or straight > 2 or parts > 1


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
    image = Image.fromarray(cropped).resize(size, Image.Resampling.BICUBIC)
    scaled = np.asarray(image, np.float32).clip(0.0, 1.0)
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


def _measure_ink(grey: Intensities, settings: InkSettings) -> tuple[Intensities, float]:
    """Return how much ink, dirt included, each pixel (H, W) bears, and above what it is strong."""
    nothing = np.zeros_like(grey), 1.0
    if np.ptp(grey) < settings.min_contrast:
        return nothing
    depth = _depth(grey)
    counts = _histogram(depth)
    split = _otsu(counts)
    below = counts.cumsum()
    paper, everything = below[split - 1], below[-1]
    # The nine-tenths quantile of what lies above the threshold is full ink.
    step = int(np.searchsorted(below, paper + 0.9 * (everything - paper))) / 255
    if step < settings.min_contrast:
        return nothing
    threshold = split / 255
    # Half of a bell stands above the paper's level: its 0.68 quantile is the standard deviation.
    deviation = int(np.searchsorted(below, 0.84 * paper)) / 255
    faint = max(settings.noise_floor, min(3 * deviation, 0.6 * threshold) / step)
    amount = np.minimum(depth / np.float32(step), np.float32(1))
    return np.where(amount < faint, np.float32(0), amount), threshold / step


def _without_dirt(amount: Intensities, strong: float, *, alone: bool) -> tuple[Intensities, int]:
    """Return `amount` (H, W) without components that nowhere exceed `strong`, and the number left.

    Around a lone character, without specks and what lies along the border too.
    """
    labels, boxes = find_components(amount > 0)
    count = len(boxes)
    if count < 2:
        return amount, count
    numbers = labels.ravel()
    keep = np.zeros(count + 1, np.bool_)
    keep[labels[amount > strong]] = True
    keep = keep[1:]
    if alone:
        mass = np.bincount(numbers, amount.ravel(), count + 1)[1:]
        keep &= mass > SPECK * mass.max()
        # Edges of paper, shadows, ruled lines and parts of a neighbour touch the border, where the
        # character does not; where it does, they lie along it.
        character = int(mass.argmax())
        (height, width), (left, top, right, bottom) = amount.shape, boxes.T
        at_end = (left == 0) | (right == width)
        at_top = (top == 0) | (bottom == height)
        outside = at_end | at_top
        if outside[character]:
            is_flat = bottom - top <= max(2, _THIN * height)
            is_upright = right - left <= max(2, _THIN * width)
            outside = (is_flat & at_top) | (is_upright & at_end)
            outside[character] = False
        keep &= ~outside
    if keep.all() or not keep.any():
        return amount, count
    kept = np.where(np.concatenate([[False], keep])[labels], amount, np.float32(0))
    return kept, int(keep.sum())


def _depth(grey: Intensities) -> Intensities:
    """Return how far each pixel of `grey` (H, W) is from paper towards ink; 0 on the other side."""
    ring = np.sort(border(grey))
    paper, tenth = ring[len(ring) // 2], len(ring) // 10
    if ring[-1 - tenth] - ring[tenth] < _EVEN:
        return _depth_from(paper, grey, is_dark=bool(grey.mean() < paper))
    small = averaged(grey, _SURFACE_SIDE)
    is_bright = small > _otsu(_histogram(small)) / 255
    is_dark = float(border(is_bright).mean()) > 0.5
    if _is_drawn(small, is_bright ^ is_dark):
        return _depth_from(median(small[is_bright == is_dark]), grey, is_dark=is_dark)
    # Ink is what departs most from the light, which is estimated from the border.
    y, x = np.mgrid[-1 : 1 : small.shape[0] * 1j, -1 : 1 : small.shape[1] * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=2)
    light = np.linalg.lstsq(border(terms), border(small), rcond=None)[0]
    is_dark = float(((small - terms @ light) ** 3).sum()) < 0
    return _depth_below(grey if is_dark else 1 - grey)


def _depth_from(paper: Any, grey: Intensities, *, is_dark: bool) -> Intensities:
    return np.asarray(np.maximum(paper - grey if is_dark else grey - paper, np.float32(0)))


def _depth_below(grey: Intensities) -> Intensities:
    """Return how far `grey` lies below the paper around it: a black top-hat (Serra 1982).

    The paper is the closing of a small copy: what is darker than its surroundings, and narrower
    than the widest stroke, is filled up. The image is continued beyond its border as it ends there,
    so that dark corners are shadow.
    """
    small = averaged(grey, _SURFACE_SIDE)
    reach = round(_WIDEST_STROKE * max(small.shape))
    closed = _closing(np.pad(small, reach, mode="edge"), reach)[reach:-reach, reach:-reach]
    smooth = Image.fromarray(closed).resize(grey.shape[::-1], Image.Resampling.BILINEAR)
    depth = np.asarray(smooth, np.float32) - grey
    # Noise lets the closing lie a little above the paper.
    paper = median(depth[depth < depth.mean()]) if np.ptp(depth) else 0
    return (depth - np.float32(paper)).clip(0, 1)


def _closing(values: Intensities, side: int) -> Intensities:
    """Return `values` (H, W) with dark parts narrower than `side` pixels filled up (Serra 1982)."""
    return -_dilated(-_dilated(values, side), side)


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
    block = -(-max(grey.shape) // _BLOCKS)
    fill = [(0, -side % block) for side in grey.shape]
    whole = np.pad(grey, fill, mode="edge")
    return whole.reshape(whole.shape[0] // block, block, whole.shape[1] // block, block)


def _upsampled(levels: Intensities, shape: tuple[int, ...]) -> Intensities:
    """Return the levels of blocks (rows, columns) as those of an image of `shape` (H, W)."""
    block = -(-max(shape) // _BLOCKS)
    size = (levels.shape[1] * block, levels.shape[0] * block)
    image = Image.fromarray(levels.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)[: shape[0], : shape[1]]


def _is_drawn(grey: Intensities, is_ink: npt.NDArray[np.bool_]) -> bool:
    """Return whether ink that reaches the border is as thin as strokes, on paper of one level."""
    if is_ink.all() or not is_ink.any():
        return False
    paper = np.sort(grey[~is_ink])
    if grey[is_ink].mean() < paper[0]:
        paper = paper[::-1]
    outline = (is_ink[1:] ^ is_ink[:-1]).sum() + (is_ink[:, 1:] ^ is_ink[:, :-1]).sum()
    thickness = 2 * is_ink.sum() / max(1, outline)
    spread = abs(paper[len(paper) // 2] - paper[len(paper) // 20])
    return bool(spread < _EVEN / 2 and thickness < _THICKEST * max(grey.shape))


def border(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the outermost ring of `values` (H, W, …), its corners twice."""
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _histogram(values: Intensities) -> npt.NDArray[np.int64]:
    """Return how many of `values` in 0..1 fall into each of 256 steps."""
    return np.bincount((values.ravel() * np.float32(255)).astype(np.intp), minlength=256)


def _otsu(counts: npt.NDArray[np.int64]) -> int:
    """Return the step that separates `counts` (256,) into two classes of least variance."""
    below = counts.cumsum()[:-1]
    above = counts.sum() - below
    sums = (counts * np.arange(256, dtype=np.float64)).cumsum()
    gap = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return int((below * above * gap**2).argmax()) + 1
