"""The ONE mapping from any picture to the 28×28 that a network reads.

The way MNIST was made (LeCun et al. 1998, section III.A): the ink is cropped, its longer side
brought to 20 pixels with the proportion kept, and its centre of mass put at the centre of a 28×28
field. Used to import pictures, and by every recogniser, with the settings stored in its model.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import Field

from penstroke.config import IMAGE_SIZE, Settings
from penstroke.errors import PictureError
from penstroke.files import reason

Picture = str | Path | bytes | Image.Image | npt.NDArray[np.generic]
Pixels = npt.NDArray[np.uint8]
Intensities = npt.NDArray[np.float32]


class InkSettings(Settings):
    """How ink is found and placed; stored with every model, so that it sees what it was taught."""

    box_pixels: int = Field(20, ge=4, le=IMAGE_SIZE, description="longer side of the ink")
    center: str = Field("mass", pattern="^(mass|box)$", description="what is put at the centre")
    min_contrast: float = Field(
        0.12, gt=0, lt=1, description="least step from paper to ink, of the full range"
    )
    noise_floor: float = Field(
        0.2, ge=0, lt=1, description="share of that step below which a pixel counts as paper"
    )
    max_pixels: int = Field(50_000_000, ge=1, description="larger pictures are refused")


class Glyph(NamedTuple):
    """What the network reads: `pixels` (28, 28) uint8, ink bright on dark; blank if no ink."""

    pixels: Pixels
    is_blank: bool


DEFAULT_INK = InkSettings()
_CENTER = 14.5
"""Where MNIST's centres of mass lie, from the picture's edge: measured, 14.50 ± 0.3 both ways."""
_FULL = np.float32(255)
_WORKING_SIDE = 400
"""Larger pictures are averaged down to about this first: 20 pixels are kept in the end."""


def read_glyph(picture: Picture, settings: InkSettings = DEFAULT_INK) -> Glyph:
    """Return the character in `picture` as MNIST would have stored it.

    Args:
        picture: a path, the bytes of a picture file, a Pillow image, or an array: (H, W) grey or
            boolean, (H, W, 1 | 3 | 4); uint8, uint16, or float in 0..1. Dark on light or light on
            dark, upright.
        settings: how ink is found and placed.

    Raises:
        PictureError: it is no picture, or too large; a blank one is no error but a blank glyph.
    """
    return place(find_ink(read_grey(picture, settings), settings), settings)


def read_grey(
    picture: Picture, settings: InkSettings = DEFAULT_INK, working_side: int = _WORKING_SIDE
) -> Intensities:
    """Return the picture as float32 grey levels (H, W) in 0..1, turned upright by its EXIF tag.

    A picture of twice `working_side` pixels or more is averaged down by whole steps.
    """
    if isinstance(picture, np.ndarray):
        return _shrunk(_grey_of_array(picture, settings), working_side)
    if isinstance(picture, Image.Image):
        return _shrunk(_grey_of_image(picture, settings, "picture"), working_side)
    return _shrunk(_grey_of_file(picture, settings), working_side)


def find_ink(grey: Intensities, settings: InkSettings = DEFAULT_INK) -> Intensities:
    """Return how much ink each pixel of `grey` (H, W) bears, in 0..1; all zero if there is none.

    Paper and ink are the two classes that Otsu's threshold (1979) tells apart; the paper is the one
    that holds more of the picture's border. Ink is measured in steps from paper to full ink.
    """
    low, high = float(grey.min()), float(grey.max())
    nothing = np.zeros_like(grey)
    if high - low < settings.min_contrast:
        return nothing
    bright = grey > _otsu_threshold(grey, low, high)
    ink = ~bright if _is_paper(bright) else bright
    if not ink.any() or ink.all():
        return nothing
    paper_level = float(np.median(grey[~ink]))
    darkness = np.abs(grey - paper_level)
    step = float(np.percentile(darkness[ink], 90))
    if step < settings.min_contrast:
        return nothing
    same_side = (grey > paper_level) == bool(bright[ink].any())
    amount = np.where(same_side, darkness / step, 0.0).clip(0.0, 1.0)
    return np.where(amount < settings.noise_floor, 0.0, amount).astype(np.float32)


def place(ink: Intensities, settings: InkSettings = DEFAULT_INK) -> Glyph:
    """Crop `ink` (H, W) in 0..1, scale it to the box and centre it: the geometry of MNIST."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return Glyph(np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8), is_blank=True)
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scaled = _scaled_to_box(cropped, settings.box_pixels)
    field = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.float32)
    top, left = _corner(scaled, settings)
    field[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return Glyph(np.rint(field * 255).astype(np.uint8), is_blank=False)


def _scaled_to_box(ink: Intensities, side: int) -> Intensities:
    height, width = ink.shape
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(ink).resize(size, Image.Resampling.BICUBIC)
    scaled = np.asarray(image, np.float32).clip(0.0, 1.0)
    # Shrinking greys a thin stroke; MNIST's strokes reach full white.
    return np.asarray(scaled / max(float(scaled.max()), 1e-6), np.float32)


def _corner(ink: Intensities, settings: InkSettings) -> tuple[int, int]:
    """Return (top, left) of the ink in the field; never so far that a part would fall outside."""
    corner = []
    for axis in (0, 1):
        length = ink.shape[axis]
        profile = ink.sum(axis=1 - axis)
        mass = float((profile * (np.arange(length) + 0.5)).sum() / profile.sum())
        middle = mass if settings.center == "mass" else length / 2
        corner.append(int(np.clip(round(_CENTER - middle), 0, IMAGE_SIZE - length)))
    return corner[0], corner[1]


def _otsu_threshold(grey: Intensities, low: float, high: float) -> float:
    """Return the level that splits `grey` into two classes of least variance within (Otsu 1979)."""
    counts, edges = np.histogram(grey, bins=256, range=(low, high))
    levels = (edges[:-1] + edges[1:]) / 2
    below = counts.cumsum()[:-1].astype(np.float64)
    above = grey.size - below
    sums = (counts * levels).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = sums[:-1] / below - (sums[-1] - sums[:-1]) / above
        between = np.nan_to_num(below * above * gap**2)
    return float(edges[1:-1][between.argmax()])


def _is_paper(mask: npt.NDArray[np.bool_]) -> bool:
    """Return whether `mask` holds more of the border; of all pixels, where the border is even."""
    border = float(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean())
    return border > 0.5 if border != 0.5 else float(mask.mean()) > 0.5


def _grey_of_file(source: str | Path | bytes, settings: InkSettings) -> Intensities:
    name = "picture" if isinstance(source, bytes) else str(source)
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise PictureError(f"cannot read {name}: {reason(error)}") from error
    if not content:
        raise PictureError(f"{name} is empty: zero bytes")
    try:
        with warnings.catch_warnings():
            # Pillow warns of a bomb; below it is refused by its size, before it is decoded.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content))
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name} is too large: {error}") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise PictureError(f"{name} is not a picture that can be read (PNG, JPEG, …)") from error
    with image:
        return _grey_of_image(image, settings, name)


def _grey_of_image(image: Image.Image, settings: InkSettings, name: str) -> Intensities:
    _refuse_huge(image.width, image.height, settings, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is no reason to refuse a picture
            upright = ImageOps.exif_transpose(image)
            return _levels(upright)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise PictureError(f"{name} is damaged: {error}") from error


def _levels(image: Image.Image) -> Intensities:
    """Return grey levels in 0..1, whatever the mode; transparent parts become paper."""
    if image.mode.startswith("I") or image.mode == "F":
        return _scaled_to_one(np.asarray(image))
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        return _over_paper(np.asarray(image.convert("RGBA"), np.float32) / _FULL)
    return np.asarray(image.convert("L"), np.float32) / _FULL


def _over_paper(rgba: Intensities) -> Intensities:
    """Lay (H, W, 4) over paper: white, unless what is drawn is itself light."""
    grey = rgba[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32)
    alpha = rgba[..., 3]
    drawn = float((grey * alpha).sum() / max(float(alpha.sum()), 1e-6))
    paper = 1.0 if drawn <= 0.5 or float(alpha.min()) > 0.99 else 0.0
    return np.asarray(grey * alpha + paper * (1 - alpha), np.float32)


def _grey_of_array(array: npt.NDArray[np.generic], settings: InkSettings) -> Intensities:
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise PictureError(f"an array of shape {array.shape} is no picture: (H, W) or (H, W, C)")
    _refuse_huge(array.shape[1], array.shape[0], settings, "array")
    levels = _scaled_to_one(array)
    if array.ndim == 2:
        return levels
    channels = array.shape[2]
    if channels == 4:
        return _over_paper(levels.astype(np.float32))
    if channels not in (1, 3):
        raise PictureError(f"an array of {channels} channels is no picture: 1, 3 or 4")
    weights = np.array([0.299, 0.587, 0.114] if channels == 3 else [1.0], np.float32)
    return np.asarray(levels @ weights, np.float32)


def _scaled_to_one(array: npt.NDArray[np.generic]) -> Intensities:
    if array.dtype == np.bool_:
        return array.astype(np.float32)
    if array.dtype.kind not in "uif":
        raise PictureError(f"an array of {array.dtype} is no picture: uint8, uint16, bool or float")
    levels = array.astype(np.float32)
    if not np.isfinite(levels).all():
        raise PictureError("the picture holds values that are not finite (nan or infinity)")
    low, high = float(levels.min()), float(levels.max())
    if low < 0:
        raise PictureError(f"the picture holds negative values (least {low:g})")
    if array.dtype.kind == "f":
        full = 1.0 if high <= 1 else 255.0 if high <= 255 else high
    else:
        full = 255.0 if array.dtype == np.uint8 or high <= 255 else 65535.0
    return np.asarray(levels / full, np.float32)


def _shrunk(grey: Intensities, working_side: int) -> Intensities:
    factor = max(grey.shape) // working_side
    if factor < 2:
        return np.ascontiguousarray(grey, np.float32)
    # A factor may not exceed a side: 1×20000 stays one pixel wide.
    steps = (min(factor, grey.shape[1]), min(factor, grey.shape[0]))
    return np.asarray(Image.fromarray(np.ascontiguousarray(grey)).reduce(steps), np.float32)


def _refuse_huge(width: int, height: int, settings: InkSettings, name: str) -> None:
    if width * height > settings.max_pixels:
        raise PictureError(
            f"{name} is too large: {width}×{height} is {width * height / 1e6:.0f} megapixels, "
            f"{settings.max_pixels / 1e6:.0f} are allowed"
        )
