"""Any image as grey levels: files, bytes, Pillow images and arrays; damage and size refused."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from penstroke.errors import ImageError
from penstroke.files import reason

ImageLike = str | Path | bytes | Image.Image | npt.NDArray[np.generic]
Intensities = npt.NDArray[np.float32]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Of ITU-R BT.601, as Pillow's own conversion to grey."""
_WITH_ALPHA = ("LA", "PA", "RGBA", "La", "RGBa")


def read_grey(source: ImageLike, *, max_pixels: int, working_side: int) -> Intensities:
    """Return the image as float32 grey levels (H, W) in 0..1, turned upright by its EXIF tag.

    Args:
        source: a path, the bytes of an image file, a Pillow image, or an array: (H, W) grey or
            boolean, (H, W, 1 | 3 | 4); uint8, uint16, or float in 0..1 or 0..255.
        max_pixels: larger images are refused before they are decoded.
        working_side: an image of twice as many pixels a side, or more, is averaged down by whole
            steps.

    Raises:
        ImageError: it is not an image, damaged, or too large; names the file.
    """
    if isinstance(source, np.ndarray):
        return _grey_of_array(source, max_pixels, working_side)
    if isinstance(source, Image.Image):
        return _grey_of_image(source, max_pixels, working_side, "image")
    name = "image" if isinstance(source, bytes) else str(source)
    with _opened(source, name) as image:
        return _grey_of_image(image, max_pixels, working_side, name)


def _opened(source: str | Path | bytes, name: str) -> Image.Image:
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read {name}: {reason(error)}") from error
    if not content:
        raise ImageError(f"{name} is empty: zero bytes")
    try:
        with warnings.catch_warnings():
            # Pillow warns of a bomb; below it is refused by its size, before it is decoded.
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(content))
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is too large: {error}") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"{name} is not an image that can be read (PNG, JPEG, …)") from error


def _grey_of_image(
    image: Image.Image, max_pixels: int, working_side: int, name: str
) -> Intensities:
    _refuse_huge(image.width, image.height, max_pixels, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is no reason to refuse an image
            return _levels(ImageOps.exif_transpose(image), working_side)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(f"{name} is damaged: {error}") from error


def _levels(image: Image.Image, working_side: int) -> Intensities:
    """Return grey levels in 0..1, whatever the mode; transparent parts become paper."""
    if image.mode.startswith("I") or image.mode == "F":
        return _averaged(_scaled_to_one(np.asarray(image)), working_side)
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        # Colours weighed by their alpha are what may be averaged.
        weighed = _reduced(image.convert("RGBA").convert("RGBa"), working_side)
        return _over_paper(_of_bytes(weighed))
    return _of_bytes(_reduced(image.convert("L"), working_side))


def _over_paper(rgba: Intensities) -> Intensities:
    """Lay (H, W, 4), colours weighed by alpha, over paper: white, unless what is drawn is light."""
    grey, alpha = rgba[..., :3] @ _LUMA, rgba[..., 3]
    drawn = float(grey.sum() / max(float(alpha.sum()), 1e-6))
    paper = 1.0 if drawn <= 0.5 or float(alpha.min()) > 0.99 else 0.0
    return np.asarray(grey + paper * (1 - alpha), np.float32)


def _grey_of_array(
    array: npt.NDArray[np.generic], max_pixels: int, working_side: int
) -> Intensities:
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ImageError(f"an array of shape {array.shape} is no image: (H, W) or (H, W, C)")
    channels = array.shape[2] if array.ndim == 3 else 1
    if channels not in (1, 3, 4):
        raise ImageError(f"an array of {channels} channels is no image: 1, 3 or 4")
    _refuse_huge(array.shape[1], array.shape[0], max_pixels, "array")
    if array.ndim == 3 and channels == 1:
        array = array[..., 0]
    if array.dtype == np.uint8:  # the way of a decoded file, to the same bits
        return _levels(Image.fromarray(np.ascontiguousarray(array)), working_side)
    levels = _scaled_to_one(array)
    if channels == 3:
        levels = levels @ _LUMA
    elif channels == 4:
        levels = _over_paper(
            np.concatenate([levels[..., :3] * levels[..., 3:], levels[..., 3:]], 2)
        )
    return _averaged(levels, working_side)


def _scaled_to_one(array: npt.NDArray[np.generic]) -> Intensities:
    if array.dtype == np.bool_:
        return array.astype(np.float32)
    if array.dtype.kind not in "uif":
        raise ImageError(f"an array of {array.dtype} is no image: uint8, uint16, bool or float")
    levels = array.astype(np.float32)
    if not np.isfinite(levels).all():
        raise ImageError("the image holds values that are not finite (nan or infinity)")
    low, high = float(levels.min()), float(levels.max())
    if low < 0:
        raise ImageError(f"the image holds negative values (least {low:g})")
    if array.dtype.kind == "f":
        full = 1.0 if high <= 1 else 255.0 if high <= 255 else high
    else:
        full = 255.0 if high <= 255 else max(high, 65535.0)
    return np.asarray(levels / full, np.float32)


def _of_bytes(image: Image.Image) -> Intensities:
    return np.asarray(image, np.float32) / np.float32(255)


def _averaged(grey: Intensities, working_side: int) -> Intensities:
    image = Image.fromarray(np.ascontiguousarray(grey, np.float32))
    return np.asarray(_reduced(image, working_side), np.float32)


def _reduced(image: Image.Image, working_side: int) -> Image.Image:
    factor = max(image.size) // working_side
    if factor < 2:
        return image
    # A factor may not exceed a side: 1×20000 stays one pixel wide.
    return image.reduce((min(factor, image.width), min(factor, image.height)))


def _refuse_huge(width: int, height: int, max_pixels: int, name: str) -> None:
    if width * height > max_pixels:
        raise ImageError(
            f"{name} is too large: {width}×{height} is {width * height / 1e6:.0f} megapixels, "
            f"{max_pixels / 1e6:.0f} are allowed"
        )
